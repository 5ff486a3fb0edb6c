//! User-space instructions of a worker per exchange: the gate on the cost of the data path.
//!
//! The static binary of the image runs under callgrind; clients send each kind of exchange many times, and
//! what the worker's thread executed meanwhile is divided by their number: once one at a time, where
//! the reactor turns twice for each, and once by a crowd at once (`-x64`), as a busy worker lives.
//! Counts repeat within about 2 %, whatever else the machine does. Kept in `benches/instructions.toml`:
//! an exchange that got more than 5 % dearer fails, until the file is written anew and committed
//! with the change that is worth it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use roundel_testkit::{Process, external, free_address, wait_for};

use crate::image::static_binary;
use crate::step::{output, root, target_directory};

mod exchange;

use exchange::{Client, EXCHANGES, Exchange, Kind};

/// Where the figures are kept.
const FILE: &str = "benches/instructions.toml";
/// Exchanges of each kind that are counted, and those before them that fill caches and pools.
const COUNTED: u32 = 2000;
const WARMING: u32 = 200;
/// Clients that ask at once.
const CROWD: usize = 64;
/// How much an exchange may grow without the file being changed.
const SLACK: f64 = 1.05;
/// Programs take their time under callgrind.
const PATIENCE: Duration = Duration::from_secs(60);

/// Instructions by the name of the exchange.
type Figures = BTreeMap<String, u64>;

/// Measures the image's binary and compares it with the figures kept.
pub(crate) fn check() -> Result<()> {
    let Some(figures) = measure(&static_binary()?)? else {
        return Ok(());
    };
    let kept = read(&fs::read_to_string(root().join(FILE)).context(FILE)?)?;
    let mut dearer = Vec::new();
    for (name, now) in &figures {
        let before = *kept
            .get(name)
            .with_context(|| format!("{FILE}: {name} is missing"))?;
        let change = *now as f64 / before as f64;
        println!(
            "{name:<20} {now:>7}  kept {before:>7}  {:+.1} %",
            (change - 1.0) * 100.0
        );
        if change > SLACK {
            dearer.push(name.as_str());
        }
    }
    if !dearer.is_empty() {
        bail!(
            "{} got dearer than {FILE} says; make it cheaper, or commit what `cargo xtask \
             instructions write` writes together with the change",
            dearer.join(", ")
        );
    }
    Ok(())
}

/// Measures the image's binary and keeps its figures.
pub(crate) fn write() -> Result<()> {
    let figures = measure(&static_binary()?)?.context("nothing was measured")?;
    let mut text = "# Written by `cargo xtask instructions write`: user-space instructions of the worker per\n\
                    # exchange, one at a time and with 64 clients at once (-x64). `cargo xtask instructions`\n\
                    # fails when one grows by more than 5 %.\n"
        .to_owned();
    for (name, count) in &figures {
        text += &format!("{name} = {count}\n");
    }
    fs::write(root().join(FILE), &text)?;
    print!("{text}");
    Ok(())
}

/// Measures a binary and leaves callgrind's profiles for `callgrind_annotate`.
pub(crate) fn show(binary: &str) -> Result<()> {
    let figures = measure(Path::new(binary))?.unwrap_or_default();
    figures
        .iter()
        .for_each(|(name, count)| println!("{name:<20} {count:>7}"));
    println!("profiles: {}", profiles()?.display());
    Ok(())
}

fn profiles() -> Result<PathBuf> {
    Ok(target_directory()?.join("instructions"))
}

