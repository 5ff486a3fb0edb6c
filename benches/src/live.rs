//! The live figures of the gossip: a balancer and stock Serf agents on loopback addresses.
//!
//! Times run from what is done here (a start, a signal) to the balancer's own event, which it
//! stamps with milliseconds; both read the same clock.

mod cast;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use self::cast::{Balancer, Player, Stage};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The Roundel binary to measure.
    #[arg(long, default_value = "target/release/roundel")]
    roundel: PathBuf,
    /// The Serf agent to measure beside it.
    #[arg(long, default_value = "serf")]
    serf: PathBuf,
    /// Stock agents in the cluster, at most 60.
    #[arg(long, default_value_t = 25)]
    agents: usize,
    /// Repetitions of each row.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.agents <= 60, "at most 60 agents");
    let stage = Stage::new(&options.roundel, &options.serf)?;
    let balancer = stage.balancer()?;
    let crowd = (0..options.agents)
        .map(|i| stage.serf_server(&format!("crowd-{i}"), &balancer))
        .collect::<Result<Vec<_>>>()?;
    for player in &crowd {
        balancer.wait(&player.name, "serving", SystemTime::UNIX_EPOCH, PATIENCE)?;
    }
    std::thread::sleep(Duration::from_secs(3));
    println!(
        "| figure | demand | reached, {} stock agents |",
        options.agents
    );
    println!("|---|---|---|");
    idle_rows(&balancer, &crowd)?;
    stock_rows(&stage, &balancer, options.rounds)?;
    agent_rows(&stage, &balancer, options.rounds)?;
    kill_row(&stage, &balancer, options.rounds, None)?;
    kill_row(&stage, &balancer, options.rounds, Some(500.0))?;
    Ok(())
}

/// Milliseconds, sorted.
struct Times(Vec<f64>);

impl Times {
    fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        Self(ms)
    }

    fn show(&self) -> String {
        let at = |q: f64| {
            let rank = (q * self.0.len() as f64).ceil() as usize;
            self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
        };
        let (median, most) = (at(0.5), at(1.0));
        format!(
            "median {median:.0} ms, most {most:.0} ms of {}",
            self.0.len()
        )
    }
}

fn row(figure: &str, demand: &str, reached: &str) {
    println!("| {figure} | {demand} | {reached} |");
}

/// Processor and memory while nothing happens, both sides in the same half minute.
fn idle_rows(balancer: &Balancer, crowd: &[Player]) -> Result<()> {
    let seconds = 20.0;
    let agent = crowd.first().context("there is an agent")?;
    let pids = [balancer.pid(), agent.agent_pid()];
    let before = pids.map(cpu_seconds);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = pids.map(cpu_seconds);
    let mut share = [0.0; 2];
    for (share, (before, after)) in share.iter_mut().zip(before.into_iter().zip(after)) {
        *share = 100.0 * (after? - before?) / seconds;
    }
    row(
        "idle processor of the whole balancer, checks and page included, beside a Serf agent",
        "a quarter of the agent's, for gossip",
        &format!("{:.2} % of a core; agent {:.2} %", share[0], share[1]),
    );
    row(
        "resident memory of the whole balancer beside a Serf agent",
        "<= 2 MB added by gossip",
        &format!(
            "{:.1} MB; agent {:.1} MB",
            resident_mb(pids[0])?,
            resident_mb(pids[1])?
        ),
    );
    Ok(())
}

/// A stock agent comes and leaves.
fn stock_rows(stage: &Stage, balancer: &Balancer, rounds: usize) -> Result<()> {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut player = stage.serf_server(&format!("stock-{round}"), balancer)?;
        let begun = player.agent_started;
        joined.push(balancer.wait(&player.name, "serving", begun, PATIENCE)?);
        std::thread::sleep(Duration::from_millis(700 + 37 * round as u64));
        let begun = player.signal_agent("INT")?;
        left.push(balancer.wait(&player.name, "leave", begun, PATIENCE)?);
        player.wait_agent();
    }
    row(
        "stock agent: start of its process to in rotation, its own start included",
        "median <= 15 ms, p99 <= 60 ms",
        &Times::of(joined).show(),
    );
    row(
        "stock agent: SIGINT to no new requests",
        "median <= 200 ms, p99 <= 700 ms",
        &Times::of(left).show(),
    );
    Ok(())
}

/// Roundel's own agent comes and leaves.
fn agent_rows(stage: &Stage, balancer: &Balancer, rounds: usize) -> Result<()> {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut player = stage.roundel_server(&format!("own-{round}"), balancer)?;
        let begun = player.agent_started;
        joined.push(balancer.wait(&player.name, "serving", begun, PATIENCE)?);
        std::thread::sleep(Duration::from_millis(700 + 37 * round as u64));
        let begun = player.signal_agent("TERM")?;
        left.push(balancer.wait(&player.name, "leave", begun, PATIENCE)?);
        player.wait_agent();
    }
    row(
        "Roundel's agent: start of its process to in rotation",
        "median <= 15 ms, p99 <= 60 ms",
        &Times::of(joined).show(),
    );
    row(
        "Roundel's agent: SIGTERM to no new requests",
        "p99 <= 20 ms",
        &Times::of(left).show(),
    );
    Ok(())
}

/// Agent and app of one server are killed; with `rate` under so many requests a second.
fn kill_row(stage: &Stage, balancer: &Balancer, rounds: usize, rate: Option<f64>) -> Result<()> {
    let mut out = Vec::new();
    let mut failed = 0;
    for round in 0..rounds {
        let kind = if rate.is_some() { "busy" } else { "still" };
        let mut player = stage.serf_server(&format!("{kind}-{round}"), balancer)?;
        let begun = player.agent_started;
        balancer.wait(&player.name, "serving", begun, PATIENCE)?;
        std::thread::sleep(Duration::from_millis(1200 + 53 * round as u64));
        let load = rate.map(|rate| balancer.load(rate));
        if load.is_some() {
            std::thread::sleep(Duration::from_millis(300));
        }
        let begun = player.kill()?;
        out.push(balancer.wait_out(&player.name, begun, PATIENCE)?);
        if let Some(load) = load {
            failed += load.end();
        }
    }
    let times = Times::of(out).show();
    match rate {
        None => row(
            "SIGKILL of agent and app to out of rotation, idle",
            "p99 <= 800 ms",
            &times,
        ),
        Some(rate) => row(
            &format!("the same under {rate:.0} GET/s"),
            "<= 50 ms, no request lost",
            &format!("{times}; {failed} requests failed"),
        ),
    }
    Ok(())
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanos = 0u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(nanos as f64 / 1e9)
}

fn resident_mb(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split(' ').nth(1).context("statm has a second field")?;
    Ok(pages.parse::<f64>()? * 4096.0 / 1e6)
}
