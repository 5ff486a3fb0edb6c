//! The side-by-side comparison: same work, same machine, interleaved.
//!
//! The figure is CPU time per completed request: on-CPU nanoseconds of all threads of the
//! serving process (`/proc/PID/task/*/schedstat`) over the requests that wrk completed. Each
//! sample's ratio is taken against the mean of the two samples of the reference around it, so
//! that a neighbour's noise falls on both sides.

mod peer;
mod report;
mod row;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::peer::Peer;
use self::row::Row;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The rows to run, by letter (see `--list`); all when not given.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<char>,
    /// Paired rounds per row; medians are taken over them.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per sample.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// The Roundel binary to measure.
    #[arg(long, default_value = "target/release/roundel")]
    roundel: PathBuf,
    /// Further HAProxy binaries to measure beside Debian's.
    #[arg(long)]
    haproxy: Vec<PathBuf>,
    /// Writes `compare.md` and `compare.json` into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Lists the rows and ends.
    #[arg(long)]
    list: bool,
}

/// One measurement of one peer.
struct Sample {
    cpu_us_per_request: f64,
    requests_per_second: f64,
    failed: u64,
}

/// The core of the proxy and the core of everything else.
const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const ORIGINS: [&str; 2] = ["127.0.0.1:19001", "127.0.0.1:19002"];

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        row::ALL
            .iter()
            .for_each(|row| println!("{} {}", row.letter, row.title));
        return Ok(());
    }
    peer::require_programs()?;
    let scratch = tempfile::tempdir()?;
    let _origin = Running(start_origin()?);
    let peers = peer::all(&options.roundel, &options.haproxy, scratch.path())?;
    let started = peers.iter().map(Peer::start).collect::<Result<Vec<_>>>()?;
    let pids = started.iter().map(|child| child.0.id()).collect::<Vec<_>>();
    let rows = row::ALL
        .iter()
        .filter(|r| options.rows.is_empty() || options.rows.contains(&r.letter));
    let mut results = Vec::new();
    for row in rows {
        eprintln!("{} {}", row.letter, row.title);
        results.push((row, measure(row, &peers, &pids, options, scratch.path())?));
    }
    report::write(&results, &peers, options)
}

/// A child process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_origin() -> Result<Child> {
    let mut child = Command::new("taskset")
        .args(["-c", LOAD_CORE])
        .arg(std::env::current_exe()?)
        .arg("origin")
        .args(ORIGINS)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the origin")?;
    let mut line = String::new();
    let out = child.stdout.as_mut().context("the origin has no output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
    if line.trim() != "ready" {
        bail!("the origin did not start; are ports 19001 and 19002 free?");
    }
    Ok(child)
}

/// Samples of one row: per round one for each peer, then one more of the reference (peer 0).
fn measure(
    row: &Row,
    peers: &[Peer],
    pids: &[u32],
    options: &Options,
    scratch: &std::path::Path,
) -> Result<Vec<Vec<Sample>>> {
    let one = |index: usize| -> Result<Sample> {
        let cpu = cpu_ns(pids[index])?;
        let seconds = options.seconds * row.stretch;
        let load = row.load(&peers[index], Duration::from_secs(seconds), scratch)?;
        let spent = cpu_ns(pids[index])? - cpu;
        if load.completed == 0 {
            bail!(
                "{}: no request completed in row {}",
                peers[index].name,
                row.letter
            );
        }
        Ok(Sample {
            cpu_us_per_request: spent as f64 / 1e3 / load.completed as f64,
            requests_per_second: load.completed as f64 / seconds as f64,
            failed: load.failed,
        })
    };
    for index in 0..peers.len() {
        one(index)?; // warm
    }
    (0..options.rounds)
        .map(|round| {
            let mut order: Vec<usize> = (1..peers.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let mut samples: Vec<Option<Sample>> = (0..peers.len() + 1).map(|_| None).collect();
            samples[0] = Some(one(0)?);
            for index in order {
                samples[index] = Some(one(index)?);
            }
            samples[peers.len()] = Some(one(0)?);
            Ok(samples.into_iter().flatten().collect())
        })
        .collect()
}

/// On-CPU time of all threads of a process in nanoseconds.
fn cpu_ns(pid: u32) -> Result<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("process {pid} is gone"))?;
    let mut total = 0;
    for task in tasks {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(total)
}
