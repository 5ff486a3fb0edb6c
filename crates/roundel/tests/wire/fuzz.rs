//! Mutated bytes on both sides, from a seed: what servers saw is what was answered.

use std::time::Instant;

use roundel_testkit::wire::message::{Parsed, find, response, text};
use roundel_testkit::wire::{Act, DEADLINE, Link, Slot, echo};

use crate::stage::Proxy;

/// Requests that are mutated: each is whole and right.
const REQUESTS: &[&str] = &[
    "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\n\r\n",
    "HEAD /h HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\n\r\n",
    "PUT /u HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\nCookie: a=1; SERVERID=x\r\n\r\n",
    "GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
];

/// Answers that are mutated.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
];

/// Pieces that are put in: what parsers have stumbled over.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\x0b",
    "0",
    "-1",
    "+",
    "0x",
    "ffffffffffffffff",
    "\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: close\r\n",
    "Connection: content-length\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "Host: b\r\n",
    " HTTP/1.1",
    "GET /z HTTP/1.1\r\nHost: z\r\n\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\n",
    "\u{fc}",
    "%00",
    "\r\n ",
];

/// A small generator of its own, so that a seed means the same for ever. Source: xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap_or(0) % sides.max(1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.roll(bytes.len());
        match self.roll(6) {
            0 => drop(bytes.remove(at)),
            1 => bytes[at] = u8::try_from(self.roll(256)).unwrap_or(0),
            2 | 3 => {
                let piece = PIECES[self.roll(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            4 => {
                let end = (at + 1 + self.roll(12)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }

    /// Some of the seeds one after the other, most of them mutated.
    fn mixed(&mut self, seeds: &[&str], most: usize) -> Vec<u8> {
        let count = 1 + self.roll(most);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut one = seeds[self.roll(seeds.len())].as_bytes().to_vec();
            for _ in 0..self.roll(4) {
                if !one.is_empty() {
                    self.mutate(&mut one);
                }
            }
            bytes.extend(one);
        }
        bytes
    }
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", text(bytes))
}

/// Plays `rounds` rounds per slot and panics with every finding.
fn fuzz(rounds: u64, round: impl Fn(&Slot, &mut Dice) -> Result<(), String> + Sync) {
    // WIRE_ROUNDS=50 plays fifty times as many, from other seeds too.
    let more = std::env::var("WIRE_ROUNDS").ok();
    let rounds = rounds * more.and_then(|n| n.parse().ok()).unwrap_or(1);
    let proxy = Proxy::start();
    let findings: Vec<String> = std::thread::scope(|scope| {
        let round = &round;
        let tasks = proxy.stage.slots().iter().enumerate().map(|(i, slot)| {
            scope.spawn(move || {
                let seeds = (0..rounds).map(|n| (i as u64 + 1) * 1_000_003 + n * 7919);
                let play = |seed: u64| {
                    let found = round(slot, &mut Dice(seed)).err()?;
                    Some(format!("seed {seed}: {found}"))
                };
                seeds.filter_map(play).collect::<Vec<_>>()
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tasks.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

/// What servers saw whole is what was answered with their echo, in the same order.
fn request_round(slot: &Slot, dice: &mut Dice) -> Result<(), String> {
    let bytes = dice.mixed(REQUESTS, 3);
    let played = slot.exchange(&[], |address| {
        let mut link = Link::open(address, Instant::now() + DEADLINE).map_err(|e| e.to_string())?;
        link.send(&bytes);
        link.half_close();
        link.drain()?;
        Ok(link.received)
    });
    let sent = shown(&bytes);
    let (received, seen) = played.map_err(|why| format!("{why} for {sent}"))?;
    let whole: Vec<_> = seen.iter().filter(|s| s.whole).collect();
    let mut rest = &received[..];
    for seen in &whole {
        let echo = echo(&seen.message);
        let needle = if seen.message.word(0) == "HEAD" {
            "X-Origin: "
        } else {
            &echo
        };
        let Some(at) = find(rest, needle.as_bytes()) else {
            let got = shown(&received);
            return Err(format!(
                "{echo:?} was seen and not answered: {sent} got {got}"
            ));
        };
        rest = &rest[at + needle.len()..];
    }
    // What follows a request that could not be understood cannot be understood either.
    let told = text(&received);
    if let Some((_, behind)) = told.split_once("HTTP/1.1 400 ")
        && behind.contains("HTTP/1.1 ")
    {
        return Err(format!("answers after a 400: {sent} got {told:?}"));
    }
    let answered = text(&received).matches("X-Origin: ").count();
    if answered != whole.len() {
        return Err(format!(
            "{answered} answers, {} requests seen: {sent}",
            whole.len()
        ));
    }
    Ok(())
}

/// A mutated answer reaches its own client or nobody, and well-formed.
fn answer_round(slot: &Slot, dice: &mut Dice) -> Result<(), String> {
    let bytes = dice.mixed(ANSWERS, 2);
    let acts = vec![Act::Body, Act::Send(bytes.clone()), Act::Close];
    let get = b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let next = b"GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let played = slot.exchange(&[acts], |address| {
        let mut first =
            Link::open(address, Instant::now() + DEADLINE).map_err(|e| e.to_string())?;
        first.send(get);
        first.end()?;
        let mut second =
            Link::open(address, Instant::now() + DEADLINE).map_err(|e| e.to_string())?;
        second.send(next);
        second.end()?;
        Ok(second.received)
    });
    let sent = shown(&bytes);
    let (received, _) = played.map_err(|why| format!("{why} for {sent}"))?;
    match response(&received, "GET", true) {
        Parsed::Whole(answer, _) if answer.body.starts_with(b"GET /second ") => Ok(()),
        _ => Err(format!(
            "the next client got {} after {sent}",
            shown(&received)
        )),
    }
}

#[test]
fn mutated_requests() {
    fuzz(150, request_round);
}

#[test]
fn mutated_answers() {
    fuzz(100, answer_round);
}
