//! What strangers can do to Roundel, played against the program itself.
//!
//! Each row is one attack on a balancer with two servers, on hosts of their own, by a host that
//! has no right to anything but to be on the same network. A polite client asks at a constant rate
//! meanwhile. What is asked for is in [`Seen::faults`].

mod data;
mod frames;
mod gossip;
mod http2;
mod member;
mod stage;
mod stats;
mod watch;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use roundel_testkit::poll;

use crate::image::static_binary;
use stage::{Ground, Scene, Stage};
use watch::{Figures, Watch, descriptors, resident};

const USAGE: &str = "usage: cargo xtask attack [--short] [--rows 1,5,…] [--roundel BINARY]";

const MIB: u64 = 1 << 20;
/// The most memory that a process may have meanwhile, beyond what the scene itself takes.
const MOST_MEMORY: u64 = 300 * MIB;
/// The most that it may have kept later.
const MOST_KEPT: u64 = 20 * MIB;
/// Descriptors that may come in use unless a row says otherwise, and that may stay.
const MOST_DESCRIPTORS: usize = 2_000;
const MOST_LEFT_OPEN: usize = 50;
/// How many times longer a polite request may take, and what is noise.
const SLOWER: u32 = 3;
const NOISE: Duration = Duration::from_millis(20);
/// The same where one client floods, and what it may have the process take.
const FLOOD_SLOWER: u32 = 2;
const FLOOD_MEMORY: u64 = 10 * MIB;
const MOST_LIVEZ: Duration = Duration::from_millis(100);
const MOST_ERRORS: f64 = 0.005;
/// What a server among three may get, with what chance adds.
const FAIR_SHARE: f64 = 0.40;

