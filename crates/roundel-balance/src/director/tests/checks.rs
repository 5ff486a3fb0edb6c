use super::*;

#[test]
fn fall_failures_put_it_down_and_rise_passes_bring_it_back() {
    let mut bench = Bench::serving(2);
    bench.verdicts.insert(name("s1"), CheckStatus::L7Sts);
    bench.run(10 * SECOND);
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Down);
    assert_eq!((status.check_failures, status.check_downs), (3, 1));
    assert!(bench.told(EventKind::CheckDown)[0].contains("check failed 3 times: L7STS"));
    assert_eq!(bench.round(2), [2, 2]);
    bench.verdicts.clear();
    bench.run(3 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    assert_eq!(bench.told(EventKind::CheckUp).len(), 1);
    let downtime = bench.status(1).downtime;
    assert!(
        downtime > 5 * SECOND && downtime < 12 * SECOND,
        "{downtime:?}"
    );
}

#[test]
fn probes_are_spread_by_a_tenth_and_twice_as_fast_after_a_failure() {
    let mut bench = Bench::serving(1);
    bench.checks.clear();
    bench.run(200 * SECOND);
    let gaps: Vec<Duration> = bench.checks.windows(2).map(|w| w[1].0 - w[0].0).collect();
    assert!(gaps.len() > 90);
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*least >= Duration::from_millis(1_800) && *most <= Duration::from_millis(2_201));
    assert!(*most - *least > 100 * MS, "jitter moves them");
    bench.checks.clear();
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(4 * SECOND);
    let fast = bench.checks[1].0 - bench.checks[0].0;
    assert!((900..=1_100).contains(&fast.as_millis()), "{fast:?}");
}

#[test]
fn a_blip_shorter_than_half_of_fall_intervals_is_lived_through() {
    for seed in 0..40 {
        let mut bench = Bench::serving(1);
        bench.run(10 * SECOND + seed * 57 * MS);
        bench.verdicts.insert(name("s1"), CheckStatus::L7Sts);
        bench.run(1_500 * MS);
        bench.verdicts.clear();
        bench.run(10 * SECOND);
        assert!(bench.told(EventKind::CheckDown).is_empty(), "{seed}");
    }
}

#[test]
fn the_pace_after_a_failure_can_be_set() {
    let mut config = DirectorConfig::default();
    config.check.fast = 100 * MS;
    let mut bench = Bench::new(1, config);
    bench.run(SECOND);
    bench.verdicts.insert(name("s1"), CheckStatus::L7Sts);
    bench.run(2_500 * MS);
    assert_eq!(bench.state(1), ServerState::Down);
    assert!(bench.told(EventKind::CheckDown)[0].contains("failed 3 times"));
}

#[test]
fn an_outdated_report_is_ignored() {
    let mut bench = Bench::new(1, DirectorConfig::default());
    let ticket = CheckTicket {
        server: bench.status(1).live.id,
        number: 77,
    };
    bench
        .director
        .handle_check(bench.now, ticket, report(CheckStatus::L7Ok));
    assert_eq!(bench.state(1), ServerState::Joining);
}

#[test]
fn a_report_that_never_comes_does_not_end_the_probing() {
    let mut bench = Bench::new(1, DirectorConfig::default());
    bench.director.handle_timeout(bench.now);
    while bench.director.poll_output().is_some() {}
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn a_slow_server_that_answers_requests_is_not_put_down() {
    let mut bench = Bench::serving(2);
    let live = bench.status(1).live;
    for _ in 0..200 {
        bench.run(100 * MS);
        if bench.director.records[0].probe.is_running() {
            continue;
        }
        // A probe starts, a request is answered, the probe times out.
        let due = bench.director.records[0].probe.due().unwrap();
        bench.now = due.max(bench.now);
        bench.director.handle_timeout(bench.now);
        while let Some(output) = bench.director.poll_output() {
            if let DirectorOutput::StartCheck(start) = output {
                live.workers[0].responses[1].add(1);
                let status = match start.server.as_str() {
                    "s1" => CheckStatus::L7Tout,
                    _ => CheckStatus::L7Ok,
                };
                let at = bench.now;
                bench
                    .director
                    .handle_check(at, start.ticket, report(status));
            }
        }
        assert_eq!(bench.state(1), ServerState::Up);
    }
    assert!(bench.status(1).reason.contains("slow"));
    bench.verdicts.insert(name("s1"), CheckStatus::L7Tout);
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down, "nothing is answered");
}

#[test]
fn the_last_server_down_is_told() {
    let mut bench = Bench::serving(1);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(10 * SECOND);
    assert_eq!(
        bench.told(EventKind::NoServer),
        ["no usable server: 1 down"]
    );
}

#[test]
fn reconfiguring_keeps_verdicts() {
    let mut bench = Bench::serving(2);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(10 * SECOND);
    let mut config = DirectorConfig::default();
    config.check.fall = 9;
    bench.director.reconfigure(bench.now, config);
    assert_eq!(bench.states(), [ServerState::Down, ServerState::Up]);
    bench.director.reconfigure(bench.now, off());
    assert_eq!(bench.states(), [ServerState::Up, ServerState::Up]);
    bench
        .director
        .reconfigure(bench.now, DirectorConfig::default());
    assert_eq!(bench.states(), [ServerState::Up, ServerState::Up]);
    bench.run(10 * SECOND);
    assert_eq!(bench.states(), [ServerState::Down, ServerState::Up]);
}
