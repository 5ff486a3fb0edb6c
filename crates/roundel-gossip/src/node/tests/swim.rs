//! Probing, suspicion, deaths, and whom we watch.

use super::*;

#[test]
fn pings_for_us_are_answered_without_a_payload() {
    let mut bench = Bench::with(&["a"]);
    let ping = |node: &str, source: Option<SocketAddr>| {
        Message::Ping(Ping {
            node: node.to_owned(),
            seq: 7,
            source: Source {
                address: source,
                node: String::new(),
            },
        })
    };
    for (node, source, port) in [("me", None, 2), ("", None, 2), ("me", Some(at(9)), 9)] {
        let out = bench.hear(&ping(node, source));
        let [Message::Ack(ack)] = out.to(port)[..] else {
            panic!("{:?}", out.messages);
        };
        assert_eq!((ack.seq, &ack.payload), (7, &None));
    }
    assert!(bench.hear(&ping("other", None)).messages.is_empty());
}

#[test]
fn whoever_pings_us_and_is_not_known_to_live_is_asked_for_its_state() {
    let mut bench = Bench::with(&["a", "b", "c"]);
    bench.hear(&Message::Dead(accuse("b", 1, "a")));
    bench.hear(&Message::Dead(accuse("c", 1, "c")));
    let ping = |from: &str, port| {
        Message::Ping(Ping {
            node: "me".to_owned(),
            seq: 7,
            source: Source {
                address: Some(at(port)),
                node: from.to_owned(),
            },
        })
    };
    for (name, port, asked) in [
        ("a", 2, false),
        ("b", 3, true),
        ("c", 4, false),
        ("x", 9, true),
    ] {
        let out = bench.hear(&ping(name, port));
        assert_eq!(out.opened.contains(&at(port)), asked, "{name}");
        // Not too many at once.
        assert!(bench.hear(&ping("y", 10)).opened.is_empty() || !asked);
        bench.pass(Duration::from_secs(2));
    }
}

#[test]
fn we_ping_for_others_and_tell_when_nobody_answers() {
    let mut bench = Bench::with(&["a", "b"]);
    let ask = Message::IndirectPing(IndirectPing {
        node: "b".to_owned(),
        target: at(3),
        seq: 70,
        nack: true,
        source: Source::default(),
    });
    let out = bench.hear(&ask);
    let [Message::Ping(forwarded)] = out.to(3)[..] else {
        panic!("{:?}", out.messages);
    };
    let ack = |seq| Message::Ack(crate::wire::Ack { seq, payload: None });
    let answer = bench.hear(&ack(forwarded.seq));
    assert_eq!(answer.to(2), [&ack(70)]);

    bench.hear(&ask);
    let later = bench.pass(Duration::from_millis(501));
    let nack = Message::Nack(crate::wire::Nack { seq: 70 });
    assert!(later.to(2).contains(&&nack), "{:?}", later.messages);
}

#[test]
fn a_suspicion_about_us_is_refuted_at_once() {
    let mut bench = Bench::with(&["a"]);
    let out = bench.hear(&Message::Suspect(accuse("me", 100, "a")));
    let [Message::Alive(alive)] = out.to(2)[..] else {
        panic!("{:?}", out.messages);
    };
    assert_eq!((alive.name(), alive.incarnation()), ("me", 101));
    assert_eq!(bench.node.stats().awareness, 1);
    bench.pass(Duration::from_millis(20));
    let out = bench.hear(&Message::Dead(accuse("me", 500, "a")));
    let [Message::Alive(alive)] = out.to(2)[..] else {
        panic!("{:?}", out.messages);
    };
    assert_eq!(alive.incarnation(), 501);
    assert!(
        bench
            .hear(&Message::Suspect(accuse("me", 3, "a")))
            .messages
            .is_empty()
    );
}

