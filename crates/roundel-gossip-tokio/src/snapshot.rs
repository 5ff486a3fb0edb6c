//! The members that were alive, and the clocks, on disk: a restarted node finds its cluster again
//! even when no seed is left, and repeats no event.
//!
//! The format is Serf's: lines are appended, the file is replaced by a shorter one now and then.
//! Unlike an agent without `-rejoin`, a node that left finds its cluster again too: a balancer
//! leaves each time it is stopped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_gossip::{Clocks, Member, Status, is_valid_name};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Pause between two looks at what changed.
const PAUSE: Duration = Duration::from_millis(500);

/// A file up to this length is not replaced, nor one with up to so many bytes per member.
const SMALL: u64 = 128 << 10;
const PER_MEMBER: u64 = 256;

/// More is not read: no cluster needs it.
const LONGEST: u64 = 64 << 20;

/// For so long members of a former life are tried, and kept in the file though they were not met.
pub(crate) const TRIED: Duration = Duration::from_secs(24 * 3600);

/// What a former life of this node knew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Former {
    pub(crate) alive: BTreeMap<String, SocketAddr>,
    pub(crate) clocks: Clocks,
}

/// Reads the file; nothing known if there is none. Lines that cannot be read are skipped: the
/// last one may be cut.
pub(crate) fn load(path: &Path) -> std::io::Result<Former> {
    match roundel_files::read(path, LONGEST) {
        Ok(text) => Ok(replay(&String::from_utf8_lossy(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Former::default()),
        Err(error) => Err(error),
    }
}

fn replay(text: &str) -> Former {
    let mut former = Former::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        let clocks = &mut former.clocks;
        match key {
            "alive" => {
                if let Some((name, address)) = alive_line(value) {
                    former.alive.insert(name.to_owned(), address);
                }
            }
            "not-alive" => drop(former.alive.remove(value)),
            "clock" => take_time(&mut clocks.member, value),
            "event-clock" => take_time(&mut clocks.event, value),
            "query-clock" => take_time(&mut clocks.query, value),
            _ => {}
        }
    }
    former
}

fn alive_line(value: &str) -> Option<(&str, SocketAddr)> {
    let (name, address) = value.rsplit_once(' ')?;
    is_valid_name(name).then_some((name, address.parse().ok()?))
}

/// Clocks never go back, and an absurd one would silence all that comes.
fn take_time(clock: &mut u64, value: &str) {
    if let Some(time) = value.parse().ok().filter(|time: &u64| *time < 1 << 62) {
        *clock = time.max(*clock);
    }
}

/// Writes changes until the node ends.
pub(crate) fn keep(
    path: PathBuf,
    former: Former,
    members: watch::Receiver<Arc<Vec<Member>>>,
    clocks: watch::Receiver<Clocks>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut writer = Writer {
            path,
            written: former,
            complained: false,
            whole: false,
        };
        let mut unmet = writer.written.alive.clone();
        let started = Instant::now();
        let mut ended = false;
        while !ended {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = closed(members.clone()) => ended = true,
            }
            let mut now = known(&members.borrow(), *clocks.borrow());
            if started.elapsed() < TRIED {
                unmet.retain(|name, _| !members.borrow().iter().any(|m| m.name == *name));
                now.alive.extend(unmet.clone());
            }
            let turn = move || {
                writer.turn(now);
                writer
            };
            match tokio::task::spawn_blocking(turn).await {
                Ok(back) => writer = back,
                Err(_) => return,
            }
        }
    })
}

async fn closed(mut members: watch::Receiver<Arc<Vec<Member>>>) {
    while members.changed().await.is_ok() {}
}

fn known(members: &[Member], clocks: Clocks) -> Former {
    let alive = members.iter().filter(|m| m.status == Status::Alive);
    Former {
        alive: alive.map(|m| (m.name.clone(), m.address)).collect(),
        clocks,
    }
}

/// Owns the file.
struct Writer {
    path: PathBuf,
    written: Former,
    complained: bool,
    /// The file may end in half a line, so it is to be written anew.
    whole: bool,
}

impl Writer {
    fn turn(&mut self, now: Former) {
        let lines = changes(&self.written, &now);
        if lines.is_empty() && !self.whole {
            return;
        }
        let result = if self.whole {
            self.replace(&now)
        } else {
            self.append(&lines).and_then(|len| {
                let most = SMALL.max(PER_MEMBER * now.alive.len() as u64);
                if len > most {
                    self.replace(&now)
                } else {
                    Ok(())
                }
            })
        };
        self.whole = result.is_err();
        match result {
            Ok(()) => {
                self.written = now;
                self.complained = false;
            }
            Err(error) if !self.complained => {
                self.complained = true;
                let path = self.path.display();
                tracing::warn!(%error, "cannot keep the gossip snapshot {path}; trying again");
            }
            Err(_) => {}
        }
    }

    /// Gives the length of the file.
    fn append(&self, lines: &str) -> std::io::Result<u64> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(&self.path)?;
        file.write_all(lines.as_bytes())?;
        Ok(file.metadata()?.len())
    }

    /// Either the old or the new file is there at any time.
    fn replace(&self, now: &Former) -> std::io::Result<()> {
        let mut part = self.path.as_os_str().to_owned();
        part.push(".compact");
        let mut file = std::fs::File::create(&part)?;
        file.write_all(changes(&Former::default(), now).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, &self.path)
    }
}

/// The lines that lead from one state to the other.
fn changes(from: &Former, to: &Former) -> String {
    let mut out = String::new();
    // Writing to text does not fail.
    for name in from.alive.keys().filter(|n| !to.alive.contains_key(*n)) {
        let _ = writeln!(out, "not-alive: {name}");
    }
    for (name, address) in &to.alive {
        if from.alive.get(name) != Some(address) {
            let _ = writeln!(out, "alive: {name} {address}");
        }
    }
    let (old, new) = (from.clocks, to.clocks);
    for (key, old, new) in [
        ("clock", old.member, new.member),
        ("event-clock", old.event, new.event),
        ("query-clock", old.query, new.query),
    ] {
        if new > old {
            let _ = writeln!(out, "{key}: {new}");
        }
    }
    out
}

#[cfg(test)]
mod tests;
