//! The side-by-side comparison: same work, same machine, interleaved.
//!
//! The figure is CPU time per completed request: on-CPU nanoseconds of all threads of the
//! serving process (`/proc/PID/task/*/schedstat`) over the requests that were answered rightly.
//! Each sample's ratio is taken against the mean of the reference's two samples around it, so
//! that a neighbour's noise falls on both sides.

mod h2load;
mod idle;
mod markdown;
mod outcome;
mod own;
pub(crate) mod peer;
mod picture;
pub(crate) mod rounds;
pub(crate) mod row;
pub(crate) mod sample;
mod schedule;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::outcome::{Outcome, RowResult};
use self::peer::{CALLED, NGINX, ORIGINS, OURS, Peer, RELAY, Started};
use self::rounds::{Cell, interleave};
use self::row::Row;
use self::schedule::Schedule;
use crate::machine::{Cores, Machine, raise_file_limit};
use crate::process::{Running, myself};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The rows to run, by name (see `--list`); all when not given.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Paired rounds per row; as many as there is time for, 5 to 21, when not given.
    #[arg(long)]
    rounds: Option<usize>,
    /// The whole time, building included; samples get shorter to keep to it.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The Roundel to measure; built when not given.
    #[arg(long)]
    roundel: Option<PathBuf>,
    #[command(flatten)]
    named: peer::Named,
    /// Where `compare.md`, `compare.json` and `compare.svg` go.
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// Lists the rows and ends.
    #[arg(long)]
    list: bool,
}

/// What every row of a run shares.
pub(crate) struct Setting<'a> {
    pub(crate) roundel: &'a Path,
    pub(crate) scratch: &'a Path,
    pub(crate) cores: &'a Cores,
    /// How many files a process may have open.
    pub(crate) files: u64,
    pub(crate) rounds: usize,
    /// How long a sample takes, and the unmeasured one before the first.
    pub(crate) sample: Duration,
    pub(crate) warm: Duration,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        names().for_each(|(key, title)| println!("{key:12} {title}"));
        return Ok(());
    }
    if cfg!(debug_assertions) {
        eprintln!("without --release the load is the bottleneck; these figures are for trying out");
    }
    peer::require_programs()?;
    for key in &options.rows {
        if names().all(|(known, _)| known != key) {
            bail!("there is no row {key:?}; --list names them");
        }
    }
    let machine = Machine::look()?;
    let cores = Cores::plan()?;
    let files = raise_file_limit()?;
    let roundel = match &options.roundel {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    let scratch = tempfile::tempdir()?;
    let peers = peer::all(&roundel, &options.named, scratch.path())?;
    let wanted = |key: &str| options.rows.is_empty() || options.rows.iter().any(|k| k == key);
    let rows: Vec<&Row> = row::ALL.iter().filter(|r| wanted(r.key)).collect();
    let own: Vec<_> = own::ALL.iter().filter(|r| wanted(r.key)).collect();
    let schedule = Schedule::plan(options, &rows, &own, peers.len())?;
    eprintln!("{}", schedule.sentence());
    let setting = Setting {
        roundel: &roundel,
        scratch: scratch.path(),
        cores: &cores,
        files,
        rounds: schedule.rounds,
        sample: schedule.sample,
        warm: schedule::WARM,
    };

    let _origin = start_origins(&ORIGINS, &CALLED, &cores)?;
    let mut outcome = Outcome::new(machine, &setting);
    for row in idle::ALL.iter().filter(|row| wanted(row.key)) {
        eprintln!("{}", row.title);
        // The relay has a connection to a server for each: no idle one.
        let measured = peers
            .iter()
            .filter(|peer| peer.name != RELAY && row.fits(peer));
        let measured = measured.map(|peer| idle::measure(row, peer, &setting));
        outcome.idle.extend(measured.collect::<Result<Vec<_>>>()?);
    }
    let started = peers
        .iter()
        .map(|peer| peer.start(&cores.proxy))
        .collect::<Result<Vec<_>>>()?;
    for row in rows {
        eprintln!("{}", row.title);
        outcome.rows.push(measure(row, &peers, &started, &setting)?);
    }
    let ours = peers.iter().position(|peer| peer.name == OURS);
    let ours = &started[ours.context("Roundel always takes part")?];
    for row in own {
        eprintln!("{}", row.title);
        outcome.own.push(own::run(row, ours, &setting)?);
    }
    outcome.peers = peers;
    outcome.finish();
    write(&outcome, &options.out)
}

