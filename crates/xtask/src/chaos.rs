//! Servers that die, pause and come back under load, before Roundel and before HAProxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use roundel_testkit::chaos::{self, Fleet, Plan, Report};
use roundel_testkit::external;

use crate::step::{output, product};

/// The word that makes this program a server of a fleet.
pub(crate) const SERVER: &str = "chaos-server";

/// What is asked for on the command line.
struct Options {
    minutes: f64,
    seed: u64,
    rate: u32,
    only: Option<String>,
    peer: bool,
}

/// Serves as one of a fleet, until killed.
pub(crate) fn serve(address: &str, log: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("an address")?;
    Ok(chaos::serve(address, Path::new(log))?)
}

/// Plays every plan on all proxies at the same time and prints what came of it.
///
/// Errors: Roundel breaks what it promises; HAProxy's breaches are only told.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    let seconds = Duration::from_secs_f64(options.minutes * 60.0);
    let plans = [
        ("one of four paused", Plan::pause()),
        ("three reloads", Plan::reloads()),
        ("total outage", Plan::outage()),
        ("kill, restart, flap, add", Plan::changes()),
        ("at random", Plan::random(options.seed, seconds)),
    ];
    let plans: Vec<_> = plans
        .into_iter()
        .filter(|(name, _)| options.only.as_ref().is_none_or(|only| name.contains(only)))
        .collect();
    let binary = product()?;
    let haproxy = match options.peer {
        true => external("haproxy", "haproxy"),
        false => None,
    };
    let mut rows = thread::scope(|scope| {
        let (plans, options, binary) = (&plans, &options, &binary);
        let roundel = scope.spawn(move || play(plans, options, Peer::Roundel(binary)));
        let haproxy = haproxy
            .map(|program| scope.spawn(move || play(plans, options, Peer::Haproxy(&program))));
        let ended = |thread: thread::ScopedJoinHandle<'_, Result<_>>| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a fleet broke"))?
        };
        let mut rows = vec![ended(roundel)?];
        if let Some(haproxy) = haproxy {
            rows.push(ended(haproxy)?);
        }
        Ok::<_, anyhow::Error>(rows)
    })?;
    print(&plans, &rows);
    let broken: usize = rows.remove(0).1.iter().map(|r| r.breaches.len()).sum();
    if broken > 0 {
        bail!("{broken} breaches");
    }
    Ok(())
}

enum Peer<'a> {
    Roundel(&'a PathBuf),
    Haproxy(&'a PathBuf),
}

type Row = (String, Vec<Report>);

fn play(plans: &[(&str, Plan)], options: &Options, peer: Peer<'_>) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let this = std::env::current_exe()?;
    let command = move |address: SocketAddr, log: &Path| {
        let mut command = Command::new(&this);
        command.arg(SERVER).arg(address.to_string()).arg(log);
        command
    };
    let version = match peer {
        Peer::Haproxy(program) => {
            let told = output(Command::new(program).arg("-v"))?;
            told.split(' ').nth(2).unwrap_or_default().to_owned()
        }
        Peer::Roundel(_) => String::new(),
    };
    let mut fleet = Fleet::new(folder.path(), command, |members| match peer {
        Peer::Roundel(program) => chaos::roundel(program, folder.path()),
        Peer::Haproxy(program) => chaos::haproxy(program, &version, folder.path(), members),
    });
    let mut reports = Vec::new();
    for (name, plan) in plans {
        let report = fleet.run(plan, options.rate, options.seed);
        println!(
            "{}: {name}: {} breaches",
            fleet.name(),
            report.breaches.len()
        );
        for breach in report.breaches.iter().take(20) {
            println!("  {breach}");
        }
        reports.push(report);
    }
    Ok((fleet.name().to_owned(), reports))
}

fn print(plans: &[(&str, Plan)], rows: &[Row]) {
    let line = |cells: &[String]| println!("| {} |", cells.join(" | "));
    let titles = Report::COLUMNS.map(String::from);
    let head: Vec<String> = ["plan", "proxy"]
        .map(String::from)
        .into_iter()
        .chain(titles)
        .collect();
    line(&head);
    line(&head.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    for (at, (plan, _)) in plans.iter().enumerate() {
        for (name, reports) in rows {
            let mut cells = vec![(*plan).to_owned(), name.clone()];
            cells.extend(reports[at].cells());
            line(&cells);
        }
    }
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            minutes: 5.0,
            seed: 1,
            rate: 250,
            only: None,
            peer: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("{word} needs a value"))?;
            match *word {
                "--minutes" => options.minutes = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--plan" => options.only = Some((*value).to_owned()),
                "--peer" if *value == "haproxy" => options.peer = true,
                _ => bail!(
                    "usage: cargo xtask chaos [--minutes 5] [--seed N] [--rate 250] [--plan NAME] \
                     [--peer haproxy]"
                ),
            }
        }
        Ok(options)
    }
}
