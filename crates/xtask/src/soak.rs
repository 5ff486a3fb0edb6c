//! Memory after many requests, connections and changes, and after floods: is it where it was?

mod churn;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use roundel_testkit::{Connection, Origin, Process, free_address, get, poll};

use crate::step::product;

/// Growth that is allowed over all of the work.
const GROWTH: f64 = 1.10;
/// Growth that is allowed over the floods, in KiB.
const FLOOD_GROWTH: u64 = 10 * 1024;
/// Time to give memory back before it is measured.
const REST: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(30);
/// Clients at the same time, and requests that each sends at once.
const CLIENTS: usize = 32;
const BURST: usize = 25;

/// How much of each is done.
struct Amount {
    requests: usize,
    connections: usize,
    changes: usize,
    floods: usize,
}

const WHOLE: Amount = Amount {
    requests: 1_000_000,
    connections: 100_000,
    changes: 1_000,
    floods: 100_000,
};

/// A tenth of it beforehand: what is kept for use again is kept then.
const WARMING: Amount = Amount {
    requests: 100_000,
    connections: 10_000,
    changes: 100,
    floods: 10_000,
};

/// Roundel, its servers, and the file that lists them.
struct Stage {
    process: Process,
    front: SocketAddr,
    nodes: PathBuf,
    origins: [Origin; 3],
    _folder: tempfile::TempDir,
}

/// Does all of it and prints memory after each part. Errors: it grew by more than is allowed.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (mut program, mut churn) = (None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (*word, words.next()) {
            ("--roundel", Some(path)) => program = Some(PathBuf::from(path)),
            ("--churn", Some(minutes)) => churn = Some(minutes.parse::<f64>().context("--churn")?),
            _ => bail!("usage: cargo xtask soak [--roundel BINARY] [--churn MINUTES]"),
        }
    }
    let program = program.map_or_else(product, Ok)?;
    if let Some(minutes) = churn {
        return churn::run(&program, Duration::from_secs_f64(minutes * 60.0));
    }
    let stage = Stage::start(&program)?;
    stage.work(&WARMING, |_, _| Ok(()))?;
    thread::sleep(REST);
    let before = resident(stage.process.id())?;
    println!("| after | resident | of before |\n|---|---|---|");
    let show = |what: &str, now: u64| {
        let part = now as f64 / before as f64;
        println!("| {what} | {now} KiB | {:.1} % |", part * 100.0);
    };
    show("warming up", before);
    let mut last = before;
    let mut worst = None;
    stage.work(&WHOLE, |what, is_flood| {
        thread::sleep(REST);
        let now = resident(stage.process.id())?;
        show(what, now);
        let broken = match is_flood {
            true => now > last + FLOOD_GROWTH,
            false => now as f64 > before as f64 * GROWTH,
        };
        if broken {
            worst.get_or_insert_with(|| what.to_owned());
        }
        last = now;
        Ok(())
    })?;
    match worst {
        Some(what) => bail!("memory grew over {what}"),
        None => Ok(()),
    }
}

