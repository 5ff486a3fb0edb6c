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
fn failed_is_down_at_once_without_checks_and_back_when_alive() {
    let mut bench = Bench::new(2, off());
    bench.presence(1, Presence::Failed);
    assert_eq!(bench.state(1), ServerState::Down);
    assert_eq!(bench.told(EventKind::Failed).len(), 2);
    bench.presence(1, Presence::Present);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn failed_with_a_passing_check_is_down_after_a_minute() {
    let mut bench = Bench::serving(3);
    bench.presence(1, Presence::Failed);
    bench.run(59 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    bench.run(2 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    assert!(
        bench
            .status(1)
            .reason
            .contains("failed by gossip for 1 min")
    );
    bench.run(30 * SECOND);
    assert_eq!(
        bench.state(1),
        ServerState::Down,
        "its check cannot clear it"
    );
    bench.presence(1, Presence::Present);
    assert_eq!(bench.state(1), ServerState::Up);
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
