//! Attacks by words: names that are shown, and files that are read.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use roundel_gossip::wire::Message;
use roundel_testkit::{Process, Signal, get, poll};

use super::member::{record, say, socket};
use super::stage::Ground;
use super::{Row, row};

const SOON: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("12", "a FIFO in place of the configuration", fifo),
        row("18", "80,000 wrong keys in a configuration", mistakes),
        row("19", "names that steer who reads them", steering),
        row("20", "a key that cannot be kept, on a full disk", full_disk),
    ]
}

/// A further balancer beside the one that is watched, on loopback of its host.
fn another(ground: &Ground<'_>, file: &Path, more: &str) -> Result<Process> {
    let text = format!(
        "stats = {{ listen = \"127.0.0.1:1940\", admin = \"loopback\" }}\n\
         cli = {{ listen = \"off\" }}\n{more}\
         [[frontend]]\nname = \"f\"\nlisten = [\"127.0.0.1:8090\"]\n\
         [[backend]]\nname = \"b\"\nserver = [{{ name = \"s\", address = \"127.0.0.1:9\" }}]\n"
    );
    fs::write(file, text)?;
    let shown = file.to_str().context("a readable path")?;
    let process = Process::spawn(&mut ground.stage.roundel(&["serve", "-c", shown]));
    process.wait_line("the page is at", SOON);
    Ok(process)
}

/// A key is either kept or not used, and what is said of it is true.
fn full_disk(ground: &Ground<'_>) -> Result<()> {
    let folder = ground.stage.folder.path();
    let disk = Disk::new(&folder.join("disk"))?;
    let (key, first) = (folder.join("key"), new_key(ground)?);
    fs::write(&key, first)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let more = format!(
        "gossip = {{ listen = \"127.0.0.1:7940\", node_name = \"lb\", key_file = {key:?}, keyring_file = {:?} }}\n",
        disk.folder.join("keys.json")
    );
    let _process = another(ground, &folder.join("full.toml"), &more)?;
    disk.fill()?;
    let second = new_key(ground)?;
    let keys = |words: &[&str]| {
        let mut verb = ground.stage.roundel(&["keys"]);
        verb.args(words)
            .args(["--stats", "http://127.0.0.1:1940"])
            .output()
    };
    let installed = keys(&["install", second.trim()])?.status.success();
    let listed = keys(&["list"])?.stdout;
    let is_used = String::from_utf8_lossy(&listed).contains(second.trim());
    ensure!(
        installed == is_used,
        "installed: {installed}, though in use: {is_used}"
    );
    Ok(())
}

fn new_key(ground: &Ground<'_>) -> Result<String> {
    let key = ground.stage.roundel(&["keygen"]).output()?.stdout;
    Ok(String::from_utf8(key)?)
}

/// A small disk of its own; it goes when this is dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn new(folder: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
        ensure!(mount.arg(folder).status()?.success(), "no disk");
        let folder = folder.to_owned();
        Ok(Self { folder })
    }

    /// Writes until nothing more fits.
    fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.folder.join("filling"))?;
        while file.write_all(&[0; 512]).is_ok() {}
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its balancer may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// A balancer whose file became a FIFO still hears signals.
fn fifo(ground: &Ground<'_>) -> Result<()> {
    let path = ground.stage.folder.path().join("fifo.toml");
    let mut process = another(ground, &path, "")?;
    fs::remove_file(&path)?;
    ensure!(
        Command::new("mkfifo").arg(&path).status()?.success(),
        "no FIFO"
    );
    process.signal(Signal::HUP);
    let refused = poll(SOON, || {
        process.stderr().contains("reload_failed").then_some(())
    });
    process.signal(Signal::TERM);
    let ended = poll(SOON, || process.try_exit());
    ensure!(ended.is_some(), "it does not end when it is told to");
    refused.context("the reload says nothing")
}

fn mistakes(ground: &Ground<'_>) -> Result<()> {
    let path = ground.stage.folder.path().join("mistakes.toml");
    let lines = (0..80_000).map(|n| format!("wrong_{n} = 1\n"));
    fs::write(&path, lines.collect::<String>())?;
    let begun = Instant::now();
    let shown = path.to_str().context("a readable path")?;
    let told = ground.stage.roundel(&["check", "-c", shown]).output()?;
    let (took, told) = (begun.elapsed(), String::from_utf8_lossy(&told.stderr));
    ensure!(took < SOON, "it takes {took:?}");
    let count = told.matches("error:").count();
    ensure!(count <= 101, "{count} mistakes are told of");
    Ok(())
}

/// No line is forged and no terminal steered, wherever a member's words are shown.
fn steering(ground: &Ground<'_>) -> Result<()> {
    let socket = socket(ground, 7946)?;
    let hostile = "\u{1b}[2J\u{9b}2J\u{202e}\r\nforged line";
    let at: SocketAddr = socket.local_addr()?;
    let tags = [("role", "backend"), ("port", hostile), ("addr", hostile)];
    let said = [
        Message::Alive(record(&format!("a{hostile}"), at, &tags, 1)),
        Message::Alive(record("b", at, &tags, 1)),
    ];
    say(&socket, ground.stage.at(7946), &said)?;
    let pages = [
        "/",
        "/?view=classic",
        "/metrics",
        "/;csv",
        "/api/v1/snapshot",
    ];
    let verbs = ["members", "events", "stat"];
    while !ground.left().is_zero() {
        for path in pages {
            harmless(path, &get(ground.stage.at(1936), path)?.text())?;
        }
        for verb in verbs {
            let told = ground.stage.roundel(&[verb]).output()?;
            harmless(verb, &String::from_utf8_lossy(&told.stdout))?;
        }
        harmless("the log", &ground.stage.process.stderr())?;
    }
    Ok(())
}

fn harmless(place: &str, text: &str) -> Result<()> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
    if text.contains(steers) {
        bail!("{place} has characters that steer");
    }
    // Line ends mean nothing to HTML.
    let is_forged = text.lines().any(|line| line.starts_with("forged"));
    ensure!(
        place.starts_with('/') || !is_forged,
        "{place} has a forged line"
    );
    Ok(())
}
