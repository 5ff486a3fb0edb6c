use super::*;

#[test]
fn a_drained_server_keeps_its_sticky_clients_only() {
    let mut bench = Bench::serving(2);
    let cookie = bench.status(1).cookie.expect("it is here");
    let cookie = cookie.as_str();
    bench
        .command(1, ServerAct::State(AdminState::Drain))
        .unwrap();
    assert_eq!(bench.state(1), ServerState::Draining);
    assert_eq!(bench.round(2), [2, 2]);
    assert!(matches!(bench.sticky(cookie), StickyVerdict::Draining(0)));
    bench
        .command(1, ServerAct::State(AdminState::Maint))
        .unwrap();
    assert!(matches!(bench.sticky(cookie), StickyVerdict::Down(0)));
    bench
        .command(1, ServerAct::State(AdminState::Ready))
        .unwrap();
    assert_eq!(bench.state(1), ServerState::Up);
    assert_eq!(bench.told(EventKind::Admin).len(), 3);
}

#[test]
fn ready_does_not_outvote_the_check() {
    let mut bench = Bench::serving(2);
    bench
        .command(1, ServerAct::State(AdminState::Maint))
        .unwrap();
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Maint);
    bench
        .command(1, ServerAct::State(AdminState::Ready))
        .unwrap();
    assert_eq!(bench.state(1), ServerState::Down);
}

#[test]
fn weights_change_shares_and_zero_drains() {
    let mut bench = Bench::serving(2);
    bench
        .command(1, ServerAct::Weight(WeightOrder::Absolute(2)))
        .unwrap();
    let ones = bench.round(6).iter().filter(|n| **n == 1).count();
    assert_eq!(ones, 4);
    bench
        .command(1, ServerAct::Weight(WeightOrder::Percent(50)))
        .unwrap();
    let ones = bench.round(6).iter().filter(|n| **n == 1).count();
    assert_eq!(ones, 2);
    bench
        .command(1, ServerAct::Weight(WeightOrder::Absolute(0)))
        .unwrap();
    let status = bench.status(1);
    assert_eq!((status.state, status.weight), (ServerState::Draining, 0));
    let refused = bench.command(1, ServerAct::Weight(WeightOrder::Absolute(300)));
    assert_eq!(refused, Err(CommandError::AbsoluteWeight));
    let unknown = bench.command(9, ServerAct::State(AdminState::Drain));
    assert_eq!(unknown, Err(CommandError::NoSuchServer));
}

#[test]
fn a_weight_from_the_source_is_followed() {
    let mut bench = Bench::serving(2);
    bench.set[0].weight = Weight::new(3).unwrap();
    bench.apply();
    assert_eq!(bench.told(EventKind::Weight), ["weight 1 → 3 by gossip"]);
    assert_eq!(bench.round(8).iter().filter(|n| **n == 1).count(), 6);
}
