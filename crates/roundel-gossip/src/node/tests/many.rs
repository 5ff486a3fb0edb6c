//! More members than are known at a time.

use super::*;

const LIMIT: usize = 40;

/// Knows `a`, `b` and itself, of which it has met both.
fn bench() -> Bench {
    Bench::configured(&["a", "b"], |c| c.limits.members = LIMIT)
}

/// Made-up members, all at addresses where nobody is.
fn crowd(count: usize) -> Vec<NodeState> {
    let member = |n: usize| {
        let address = SocketAddr::from(([10, 9, (n >> 8) as u8, n as u8], 7946));
        let record = NodeRecord::new(format!("m{n:03}"), address, Vec::new(), 1, Versions::SERF);
        NodeState {
            record: record.unwrap(),
            state: RecordState::Alive,
        }
    };
    (0..count).map(member).collect()
}

fn alone(name: &str, last: u8) -> NodeState {
    let address = SocketAddr::from(([10, 0, 7, last], 7946));
    let record = NodeRecord::new(name.to_owned(), address, Vec::new(), 1, Versions::SERF);
    NodeState {
        record: record.unwrap(),
        state: RecordState::Alive,
    }
}

/// A peer at this address tells us its state. Gives whom we ping then, with the numbers.
fn tell(bench: &mut Bench, from: SocketAddr, nodes: Vec<NodeState>) -> Vec<(String, u32)> {
    let id = bench.node.accept_stream(bench.now, from).unwrap();
    let message = StreamMessage::PushPull(PushPull {
        nodes,
        ..PushPull::default()
    });
    bench
        .node
        .handle_stream_bytes(bench.now, id, &message.encode());
    let pings = |(_, message)| match message {
        Message::Ping(ping) => Some((ping.node, ping.seq)),
        _ => None,
    };
    bench
        .drain()
        .messages
        .into_iter()
        .filter_map(pings)
        .collect()
}

/// Others say that a member is dead that has not answered when it was asked.
fn die(bench: &mut Bench, name: &str) {
    bench.node.contacts.lost(&name.into());
    bench.hear(&Message::Dead(accuse(name, 1, "b")));
}

fn answer(bench: &mut Bench, seq: u32) {
    bench.hear(&Message::Ack(crate::wire::Ack { seq, payload: None }));
}

/// A node comes in by itself, if it may.
fn arrive(bench: &mut Bench, name: &str, last: u8) -> bool {
    let from = SocketAddr::from(([10, 0, 7, last], 40000));
    for (asked, seq) in tell(bench, from, vec![alone(name, last)]) {
        if asked == name {
            answer(bench, seq);
        }
    }
    bench.status(name) == Some(Status::Alive)
}

#[test]
fn a_flood_takes_no_place_of_who_was_met() {
    let mut bench = bench();
    tell(&mut bench, at(2), crowd(200));
    assert_eq!(bench.node.members().count(), LIMIT);
    assert_eq!(bench.node.stats().members_refused, 200 - (LIMIT as u64 - 3));
    for name in ["me", "a", "b"] {
        assert!(bench.status(name).is_some(), "{name}");
    }
    // Whoever answers has a place, and keeps it in the next flood.
    assert!(arrive(&mut bench, "late", 1));
    assert_eq!(bench.node.members().count(), LIMIT);
    tell(&mut bench, at(3), crowd(200));
    assert_eq!(bench.status("late"), Some(Status::Alive));
    let places = (LIMIT - 4) as u8;
    let later = |n: u8| format!("later{n}");
    for n in 0..places {
        assert!(arrive(&mut bench, &later(n), 2 + n), "{n}");
    }
    assert!(!arrive(&mut bench, "last", 99), "all have been met");
    for name in ["a", "late", &later(0)] {
        assert_eq!(bench.status(name), Some(Status::Alive), "{name}");
    }
}

/// A flood of names is no flood of pings, and leaves some for others.
#[test]
fn few_newcomers_are_asked_at_a_time() {
    let mut bench = bench();
    let mut asked = tell(&mut bench, at(2), crowd(200));
    asked.retain(|(name, _)| bench.status(name).is_none());
    assert_eq!(asked.len(), 4);
    assert!(
        tell(&mut bench, at(3), crowd(200)).is_empty(),
        "the same address"
    );
    assert!(arrive(&mut bench, "late", 1));
    for last in 10..40 {
        tell(
            &mut bench,
            ([10, 0, 8, last], 7).into(),
            crowd(200).split_off(usize::from(last)),
        );
    }
    assert!(!arrive(&mut bench, "later", 2), "all places are taken");
    // Who does not answer has no place for long, and cannot answer afterwards.
    bench.pass(Duration::from_secs(1));
    assert!(arrive(&mut bench, "later", 2));
    let before = bench.node.members().count();
    answer(&mut bench, asked[0].1);
    assert_eq!(bench.status(&asked[0].0), None);
    assert_eq!(bench.node.members().count(), before);
}

#[test]
fn who_is_gone_makes_room_and_who_was_never_met_goes_first() {
    let mut bench = bench();
    tell(&mut bench, at(2), crowd(200));
    die(&mut bench, "a");
    die(&mut bench, "m007");
    bench.hear(&Message::Alive(alone("late", 1).record));
    bench.hear(&Message::Alive(alone("later", 2).record));
    assert_eq!(bench.status("m007"), None);
    assert_eq!(bench.status("late"), Some(Status::Alive));
    assert_eq!(bench.status("a"), None, "room for another needs its place");
    assert_eq!(bench.status("later"), Some(Status::Alive));
    assert_eq!(bench.node.members().count(), LIMIT);
}

