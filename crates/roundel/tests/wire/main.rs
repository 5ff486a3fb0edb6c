//! The exchange on the wire: raw bytes in, raw bytes out, the whole program between them.
//!
//! The cases are data, grouped by the RFC sections they come from (see `cases`); one executor in
//! the test kit plays and judges them: over HTTP/1 in clear and over TLS, and, where they make sense,
//! with HTTP/2 in front, behind, and on both sides. The same cases run against other
//! proxies by `cargo xtask peers`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cases/all.rs"]
mod cases;
mod frames;
mod fuzz;
mod http2;
mod servers;
mod stage;

use roundel_testkit::wire::{Case, Pairing};
use stage::Proxy;

/// Plays the cases on a proxy of their own and panics with every failure. With HTTP/2 in front, behind, and
/// on both sides, at least so many make sense.
fn play(cases: Vec<Case>, least: [usize; 3]) {
    let only = std::env::var("WIRE_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| case.name.contains(&only))
        .collect();
    let proxy = Proxy::start();
    let verdicts = proxy.stage.run(&cases);
    let all = verdicts.iter().flat_map(|(_, verdicts)| verdicts);
    let failed: Vec<String> = all
        .clone()
        .filter_map(|v| {
            let why = v.failure.as_ref()?;
            Some(format!("{} ({}, {:?}): {why}", v.name, v.section, v.level))
        })
        .collect();
    for verdict in all.clone().filter(|_| !only.is_empty()) {
        println!("{}: skipped, {:?}", verdict.name, verdict.skip);
    }
    let (count, all) = (failed.len(), all.count());
    let played = |pairing: Pairing| {
        let of = verdicts.iter().filter(|(p, _)| *p == pairing);
        of.flat_map(|(_, v)| v).filter(|v| v.skip.is_none()).count()
    };
    let http2 = [Pairing::Front, Pairing::Behind, Pairing::Both].map(played);
    let enough = http2
        .iter()
        .zip(&least)
        .all(|(played, least)| played >= least);
    assert!(
        enough || !only.is_empty(),
        "{http2:?} were played over HTTP/2, of at least {least:?}"
    );
    assert!(
        failed.is_empty(),
        "{count} of {all} failed:\n{}",
        failed.join("\n")
    );
    println!("{all} cases");
}

macro_rules! groups {
    ($($name:ident: $least:expr),* $(,)?) => {
        $(#[test]
        fn $name() {
            play(cases::$name::cases(), $least);
        })*
    };
}

#[test]
fn names_are_unique_and_cases_many() {
    let groups = cases::groups();
    let cases = groups.iter().flat_map(|(_, cases)| cases);
    let mut names: Vec<&str> = cases.map(|case| case.name.as_str()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all >= 700, "{all} cases");
    let levelled = cases::levels::CHOICES.iter().chain(cases::levels::ADVICE);
    for name in levelled {
        assert!(names.binary_search(name).is_ok(), "no case {name}");
    }
}

groups!(
    request_line: [28, 108, 28],
    request_fields: [32, 99, 32],
    request_framing: [15, 92, 15],
    chunks: [22, 68, 22],
    answers: [90, 25, 25],
    answer_bodies: [40, 37, 31],
    hop_by_hop: [6, 29, 1],
    forwarding: [32, 37, 32],
    methods: [14, 19, 14],
    connections: [22, 34, 19],
    interim: [23, 22, 20],
    upgrades: [0, 0, 0],
    cookies: [31, 31, 31],
    retries: [29, 28, 28],
    breaks: [19, 19, 17],
    slow: [11, 14, 11],
);
