use super::*;

#[test]
fn silent_but_passing_stays_up_with_a_reason() {
    let mut bench = Bench::serving(2);
    bench.run(500 * MS);
    bench.checks.clear();
    bench.presence(1, Presence::Suspect);
    bench.run(MS);
    assert_eq!(bench.checks.len(), 1, "an extra check at once");
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Up);
    assert!(
        status.doubt
            && status
                .reason
                .contains("gossip silent for 1 ms, check passes")
    );
    bench.presence(1, Presence::Present);
    assert_eq!(bench.told(EventKind::Refuted).len(), 1);
    assert!(!bench.status(1).doubt);
}

#[test]
fn silent_and_failing_is_down_after_that_one_check() {
    let mut bench = Bench::serving(2);
    bench.run(500 * MS);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.presence(1, Presence::Suspect);
    bench.run(MS);
    assert_eq!(bench.state(1), ServerState::Down);
    assert!(
        bench
            .status(1)
            .reason
            .starts_with("gossip silent and check fails")
    );
}

#[test]
fn failed_is_down_when_the_check_fails_too() {
    let mut bench = Bench::serving(2);
    bench.run(500 * MS);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.presence(1, Presence::Failed);
    assert_eq!(bench.state(1), ServerState::Up);
    bench.run(MS);
    assert_eq!(bench.state(1), ServerState::Down);
}

