//! Clients of every kind at the same time, many of which go away in the middle: each answer
//! belongs to its request, and nothing stays in flight.

mod client;
mod http2;
mod origin;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use roundel_testkit::{Dice, free_port, hash, loopback, wait_for};

use crate::balancer::{Balancer, SOON};
use crate::turns::alone;

/// Clients that speak HTTP/1, each a thread.
const CLIENTS: usize = 52;
/// Clients that speak HTTP/2, each a connection with several streams.
const HTTP2_CLIENTS: usize = 12;
/// The largest body, either way; most are far smaller.
const LARGEST: usize = 3 << 20;

/// One request, and all that its answer must be.
#[derive(Debug, Clone)]
struct Wish {
    id: u64,
    method: &'static str,
    body: Vec<u8>,
    /// The bytes of the answer's body.
    size: usize,
    /// How the server frames it: `length`, `chunked` or `close`.
    coding: &'static str,
}

impl Wish {
    fn throw(dice: &mut Dice) -> Self {
        let id = dice.draw();
        let method = ["GET", "GET", "POST", "PUT", "HEAD"][dice.roll(5)];
        let length = match method {
            "POST" | "PUT" => Self::size(dice),
            _ => 0,
        };
        Self {
            id,
            method,
            body: Dice::new(!id).bytes(length),
            size: Self::size(dice),
            coding: ["length", "length", "chunked", "close"][dice.roll(4)],
        }
    }

    fn size(dice: &mut Dice) -> usize {
        match dice.roll(40) {
            0 => dice.roll(LARGEST),
            1..8 => dice.roll(100_000),
            _ => dice.roll(2_000),
        }
    }

    fn target(&self) -> String {
        format!("/{}/{}/{}", self.id, self.size, self.coding)
    }

    fn parse(target: &str) -> Option<(u64, usize, String)> {
        let mut words = target.strip_prefix('/')?.split('/');
        let id = words.next()?.parse().ok()?;
        let size = words.next()?.parse().ok()?;
        Some((id, size, words.next()?.to_owned()))
    }

    /// Compares an answer with what it must be.
    fn judge(
        &self,
        status: u16,
        id: Option<&str>,
        got: Option<&str>,
        body: &[u8],
    ) -> Result<(), String> {
        let wanted = match self.method {
            "HEAD" => Vec::new(),
            _ => Dice::new(self.id).bytes(self.size),
        };
        let told = |what: &str| {
            let Self {
                id,
                method,
                size,
                coding,
                ..
            } = self;
            let sent = self.body.len();
            Err(format!(
                "{what}: {method} {id} with {sent} bytes for {size} ({coding})"
            ))
        };
        if status != 200 {
            return told(&format!("status {status}"));
        }
        if id != Some(&*self.id.to_string()) {
            return told(&format!("the answer for {id:?}"));
        }
        if got != Some(&*hash(&self.body).to_string()) {
            return told("another body arrived");
        }
        match body == wanted {
            true => Ok(()),
            false => told(&format!("another body of {} bytes", body.len())),
        }
    }
}

/// What all clients tell.
#[derive(Debug, Default)]
struct Tally {
    answers: u64,
    aborts: u64,
    findings: Vec<String>,
}

impl Tally {
    fn note(tally: &Mutex<Self>, outcome: Result<Done, String>) {
        let mut tally = tally.lock().unwrap();
        match outcome {
            Ok(Done::Answers(n)) => tally.answers += n,
            Ok(Done::Aborted) => tally.aborts += 1,
            Err(finding) => tally.findings.push(finding),
        }
    }
}

/// What a client did.
#[derive(Debug, Clone, Copy)]
enum Done {
    Answers(u64),
    Aborted,
}

fn start(folder: &Path, origins: &[SocketAddr]) -> Balancer {
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let server = |(i, at): (usize, &SocketAddr)| {
        format!("[[backend.server]]\nname = \"s{i}\"\naddress = \"{at}\"\n")
    };
    let servers: String = origins.iter().enumerate().map(server).collect();
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{servers}"
    );
    let file = folder.join("roundel.toml");
    std::fs::write(&file, text).unwrap();
    Balancer::with_file(file.to_str().unwrap(), [front, stats])
}

/// What is under way: connections of clients, requests at servers.
fn under_way(balancer: &Balancer) -> Option<(u64, u64)> {
    let snapshot = balancer.snapshot();
    let count = |list: &serde_json::Value, key: &str| {
        let counts = list.as_array()?.iter().map(|one| one[key].as_u64());
        counts.sum::<Option<u64>>()
    };
    Some((
        count(&snapshot["frontends"], "connections")?,
        count(&snapshot["backends"][0]["servers"], "in_flight")?,
    ))
}

/// `MIXED_SECONDS=60` and `MIXED_SEED=7` play longer and otherwise.
#[test]
fn every_answer_belongs_to_its_request_and_nothing_stays_in_flight() {
    let _turn = alone();
    let told = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let until = Instant::now() + Duration::from_secs(told("MIXED_SECONDS").unwrap_or(8));
    let seed = told("MIXED_SEED").unwrap_or(1);
    let folder = tempfile::tempdir().unwrap();
    let origins = [(); 3].map(|()| origin::start());
    let balancer = start(folder.path(), &origins);
    balancer.wait_up(3, SOON);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for i in 0..CLIENTS as u64 {
            let (tally, front) = (&tally, balancer.front);
            scope.spawn(move || {
                let mut dice = Dice::new(seed.wrapping_mul(1_000_003) + i);
                while Instant::now() < until {
                    Tally::note(tally, client::act(front, &mut dice));
                }
            });
        }
        scope.spawn(|| http2::run(balancer.front, seed, until, &tally));
    });
    let tally = tally.into_inner().unwrap();
    println!("{} answers, {} aborts", tally.answers, tally.aborts);
    assert!(
        tally.findings.is_empty(),
        "{:#?}",
        &tally.findings[..tally.findings.len().min(20)]
    );
    assert!(tally.answers > 100 && tally.aborts > 10, "{tally:?}");
    wait_for("nothing under way", SOON, || {
        (under_way(&balancer)? == (0, 0)).then_some(())
    });
}