/// Runs every exchange through `binary`; `None` when valgrind is missing.
fn measure(binary: &Path) -> Result<Option<Figures>> {
    let Some(valgrind) = external("valgrind", "valgrind") else {
        return Ok(None);
    };
    let folder = profiles()?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let origins = [exchange::origin()?, exchange::origin()?];
    let (plain, sticky) = (free_address(), free_address());
    let configuration = folder.join("roundel.toml");
    fs::write(&configuration, configured(plain, sticky, origins))?;
    let mut program = Command::new(valgrind);
    program
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!(
            "--callgrind-out-file={}",
            folder.join("profile").display()
        ))
        .arg(binary)
        .args(["serve", "-c"])
        .arg(&configuration)
        .env("ROUNDEL_LOG_LEVEL", "warn");
    let mut process = Process::spawn(&mut program);
    let ready = |address| {
        wait_for("a listener", PATIENCE, || {
            assert!(process.try_exit().is_none(), "{process}");
            Client::connect(address).ok()
        })
    };
    let mut clients = [plain, sticky].map(ready).map(|client| vec![client]);
    let mut figures = Figures::new();
    for exchange in &EXCHANGES {
        let is_sticky = exchange.kind == Kind::Sticky;
        let (alone, address) = match is_sticky {
            true => (&mut clients[1], sticky),
            false => (&mut clients[0], plain),
        };
        let crowd: io::Result<Vec<_>> = (0..CROWD).map(|_| Client::connect(address)).collect();
        for (name, clients) in [
            (exchange.name.to_owned(), alone),
            (format!("{}-x{CROWD}", exchange.name), &mut crowd?),
        ] {
            let count = count(exchange, clients, process.id(), &folder, &name)
                .with_context(|| format!("{name}\n{process}"))?;
            figures.insert(name, count);
        }
    }
    Ok(Some(figures))
}

/// The plain intent, as every peer of the comparison is configured; one worker.
fn configured(plain: SocketAddr, sticky: SocketAddr, origins: [SocketAddr; 2]) -> String {
    let [one, two] = origins;
    let part = |name: &str, listen: SocketAddr, stick: &str| {
        format!(
            "[[frontend]]\nname = \"{name}\"\nlisten = [\"{listen}\"]\ndefault_backend = \"b_{name}\"\n\
             [[backend]]\nname = \"b_{name}\"\ncheck = \"off\"\nsticky = {stick}\n\
             server = [{{ name = \"b1\", address = \"{one}\" }}, {{ name = \"b2\", address = \"{two}\" }}]\n"
        )
    };
    format!(
        "[global]\nthreads = 1\n[stats]\nlisten = \"{}\"\n[cli]\nlisten = \"off\"\n\
         [access_log]\nformat = \"off\"\n{}{}",
        free_address(),
        part("plain", plain, "\"off\""),
        part("sticky", sticky, "{ cookie = \"SERVERID\" }"),
    )
}

/// Instructions of the worker per exchange of this kind, when these clients ask at once.
fn count(
    exchange: &Exchange,
    clients: &mut [Client],
    pid: u32,
    folder: &Path,
    name: &str,
) -> Result<u64> {
    let request = exchange.request(clients[0].cookie()?);
    let round = clients.len() as u32;
    let mut ask = |rounds| -> Result<()> {
        for _ in 0..rounds {
            clients.iter_mut().try_for_each(|c| c.send(&request))?;
            clients.iter_mut().try_for_each(Client::receive)?;
        }
        Ok(())
    };
    ask(WARMING.div_ceil(round))?;
    dump(pid, "warm")?;
    ask(COUNTED / round)?;
    dump(pid, name)?;
    let total = busiest(folder, name)?;
    Ok(total / u64::from(COUNTED / round * round))
}

/// Has callgrind write what was counted since the last dump, under a name.
fn dump(pid: u32, name: &str) -> Result<()> {
    let mut control = Command::new("callgrind_control");
    output(control.arg(format!("--dump={name}")).arg(pid.to_string())).map(drop)
}

/// The count of the thread that executed most in the dump of this name: the worker.
fn busiest(folder: &Path, name: &str) -> Result<u64> {
    let mut counts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let text = String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned();
        let value = |word: &str| text.lines().find_map(|line| line.strip_prefix(word));
        if value("desc: Trigger: ").is_some_and(|by| by.ends_with(name)) {
            let total = value("totals: ").context("a profile without its total")?;
            counts.push(total.trim().parse::<u64>()?);
        }
    }
    counts
        .into_iter()
        .max()
        .context("callgrind wrote no profile")
}

/// Reads lines of `name = count`.
fn read(text: &str) -> Result<Figures> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (name, count) = line.split_once('=').context("a line without `=`")?;
            Ok((name.trim().to_owned(), count.trim().parse()?))
        })
        .collect::<Result<_>>()
        .context(FILE)
}
