use super::*;

fn absolute(n: u64) -> WeightOrder {
    WeightOrder::Absolute(Weight::new(n).unwrap())
}

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
    bench.command(1, ServerAct::Weight(absolute(2))).unwrap();
    let ones = bench.round(6).iter().filter(|n| **n == 1).count();
    assert_eq!(ones, 4);
    bench
        .command(1, ServerAct::Weight(WeightOrder::Percent(50)))
        .unwrap();
    let ones = bench.round(6).iter().filter(|n| **n == 1).count();
    assert_eq!(ones, 2);
    bench.command(1, ServerAct::Weight(absolute(0))).unwrap();
    let status = bench.status(1);
    assert_eq!((status.state, status.weight), (ServerState::Draining, 0));
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

#[test]
fn weight_0_keeps_sticky_clients_and_the_next_weight_ends_it() {
    let mut bench = Bench::serving(2);
    let cookie = bench.status(1).cookie.expect("it is here");
    let cookie = cookie.as_str();
    for back in [WeightOrder::Percent(100), absolute(3)] {
        bench.command(1, ServerAct::Weight(absolute(0))).unwrap();
        assert_eq!(bench.round(2), [2, 2]);
        assert!(matches!(bench.sticky(cookie), StickyVerdict::Draining(0)));
        let status = bench.status(1);
        assert_eq!((status.uweight, status.admin), (0, AdminState::Ready));
        bench.command(1, ServerAct::Weight(back)).unwrap();
        assert_eq!(bench.state(1), ServerState::Up);
    }
}

