use super::*;

#[test]
fn refused_puts_it_down_at_once_when_another_serves() {
    let mut bench = Bench::serving(2);
    bench.run(500 * MS);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.checks.clear();
    bench.evidence(1, EvidenceKind::Refused);
    assert_eq!(bench.state(1), ServerState::Down);
    assert!(bench.told(EventKind::CheckDown)[0].starts_with("down: connection refused; 0 in"));
    bench.run(MS);
    assert_eq!(bench.checks.len(), 1, "checked at once");
    bench.verdicts.clear();
    bench.run(3 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up, "back after rise passes");
}

#[test]
fn refused_by_the_only_server_is_left_to_the_check() {
    let mut bench = Bench::serving(1);
    bench.run(500 * MS);
    bench.checks.clear();
    bench.evidence(1, EvidenceKind::Refused);
    assert_eq!(bench.state(1), ServerState::Up);
    bench.run(MS);
    assert_eq!((bench.checks.len(), bench.state(1)), (1, ServerState::Up));
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.evidence(1, EvidenceKind::Refused);
    bench.run(60 * MS);
    assert_eq!(bench.state(1), ServerState::Down, "the check fails too");
}

#[test]
fn without_checks_refused_changes_nothing() {
    let mut bench = Bench::new(2, off());
    bench.evidence(1, EvidenceKind::Refused);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn an_unanswered_connect_leads_to_a_check_that_decides() {
    for kind in [EvidenceKind::ConnectTimeout, EvidenceKind::Unreachable] {
        let mut bench = Bench::serving(2);
        bench.run(500 * MS);
        bench.evidence(1, kind);
        bench.run(MS);
        assert_eq!(bench.state(1), ServerState::Up);
        bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
        bench.run(60 * MS);
        bench.evidence(1, kind);
        bench.run(60 * MS);
        assert_eq!(bench.state(1), ServerState::Down);
    }
}

#[test]
fn evidence_about_an_address_it_no_longer_has_is_ignored() {
    let mut bench = Bench::serving(2);
    let evidence = Evidence {
        backend: name("nodes"),
        server: bench.status(1).live.id,
        address: ([10, 9, 9, 9], 1).into(),
        kind: EvidenceKind::Refused,
    };
    bench.director.handle_evidence(bench.now, &evidence);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn a_flood_of_evidence_does_not_flood_the_server_with_checks() {
    let mut bench = Bench::serving(1);
    bench.checks.clear();
    for _ in 0..1_000 {
        bench.evidence(1, EvidenceKind::ConnectTimeout);
        bench.run(MS);
    }
    assert!(bench.checks.len() <= 21, "{}", bench.checks.len());
}

#[test]
fn a_connect_still_unanswered_brings_the_checks_forward() {
    let mut bench = Bench::serving(2);
    bench.run(500 * MS);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.checks.clear();
    bench.evidence(1, EvidenceKind::Unanswered);
    bench.run(MS);
    assert_eq!(bench.checks.len(), 1, "at once");
    assert_eq!(
        bench.state(1),
        ServerState::Up,
        "one failure does not decide"
    );
    bench.run(2_300 * MS);
    assert_eq!(bench.state(1), ServerState::Down, "three at a fast pace do");
}

#[test]
fn a_host_of_which_nothing_is_heard_is_down_at_once_unless_it_is_the_last() {
    let mut bench = Bench::serving(2);
    bench.run(500 * MS);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Tout);
    bench.verdicts.insert(name("s2"), CheckStatus::L4Tout);
    bench.evidence(1, EvidenceKind::Unheard);
    assert_eq!(bench.state(1), ServerState::Down);
    let reason = bench.status(1).reason.clone();
    assert!(reason.contains("gossip silent"), "{reason}");
    bench.evidence(2, EvidenceKind::Unheard);
    assert_eq!(bench.state(2), ServerState::Up, "nobody else is left");
}

#[test]
fn once_it_is_decided_a_refusal_is_forgotten() {
    let mut bench = Bench::serving(2);
    let live = bench.status(1).live.clone();
    for (n, state) in [(1, ServerState::Down), (2, ServerState::Up)] {
        bench
            .verdicts
            .insert(name(&format!("s{n}")), CheckStatus::L4Con);
        let live = bench.status(n).live.clone();
        live.note_refused();
        bench.evidence(n, EvidenceKind::Refused);
        assert_eq!((bench.state(n), live.is_refused()), (state, false));
    }
    let mut unchecked = Bench::new(1, off());
    unchecked.status(1).live.note_refused();
    unchecked.evidence(1, EvidenceKind::Refused);
    assert!(!unchecked.status(1).live.is_refused());
    // Evidence that comes too late for its server to be known.
    live.note_refused();
    bench.verdicts.clear();
    bench.run(SECOND);
    assert_eq!(
        (bench.state(1), live.is_refused()),
        (ServerState::Up, false)
    );
}

#[test]
fn the_last_server_is_missed_from_the_moment_it_went() {
    let mut bench = Bench::serving(1);
    let balancer = Arc::clone(bench.director.balancer());
    assert_eq!(balancer.lost_for(bench.now), Some(Duration::ZERO));
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.evidence(1, EvidenceKind::Refused);
    bench.run(60 * MS);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.checks.clear();
    bench.run(SECOND);
    assert!(balancer.lost_for(bench.now) >= Some(SECOND));
    let checks = bench.checks.len();
    assert!((17..=23).contains(&checks), "every 50 ms: {checks}");
    bench.run(10 * SECOND);
    bench.checks.clear();
    bench.run(SECOND);
    let checks = bench.checks.len();
    assert!((3..=6).contains(&checks), "every / 8 by now: {checks}");
    let _waiting = balancer.wait(crate::Want {
        hold: true,
        ..Default::default()
    });
    bench.run(SECOND);
    bench.checks.clear();
    bench.run(SECOND);
    let checks = bench.checks.len();
    assert!((17..=23).contains(&checks), "somebody waits: {checks}");
    bench.verdicts.clear();
    bench.run(60 * MS);
    assert_eq!(balancer.lost_for(bench.now), Some(Duration::ZERO));
    let never = Bench::new(1, off());
    let balancer = never.director.balancer();
    assert_eq!(balancer.lost_for(never.now), None, "nothing was checked");
}

#[test]
fn whatever_takes_the_last_server_out_is_a_loss() {
    let leave = |bench: &mut Bench| bench.presence(1, Presence::Leaving);
    let vanish = |bench: &mut Bench| bench.vanish(1);
    let drain = |bench: &mut Bench| {
        let act = ServerAct::State(AdminState::Drain);
        bench.command(1, act).unwrap();
    };
    for lose in [leave as fn(&mut Bench), vanish, drain] {
        let mut bench = Bench::serving(1);
        bench.run(SECOND);
        lose(&mut bench);
        let later = bench.now + SECOND;
        let lost = bench.director.balancer().lost_for(later);
        assert!(lost >= Some(SECOND) && lost < Some(2 * SECOND), "{lost:?}");
    }
}