impl Stage {
    fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (front, stats) = (free_address(), free_address());
        let (nodes, file) = (
            folder.path().join("nodes"),
            folder.path().join("roundel.toml"),
        );
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n\
             [[backend]]\nname = \"nodes\"\ndiscover = [{{ file = {{ path = \"{}\" }} }}]\n",
            nodes.display()
        );
        fs::write(&file, text)?;
        let process = Process::spawn(Command::new(program).args(["serve", "-c"]).arg(&file));
        let stage = Self {
            process,
            front,
            nodes,
            origins: ["a", "b", "c"].map(Origin::named),
            _folder: folder,
        };
        stage.list(3)?;
        let up = poll(SOON, || get(front, "/").ok().filter(|r| r.status == 200));
        up.with_context(|| format!("it does not serve: {}", stage.process))?;
        Ok(stage)
    }

    /// Lists the first `count` servers.
    fn list(&self, count: usize) -> Result<()> {
        let mut text = String::new();
        for (name, origin) in ["a", "b", "c"].iter().zip(&self.origins).take(count) {
            let _ = writeln!(text, "{name} {}", origin.address());
        }
        let fresh = self.nodes.with_extension("fresh");
        fs::write(&fresh, text)?;
        Ok(fs::rename(&fresh, &self.nodes)?)
    }

    fn work(&self, amount: &Amount, mut done: impl FnMut(&str, bool) -> Result<()>) -> Result<()> {
        self.requests(amount.requests)?;
        done(&format!("{} requests", amount.requests), false)?;
        self.connections(amount.connections)?;
        done(&format!("{} connections", amount.connections), false)?;
        self.changes(amount.changes)?;
        done(&format!("{} changes of the set", amount.changes), false)?;
        self.floods(amount.floods)?;
        done(&format!("{} of each flood", amount.floods), true)
    }

    fn requests(&self, count: usize) -> Result<()> {
        let one = b"GET /x HTTP/1.1\r\nHost: soak\r\nCookie: a=1; b=2\r\nAccept: */*\r\n\r\n";
        self.side_by_side(count / BURST, |connection| {
            connection.put(&one.repeat(BURST))?;
            for _ in 0..BURST {
                ensure!(connection.take("GET")?.status == 200, "a request failed");
            }
            Ok(())
        })
    }

    /// One connection after the other, by a few clients.
    fn connections(&self, count: usize) -> Result<()> {
        each(4, count, |_| {
            let response = Connection::open(self.front)?.send("GET", "/", &[], b"")?;
            ensure!(
                response.status == 200,
                "a request failed: {}",
                response.status
            );
            Ok(())
        })
    }

    /// A server comes and goes, slowly enough for each to be noticed.
    fn changes(&self, count: usize) -> Result<()> {
        for i in 0..count {
            self.list(2 + i % 2)?;
            thread::sleep(Duration::from_millis(40));
        }
        self.list(3)
    }

    /// Malformed requests, heads that never end, and HTTP/2 streams reset as soon as they begin.
    fn floods(&self, count: usize) -> Result<()> {
        each(4, count / 10, |_| {
            let mut connection = Connection::open(self.front)?;
            connection.put(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n")?;
            ensure!(
                connection.take("GET")?.status == 400,
                "a bad request passed"
            );
            Ok(())
        })?;
        for _ in 0..count / 5_000 {
            let open = || Connection::open(self.front);
            let mut slow = (0..500).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
            for connection in &mut slow {
                connection.put(
                    &[
                        b"GET / HTTP/1.1\r\nHost: a\r\nX: ".as_slice(),
                        &[b'x'; 8_000],
                    ]
                    .concat(),
                )?;
            }
        }
        each(4, count / 1_000, |_| {
            let mut connection = Connection::open(self.front)?;
            // It may be cut off before all is written, which is as good.
            let _ = connection.put(&reset_flood(1_000));
            let _ = connection.take_some(1_000);
            Ok(())
        })
    }

    fn side_by_side(
        &self,
        count: usize,
        act: impl Fn(&mut Connection) -> Result<()> + Sync,
    ) -> Result<()> {
        each(CLIENTS, CLIENTS, |_| {
            let mut connection = Connection::open(self.front)?;
            (0..count / CLIENTS).try_for_each(|_| act(&mut connection))
        })
    }
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let words = line.context("no VmRSS")?.trim();
    Ok(words.trim_end_matches(" kB").parse()?)
}

/// Does something `count` times on `threads` threads.
fn each(threads: usize, count: usize, act: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let started = Instant::now();
    thread::scope(|scope| {
        let share = |i: usize| {
            let act = &act;
            scope.spawn(move || (i..count).step_by(threads).try_for_each(act))
        };
        let tasks: Vec<_> = (0..threads).map(share).collect();
        for task in tasks {
            task.join()
                .map_err(|_| anyhow::anyhow!("a client broke"))??;
        }
        eprintln!("{count} in {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    })
}

/// A connection of HTTP/2 whose streams are reset as soon as they begin (CVE-2023-44487).
fn reset_flood(streams: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        bytes.extend_from_slice(&[0, 0, u8::try_from(payload.len()).unwrap_or(0), kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
    };
    frame(4, 0, 0, &[]);
    for stream in (0..streams).map(|n| 2 * n + 1) {
        // GET, http, /, and the authority "a" as a literal: RFC 7541, appendix A.
        frame(1, 5, stream, &[0x82, 0x86, 0x84, 0x01, 0x01, b'a']);
        frame(3, 0, stream, &[0, 0, 0, 8]);
    }
    bytes
}
