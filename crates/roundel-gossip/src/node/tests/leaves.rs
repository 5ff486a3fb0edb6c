//! Leaves: those of others, and ours.

use super::*;

#[test]
fn a_leave_is_announced_passed_on_and_not_a_failure() {
    let mut bench = Bench::with(&["a", "b"]);
    let intent = leave_intent("b", 60);
    let out = bench.hear(&intent);
    assert!(matches!(&out.events[..], [Event::Leaving(m)] if m.name == "b"));
    assert!(out.messages.iter().any(|(_, m)| *m == intent), "unchanged");
    assert!(bench.hear(&intent).messages.is_empty(), "news only once");
    // The death may be somebody else's finding; it stays a leave.
    let out = bench.hear(&Message::Dead(accuse("b", 1, "a")));
    assert!(matches!(&out.events[..], [Event::Leave(_)]));
    // A later intent about it is remembered, so that it does not echo for ever.
    bench.pass(Duration::from_millis(20));
    let second = leave_intent("b", 61);
    assert!(!bench.hear(&second).messages.is_empty());
    bench.pass(Duration::from_secs(3));
    assert!(bench.hear(&second).messages.is_empty());
}

#[test]
fn a_join_intent_takes_a_leave_back() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.hear(&leave_intent("b", 60));
    bench.hear(&join_intent("b", 60));
    assert_eq!(bench.status("b"), Some(Status::Leaving));
    bench.hear(&join_intent("b", 61));
    assert_eq!(bench.status("b"), Some(Status::Alive));
}

#[test]
fn an_intent_may_come_before_its_member() {
    let mut bench = Bench::with(&["a"]);
    bench.hear(&leave_intent("late", 60));
    let out = bench.hear(&Message::Alive(record("late", 9, 1)));
    assert!(matches!(
        &out.events[..],
        [Event::Join(_), Event::Leaving(_)]
    ));
    for i in 0..10 {
        bench.hear(&leave_intent(&format!("unknown-{i}"), 60));
    }
    assert_eq!(bench.node.intents.len(), 3, "bounded");
}

#[test]
fn a_leave_intent_about_us_is_contradicted() {
    let mut bench = Bench::with(&["a"]);
    let out = bench.hear(&leave_intent("me", 60));
    let said = out.serf();
    let [SerfMessage::Join(join)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((join.node.as_str(), join.ltime), ("me", 61));
    assert_eq!(bench.status("me"), Some(Status::Alive));

    // As old as our last word: neither is the newer one, so there has to be another.
    while bench.node.stats().queued > 0 {
        bench.pass(Duration::from_millis(200));
    }
    let said = bench.hear(&leave_intent("me", 61)).serf();
    let [SerfMessage::Join(join)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((join.node.as_str(), join.ltime), ("me", 62));

    // Older: who says so has not heard of it.
    while bench.node.stats().queued > 0 {
        bench.pass(Duration::from_millis(200));
    }
    let out = bench.hear_from(2, &leave_intent("me", 40));
    assert_eq!(out.messages, [(at(2), join_intent("me", 62))]);
}

#[test]
fn a_leave_that_a_state_exchange_overtook_is_still_a_leave() {
    let mut bench = Bench::with(&["a", "b"]);
    // An agent tells the time of the leave without the leave.
    let state = PushPullState {
        ltime: 61,
        status_ltimes: vec![("b".to_owned(), 60)],
        ..PushPullState::default()
    };
    bench.exchange(Vec::new(), state);
    assert_eq!(bench.status("b"), Some(Status::Alive));
    let out = bench.hear(&leave_intent("b", 60));
    assert!(matches!(&out.events[..], [Event::Leaving(_)]));
}

#[test]
fn a_leave_of_a_former_life_is_not_believed() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.hear(&Message::Alive(record("b", 3, 7)));
    let state = || PushPullState {
        left_members: vec!["b".to_owned()],
        status_ltimes: vec![("b".to_owned(), 60)],
        ..PushPullState::default()
    };
    let node = |state, incarnation| NodeState {
        record: record("b", 3, incarnation),
        state,
    };
    bench.exchange(vec![node(RecordState::Left, 6)], state());
    assert_eq!(
        bench.status("b"),
        Some(Status::Alive),
        "it has come back since"
    );
    bench.exchange(vec![node(RecordState::Alive, 7)], state());
    assert_eq!(
        bench.status("b"),
        Some(Status::Leaving),
        "as we tell it ourselves"
    );
}

#[test]
fn we_tell_a_leaving_member_as_left_with_a_time_one_lower() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.hear(&leave_intent("b", 60));
    let (_, said) = bench.exchange(Vec::new(), PushPullState::default());
    let Ok(SerfMessage::PushPull(state)) = SerfMessage::decode(&said.user_state) else {
        panic!("no Serf state");
    };
    assert_eq!(state.left_members, ["b"]);
    assert!(state.status_ltimes.contains(&("b".to_owned(), 59)));
    assert!(state.ltime > 60);
    let names: Vec<_> = said.nodes.iter().map(|n| n.record.name()).collect();
    assert_eq!(names, ["a", "b", "me"]);
}

