use super::*;

#[test]
fn announced_takes_nothing_more_and_is_gone_when_idle() {
    let mut bench = Bench::serving(2);
    let held = bench.pick();
    let cookie = bench.status(1).cookie.expect("it is here");
    let cookie = cookie.as_str();
    assert!(matches!(bench.sticky(cookie), StickyVerdict::Valid(0)));
    bench.presence(1, Presence::Leaving);
    assert_eq!(bench.state(1), ServerState::Leaving);
    assert!(bench.told(EventKind::Leave)[0].contains("leave announced; 1 in flight"));
    assert!(matches!(bench.sticky(cookie), StickyVerdict::Leaving(0)));
    assert_eq!(bench.round(3), [2, 2, 2]);
    bench.run(2 * SECOND);
    assert_eq!(bench.state(1), ServerState::Leaving);
    drop(held);
    bench.run(60 * MS);
    assert_eq!(bench.state(1), ServerState::Left);
    assert!(bench.told(EventKind::Drained)[0].contains("drained in 2.0 s"));
    assert_eq!(bench.sticky(cookie), StickyVerdict::Unknown);
    bench.apply();
    assert_eq!(bench.state(1), ServerState::Left, "still listed as leaving");
}

#[test]
fn the_deadline_ends_the_wait() {
    let mut bench = Bench::serving(2);
    let held = bench.pick();
    bench.presence(1, Presence::Leaving);
    bench.run(8 * SECOND);
    assert_eq!(bench.state(1), ServerState::Left);
    assert!(bench.status(1).reason.contains("with 1 in flight"));
    drop(held);
    assert_eq!(bench.status(1).live.in_flight(), 0);
}

#[test]
fn a_server_that_vanishes_from_its_source_leaves_likewise() {
    let mut bench = Bench::serving(2);
    bench.vanish(1);
    assert_eq!(bench.state(1), ServerState::Leaving);
    bench.run(200 * MS);
    assert_eq!(bench.states(), [ServerState::Up, ServerState::Left]);
}

#[test]
fn one_that_dies_while_leaving_is_not_brought_back() {
    let mut bench = Bench::serving(2);
    let held = bench.pick();
    bench.presence(1, Presence::Leaving);
    bench.presence(1, Presence::Failed);
    assert_eq!(bench.state(1), ServerState::Leaving);
    drop(held);
    bench.run(SECOND);
    assert_eq!(bench.state(1), ServerState::Left);
}

#[test]
fn one_that_stays_after_all_is_checked_first() {
    let mut bench = Bench::serving(2);
    let _held = bench.pick();
    bench.presence(1, Presence::Leaving);
    bench.presence(1, Presence::Present);
    assert_eq!(bench.state(1), ServerState::Joining);
    bench.run(MS);
    assert_eq!(bench.state(1), ServerState::Up);
}

#[test]
fn a_row_is_kept_for_ten_minutes_and_then_forgotten() {
    let mut bench = Bench::serving(2);
    let id = bench.status(1).live.id;
    bench.vanish(1);
    bench.run(599 * SECOND);
    assert_eq!(bench.state(1), ServerState::Left);
    bench.run(2 * SECOND);
    assert_eq!(bench.states().len(), 1);
    bench.set.push(server(1));
    bench.apply();
    assert!(bench.status(1).live.id > id, "an id is never used again");
}

#[test]
fn one_that_comes_back_in_time_keeps_its_numbers() {
    let mut bench = Bench::serving(2);
    let live = bench.status(1).live;
    live.workers[0].requests.add(5);
    bench.vanish(1);
    bench.run(30 * SECOND);
    bench.set.insert(0, server(1));
    bench.apply();
    bench.run(MS);
    let status = bench.status(1);
    assert_eq!(status.state, ServerState::Up);
    assert!(Arc::ptr_eq(&live, &status.live));
    assert_eq!(bench.states().len(), 2, "no second row");
    assert!(bench.told(EventKind::Join)[0].starts_with("back through gossip"));
}

#[test]
fn at_most_1024_rows_are_kept() {
    let mut bench = Bench::new(0, off());
    for round in 0..6u8 {
        bench.set = (0..=255u8)
            .map(|n| Server {
                name: name(&format!("r{round}-{n}")),
                address: ([10, 1, round, n], 1).into(),
                ..server(1)
            })
            .collect();
        bench.apply();
        bench.set.clear();
        bench.apply();
        bench.run(SECOND);
    }
    assert_eq!(bench.states().len(), 1_024);
}