#[test]
fn a_death_by_others_is_a_failure_and_by_its_own_word_a_leave() {
    let mut bench = Bench::with(&["a", "b", "c"]);
    let out = bench.hear(&Message::Dead(accuse("b", 1, "a")));
    assert!(matches!(&out.events[..], [Event::Failed(m)] if m.name == "b"));
    let out = bench.hear(&Message::Dead(accuse("c", 1, "c")));
    assert!(matches!(&out.events[..], [Event::Leave(m)] if m.name == "c"));
    // An operator elsewhere declares the failed one gone for good.
    let out = bench.hear(&leave_intent("b", 60));
    assert!(matches!(&out.events[..], [Event::Leave(m)] if m.name == "b"));
}

#[test]
fn old_or_unknown_accusations_change_nothing() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.hear(&Message::Alive(record("b", 3, 5)));
    bench.pass(Duration::from_secs(3));
    for old in [
        Message::Suspect(accuse("b", 4, "a")),
        Message::Dead(accuse("b", 4, "a")),
        Message::Dead(accuse("nobody", 9, "a")),
        Message::Suspect(accuse("nobody", 9, "a")),
        Message::Alive(record("b", 3, 5)),
    ] {
        let out = bench.hear(&old);
        assert!(out.events.is_empty() && out.messages.is_empty(), "{old:?}");
    }
}

#[test]
fn a_suspect_that_does_not_refute_fails_in_time() {
    let mut bench = Bench::with(&["a", "b"]);
    let out = bench.hear(&Message::Suspect(accuse("b", 1, "a")));
    assert!(
        matches!(&out.events[..], [Event::Suspect { name, from }] if name == "b" && from == "a")
    );
    let mut refuted = bench.hear(&Message::Alive(record("b", 3, 2))).events;
    assert!(matches!(refuted.pop(), Some(Event::Refuted { name }) if name == "b"));
    bench.hear(&Message::Suspect(accuse("b", 2, "a")));
    // Three known members: the shortest suspicion, 4 seconds.
    assert!(!has_failed(&bench.pass(Duration::from_millis(3999)), "b"));
    assert!(has_failed(&bench.pass(Duration::from_millis(2)), "b"));
}

fn has_failed(out: &Out, name: &str) -> bool {
    let failed = |e: &Event| matches!(e, Event::Failed(m) if m.name == name);
    out.events.iter().any(failed)
}

#[test]
fn a_probe_tries_others_and_then_suspects() {
    let mut bench = Bench::with(&["a", "b", "c"]);
    let out = bench.pass(Duration::from_millis(2600));
    let kinds = |want: fn(&Message) -> bool| out.messages.iter().filter(|(_, m)| want(m)).count();
    assert!(kinds(|m| matches!(m, Message::Ping(_))) >= 2);
    assert!(kinds(|m| matches!(m, Message::IndirectPing(_))) >= 2);
    assert!(
        out.events
            .iter()
            .any(|e| matches!(e, Event::Suspect { from, .. } if from == "me"))
    );
    let stats = bench.node.stats();
    assert!(stats.awareness > 0, "no nack came, so we doubt ourselves");
}

#[test]
fn what_no_agent_says_is_neither_believed_nor_passed_on() {
    let mut bench = Bench::with(&["a"]);
    let dropped = |reason| Event::Dropped {
        from: at(2),
        reason,
    };
    let out = bench.hear(&Message::Alive(record("<script>", 9, 1)));
    assert_eq!(out.events, [dropped(DropReason::Name)]);
    let out = bench.hear(&Message::Alive(record("<other>", 9, 1)));
    assert!(out.events.is_empty(), "told once for each peer");
    assert!(bench.hear(&leave_intent("a b", 60)).messages.is_empty());
    let out = bench.hear(&Message::Alive(record("portless", 0, 1)));
    assert_eq!(out.events, [dropped(DropReason::Address)]);
    let out = bench.hear(&leave_intent("x", u64::MAX));
    assert_eq!(out.events, [dropped(DropReason::Time)]);
    assert_eq!(bench.node.members().count(), 2);
    let stats = bench.node.stats();
    assert_eq!(stats.dropped[&DropReason::Name], 3);
}

