use std::collections::BTreeMap;

use super::*;
use crate::status::{Frontend, Snapshot};

fn at(second: u64, requests: &[(&str, u64)]) -> Arc<Snapshot> {
    let total = requests.iter().map(|(_, n)| n).sum();
    let server = |(id, (name, n)): (u32, &(&str, u64))| Server {
        id,
        name: (*name).into(),
        requests_total: *n,
        traffic: crate::status::Traffic {
            times: Times {
                count: *n,
                total_us: n * 2_000,
                ..Times::default()
            },
            ..Default::default()
        },
        ..Server::default()
    };
    let mut request_duration = HistogramSnapshot::default();
    request_duration.buckets[3] = total;
    Arc::new(Snapshot {
        seq: second,
        time_ms: 1_000_000 + second * 1_000,
        uptime_seconds: second as f64,
        frontends: vec![Frontend {
            name: "f".into(),
            requests_total: total,
            responses_total: [0, total, 0, 0, total / 10, 0],
            connections_total: BTreeMap::from([("h1".into(), second)]),
            tls_handshakes_total: vec![
                ("TLSv1.2".into(), false, second * 2),
                ("TLSv1.3".into(), true, second * 6),
            ],
            ..Frontend::default()
        }],
        backends: vec![Backend {
            name: "b".into(),
            requests_total: total,
            servers: (1..).zip(requests).map(server).map(Arc::new).collect(),
            request_duration,
            ..Backend::default()
        }],
        ..Snapshot::default()
    })
}

#[test]
fn counters_become_rates_shares_and_percentiles() {
    let mut history = History::new();
    let first = history.push(&at(1, &[("s1", 0), ("s2", 0)]));
    assert_eq!(first.total.requests_per_second, 0.0);
    assert_eq!(first.total.error_ratio, None);
    let rates = history.push(&at(3, &[("s1", 300), ("s2", 100)]));
    assert_eq!(rates.interval_seconds, 2.0);
    assert_eq!(rates.total.requests_per_second, 200.0);
    assert_eq!(rates.frontends["f"].requests_per_second_max, 200.0);
    assert_eq!(rates.frontends["f"].connections_per_second, 1.0);
    assert_eq!(rates.frontends["f"].tls_handshakes_per_second, 8.0);
    assert_eq!(rates.frontends["f"].tls_keys_per_second_max, 2.0);
    assert_eq!(rates.frontends["f"].tls_resumed_ratio, Some(0.75));
    assert_eq!(first.frontends["f"].tls_resumed_ratio, None);
    let s1 = rates.backends["b"].servers.get("s1").unwrap();
    assert_eq!(s1.share, Some(0.75));
    assert_eq!(s1.means.total_ms, 2.0);
    let p99 = rates.backends["b"].p99_seconds.unwrap();
    assert!((0.0025..=0.005).contains(&p99), "{p99}");
    let ratio = rates.total.error_ratio.unwrap();
    assert!((0.08..0.1).contains(&ratio), "{ratio}");
}

#[test]
fn percentiles_forget_what_is_older_than_the_window() {
    let mut history = History::new();
    history.push(&at(0, &[("s1", 0)]));
    let mut rates = history.push(&at(1, &[("s1", 50)]));
    assert!(rates.total.p50_seconds.is_some());
    for second in 2..=12 {
        rates = history.push(&at(second, &[("s1", 50)]));
    }
    assert_eq!(rates.total.p50_seconds, None);
}

#[test]
fn rows_roll_up_and_a_removed_server_takes_its_rows_along() {
    let mut history = History::new();
    for second in 0..=700 {
        history.push(&at(second, &[("s1", second * 5)]));
    }
    assert_eq!(history.total.rows(Range::FiveMinutes).len(), 300);
    assert_eq!(history.total.rows(Range::Hour).len(), 70);
    assert_eq!(history.total.rows(Range::Day).len(), 11);
    let minute = history.total.rows(Range::Day).last().unwrap();
    assert_eq!(minute.requests, 5.0);
    assert_eq!(minute.latency[3], 300);
    assert!(history.server("b", "s1").is_some());
    history.push(&at(701, &[]));
    assert!(history.server("b", "s1").is_none());
}

#[test]
fn a_counter_that_begins_anew_gives_no_negative_rate() {
    let mut history = History::new();
    history.push(&at(1, &[("s1", 500)]));
    let rates = history.push(&at(2, &[("s1", 3)]));
    assert_eq!(rates.total.requests_per_second, 0.0);
}

#[test]
fn averages_are_of_the_newest_exchanges_and_end_with_the_traffic() {
    let mut past = TimesPast::default();
    let sums = |count: u64, total_us: u64| Times {
        count,
        total_us,
        ..Times::default()
    };
    assert_eq!(past.push(1, &sums(0, 0)).total_ms, 0.0);
    // 2,000 exchanges of 1 ms, then as many of 3 ms: those alone are the newest 1,024.
    assert_eq!(past.push(2, &sums(2_000, 2_000_000)).total_ms, 1.0);
    assert_eq!(past.push(3, &sums(4_000, 8_000_000)).total_ms, 3.0);
    // A few more: what came before them still counts.
    let few = past.push(4, &sums(4_100, 8_100_000));
    assert_eq!(few.total_ms, (6_100_000.0 / 1_000.0) / 2_100.0);
    // Then nothing: a minute later there is nothing to average.
    for at in 5..=3 + MEAN_BACK {
        assert!(
            past.push(at, &sums(4_100, 8_100_000)).total_ms > 0.0,
            "{at}"
        );
    }
    assert_eq!(
        past.push(4 + MEAN_BACK, &sums(4_100, 8_100_000)).total_ms,
        0.0
    );
    assert_eq!(past.0.len(), 1);
}

#[test]
fn servers_keep_their_past_when_others_come_and_go() {
    let mut history = History::new();
    let of = |names: &[(u32, &str)], second: u64| {
        let mut snapshot = Arc::unwrap_or_clone(at(second, &[]));
        snapshot.backends[0].servers = names
            .iter()
            .map(|(id, name)| Server {
                id: *id,
                name: (*name).into(),
                requests_total: u64::from(*id) * second,
                ..Server::default()
            })
            .map(Arc::new)
            .collect();
        Arc::new(snapshot)
    };
    history.push(&of(&[(1, "s2"), (2, "s1")], 0));
    let rates = history.push(&of(&[(3, "s0"), (2, "s1"), (1, "s2")], 1));
    let per_second = |rates: &Rates, name: &str| {
        let servers = &rates.backends["b"].servers;
        servers.get(name).map_or(-1.0, |s| s.requests_per_second)
    };
    assert_eq!(per_second(&rates, "s1"), 2.0);
    assert_eq!(per_second(&rates, "s2"), 1.0);
    assert_eq!(per_second(&rates, "s0"), 0.0);
    let rates = history.push(&of(&[(3, "s0"), (2, "s1")], 2));
    assert_eq!(per_second(&rates, "s0"), 3.0);
    assert!(rates.backends["b"].servers.get("s2").is_none());
    assert_eq!(
        history.server("b", "s1").map(|rows| rows.fine.len()),
        Some(3)
    );
    assert!(history.server("b", "s2").is_none());
}
