//! The figures of the gossip: clusters in memory through the real codec, beside memberlist's model.

mod cluster;
mod measure;
mod model;
mod picture;
mod single;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use roundel_gossip::Timings;

use self::picture::Pair;
pub(crate) use self::picture::grouped;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Sizes of the clusters.
    #[arg(long, value_delimiter = ',', default_values_t = [25, 1000, 10_000])]
    nodes: Vec<usize>,
    /// Writes `gossip.svg` and `gossip-sim.md` into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fewer and shorter runs, to try the command.
    #[arg(long)]
    quick: bool,
    /// Prints the memory that one node with so many members costs, and nothing else.
    #[arg(long, hide = true)]
    memory: Option<usize>,
}

/// Lines of the table, printed as they come.
struct Table {
    text: String,
    begun: Instant,
}

impl Table {
    fn new() -> Self {
        let mut table = Self {
            text: String::new(),
            begun: Instant::now(),
        };
        table.line("| figure | memberlist | demand | reached |");
        table.line("|---|---|---|---|");
        table
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn row(&mut self, figure: &str, baseline: &str, demand: &str, reached: &str) {
        self.line(&format!("| {figure} | {baseline} | {demand} | {reached} |"));
        eprintln!("  {:.0} s", self.begun.elapsed().as_secs_f64());
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(members) = options.memory {
        println!("{}", single::memory(members)?);
        return Ok(());
    }
    let mut table = Table::new();
    let pairs: Vec<Pair> = options.nodes.iter().map(|n| pair(*n, options)).collect();
    if let Some(folder) = &options.out {
        std::fs::write(folder.join("gossip.svg"), picture::draw(&pairs))?;
    }
    for pair in &pairs {
        spread_rows(&mut table, pair, options);
    }
    for pair in &pairs {
        detection_rows(&mut table, pair, options);
    }
    for pair in &pairs {
        trouble_row(&mut table, pair.members, options.seed);
    }
    small_cluster_rows(&mut table, options);
    node_rows(&mut table)?;
    if let Some(folder) = &options.out {
        std::fs::write(folder.join("gossip-sim.md"), &table.text)?;
    }
    Ok(())
}

/// More repetitions where they cost little.
fn repetitions(n: usize, options: &Options) -> (usize, usize) {
    let (spreads, crashes) = match n {
        0..100 => (400, 200),
        100..2000 => (60, 60),
        _ => (8, 12),
    };
    if options.quick {
        (5, 5)
    } else {
        (spreads, crashes)
    }
}

fn pair(n: usize, options: &Options) -> Pair {
    let (spreads, crashes) = repetitions(n, options);
    let lan = Timings::lan();
    let begun = Instant::now();
    let pair = Pair {
        members: n,
        spread: (
            cluster::spread(n, 0.0, &lan, spreads, options.seed),
            model::spread(n, 0.0, spreads.max(12), options.seed),
        ),
        detection: (
            cluster::detection(n, 0.0, &lan, crashes, options.seed),
            model::detection(n, 1500, options.seed),
        ),
    };
    eprintln!("  curves of {n}: {:.0} s", begun.elapsed().as_secs_f64());
    pair
}

fn spread_rows(table: &mut Table, pair: &Pair, options: &Options) {
    let n = pair.members;
    let (rounds, _) = repetitions(n, options);
    let demand = |loss: f64| match (n, loss > 0.0) {
        (25, false) => "<= 0.40 s",
        (25, true) => "<= 0.50 s",
        (1000, false) => "<= 0.85 s",
        (1000, true) => "<= 1.05 s",
        (10_000, false) => "<= 1.15 s",
        (10_000, true) => "<= 1.4 s",
        _ => "",
    };
    let members = grouped(n);
    for loss in [0.0, 0.2] {
        let (ours, theirs);
        let (ours, theirs) = if loss == 0.0 {
            (&pair.spread.0, &pair.spread.1)
        } else {
            ours = cluster::spread(n, loss, &Timings::lan(), rounds, options.seed + 1);
            theirs = model::spread(n, loss, rounds.max(12), options.seed + 1);
            (&ours, &theirs)
        };
        table.row(
            &format!(
                "broadcast to the last of {members}, {:.0} % loss, mean (max)",
                loss * 100.0
            ),
            &format!("{:.2} s (model)", theirs.last_mean()),
            demand(loss),
            &format!(
                "{:.3} s ({:.3} s), half after {:.3} s, {} broadcasts, {} missed somebody",
                ours.last_mean(),
                ours.last_max(),
                ours.half(),
                ours.broadcasts,
                ours.incomplete
            ),
        );
    }
}

fn detection_rows(table: &mut Table, pair: &Pair, options: &Options) {
    let n = pair.members;
    let (_, crashes) = repetitions(n, options);
    let compat = cluster::detection(n, 0.0, &Timings::memberlist(), crashes, options.seed);
    let (ours, model) = (&pair.detection.0, &pair.detection.1);
    let members = grouped(n);
    let apart = 100.0 * (compat.failed_median() / model.failed_median() - 1.0);
    table.row(
        &format!("first verdict *failed* among {members}, median, memberlist's ways"),
        &format!("{:.2} s (model)", model.failed_median()),
        "within 5 %",
        &format!(
            "{:.2} s ({apart:+.1} %), {} crashes",
            compat.failed_median(),
            compat.failed.len()
        ),
    );
    table.row(
        "the same, Roundel's ways; at all members; shortest suspicion to the rule's",
        "",
        "never shorter",
        &format!(
            "{:.2} s; {:.2} s; {:.3}; {} false",
            ours.failed_median(),
            measure::quantile(&ours.failed_at_all, 0.5),
            ours.shortest_suspicion(),
            ours.false_failures + compat.false_failures
        ),
    );
}

fn trouble_row(table: &mut Table, n: usize, seed: u64) {
    let (changes, wrong) = cluster::trouble(n, seed);
    table.row(
        &format!(
            "crashes, leaves, restarts and new tags among {} within seconds at 2 % loss, then 3 min of peace",
            grouped(n)
        ),
        "",
        "all views equal the truth",
        &format!("{changes} changes, {wrong} wrong entries in all views"),
    );
}

fn small_cluster_rows(table: &mut Table, options: &Options) {
    let (lan, memberlist) = (Timings::lan(), Timings::memberlist());
    let scale = if options.quick { 50 } else { 1 };
    for (loss, rounds, demand) in [(0.0, 30_000, "< 0.01 %"), (0.2, 10_000, "< 0.1 %")] {
        let ours = cluster::spread(25, loss, &lan, rounds / scale, options.seed + 2);
        let theirs = cluster::spread(25, loss, &memberlist, 4000 / scale, options.seed + 2);
        let share = |s: &measure::Spread| 100.0 * s.incomplete as f64 / s.broadcasts as f64;
        table.row(
            &format!("broadcasts that miss one of 25, {:.0} % loss", loss * 100.0),
            &format!("{:.2} % (its ways, here)", share(&theirs)),
            demand,
            &format!(
                "{:.4} % ({} of {})",
                share(&ours),
                ours.incomplete,
                ours.broadcasts
            ),
        );
    }
    for (loss, demand) in [(0.05, "0"), (0.2, "0"), (0.4, "<= memberlist's")] {
        let seconds = if loss < 0.3 { 3600 } else { 1200 } / scale as u64;
        let ours = cluster::quiet(25, loss, &lan, seconds, options.seed + 3);
        let theirs = cluster::quiet(25, loss, &memberlist, seconds, options.seed + 3);
        let show = |p: &cluster::Peace| format!("{} ({} suspicions)", p.failures, p.suspicions);
        table.row(
            &format!(
                "false failures, 25 members, {:.0} % loss, {seconds} s",
                loss * 100.0
            ),
            &show(&theirs),
            demand,
            &show(&ours),
        );
    }
    slow_row(table, options, scale as u64);
    let ours = cluster::quiet(25, 0.0, &lan, 600, options.seed + 4);
    table.row(
        "idle traffic sent by each of 25, datagrams with 42 bytes of headers",
        "302 bytes/s (measured)",
        "<= 200 bytes/s",
        &format!(
            "{:.0} bytes/s, {:.2} packets/s",
            ours.bytes_per_second, ours.datagrams_per_second
        ),
    );
}

fn slow_row(table: &mut Table, options: &Options, scale: u64) {
    let lan = Timings::lan();
    // Without Lifeguard: no patience of the slow, no longer suspicion than the shortest.
    let plain = Timings {
        awareness_max: 1,
        suspicion_max_mult: 1,
        ..Timings::memberlist()
    };
    let seconds = 600 / scale;
    let run = |timings: &Timings| cluster::slow(timings, seconds, options.seed + 5).failures;
    let (ours, theirs, off) = (run(&lan), run(&Timings::memberlist()), run(&plain));
    table.row(
        &format!("healthy members declared failed, 16 of 128 slow, {seconds} s, told anywhere"),
        &format!("{theirs}; {off} without Lifeguard"),
        "<= memberlist's, <= 1/50 of without",
        &ours.to_string(),
    );
}

fn node_rows(table: &mut Table) -> Result<()> {
    let per_second = |rate: f64| format!("{} /s", grouped(rate as usize));
    table.row(
        "pings decoded and answered, one core, 25 members",
        "",
        ">= 500,000 /s",
        &per_second(single::pings(25)?),
    );
    table.row(
        "acks of own pings decoded and handled, one core, 25 members",
        "",
        ">= 500,000 /s",
        &per_second(single::acks(25)?),
    );
    for (compress, what) in [(false, "plain"), (true, "packed as Serf agents send it")] {
        let (bytes, ms) = single::exchange(10_000, compress)?;
        table.row(
            &format!("push/pull of 10,000 members, {what}: decode, merge, encode"),
            "",
            "<= 15 ms",
            &format!("{ms:.1} ms, {} bytes", grouped(bytes)),
        );
    }
    for (members, baseline, demand) in [(25, "14.8 MB", "<= 2 MB"), (10_000, "", "<= 20 MB")] {
        let bytes = memory_in_child(members)?;
        table.row(
            &format!("memory of one node that knows {}", grouped(members)),
            baseline,
            demand,
            &format!("{:.2} MB", bytes / 1e6),
        );
    }
    Ok(())
}

/// Measured in a process of its own, whose memory nothing else has grown.
fn memory_in_child(members: usize) -> Result<f64> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["gossip", "--memory", &members.to_string()])
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