#[test]
fn a_death_told_in_an_exchange_can_be_refuted() {
    let mut bench = Bench::with(&["a", "b"]);
    let dead = NodeState {
        record: record("b", 3, 1),
        state: RecordState::Dead,
    };
    let (out, _) = bench.exchange(vec![dead], PushPullState::default());
    assert!(matches!(&out.events[..], [Event::Suspect { name, .. }] if name == "b"));
    bench.hear(&Message::Alive(record("b", 3, 2)));
    assert_eq!(bench.status("b"), Some(Status::Alive));
    assert!(!bench.node.member("b").unwrap().suspect);
}

#[test]
fn watched_members_fall_silent_and_are_heard_again() {
    let mut bench = Bench::with(&["a"]);
    bench.node.watch(bench.now, "a", true);
    let out = bench.pass(Duration::from_millis(1));
    let [Message::Ping(ping)] = out.to(2)[..] else {
        panic!("{:?}", out.messages);
    };
    let ack = |seq| Message::Ack(crate::wire::Ack { seq, payload: None });
    let out = bench.hear(&ack(ping.seq));
    assert!(matches!(&out.events[..], [Event::Heard { name, .. }] if name == "a"));
    let silent = Event::Silent {
        name: "a".to_owned(),
    };
    // The ping after 250 ms is missed at 500 ms, the one then is given 150 ms.
    let out = bench.pass(Duration::from_millis(600));
    assert!(!out.events.contains(&silent));
    let out = bench.pass(Duration::from_millis(100));
    assert!(out.events.contains(&silent));
    let out = bench.pass(Duration::from_millis(600));
    assert!(!out.events.contains(&silent), "told once");
    let last = out
        .to(2)
        .into_iter()
        .rev()
        .find_map(|message| match message {
            Message::Ping(ping) => Some(ping.seq),
            _ => None,
        });
    let out = bench.hear(&ack(last.unwrap()));
    assert!(matches!(&out.events[..], [Event::Heard { .. }]));
    bench.node.watch(bench.now, "a", false);
    let before = bench.node.stats().watch_pings;
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.node.stats().watch_pings, before);
}

#[test]
fn the_dead_are_forgotten_in_the_end() {
    let mut bench = Bench::with(&["a"]);
    bench.hear(&Message::Dead(accuse("a", 1, "a")));
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.node.known, 1);
    assert_eq!(bench.status("a"), Some(Status::Left));
    // Any incarnation is believed after that.
    bench.hear(&Message::Alive(record("a", 2, 1)));
    assert_eq!(bench.status("a"), Some(Status::Alive));
    bench.hear(&Message::Dead(accuse("a", 1, "a")));
    let out = bench.pass(Duration::from_secs(25 * 3600));
    assert!(
        out.events
            .iter()
            .any(|e| matches!(e, Event::Reap(m) if m.name == "a"))
    );
    assert_eq!(bench.status("a"), None);
}

#[test]
fn members_of_whom_only_tcp_is_heard_are_told_of_once() {
    let mut bench = Bench::with(&["a", "b"]);
    let a: std::sync::Arc<str> = "a".into();
    let b: std::sync::Arc<str> = "b".into();
    for _ in 0..5 {
        bench.node.heard_by_stream(&a);
        bench.node.heard_by_stream(&b);
    }
    let lost = Event::DatagramsLost {
        name: "a".to_owned(),
        address: at(2),
    };
    assert_eq!(bench.drain().events, [lost], "once, however many there are");
    assert_eq!(bench.node.stats().probes_by_stream, 10);
    // What comes from `a` is from port 2; `b` is still not heard.
    let out = bench.hear(&Message::Ping(Ping::default()));
    assert!(out.events.is_empty(), "{:?}", out.events);
    bench.node.heard_by_datagram("b");
    assert_eq!(bench.drain().events, [Event::DatagramsBack]);
    // Twice is chance.
    bench.node.heard_by_stream(&a);
    bench.node.heard_by_stream(&a);
    bench.node.heard_by_datagram("a");
    bench.node.heard_by_stream(&a);
    assert!(bench.drain().events.is_empty());
}