#[test]
fn state_and_weight_do_not_touch_each_other() {
    let mut bench = Bench::serving(2);
    let weight = |bench: &mut Bench, order| bench.command(1, ServerAct::Weight(order)).unwrap();
    let state = |bench: &mut Bench, admin| bench.command(1, ServerAct::State(admin)).unwrap();
    state(&mut bench, AdminState::Maint);
    weight(&mut bench, absolute(0));
    assert_eq!(bench.state(1), ServerState::Maint);
    weight(&mut bench, absolute(5));
    assert_eq!(
        (bench.state(1), bench.status(1).uweight),
        (ServerState::Maint, 5)
    );
    weight(&mut bench, absolute(0));
    state(&mut bench, AdminState::Ready);
    assert_eq!(bench.state(1), ServerState::Draining);
    state(&mut bench, AdminState::Drain);
    weight(&mut bench, WeightOrder::Percent(100));
    assert_eq!(
        (bench.state(1), bench.status(1).weight),
        (ServerState::Draining, 1)
    );
    state(&mut bench, AdminState::Ready);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn weight_0_from_the_source_takes_no_new_clients() {
    let mut bench = Bench::serving(2);
    bench.set[0].weight = Weight::new(0).unwrap();
    bench.apply();
    assert_eq!(bench.round(3), [2, 2, 2]);
    let status = bench.status(1);
    assert_eq!((status.state, status.weight), (ServerState::Draining, 0));
    assert_eq!(status.reason, "weight 0 from source gossip");
    bench.command(1, ServerAct::Weight(absolute(2))).unwrap();
    assert_eq!(bench.state(1), ServerState::Up);
    bench
        .command(1, ServerAct::Weight(WeightOrder::Percent(50)))
        .unwrap();
    assert_eq!(bench.state(1), ServerState::Draining, "half of nothing");
}

#[test]
fn a_server_that_stands_in_at_its_old_address_obeys() {
    let mut bench = Bench::serving(1);
    bench.silent_checks.push(1);
    bench.set[0].address = ([10, 0, 9, 1], 3000).into();
    bench.apply();
    assert_eq!(bench.state(1), ServerState::Up);
    bench
        .command(1, ServerAct::State(AdminState::Drain))
        .unwrap();
    assert_eq!(bench.state(1), ServerState::Draining);
}

#[test]
fn an_order_outlives_the_server_until_it_is_taken_back() {
    let mut bench = Bench::serving(2);
    bench
        .command(1, ServerAct::State(AdminState::Maint))
        .unwrap();
    bench.command(1, ServerAct::Weight(absolute(0))).unwrap();
    let first = bench.set[0].clone();
    bench.vanish(1);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Left);
    let kept: Vec<String> = bench.kept();
    assert_eq!(kept, ["s1: maint, weight 0"]);
    bench.set.insert(0, first);
    bench.apply();
    bench.run(SECOND);
    let status = bench.status(1);
    assert_eq!((status.state, status.weight), (ServerState::Maint, 0));
    assert!(
        status.reason.contains("before it came"),
        "{}",
        status.reason
    );
    let told = bench.told(EventKind::Admin);
    let told = told.last().expect("it says so");
    assert!(told.contains("maint, weight 0"), "{told}");
    assert!(told.contains("`roundel ready nodes/s1`"), "{told}");
    assert!(bench.kept().is_empty());
    bench
        .command(1, ServerAct::State(AdminState::Ready))
        .unwrap();
    bench
        .command(1, ServerAct::Weight(WeightOrder::Percent(100)))
        .unwrap();
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn orders_of_a_server_that_is_away_can_be_changed_and_taken_back() {
    let mut bench = Bench::serving(2);
    bench
        .command(1, ServerAct::State(AdminState::Drain))
        .unwrap();
    bench.vanish(1);
    bench.run(SECOND);
    bench
        .command(1, ServerAct::State(AdminState::Maint))
        .unwrap();
    assert_eq!(bench.kept(), ["s1: maint"]);
    bench
        .command(1, ServerAct::State(AdminState::Ready))
        .unwrap();
    assert!(bench.kept().is_empty());
    let again = bench.command(1, ServerAct::State(AdminState::Maint));
    assert_eq!(again, Err(CommandError::NoSuchServer));
}

#[test]
fn orders_of_more_than_a_thousand_absent_servers_go_oldest_first() {
    let mut bench = Bench::serving(1);
    for n in 0..1_025 {
        let name = name(&format!("x{n}"));
        bench.director.keep(
            name,
            ServerOrders {
                state: AdminState::Maint,
                ..ServerOrders::default()
            },
        );
    }
    bench.drain();
    let kept = bench.kept();
    assert_eq!((kept.len(), kept[0].as_str()), (1_024, "x1: maint"));
    assert_eq!(bench.events.last().unwrap().server, Some(name("x0")));
    assert!(bench.told(EventKind::Admin)[0].starts_with("forgotten: maint"));
}

#[test]
fn another_director_takes_orders_over() {
    let mut bench = Bench::serving(2);
    bench
        .command(1, ServerAct::State(AdminState::Drain))
        .unwrap();
    bench.command(2, ServerAct::Maxconn(7)).unwrap();
    let mut heir = Bench::new(0, DirectorConfig::default());
    heir.director.inherit(bench.director.bequeath(bench.now));
    assert_eq!(heir.kept().len(), 2);
    heir.set = bench.set.clone();
    heir.apply();
    heir.run(SECOND);
    assert_eq!(heir.state(1), ServerState::Draining);
    assert_eq!(heir.status(2).live.limit(), 7);
    assert_eq!(heir.director.all_orders().len(), 2);
}

#[test]
fn checks_can_be_switched_off_and_health_set() {
    let mut bench = Bench::serving(2);
    bench.command(1, ServerAct::Checks(false)).unwrap();
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(20 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
    bench.command(1, ServerAct::Health(false)).unwrap();
    assert_eq!(bench.state(1), ServerState::Down);
    bench.verdicts.clear();
    bench.command(1, ServerAct::Checks(true)).unwrap();
    bench.run(20 * SECOND);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn checks_that_are_off_or_elsewhere_stay_so_in_another_process_and_after_absence() {
    let mut bench = Bench::serving(2);
    bench.command(1, ServerAct::Checks(false)).unwrap();
    bench.command(2, ServerAct::CheckPort(81)).unwrap();
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    let mut heir = Bench::new(0, DirectorConfig::default());
    heir.director.inherit(bench.director.bequeath(bench.now));
    for bench in [&mut bench, &mut heir] {
        bench.set.clear();
        bench.apply();
        bench.run(20 * SECOND);
        assert_eq!(bench.kept(), ["s1: checks off", "s2: checked at port 81"]);
        bench.set = vec![server(1), server(2)];
        bench.checks.clear();
        bench.silent_checks = vec![2];
        bench.apply();
        bench.run(20 * SECOND);
        assert_eq!(bench.state(1), ServerState::Up, "nobody checks it");
        assert!(bench.checks.iter().all(|(_, server)| *server == name("s2")));
        assert_eq!(bench.unanswered.last().unwrap().address.port(), 81);
        let told = bench.told(EventKind::Admin).join("; ");
        assert!(told.contains("`enable health nodes/s1` at"), "{told}");
    }
}

#[test]
fn another_check_port_is_shown_and_zero_ends_it() {
    let mut bench = Bench::serving(2);
    let order = |bench: &mut Bench, port| bench.command(2, ServerAct::CheckPort(port)).unwrap();
    order(&mut bench, 81);
    bench.run(SECOND);
    let status = bench.status(2);
    assert_eq!(status.reason, "checked at port 81 by operator");
    assert_eq!(status.check.unwrap().port, Some(81));
    bench.verdicts.insert(name("s2"), CheckStatus::L4Con);
    bench.run(20 * SECOND);
    let reason = bench.status(2).reason;
    let shown = reason.strip_suffix("; ordered by operator: checked at port 81");
    assert!(
        shown.is_some_and(|r| r.starts_with("check fails")),
        "{reason}"
    );
    order(&mut bench, 0);
    bench.verdicts.clear();
    bench.run(20 * SECOND);
    assert_eq!(bench.state(2), ServerState::Up);
    assert!(bench.director.all_orders().is_empty());
    bench.silent_checks = vec![2];
    bench.run(20 * SECOND);
    let own = server(2).address.port();
    assert_eq!(bench.unanswered.last().unwrap().address.port(), own);
}

#[test]
fn one_that_nobody_checks_serves_at_another_address_as_well() {
    let mut bench = Bench::serving(2);
    bench.command(1, ServerAct::Checks(false)).unwrap();
    bench.set[0].address = ([10, 0, 0, 99], 3000).into();
    bench.apply();
    assert_eq!(bench.state(1), ServerState::Up);
}
