use super::*;

#[test]
fn a_member_joins_is_checked_at_once_and_serves_after_one_pass() {
    let mut bench = Bench::new(1, DirectorConfig::default());
    assert_eq!(bench.state(1), ServerState::Joining);
    assert_eq!(bench.director.poll_timeout(), Some(bench.now));
    bench.run(MS);
    assert_eq!(bench.state(1), ServerState::Up);
    assert_eq!(bench.told(EventKind::Join).len(), 1);
    assert!(bench.told(EventKind::Serving)[0].starts_with("serving after 1 ms: L7OK 200"));
    let check = bench.status(1).check.unwrap();
    assert_eq!((check.health, check.rise, check.fall), (4, 2, 3));
}

#[test]
fn a_server_that_never_passes_is_down_after_fall_failures_and_comes_up_by_one_pass() {
    let mut bench = Bench::new(2, DirectorConfig::default());
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(2_900 * MS);
    assert_eq!(
        bench.state(1),
        ServerState::Joining,
        "an app may start for so long"
    );
    bench.run(SECOND);
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Down);
    assert_eq!((status.check_failures, status.check_downs), (3, 1));
    assert!(
        status
            .reason
            .starts_with("never up: L4CON Connection refused; does the app")
    );
    bench.run(100 * SECOND);
    assert_eq!(bench.told(EventKind::CheckDown).len(), 1);
    assert!(bench.told(EventKind::CheckDown)[0].contains("never up: L4CON"));
    assert!(bench.told(EventKind::NoServer).is_empty());
    let status = bench.status(1);
    assert_eq!((status.check_failures, status.check_downs), (3, 1));
    assert!(status.downtime > 99 * SECOND, "{:?}", status.downtime);
    bench.verdicts.clear();
    bench.run(2_300 * MS);
    assert_eq!(bench.state(1), ServerState::Up);
    assert!(bench.told(EventKind::CheckUp).is_empty());
    assert!(bench.told(EventKind::Serving)[1].starts_with("serving after 1 min 4"));
}

#[test]
fn a_backend_of_which_no_server_was_ever_up_is_told() {
    let mut bench = Bench::new(2, DirectorConfig::default());
    for n in [1, 2] {
        bench.verdicts.insert(server(n).name, CheckStatus::L7Sts);
    }
    bench.run(10 * SECOND);
    assert_eq!(
        bench.told(EventKind::NoServer),
        ["no usable server: 2 down"]
    );
}

#[test]
fn a_check_that_was_wrong_and_is_mended_gives_another_chance() {
    let mut bench = Bench::new(1, DirectorConfig::default());
    bench.verdicts.insert(name("s1"), CheckStatus::L7Sts);
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.verdicts.clear();
    let mut config = DirectorConfig::default();
    config.check.kind = CheckKind::Tcp;
    bench.director.reconfigure(bench.now, config);
    bench.run(MS);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn who_was_never_up_stays_so_for_the_process_that_follows() {
    let mut bench = Bench::new(1, DirectorConfig::default());
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(10 * SECOND);
    let heritage = bench.director.bequeath(bench.now);
    assert_eq!(heritage[0].up, None);
    let mut heir = Bench::new(0, DirectorConfig::default());
    heir.director.inherit(heritage);
    heir.set = vec![server(1)];
    heir.verdicts.insert(name("s1"), CheckStatus::L4Con);
    heir.apply();
    assert_eq!(heir.state(1), ServerState::Down);
    heir.run(10 * SECOND);
    assert_eq!(heir.status(1).check_downs, 1);
    assert!(heir.told(EventKind::CheckDown).is_empty());
    heir.verdicts.clear();
    heir.run(3 * SECOND);
    assert_eq!(heir.state(1), ServerState::Up);
}

#[test]
fn a_server_that_fails_its_first_checks_stays_joining_and_is_tried_fast() {
    let mut bench = Bench::new(1, DirectorConfig::default());
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Joining);
    assert!(
        (4..=6).contains(&bench.checks.len()),
        "{}",
        bench.checks.len()
    );
    assert!(bench.status(1).reason.contains("Connection refused"));
    assert_eq!(bench.status(1).check_downs, 0);
    bench.verdicts.clear();
    bench.run(Duration::from_millis(300));
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn without_checks_a_server_serves_at_once() {
    let mut bench = Bench::new(2, off());
    assert_eq!(bench.states(), [ServerState::Up; 2]);
    bench.run(10 * SECOND);
    assert!(bench.checks.is_empty());
    assert_eq!(bench.status(1).check, None);
}

#[test]
fn one_first_seen_leaving_or_failed_is_not_taken_in() {
    for presence in [Presence::Leaving, Presence::Failed] {
        let mut bench = Bench::new(1, DirectorConfig::default());
        bench.set.push(Server {
            presence,
            ..server(2)
        });
        bench.apply();
        assert_eq!(bench.states().len(), 1);
    }
}

#[test]
fn another_address_under_the_same_name_joins_anew_and_keeps_its_numbers() {
    let mut bench = Bench::serving(2);
    bench.run(10 * SECOND);
    let held = bench.pick();
    let before = bench.status(1).live;
    bench.set[0].address = ([10, 0, 0, 99], 3000).into();
    bench.apply();
    assert_eq!(bench.state(1), ServerState::Joining);
    assert_eq!(bench.round(2), [2, 2]);
    bench.run(MS);
    assert_eq!(bench.state(1), ServerState::Up);
    let after = bench.status(1).live;
    assert!(Arc::ptr_eq(&before, &after));
    let served = bench.events.last().unwrap();
    assert_eq!(
        (served.kind, served.duration),
        (EventKind::Serving, Some(MS))
    );
    assert_eq!(after.in_flight(), 1);
    drop(held);
    assert_eq!(after.in_flight(), 0);
    assert!(bench.told(EventKind::Join)[0].contains("10.0.0.1:3000 → 10.0.0.99:3000"));
}

#[test]
fn a_slow_start_rises_in_steps() {
    let mut bench = Bench::new(
        2,
        DirectorConfig {
            slow_start: 10 * SECOND,
            ..DirectorConfig::default()
        },
    );
    bench.run(5 * SECOND);
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Warming);
    let throttle = status.throttle.unwrap();
    assert!((40..=55).contains(&throttle), "{throttle}");
    bench.run(6 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    assert_eq!(bench.status(1).throttle, None);
}