#[test]
fn failed_without_checks_is_down_after_a_minute_and_back_when_alive() {
    let mut bench = Bench::new(3, off());
    bench.presence(1, Presence::Failed);
    bench.run(59 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    bench.run(2 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    let reason = bench.status(1).reason;
    assert!(reason.starts_with("failed by gossip for 1 min"), "{reason}");
    bench.presence(1, Presence::Present);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn without_checks_gossip_puts_out_fewer_than_half_and_never_the_last() {
    for (servers, failed, out) in [(1, 1, 0), (2, 1, 0), (3, 1, 1), (5, 2, 2), (6, 3, 2)] {
        let mut bench = Bench::new(servers, off());
        for n in 1..=failed {
            bench.presence(n, Presence::Failed);
        }
        bench.run(600 * SECOND);
        let down = bench
            .states()
            .iter()
            .filter(|s| **s == ServerState::Down)
            .count();
        assert_eq!(down, out, "{failed} of {servers}");
    }
}

#[test]
fn failed_with_a_passing_check_serves_for_ever() {
    let mut bench = Bench::serving(3);
    bench.presence(1, Presence::Failed);
    bench.run(24 * 3600 * SECOND);
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Up);
    assert!(
        status.doubt && status.reason.contains("failed by gossip for 24 h"),
        "{}",
        status.reason
    );
}

#[test]
fn what_failed_both_ways_comes_back_when_gossip_hears_of_it() {
    let mut bench = Bench::serving(2);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.presence(1, Presence::Failed);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    // Another answers at its address.
    bench.verdicts.clear();
    bench.run(600 * SECOND);
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Down);
    assert!(
        status.reason.contains("another may answer at its address"),
        "{}",
        status.reason
    );
    bench.presence(1, Presence::Present);
    assert_eq!(bench.state(1), ServerState::Up);
    let told = bench.told(EventKind::CheckUp);
    assert!(told.contains(&"back: heard of by gossip"), "{told:?}");
}

#[test]
fn where_nobody_else_serves_checks_that_pass_for_long_bring_it_back() {
    let mut bench = Bench::serving(1);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.presence(1, Presence::Failed);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.verdicts.clear();
    bench.run(20 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    // A failure begins the count anew.
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.run(10 * SECOND);
    bench.verdicts.clear();
    bench.run(29 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.run(5 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    let told = bench.told(EventKind::CheckUp);
    assert!(
        told.iter()
            .any(|t| t.starts_with("back: its check has passed for 30 s")),
        "{told:?}"
    );
}

#[test]
fn an_address_that_another_member_has_is_never_trusted() {
    let mut bench = Bench::serving(2);
    bench.presence(1, Presence::Failed);
    bench.presence(1, Presence::Claimed);
    assert_eq!(
        bench.state(1),
        ServerState::Down,
        "at once, though the check passes"
    );
    assert_eq!(bench.status(1).reason, "another member has its address");
    bench.verdicts.insert(name("s2"), CheckStatus::L4Con);
    bench.run(600 * SECOND);
    assert_eq!(bench.states(), [ServerState::Down; 2]);
    // The other is gone from there; what answers now answers for long.
    bench.presence(1, Presence::Failed);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.run(40 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn the_last_that_serves_is_not_put_out_by_hearsay() {
    let mut bench = Bench::serving(2);
    bench.verdicts.insert(name("s2"), CheckStatus::L4Con);
    bench.run(20 * SECOND);
    assert_eq!(bench.states(), [ServerState::Up, ServerState::Down]);
    for presence in [Presence::Suspect, Presence::Failed, Presence::Claimed] {
        bench.presence(1, presence);
        bench.run(SECOND);
        assert_eq!(bench.state(1), ServerState::Up, "{presence:?}");
    }
    let reason = bench.status(1).reason;
    assert!(
        reason.ends_with("yet it is the last that serves"),
        "{reason}"
    );
    // From here on another one serves.
    bench.verdicts.clear();
    bench.run(10 * SECOND);
    assert_eq!(bench.states(), [ServerState::Down, ServerState::Up]);
}

#[test]
fn a_failing_check_puts_the_last_one_out_by_itself() {
    let mut bench = Bench::serving(1);
    bench.presence(1, Presence::Claimed);
    assert_eq!(bench.state(1), ServerState::Up);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(3 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    assert!(bench.director.balancer().load().usable() == 0);
}

#[test]
fn a_hand_over_does_not_make_a_distrusted_server_trusted() {
    let mut bench = Bench::serving(2);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.presence(1, Presence::Failed);
    bench.run(SECOND);
    bench.verdicts.clear();
    bench.run(60 * SECOND);
    let left = bench.director.bequeath(bench.now);
    let up: Vec<_> = left.iter().map(|h| h.up).collect();
    assert_eq!(up, [Some(false), Some(true)]);
}

#[test]
fn failed_is_down_at_once_when_another_claims_the_address() {
    let mut bench = Bench::serving(2);
    bench.presence(1, Presence::Failed);
    let mut newcomer = server(3);
    newcomer.address = server(1).address;
    bench.set.push(newcomer);
    bench.apply();
    assert_eq!(bench.state(1), ServerState::Down);
    assert!(bench.status(1).reason.contains("taken over by s3"));
}

#[test]
fn a_cut_off_balancer_keeps_what_still_passes() {
    let mut bench = Bench::serving(5);
    for n in 1..=5 {
        bench.presence(n, Presence::Failed);
    }
    bench.verdicts.insert(name("s4"), CheckStatus::L4Tout);
    bench.run(600 * SECOND);
    let mut expected = [ServerState::Up; 5];
    expected[3] = ServerState::Down;
    assert_eq!(bench.states(), expected);
}

#[test]
fn one_that_gossip_holds_for_failed_goes_on_serving_in_another_process() {
    for (config, up_again) in [(DirectorConfig::default(), true), (off(), false)] {
        let mut bench = Bench::new(3, config.clone());
        bench.run(MS);
        bench.presence(1, Presence::Failed);
        bench.run(40 * SECOND);
        assert_eq!(bench.state(1), ServerState::Up);
        let mut heir = Bench::new(0, config);
        heir.director.inherit(bench.director.bequeath(bench.now));
        heir.set = bench.set.clone();
        heir.apply();
        heir.run(10 * SECOND);
        assert_eq!(heir.states(), [ServerState::Up; 3]);
        let reason = heir.status(1).reason;
        assert!(
            reason.starts_with("failed by gossip for 50.0 s"),
            "{reason}"
        );
        // Where nothing is checked, its minute goes on.
        heir.run(11 * SECOND);
        assert_eq!(heir.state(1) == ServerState::Up, up_again);
    }
}

#[test]
fn what_another_process_held_for_failed_and_down_stays_out() {
    let mut bench = Bench::serving(2);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.presence(1, Presence::Failed);
    bench.run(SECOND);
    let mut heir = Bench::new(0, DirectorConfig::default());
    heir.director.inherit(bench.director.bequeath(bench.now));
    heir.set = bench.set.clone();
    heir.apply();
    heir.run(40 * SECOND);
    assert_eq!(
        heir.states(),
        [ServerState::Down, ServerState::Up],
        "its check passes, but may be answered by another"
    );
}
