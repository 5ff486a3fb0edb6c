//! Passive health.

use super::*;
use crate::{EjectionCause, OutlierSpec, ServerLive};

fn bench(servers: u8, outlier: OutlierSpec) -> Bench {
    let config = DirectorConfig {
        outlier,
        ..DirectorConfig::default()
    };
    let mut bench = Bench::new(servers, config);
    bench.run(MS);
    bench.events.clear();
    bench
}

fn live(bench: &Bench, n: u8) -> Arc<ServerLive> {
    bench.status(n).live
}

/// Ends `times` attempts as a worker would note and count them.
fn answer(bench: &Bench, n: u8, status: u16, times: usize) {
    let live = live(bench, n);
    for _ in 0..times {
        live.note_answer(status >= 500);
        live.workers[0].responses[usize::from(status / 100 - 1)].add(1);
    }
}

fn fail(bench: &Bench, n: u8, times: usize) {
    let live = live(bench, n);
    for _ in 0..times {
        live.note_failure();
        live.workers[0].response_errors.add(1);
    }
}

#[test]
fn attempts_in_a_row_without_an_answer_put_a_server_out_for_a_while() {
    let mut bench = bench(3, OutlierSpec::default());
    fail(&bench, 2, 4);
    bench.run(SECOND);
    assert_eq!(bench.state(2), ServerState::Up);
    answer(&bench, 2, 200, 1);
    fail(&bench, 2, 4);
    bench.run(SECOND);
    assert_eq!(bench.state(2), ServerState::Up, "an answer ends the row");
    fail(&bench, 2, 1);
    bench.run(SECOND);
    let status = bench.status(2);
    assert_eq!(status.state, ServerState::Ejected);
    assert!(
        status
            .reason
            .starts_with("5 attempts in a row without an answer; back in "),
        "{}",
        status.reason
    );
    assert_eq!(status.ejections, [1, 0, 0]);
    assert!(!bench.round(6).contains(&2));
    assert_eq!(
        bench.told(EventKind::Ejected),
        ["out for 10.0 s: 5 attempts in a row without an answer; 0 in flight"]
    );
    bench.run(10 * SECOND);
    assert_eq!(bench.state(2), ServerState::Up);
    assert_eq!(bench.told(EventKind::Returned), ["back after 10.0 s out"]);
    bench.run(10 * SECOND);
    assert_eq!(
        bench.state(2),
        ServerState::Up,
        "old failures are forgotten"
    );
}

#[test]
fn its_cookie_leads_elsewhere_while_it_is_out() {
    let mut bench = bench(2, OutlierSpec::default());
    let cookie = bench.status(1).cookie.expect("it is here");
    let cookie = cookie.as_str();
    fail(&bench, 1, 5);
    bench.run(SECOND);
    assert_eq!(bench.sticky(cookie), StickyVerdict::Down(0));
}

#[test]
fn each_ejection_lasts_longer_and_good_service_makes_up_for_it() {
    let mut bench = bench(2, OutlierSpec::default());
    let mut eject = |good: Duration| {
        bench.run(good);
        fail(&bench, 1, 5);
        let before = bench.events.len();
        bench.run(SECOND);
        let lasts = bench.events[before].duration.unwrap();
        bench.run(lasts);
        assert_eq!(bench.state(1), ServerState::Up);
        lasts.as_secs()
    };
    let mut short = || eject(Duration::ZERO);
    assert_eq!([short(), short(), short()], [10, 20, 30]);
    assert_eq!(eject(20 * SECOND), 20, "two intervals make up for two");
    for _ in 0..40 {
        assert!(eject(Duration::ZERO) <= 300);
    }
    assert_eq!(eject(Duration::ZERO), 300);
}

