//! The exchange on the wire: raw bytes in, raw bytes out, the whole program between them.
//!
//! The cases are data, grouped by the RFC sections they come from (see `cases`); one executor in
//! the test kit plays and judges them, in clear and over TLS. The same cases run against other
//! proxies by `cargo xtask peers`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cases/all.rs"]
mod cases;
mod frames;
mod fuzz;
mod http2;
mod stage;

use roundel_testkit::wire::Case;
use stage::Proxy;

/// Plays the cases on a proxy of their own and panics with every failure.
fn play(cases: Vec<Case>) {
    let only = std::env::var("WIRE_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| case.name.contains(&only))
        .collect();
    let proxy = Proxy::start();
    let verdicts = proxy.stage.run(&cases);
    let failed: Vec<String> = verdicts
        .iter()
        .filter_map(|v| {
            let why = v.failure.as_ref()?;
            Some(format!("{} ({}, {:?}): {why}", v.name, v.section, v.level))
        })
        .collect();
    let (count, all) = (failed.len(), verdicts.len());
    assert!(
        failed.is_empty(),
        "{count} of {all} failed:\n{}",
        failed.join("\n")
    );
    println!("{all} cases");
}

macro_rules! groups {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            play(cases::$name::cases());
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
    request_line,
    request_fields,
    request_framing,
    chunks,
    answers,
    answer_bodies,
    hop_by_hop,
    forwarding,
    methods,
    connections,
    interim,
    upgrades,
    cookies,
    retries,
    breaks,
    slow,
);