#[test]
fn where_many_are_known_the_dead_who_were_never_met_are_forgotten_soon() {
    for (known, expected) in [(1, Some(Status::Failed)), (LIMIT, None)] {
        let mut bench = bench();
        tell(&mut bench, at(2), crowd(known));
        for name in ["a", "m000"] {
            die(&mut bench, name);
            assert_eq!(bench.status(name), Some(Status::Failed));
        }
        let timings = Timings::lan();
        bench.pass(timings.gossip_to_the_dead + timings.reap_interval);
        assert_eq!(bench.status("m000"), expected);
        assert_eq!(bench.status("a"), Some(Status::Failed));
    }
}

#[test]
fn an_answer_to_our_ping_is_how_we_meet() {
    let mut bench = bench();
    tell(&mut bench, at(2), crowd(1));
    let met = |bench: &Bench| bench.node.members.get("m000").unwrap().heard;
    assert!(!met(&bench));
    // All are probed within a round.
    for _ in 0..30 {
        let out = bench.pass(Duration::from_millis(100));
        for (_, message) in out.messages {
            if let Message::Ping(ping) = message {
                answer(&mut bench, ping.seq);
            }
        }
    }
    assert!(met(&bench));
}

/// What is still to be said of those who were erased for others does not pile up.
#[test]
fn nothing_is_said_any_more_of_who_was_erased() {
    let mut bench = bench();
    for round in 0..20 {
        for n in 0..LIMIT {
            let name = format!("r{round}n{n}");
            bench.hear(&Message::Alive(record(&name, 9, 1)));
            die(&mut bench, &name);
        }
    }
    assert!(bench.node.stats().members_refused > 0);
    assert!(bench.node.stats().queued <= LIMIT);
}

/// Knows `a` and `b`, and may know few whom it has not met.
fn wary() -> Bench {
    Bench::configured(&["a", "b"], |c| c.limits.unmet = 10)
}

/// Lets time pass, in which those whose names begin with `who` answer pings. Gives who was pinged.
fn answering(bench: &mut Bench, who: &str, seconds: u64) -> Vec<String> {
    let mut pinged = Vec::new();
    for _ in 0..seconds * 20 {
        for (_, message) in bench.pass(Duration::from_millis(50)).messages {
            if let Message::Ping(ping) = message {
                if ping.node.starts_with(who) {
                    answer(bench, ping.seq);
                }
                pinged.push(ping.node);
            }
        }
    }
    pinged
}

#[test]
fn a_crowd_that_nobody_is_is_forgotten_soon() {
    let mut bench = wary();
    tell(&mut bench, at(2), crowd(200));
    assert_eq!(bench.node.members().count(), 203);
    let pinged = answering(&mut bench, "m01", 10);
    // Those who answer.
    let left: Vec<_> = bench.node.members().map(|m| m.name.clone()).collect();
    assert_eq!(left.len(), 3 + 10, "{left:?}");
    for n in 10..20 {
        assert!(left.contains(&format!("m0{n}")), "{left:?}");
    }
    for name in ["me", "a", "b"] {
        assert!(bench.status(name).is_some(), "{name}");
    }
    let times = |name: &str| pinged.iter().filter(|n| *n == name).count();
    assert!(times("m150") <= 4, "no flood of pings: {}", times("m150"));
    let stats = bench.node.stats();
    assert_eq!(stats.members_refused as usize, 203 - left.len());
}

/// Peers that still hold the crowd do not bring it back.
#[test]
fn who_was_forgotten_comes_back_by_an_answer() {
    let mut bench = wary();
    tell(&mut bench, at(2), crowd(200));
    answering(&mut bench, "nobody", 10);
    let known = bench.node.members().count();
    assert_eq!(known, 3);
    let lost = crowd(1).remove(0);
    let name = lost.record.name().to_owned();
    let asked = tell(&mut bench, at(2), crowd(200));
    assert!(
        bench.node.members().count() == known,
        "hearsay is not enough"
    );
    assert!(!asked.is_empty());
    answering(&mut bench, "nobody", 2);
    let asked = tell(&mut bench, at(2), vec![lost.clone()]);
    assert_eq!(bench.status(&name), None);
    answer(&mut bench, asked[0].1);
    assert_eq!(bench.status(&name), Some(Status::Alive), "it answered");
    // And by its own word.
    bench.node.forget(bench.now, &name.as_str().into());
    bench.node.unmet.remove(&name);
    let from = SocketAddr::new(lost.record.address().ip(), 40_000);
    tell(&mut bench, from, vec![lost]);
    assert_eq!(
        bench.status(&name),
        Some(Status::Alive),
        "it said so itself"
    );
}

/// In a cluster where a few are new nobody is pinged out of turn.
#[test]
fn few_who_were_not_met_wait_for_their_probe() {
    let mut bench = wary();
    tell(&mut bench, at(2), crowd(10));
    let pinged = answering(&mut bench, "nobody", 3);
    assert!(pinged.len() <= 4 + 10, "{pinged:?}");
    assert_eq!(bench.node.members().count(), 13);
}

/// Who was there before this node began anew is looked at as well.
#[test]
fn a_crowd_does_not_outlive_the_node() {
    let mut bench = wary();
    tell(&mut bench, at(2), crowd(200));
    bench.node.restart(bench.now).unwrap();
    assert_eq!(bench.node.members().count(), 203);
    answering(&mut bench, "nobody", 10);
    assert_eq!(bench.node.members().count(), 3);
}