#[test]
fn no_more_than_the_allowed_share_and_never_the_last() {
    let mut bench = bench(4, OutlierSpec::default());
    for n in 1..=4 {
        fail(&bench, n, 9);
    }
    bench.run(SECOND);
    let out = |bench: &Bench| {
        let states = bench.states();
        states
            .iter()
            .filter(|s| **s == ServerState::Ejected)
            .count()
    };
    assert_eq!(out(&bench), 2);
    assert_eq!(
        bench.status(4).reason,
        "fails requests; stays, since no more servers may be put out"
    );
    let all = OutlierSpec {
        max_ejected_percent: 100,
        ..OutlierSpec::default()
    };
    let mut bench = super::outliers::bench(2, all);
    fail(&bench, 1, 9);
    fail(&bench, 2, 9);
    bench.run(SECOND);
    assert_eq!(out(&bench), 1);
}

#[test]
fn checks_and_passive_errors_each_clear_their_own_verdict() {
    let mut bench = bench(3, OutlierSpec::default());
    fail(&bench, 1, 5);
    bench.run(5 * SECOND);
    assert_eq!(bench.state(1), ServerState::Ejected, "its checks pass");
    bench.verdicts.insert(server(1).name, CheckStatus::L4Con);
    bench.run(4 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down, "only a check ends that");
    bench.verdicts.clear();
    bench.run(4 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn answers_with_5xx_put_nobody_out_unless_asked_for() {
    let mut bench = bench(3, OutlierSpec::default());
    answer(&bench, 1, 503, 100);
    bench.run(20 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    let spec = OutlierSpec {
        consecutive_5xx: 5,
        ..OutlierSpec::default()
    };
    let mut bench = super::outliers::bench(3, spec);
    answer(&bench, 1, 503, 4);
    answer(&bench, 1, 404, 1);
    answer(&bench, 1, 503, 4);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    answer(&bench, 1, 503, 1);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Ejected);
    let nth = EjectionCause::ServerErrors as usize;
    assert_eq!(bench.status(1).ejections[nth], 1);
}

#[test]
fn a_share_of_errors_puts_out_the_odd_one_but_not_all_alike() {
    let spec = OutlierSpec {
        consecutive: 0,
        error_percent: 50,
        ..OutlierSpec::OFF
    };
    let mut bench = bench(3, spec);
    let round = |bench: &mut Bench, bad: &[u8], times| {
        for n in 1..=3 {
            answer(bench, n, if bad.contains(&n) { 500 } else { 200 }, times);
            answer(bench, n, 200, times);
        }
        bench.run(SECOND);
    };
    round(&mut bench, &[2], 9);
    assert_eq!(bench.state(2), ServerState::Up, "18 attempts are too few");
    round(&mut bench, &[1, 2, 3], 1);
    assert_eq!(bench.state(2), ServerState::Ejected);
    assert!(
        bench
            .status(2)
            .reason
            .starts_with("10 of 20 attempts failed"),
        "{}",
        bench.status(2).reason
    );
    bench.run(30 * SECOND);
    round(&mut bench, &[1, 2, 3], 50);
    assert_eq!(bench.states(), [ServerState::Up; 3]);
}

#[test]
fn a_window_forgets_the_one_before() {
    let spec = OutlierSpec {
        error_percent: 50,
        ..OutlierSpec::OFF
    };
    let mut bench = bench(2, spec);
    answer(&bench, 1, 500, 19);
    bench.run(11 * SECOND);
    answer(&bench, 1, 500, 19);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    answer(&bench, 1, 500, 1);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Ejected);
}

#[test]
fn a_server_that_returns_starts_slowly() {
    let config = DirectorConfig {
        slow_start: 10 * SECOND,
        ..DirectorConfig::default()
    };
    let mut bench = Bench::new(2, config);
    bench.run(20 * SECOND);
    fail(&bench, 1, 5);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Ejected);
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Warming);
}

#[test]
fn switching_it_off_brings_everybody_back() {
    let mut bench = bench(2, OutlierSpec::default());
    fail(&bench, 1, 5);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Ejected);
    let config = DirectorConfig {
        outlier: OutlierSpec::OFF,
        ..DirectorConfig::default()
    };
    bench.director.reconfigure(bench.now, config);
    assert_eq!(bench.state(1), ServerState::Up);
}
