//! Mutated bytes on both sides, from a seed: what servers saw is what was answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roundel_testkit::Dice;
use roundel_testkit::wire::message::{Parsed, find, response, text};
use roundel_testkit::wire::{Act, DEADLINE, Link, Slot, echo};

use crate::frames;
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

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.roll(bytes.len());
    match dice.roll(6) {
        0 => drop(bytes.remove(at)),
        1 => bytes[at] = u8::try_from(dice.roll(256)).unwrap_or(0),
        2 | 3 => {
            let piece = PIECES[dice.roll(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
        4 => {
            let end = (at + 1 + dice.roll(12)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => bytes.truncate(at.max(1)),
    }
}

/// Some of the seeds one after the other, most of them mutated.
fn mixed(dice: &mut Dice, seeds: &[&str], most: usize) -> Vec<u8> {
    let count = 1 + dice.roll(most);
    let mut bytes = Vec::new();
    for _ in 0..count {
        let mut one = seeds[dice.roll(seeds.len())].as_bytes().to_vec();
        for _ in 0..dice.roll(4) {
            if !one.is_empty() {
                mutate(dice, &mut one);
            }
        }
        bytes.extend(one);
    }
    bytes
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", text(bytes))
}

/// A number from the environment.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays `rounds` rounds per slot and panics with every finding.
///
/// `WIRE_SEED` plays others, `WIRE_SECONDS` as many as fit into that time.
fn fuzz(rounds: u64, round: impl Fn(&Slot, &mut Dice) -> Result<(), String> + Sync) {
    let first = told("WIRE_SEED").unwrap_or(1).wrapping_mul(1_000_000_007);
    let until = told("WIRE_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let proxy = Proxy::start();
    let played = AtomicU64::new(0);
    let findings: Vec<String> = std::thread::scope(|scope| {
        let (round, played) = (&round, &played);
        let tasks = proxy.http1().enumerate().map(|(i, slot)| {
            scope.spawn(move || {
                let goes_on = |n: u64| until.map_or(n < rounds, |until| Instant::now() < until);
                let seeds = (0..).take_while(|n| goes_on(*n));
                let seeds = seeds.map(|n| first + (i as u64 + 1) * 1_000_003 + n * 7919);
                let play = |seed: u64| {
                    played.fetch_add(1, Ordering::Relaxed);
                    let found = round(slot, &mut Dice::new(seed)).err()?;
                    Some(format!("seed {seed}: {found}"))
                };
                seeds.filter_map(play).collect::<Vec<_>>()
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tasks.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    println!("{} rounds", played.into_inner());
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

/// What servers saw whole is what was answered with their echo, in the same order.
fn request_round(slot: &Slot, dice: &mut Dice) -> Result<(), String> {
    let bytes = mixed(dice, REQUESTS, 3);
    let played = slot.exchange(&[], |way| {
        let mut link = Link::open(way, Instant::now() + DEADLINE).map_err(|e| e.to_string())?;
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
    let bytes = mixed(dice, ANSWERS, 2);
    let acts = vec![Act::Body, Act::Send(bytes.clone()), Act::Close];
    let get = b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let next = b"GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let played = slot.exchange(&[acts], |way| {
        let mut first = Link::open(way, Instant::now() + DEADLINE).map_err(|e| e.to_string())?;
        first.send(get);
        first.end()?;
        let mut second = Link::open(way, Instant::now() + DEADLINE).map_err(|e| e.to_string())?;
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

/// Mutated frames: whatever a client of HTTP/2 sends, servers see well-formed requests only, the
/// connection ends when the client has ended it, and the next client is served.
fn frames_round(slot: &Slot, dice: &mut Dice) -> Result<(), String> {
    let mut bytes = frames::opening();
    let rows = frames::bytes();
    for _ in 0..=dice.roll(3) {
        let mut one = rows[dice.roll(rows.len())].clone();
        for _ in 0..dice.roll(4) {
            if !one.is_empty() {
                mutate(dice, &mut one);
            }
        }
        bytes.extend(one);
    }
    let next = b"GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let played = slot.exchange(&[], |way| {
        let open = || Link::open(way, Instant::now() + DEADLINE).map_err(|e| e.to_string());
        let mut first = open()?;
        first.send(&bytes);
        first.half_close();
        first.drain()?;
        let mut second = open()?;
        second.send(next);
        second.end()?;
        Ok(second.received)
    });
    let (received, _) = played.map_err(|why| format!("{why} for {}", shown(&bytes)))?;
    match response(&received, "GET", true) {
        Parsed::Whole(answer, _) if answer.body.starts_with(b"GET /second ") => Ok(()),
        _ => Err(format!("the next client got {}", shown(&received))),
    }
}

#[test]
fn mutated_frames() {
    fuzz(100, frames_round);
}

#[test]
fn mutated_requests() {
    fuzz(150, request_round);
}

#[test]
fn mutated_answers() {
    fuzz(100, answer_round);
}
