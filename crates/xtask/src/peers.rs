//! The wire suite's cases on Roundel and on Debian's HAProxy and nginx, side by side.
//!
//! Each proxy serves the same topology with a configuration of plain intent. What is the
//! product's own choice is no rule for others and is not played on them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use roundel_testkit::wire::{Case, Level, Stage, Topology, Verdict};
use roundel_testkit::{Process, external, free_address, wait_for};

use crate::step::{output, product, root};

#[path = "../../roundel/tests/wire/cases/all.rs"]
mod cases;

/// Where the table is kept.
const TABLE: &str = "crates/roundel/tests/wire/PEERS.md";

/// One proxy and how it did: the failure by the name of each case played.
struct Peer {
    name: String,
    failures: BTreeMap<String, Option<String>>,
}

/// Plays all cases on all proxies and writes the table.
pub(crate) fn run() -> Result<()> {
    let groups = cases::groups();
    let mut peers = vec![roundel(&groups)?];
    peers.extend(haproxy(&groups)?);
    peers.extend(nginx(&groups)?);
    for peer in &peers {
        for (name, why) in &peer.failures {
            if let Some(why) = why {
                println!(
                    "{}: {name}: {}",
                    peer.name,
                    why.lines().next().unwrap_or_default()
                );
            }
        }
    }
    fs::write(root().join(TABLE), table(&groups, &peers))?;
    println!("written: {TABLE}");
    Ok(())
}

fn roundel(groups: &[(&str, Vec<Case>)]) -> Result<Peer> {
    let program = product()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("roundel.toml");
    let topology = Topology::new(4);
    fs::write(&file, topology.roundel(free_address()))?;
    let mut program = Command::new(program);
    play(
        "Roundel".to_owned(),
        program.args(["serve", "-c"]).arg(file),
        topology,
        groups,
        true,
    )
}

fn haproxy(groups: &[(&str, Vec<Case>)]) -> Result<Option<Peer>> {
    let Some(program) = external("haproxy", "haproxy") else {
        return Ok(None);
    };
    let version = output(Command::new(&program).arg("-v"))?;
    let version = version.split(' ').nth(2).unwrap_or_default().to_owned();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("haproxy.cfg");
    let topology = Topology::new(4);
    fs::write(&file, topology.haproxy())?;
    let mut program = Command::new(program);
    let name = format!("HAProxy {version}");
    play(
        name,
        program.args(["-db", "-q", "-f"]).arg(file),
        topology,
        groups,
        false,
    )
    .map(Some)
}

fn nginx(groups: &[(&str, Vec<Case>)]) -> Result<Option<Peer>> {
    let Some(program) = external("nginx", "nginx-light") else {
        return Ok(None);
    };
    let told = Command::new(&program).arg("-v").output()?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let version = told.trim().rsplit('/').next().unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("nginx.conf");
    let topology = Topology::new(4);
    let path = folder.path().to_str().context("a path in UTF-8")?;
    fs::write(&file, topology.nginx(path))?;
    let mut command = Command::new(program);
    let command = command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
    play(format!("nginx {version}"), command, topology, groups, false).map(Some)
}

/// Starts a proxy and plays the cases on it; `own` takes the product's own choices in.
fn play(
    name: String,
    command: &mut Command,
    topology: Topology,
    groups: &[(&str, Vec<Case>)],
    own: bool,
) -> Result<Peer> {
    let mut process = Process::spawn(command);
    let stage = Stage::new(topology);
    wait_for("every lane", Duration::from_secs(60), || {
        assert!(process.try_exit().is_none(), "{process}");
        stage.serves().then_some(())
    });
    let mut failures = BTreeMap::new();
    for (group, cases) in groups {
        println!("{name}: {group}");
        let is_played = |case: &&Case| own || case.level != Level::Own;
        let cases: Vec<Case> = cases.iter().filter(is_played).cloned().collect();
        let verdicts = stage.run(&cases).into_iter().flat_map(|(_, v)| v);
        let verdicts: Vec<Verdict> = verdicts.collect();
        failures.extend(verdicts.into_iter().map(|v| (v.name, v.failure)));
    }
    Ok(Peer { name, failures })
}

impl Peer {
    /// How many of these cases passed, and how many there are.
    fn passed<'a>(&self, cases: impl Iterator<Item = &'a Case>) -> String {
        let played: Vec<bool> = cases
            .filter_map(|case| self.failures.get(&case.name).map(Option::is_none))
            .collect();
        match played.len() {
            0 => "–".to_owned(),
            all => format!("{}/{all}", played.iter().filter(|ok| **ok).count()),
        }
    }
}

fn table(groups: &[(&str, Vec<Case>)], peers: &[Peer]) -> String {
    let mut text = "# Who passes what\n\nWritten by `cargo xtask peers`: the cases of this folder \
        on each proxy with a configuration of plain intent. \"Own\" are this product's choices, \
        which are no rule for others.\n\n"
        .to_owned();
    let row = |text: &mut String, first: &str, cells: &dyn Fn(&Peer) -> String| {
        let cells: Vec<String> = peers.iter().map(cells).collect();
        let _ = writeln!(text, "| {first} | {} |", cells.join(" | "));
    };
    let head = |text: &mut String, first: &str| {
        row(text, first, &|peer| peer.name.clone());
        row(text, "---", &|_| "---:".to_owned());
    };
    let all = || groups.iter().flat_map(|(_, cases)| cases);
    head(&mut text, "cases");
    for (word, level) in [
        ("must", Level::Must),
        ("should", Level::Should),
        ("own", Level::Own),
    ] {
        row(&mut text, word, &|peer| {
            peer.passed(all().filter(|c| c.level == level))
        });
    }
    text += "\n## Musts by group\n\n";
    head(&mut text, "group");
    for (group, cases) in groups {
        let musts = || cases.iter().filter(|c| c.level == Level::Must);
        row(&mut text, group, &|peer| peer.passed(musts()));
    }
    text += "\n## Cases that somebody fails\n\n";
    head(&mut text, "case");
    for case in all().filter(|c| c.level != Level::Own) {
        let fails = |peer: &Peer| matches!(peer.failures.get(&case.name), Some(Some(_)));
        if peers.iter().any(fails) {
            let level = if case.level == Level::Must {
                "must"
            } else {
                "should"
            };
            let first = format!("{} ({level}, {})", case.name, case.section);
            row(&mut text, &first, &|peer| {
                if fails(peer) { "✗" } else { "✓" }.to_owned()
            });
        }
    }
    text
}
