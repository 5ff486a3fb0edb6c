//! What must not grow: cost per request with many servers, under churn, over time; and what
//! servers, connections and streams take of memory.

mod churn;
mod memory;
mod onlooker;
mod reuse;
mod servers;
mod sustained;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

pub(crate) use self::churn::Options as ChurnOptions;
pub(crate) use self::churn::play;
use crate::compare::peer::{Place, Started, Variant, variant};
use crate::compare::sample::{self, Sample};
use crate::compare::{Setting, build, row::Work, start_origin};
use crate::machine::{Cores, Machine, raise_file_limit};

/// Every loopback address leads to this origin, so that any number of servers can be had.
const ORIGIN: &str = "0.0.0.0:19003";
const ORIGIN_PORT: u16 = 19_003;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The Roundel to measure; built when not given.
    #[arg(long)]
    roundel: Option<PathBuf>,
    /// Paired rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Milliseconds of a sample.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// The parts to run: servers, swaps, churn, memory, reuse, sustained; all when not given.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<String>,
    /// Seconds of the sustained load.
    #[arg(long, default_value_t = 60)]
    sustained: u64,
    /// Where `grow.md` goes.
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
}

/// Lines of the table, printed as they come.
struct Table(String);

impl Table {
    fn line(&mut self, line: &str) {
        println!("{line}");
        self.0 += line;
        self.0.push('\n');
    }

    /// One figure: what, what must be reached, what was.
    fn row(&mut self, figure: &str, demand: &str, reached: &str) {
        self.line(&format!("| {figure} | {demand} | {reached} |"));
    }
}

type Part = fn(&Setting<'_>, &Options, &mut Table) -> Result<()>;

const PARTS: [(&str, Part); 6] = [
    ("servers", servers::cost),
    ("swaps", servers::swaps),
    ("churn", churn::row),
    ("memory", memory::rows),
    ("reuse", reuse::rows),
    ("sustained", sustained::row),
];

pub(crate) fn run(options: &Options) -> Result<()> {
    crate::process::require(&[("taskset", "util-linux")])?;
    for part in &options.parts {
        let known = PARTS.iter().any(|(name, _)| name == part);
        anyhow::ensure!(known, "there is no part {part:?}; --help names them");
    }
    let machine = Machine::look()?;
    let cores = Cores::plan()?;
    let files = raise_file_limit()?;
    let roundel = match &options.roundel {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    let scratch = tempfile::tempdir()?;
    let setting = Setting {
        roundel: &roundel,
        scratch: scratch.path(),
        cores: &cores,
        files,
        rounds: options.rounds,
        sample: Duration::from_millis(options.millis),
        warm: Duration::from_millis(2 * options.millis),
    };
    let _origin = start_origin(&[ORIGIN], &cores)?;
    let mut table = Table(String::new());
    table.line(&format!("{}.\n", machine.sentence()));
    table.line("| figure | demand | reached |");
    table.line("|---|---|---|");
    for (name, part) in PARTS {
        if options.parts.is_empty() || options.parts.iter().any(|p| p == name) {
            part(&setting, options, &mut table)?;
        }
    }
    std::fs::create_dir_all(&options.out)?;
    std::fs::write(options.out.join("grow.md"), table.0)?;
    Ok(())
}

/// The address of server `index`: a loopback address of its own, the origin's port.
fn server_address(index: usize) -> String {
    format!("127.1.{}.{}:{ORIGIN_PORT}", index >> 8, index & 255)
}

/// The first `n` servers.
fn servers(n: usize) -> Vec<String> {
    (0..n).map(server_address).collect()
}

fn place<'a>(setting: &Setting<'a>, port: u16) -> Place<'a> {
    let scratch = setting.scratch;
    Place { port, scratch }
}

/// Starts a Roundel on its core.
fn start(setting: &Setting<'_>, port: u16, how: Variant) -> Result<Started> {
    variant(setting.roundel, &place(setting, port), how)?.start(&setting.cores.proxy)
}

/// Full load for a moment.
fn load(setting: &Setting<'_>, on: &Started, time: Duration) -> Result<Sample> {
    sample::take(on, &Work::SMALL, &setting.cores.load, time)
}

/// What to say of failed requests.
fn failed(count: u64) -> String {
    match count {
        0 => "no request failed".to_owned(),
        n => format!("**{n} requests failed**"),
    }
}