/// One attack.
struct Row {
    number: &'static str,
    what: &'static str,
    scene: Scene,
    /// Descriptors that may come in use: one for each request to a server that it makes, too.
    descriptors: usize,
    /// One client's flood: the bounds are closer.
    is_flood: bool,
    /// Errors: it came to what it must not come to.
    play: fn(&Ground<'_>) -> Result<()>,
}

/// A row without anything beside the two servers.
fn row(number: &'static str, what: &'static str, play: fn(&Ground<'_>) -> Result<()>) -> Row {
    Row {
        number,
        what,
        scene: Scene::default(),
        descriptors: MOST_DESCRIPTORS,
        is_flood: false,
        play,
    }
}

impl Row {
    fn crowd(mut self, servers: usize) -> Self {
        self.scene.crowd = servers;
        self
    }

    fn settled(mut self) -> Self {
        self.scene.settled = true;
        self
    }

    fn descriptors(mut self, most: usize) -> Self {
        self.descriptors = most;
        self
    }

    fn flood(mut self) -> Self {
        self.is_flood = true;
        self
    }

    fn more(mut self, more: fn(&stage::Places) -> String) -> Self {
        self.scene.more = Some(more);
        self
    }
}

/// How long each part of a row takes at most, and whether times count.
struct Pace {
    before: Duration,
    under: Duration,
    after: Duration,
    /// Rows at a time; with more than one, times say nothing.
    side_by_side: usize,
}

const WHOLE: Pace = Pace {
    before: Duration::from_secs(5),
    under: Duration::from_secs(10),
    after: Duration::from_secs(60),
    side_by_side: 1,
};

const SHORT: Pace = Pace {
    before: Duration::from_secs(1),
    under: Duration::from_secs(4),
    after: Duration::from_secs(60),
    side_by_side: 3,
};

/// What came of a row.
struct Seen {
    before: Figures,
    under: Figures,
    /// Memory in bytes and descriptors at the end.
    memory: u64,
    descriptors: usize,
    /// What the attack itself says.
    broken: Option<String>,
    /// What was not as before when it was over.
    trouble: Option<String>,
}

struct Options {
    pace: &'static Pace,
    only: Option<Vec<String>>,
    binary: Option<PathBuf>,
}

/// Plays the rows and prints what came of them. Errors: a row came to what it must not come to.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    let mut rows: Vec<Row> = [
        gossip::rows(),
        stats::rows(),
        data::rows(),
        http2::rows(),
        words::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(only) = &options.only {
        let known = |number: &String| rows.iter().any(|row| row.number == number);
        let unknown = only.iter().find(|number| !known(number));
        ensure!(unknown.is_none(), "there is no row {unknown:?}");
        rows.retain(|row| only.iter().any(|number| number == row.number));
    }
    let binary = match options.binary {
        Some(binary) => binary,
        // What is shipped, and what the containers of the gate hold anyway.
        None => static_binary()?,
    };
    println!(
        "| row | attack | MiB: before, most, later | descriptors | polite p99 ms: before, under | \
         livez ms | errors | stolen | verdict |\n|---|---|---|---|---|---|---|---|---|"
    );
    let failed = Mutex::new(Vec::new());
    let left = Mutex::new(rows.iter());
    thread::scope(|scope| {
        for _ in 0..options.pace.side_by_side {
            scope.spawn(|| {
                while let Some(row) = { left.lock().ok().and_then(|mut left| left.next()) } {
                    if !told(row, play(row, &binary, options.pace), options.pace) {
                        failed.lock().expect("no panic while held").push(row.number);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner()?;
    failed.sort_unstable();
    ensure!(failed.is_empty(), "rows that failed: {}", failed.join(", "));
    Ok(())
}

/// Plays one row, with everybody on threads of their own.
fn play(row: &Row, binary: &Path, pace: &Pace) -> Result<Seen> {
    let stage = Stage::start(binary, &row.scene)?;
    let pid = stage.process.id();
    let watch = Watch::new(stage.at(8080), stage.at(1936), pid);
    let begun = Instant::now();
    thread::scope(|scope| {
        watch.begin(scope);
        thread::sleep(pace.before);
        let attacked = Instant::now();
        let ends = attacked + pace.under;
        let broken = attack(
            row,
            &Ground {
                stage: &stage,
                ends,
            },
        );
        thread::sleep(ends.saturating_duration_since(Instant::now()));
        let before = watch.between(begun, attacked);
        let left = || (resident(pid).unwrap_or(0), descriptors(pid).unwrap_or(0));
        let rested = || {
            let (memory, open) = left();
            let is_given_back =
                memory <= before.memory + MOST_KEPT && open <= before.descriptors + MOST_LEFT_OPEN;
            (is_given_back && stage.trouble().is_none()).then_some((memory, open))
        };
        // What it was then: a page that is rendered a moment later takes some again.
        let (memory, descriptors) = poll(pace.after, rested).unwrap_or_else(left);
        let trouble = stage.trouble();
        watch.end();
        Ok(Seen {
            before,
            under: watch.between(attacked, Instant::now()),
            memory,
            descriptors,
            broken: broken.err().map(|error| format!("{error:#}")),
            trouble,
        })
    })
}

/// Has the attack done on the attacker's host.
fn attack(row: &Row, ground: &Ground<'_>) -> Result<()> {
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            ground.stage.attacker().enter()?;
            (row.play)(ground)
        });
        attacker
            .join()
            .map_err(|_| anyhow!("the attack panicked"))?
    })
}

impl Seen {
    /// What is not as it has to be.
    fn faults(&self, row: &Row, pace: &Pace) -> Vec<String> {
        let mut faults: Vec<String> = self.broken.iter().chain(&self.trouble).cloned().collect();
        let mut check = |is_fine: bool, what: &str| {
            if !is_fine {
                faults.push(what.to_owned());
            }
        };
        let (before, under) = (&self.before, &self.under);
        check(under.requests > 0, "nobody polite was served");
        let most = match row.is_flood {
            true => before.memory + FLOOD_MEMORY,
            false => MOST_MEMORY,
        };
        check(under.memory <= most, "memory");
        check(self.memory <= before.memory + MOST_KEPT, "memory later");
        check(under.descriptors <= row.descriptors, "descriptors");
        let open = before.descriptors + MOST_LEFT_OPEN;
        check(self.descriptors <= open, "descriptors later");
        check(under.errors < MOST_ERRORS, "errors");
        check(under.stolen <= FAIR_SHARE, "share");
        check(under.livez < watch::HEALTH_PATIENCE, "/livez is silent");
        if pace.side_by_side == 1 {
            let slower = if row.is_flood { FLOOD_SLOWER } else { SLOWER };
            let slowest = (before.p99 * slower).max(NOISE);
            check(under.p99 <= slowest, "polite requests");
            check(under.livez <= MOST_LIVEZ, "/livez");
        }
        faults
    }
}

/// Prints a row; says whether all was as it has to be.
fn told(row: &Row, seen: Result<Seen>, pace: &Pace) -> bool {
    let (number, what) = (row.number, row.what);
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            println!("| {number} | {what} | | | | | | | not played: {error:#} |");
            return false;
        }
    };
    let faults = seen.faults(row, pace);
    let (before, under) = (&seen.before, &seen.under);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {number} | {what} | {}, {}, {} | {}, {} | {:.1}, {:.1} | {:.0} | {:.2} % | {:.0} % | {} |",
        before.memory / MIB,
        under.memory / MIB,
        seen.memory / MIB,
        under.descriptors,
        seen.descriptors,
        ms(before.p99),
        ms(under.p99),
        ms(under.livez),
        under.errors * 100.0,
        under.stolen * 100.0,
        match faults.is_empty() {
            true => "holds".to_owned(),
            false => faults.join("; "),
        }
    );
    faults.is_empty()
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            pace: &WHOLE,
            only: None,
            binary: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().context(USAGE);
            match *word {
                "--short" => options.pace = &SHORT,
                "--rows" => {
                    let list = value()?.split(',');
                    options.only = Some(list.map(str::to_owned).collect());
                }
                "--roundel" => options.binary = Some(value()?.into()),
                _ => bail!(USAGE),
            }
        }
        Ok(options)
    }
}