#[test]
fn our_leave_says_it_directly_and_goes_on_answering() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.node.leave(bench.now);
    let out = bench.drain();
    for port in [2, 3] {
        let told = out.to(port);
        assert!(matches!(told[..], [Message::User(_), ..]), "{told:?}");
    }
    let out = bench.pass(Duration::from_millis(400));
    let death = Message::Dead(accuse("me", 100, "me"));
    for port in [2, 3] {
        assert!(out.to(port).contains(&&death));
    }
    assert!(out.events.contains(&Event::Departed));
    assert_eq!(bench.status("me"), Some(Status::Left));
    let ping = Ping {
        node: "me".to_owned(),
        seq: 1,
        source: Source::default(),
    };
    let answer = bench.hear(&Message::Ping(ping));
    assert!(matches!(answer.to(2)[..], [Message::Ack(_), ..]));
    bench.pass(Duration::from_secs(1));
    // Nothing is contradicted any more, and nobody is accused.
    assert!(
        bench
            .hear(&Message::Dead(accuse("me", 100, "a")))
            .messages
            .is_empty()
    );
    let later = bench.pass(Duration::from_secs(10));
    assert!(
        !later
            .messages
            .iter()
            .any(|(_, m)| matches!(m, Message::Ping(_)))
    );
    bench.node.join(bench.now, &[at(2)]);
    assert!(matches!(
        &bench.drain().events[..],
        [Event::JoinFailed { .. }]
    ));
}

#[test]
fn a_leave_alone_is_over_at_once() {
    let mut bench = Bench::with(&[]);
    bench.node.leave(bench.now);
    let out = bench.pass(Duration::from_millis(1));
    assert!(out.events.contains(&Event::Departed));
}

#[test]
fn a_failed_member_that_is_pruned_is_gone_at_once() {
    let mut bench = Bench::with(&["a", "b", "c"]);
    bench.hear(&Message::Dead(accuse("b", 1, "a")));
    assert_eq!(bench.status("b"), Some(Status::Failed));
    let prune = |node: &str, ltime| {
        let node = node.to_owned();
        let intent = LeaveIntent {
            ltime,
            node,
            prune: true,
        };
        Message::User(SerfMessage::Leave(intent).encode())
    };
    let out = bench.hear(&prune("b", 60));
    let kinds = |e: &Event| matches!(e, Event::Leave(m) | Event::Reap(m) if m.name == "b");
    assert_eq!(out.events.iter().filter(|e| kinds(e)).count(), 2);
    assert_eq!(bench.status("b"), None);
    let out = bench.pass(Duration::from_millis(400));
    assert!(
        out.messages
            .iter()
            .any(|(_, message)| *message == prune("b", 60))
    );
    // One that lives leaves first.
    bench.hear(&prune("c", 61));
    assert_eq!(bench.status("c"), Some(Status::Leaving));
    bench.hear(&Message::Dead(accuse("c", 1, "c")));
    bench.pass(Timings::lan().reap_interval);
    assert_eq!(bench.status("c"), None);
    // Our own record is never erased.
    bench.node.leave(bench.now);
    bench.pass(Duration::from_secs(10));
    bench.hear(&prune("me", 1_000));
    assert_eq!(bench.status("me"), Some(Status::Left));
}