/// Every row's name and title.
fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = own::ALL.iter().map(|row| (row.key, row.title));
    let idle = idle::ALL.iter().map(|row| (row.key, row.title));
    let rows = row::ALL.iter().map(|row| (row.key, row.title));
    rows.chain(own).chain(idle)
}

/// Builds Roundel as it is shipped, beside this program, and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    eprintln!("building Roundel");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let target = std::env::current_exe()?;
    let target = target.parent().context("a program lies in a folder")?;
    let status = Command::new(cargo)
        .args(["build", "--profile=dist", "--quiet", "-p", "roundel"])
        .args(["--manifest-path", manifest, "--target-dir"])
        .arg(target.parent().context("a profile has a folder")?)
        .status()
        .context("cannot run cargo; name a binary with --roundel")?;
    if !status.success() {
        bail!("Roundel could not be built");
    }
    Ok(target.with_file_name("dist").join("roundel"))
}

/// Starts servers that answer at once, beside the load.
pub(crate) fn start_origin(listen: &[impl AsRef<str>], cores: &Cores) -> Result<Running> {
    start_origins(listen, &[], cores)
}

/// The same, and such that answer calls of gRPC.
fn start_origins(listen: &[impl AsRef<str>], called: &[&str], cores: &Cores) -> Result<Running> {
    let mut command = myself(&cores.load)?;
    command.arg("origin").stdout(Stdio::piped());
    command.args(listen.iter().map(AsRef::as_ref));
    command.args(called.iter().map(|address| format!("--grpc={address}")));
    let mut origin = Running::start(&mut command)?;
    let ready = origin.wait_line("ready");
    ready.context("the origin did not start; is another comparison running?")?;
    Ok(origin)
}

fn measure(
    row: &'static Row,
    peers: &[Peer],
    started: &[Started],
    setting: &Setting<'_>,
) -> Result<RowResult> {
    // A relay does not know when a request is over, so it closes nothing.
    let takes_part = |(peer, started): &(&Peer, &Started)| {
        (!row.work.close || peer.name != RELAY) && started.address(&row.work).is_ok()
    };
    let all = peers.iter().zip(started).filter(takes_part);
    let (peers, started): (Vec<&Peer>, Vec<&Started>) = all.unzip();
    let take = |index: usize, time: Duration| {
        sample::take(started[index], &row.work, &setting.cores.load, time)
            .with_context(|| format!("{}, row {}", peers[index].name, row.key))
    };
    for index in 0..peers.len() {
        take(index, setting.warm)?;
    }
    let time = setting.sample * row.stretch;
    let rounds = interleave(peers.len(), setting.rounds, |index| take(index, time))?;
    let place = |name: &str| {
        let place = peers.iter().position(|peer| peer.name == name);
        place.with_context(|| format!("{name} always takes part"))
    };
    let nginx = place(NGINX)?;
    let others = (nginx, place(RELAY).unwrap_or(nginx));
    let cells = (0..).zip(&peers);
    Ok(RowResult {
        key: row.key,
        title: row.title,
        open_loop: row.work.rate.is_some(),
        cells: cells
            .map(|(index, peer)| Cell::of(&peer.name, &rounds, index, others))
            .collect(),
        bound: row.bound,
        nginx_goal: row.nginx_goal,
        relay_bound: row.relay_bound,
    })
}

fn write(outcome: &Outcome, folder: &Path) -> Result<()> {
    let text = markdown::table(outcome);
    println!("{text}");
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("compare.md"), text)?;
    std::fs::write(
        folder.join("compare.json"),
        serde_json::to_string_pretty(outcome)?,
    )?;
    std::fs::write(folder.join("compare.svg"), picture::draw(outcome))?;
    eprintln!("written to {}", folder.display());
    Ok(())
}
