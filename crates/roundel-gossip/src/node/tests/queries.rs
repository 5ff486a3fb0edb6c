//! Queries, user events, votes.

use super::*;
use crate::query::{Answer, Question};
use crate::wire::{BufferedEvent, EventGroup, Filter, MemberRecord};

pub(super) fn query(name: &str, id: u32, change: impl FnOnce(&mut Query)) -> Message {
    let mut query = Query {
        ltime: 60,
        id,
        from: at(2),
        source_node: "a".to_owned(),
        filters: Vec::new(),
        flags: Query::NO_BROADCAST,
        relay_factor: 0,
        timeout: Duration::from_secs(3),
        name: name.to_owned(),
        payload: Some(b"what".to_vec()),
    };
    change(&mut query);
    Message::User(SerfMessage::Query(query).encode())
}

fn questions(out: &Out) -> Vec<Question> {
    let question = |event: &Event| match event {
        Event::Query(question) => Some(question.clone()),
        _ => None,
    };
    out.events.iter().filter_map(question).collect()
}

fn answers(out: &Out) -> Vec<Answer> {
    let answer = |event: &Event| match event {
        Event::Answer(answer) => Some(answer.clone()),
        _ => None,
    };
    out.events.iter().filter_map(answer).collect()
}

pub(super) fn responses(out: &Out, port: u16) -> Vec<QueryResponse> {
    let response = |message: &&Message| match message {
        Message::User(bytes) => match SerfMessage::decode(bytes) {
            Ok(SerfMessage::QueryResponse(response)) => Some(response),
            _ => None,
        },
        _ => None,
    };
    out.to(port).iter().filter_map(response).collect()
}

#[test]
fn a_query_is_acknowledged_told_and_answered_once() {
    let mut bench = Bench::with(&["a", "b"]);
    let out = bench.hear(&query("load", 7, |q| q.flags |= Query::WANTS_ACK));
    let acks = responses(&out, 2);
    assert!(acks.len() == 1 && acks[0].is_ack() && acks[0].id == 7 && acks[0].ltime == 60);
    assert_eq!((acks[0].from.as_str(), &acks[0].payload), ("me", &None));
    let [question] = &questions(&out)[..] else {
        panic!("{:?}", out.events);
    };
    assert_eq!(
        (question.name.as_str(), &question.payload[..]),
        ("load", &b"what"[..])
    );
    assert_eq!((question.from.as_str(), question.address), ("a", at(2)));

    bench.node.respond(bench.now, question.id, b"0.7").unwrap();
    let said = responses(&bench.drain(), 2);
    assert!(said.len() == 1 && !said[0].is_ack());
    assert_eq!(said[0].payload.as_deref(), Some(&b"0.7"[..]));
    let again = bench.node.respond(bench.now, question.id, b"0.8");
    assert_eq!(again, Err(SayError::Over));
    let repeated = bench.hear(&query("load", 7, |q| q.flags |= Query::WANTS_ACK));
    assert!(repeated.messages.is_empty() && repeated.events.is_empty());
}

#[test]
fn an_answer_that_is_late_or_too_long_is_not_sent() {
    let mut bench = Bench::with(&["a"]);
    let out = bench.hear(&query("load", 7, |_| {}));
    let id = questions(&out)[0].id;
    let long = bench.node.respond(bench.now, id, &[b'x'; 1100]);
    assert!(
        matches!(long, Err(SayError::TooLong { limit: 1024, .. })),
        "{long:?}"
    );
    bench.now += Duration::from_secs(3);
    assert_eq!(bench.node.respond(bench.now, id, b"x"), Err(SayError::Over));
    assert!(responses(&bench.drain(), 2).is_empty());
}

#[test]
fn filters_by_name_and_tag_let_through_or_not() {
    let mut bench = Bench::with(&["a"]);
    let nodes = |names: &[&str]| {
        Filter::Nodes(names.iter().map(|name| (*name).to_owned()).collect()).encode()
    };
    let tag = |tag: &str, expr: &str| {
        let (tag, expr) = (tag.to_owned(), expr.to_owned());
        Filter::Tag { tag, expr }.encode()
    };
    for (number, (filters, meant)) in [
        (vec![nodes(&["me", "a"])], true),
        (vec![nodes(&["a"])], false),
        (vec![tag("role", "^bal.*r$")], true),
        (vec![tag("role", "alance")], true),
        (vec![tag("role", "backend")], false),
        (vec![tag("zone", "^$")], true),
        (vec![nodes(&["me"]), tag("role", "backend")], false),
        (vec![tag("role", "(")], false),
        (vec![tag("role", &"(a{1000}){1000}".repeat(20))], false),
        (vec![vec![9, 1]], false),
        (vec![vec![]], false),
    ]
    .into_iter()
    .enumerate()
    {
        let shown = format!("{filters:?}");
        let out = bench.hear(&query("load", number as u32, |q| {
            q.filters = filters;
            q.flags |= Query::WANTS_ACK;
        }));
        assert_eq!(questions(&out).len(), usize::from(meant), "{shown}");
        assert_eq!(responses(&out, 2).len(), usize::from(meant), "{shown}");
    }
}

#[test]
fn queries_between_nodes_are_not_told_except_our_extensions() {
    let mut bench = Bench::with(&["a"]);
    let out = bench.hear(&query("_serf_ping", 1, |q| q.flags |= Query::WANTS_ACK));
    assert!(questions(&out).is_empty() && responses(&out, 2).len() == 1);
    let out = bench.hear(&query("_serf_newer", 2, |_| {}));
    assert!(questions(&out).is_empty() && out.messages.is_empty());
    let out = bench.hear(&query("_serf_roundel-drain", 3, |_| {}));
    assert!(questions(&out).len() == 1 && out.messages.is_empty());
}

#[test]
fn an_answer_goes_by_others_too_when_asked_to() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    let out = bench.hear(&query("load", 7, |q| q.relay_factor = 2));
    bench
        .node
        .respond(bench.now, questions(&out)[0].id, b"yes")
        .unwrap();
    let out = bench.drain();
    assert_eq!(responses(&out, 2).len(), 1);
    let relays: Vec<Relay> = out
        .serf()
        .into_iter()
        .filter_map(|serf| match serf {
            SerfMessage::Relay(relay) => Some(relay),
            _ => None,
        })
        .collect();
    assert_eq!(relays.len(), 2);
    for relay in &relays {
        assert_eq!((relay.to, relay.node.as_str()), (at(2), "a"));
    }
    // Among too few nobody is left to relay.
    let out = bench.hear(&query("load", 8, |q| q.relay_factor = 9));
    bench
        .node
        .respond(bench.now, questions(&out)[0].id, b"yes")
        .unwrap();
    assert_eq!(bench.drain().messages.len(), 1);
}

#[test]
fn our_query_collects_each_answer_once_until_its_time_is_over() {
    let mut bench = Bench::with(&["a", "b"]);
    let params = QueryParams {
        name: "load".to_owned(),
        ack: true,
        relay_factor: 1,
        ..QueryParams::default()
    };
    let id = bench.node.query(bench.now, &params).unwrap();
    let out = bench.drain();
    let asked = out.serf().into_iter().find_map(|serf| match serf {
        SerfMessage::Query(query) => Some(query),
        _ => None,
    });
    let asked = asked.unwrap();
    assert_eq!((asked.from, asked.source_node.as_str()), (at(1), "me"));
    assert_eq!(asked.timeout, Duration::from_millis(3200));
    // We are asked too, and acknowledge without the network.
    let own = [Answer {
        query: id,
        from: "me".to_owned(),
        payload: None,
    }];
    assert_eq!(answers(&out), own);
    let question = questions(&out)[0].id;
    bench.node.respond(bench.now, question, b"0.1").unwrap();
    assert_eq!(
        answers(&bench.drain())[0].payload.as_deref(),
        Some(&b"0.1"[..])
    );

    let answer = |from: &str, flags, id| {
        let response = QueryResponse {
            ltime: asked.ltime,
            id,
            from: from.to_owned(),
            flags,
            payload: Some(b"0.2".to_vec()),
        };
        SerfMessage::QueryResponse(response).encode()
    };
    let straight = Message::User(answer("a", 0, asked.id));
    assert_eq!(answers(&bench.hear(&straight)).len(), 1);
    assert_eq!(answers(&bench.hear(&straight)), []);
    let relayed = Relay {
        to: at(1),
        node: "me".to_owned(),
        message: answer("b", 0, asked.id),
    };
    let relayed = Message::User(SerfMessage::Relay(relayed).encode());
    assert_eq!(answers(&bench.hear(&relayed)).len(), 1);
    let ack = Message::User(answer("b", QueryResponse::ACK, asked.id));
    assert_eq!(answers(&bench.hear(&ack))[0].payload, None);
    let other = Message::User(answer("c", 0, asked.id ^ 1));
    assert_eq!(answers(&bench.hear(&other)), []);
    let nameless = Message::User(answer("<b>", 0, asked.id));
    assert_eq!(answers(&bench.hear(&nameless)), []);

    let out = bench.pass(Duration::from_secs(4));
    assert!(out.events.contains(&Event::QueryEnded { query: id }));
    assert_eq!(
        answers(&bench.hear(&Message::User(answer("d", 0, asked.id)))),
        []
    );
}

#[test]
fn a_direct_query_goes_to_the_named_members_only_and_is_not_gossiped() {
    let mut bench = Bench::with(&["a", "b", "c"]);
    let params = QueryParams {
        name: "_serf_roundel-drain".to_owned(),
        nodes: vec!["b".to_owned(), "c".to_owned(), "nobody".to_owned()],
        direct: true,
        ..QueryParams::default()
    };
    bench.node.query(bench.now, &params).unwrap();
    let out = bench.drain();
    let to = |wanted: fn(&Message) -> bool| -> Vec<_> {
        let found = out.messages.iter().filter(|(_, m)| wanted(m));
        found.map(|(to, _)| *to).collect()
    };
    assert_eq!(to(|m| matches!(m, Message::User(_))), [at(3), at(4)]);
    let about_us = to(|m| matches!(m, Message::Alive(own) if own.name() == "me"));
    assert_eq!(about_us, [at(3), at(4)], "our record goes with it");
    for serf in out.serf() {
        let flags = match serf {
            SerfMessage::Query(query) => query.flags,
            other => panic!("{other:?}"),
        };
        assert_eq!(flags, Query::NO_BROADCAST);
    }
    assert!(questions(&out).is_empty(), "we are not meant");
    let later = bench.pass(Duration::from_secs(1));
    let is_query = |serf: &SerfMessage| matches!(serf, SerfMessage::Query(_));
    assert!(!later.serf().iter().any(is_query));
}

#[test]
fn what_cannot_be_said_is_refused() {
    let mut bench = Bench::with(&["a"]);
    let now = bench.now;
    let long = QueryParams {
        name: "q".to_owned(),
        payload: vec![0; 1024],
        ..QueryParams::default()
    };
    assert!(matches!(
        bench.node.query(now, &long),
        Err(SayError::TooLong { .. })
    ));
    let bad = QueryParams {
        tags: vec![("role".to_owned(), "(".to_owned())],
        ..QueryParams::default()
    };
    assert!(matches!(
        bench.node.query(now, &bad),
        Err(SayError::Expression(_))
    ));
    let event = bench.node.user_event(now, "deploy", &[0; 512], false);
    assert!(matches!(event, Err(SayError::TooLong { limit: 512, .. })));
    let short = QueryParams::default();
    let asked = (0..600).filter(|_| bench.node.query(now, &short).is_ok());
    assert_eq!(asked.count(), 512);
    assert_eq!(bench.node.query(now, &short), Err(SayError::TooMany));
}

#[test]
fn our_user_events_are_told_to_us_and_to_others_even_late() {
    let mut bench = Bench::with(&["a"]);
    bench
        .node
        .user_event(bench.now, "deploy", b"v1", true)
        .unwrap();
    let out = bench.drain();
    assert!(matches!(&out.events[..], [Event::User { name, .. }] if name == "deploy"));
    assert!(
        out.serf()
            .iter()
            .any(|s| matches!(s, SerfMessage::UserEvent(e) if e.name == "deploy"))
    );
    let (_, said) = bench.exchange(Vec::new(), PushPullState::default());
    let Ok(SerfMessage::PushPull(state)) = SerfMessage::decode(&said.user_state) else {
        panic!("no state");
    };
    let groups: Vec<_> = state.events.unwrap().into_iter().flatten().collect();
    assert_eq!(groups[0].events[0].name, "deploy");
}

fn with_event(ltime: u64, payload: Vec<u8>) -> PushPullState {
    PushPullState {
        event_ltime: 40,
        events: Some(vec![
            None,
            Some(EventGroup {
                ltime,
                events: vec![BufferedEvent {
                    name: "deploy".to_owned(),
                    payload: Some(payload),
                }],
            }),
        ]),
        ..PushPullState::default()
    }
}

#[test]
fn missed_events_come_with_a_state_exchange_but_not_those_before_our_time() {
    let mut bench = Bench::with(&["a"]);
    let (out, _) = bench.exchange(Vec::new(), with_event(39, b"v1".to_vec()));
    assert!(
        out.events
            .iter()
            .any(|e| matches!(e, Event::User { time: 39, .. }))
    );
    assert!(
        bench
            .exchange(Vec::new(), with_event(39, b"v1".to_vec()))
            .0
            .events
            .is_empty()
    );
    let mut alone = Bench::with(&[]);
    assert!(
        alone
            .exchange(Vec::new(), with_event(39, b"v1".to_vec()))
            .0
            .events
            .is_empty()
    );
}

#[test]
fn a_restarted_node_repeats_nothing() {
    let mut bench = Bench::configured(&["a"], |config| {
        config.clocks = Clocks {
            member: 500,
            event: 80,
            query: 90,
        };
    });
    assert!(bench.node.clocks().member >= 500);
    let (out, _) = bench.exchange(Vec::new(), with_event(80, b"v1".to_vec()));
    assert!(out.events.is_empty(), "{:?}", out.events);
    let out = bench.hear(&query("load", 1, |q| (q.ltime, q.flags) = (90, 0)));
    assert!(questions(&out).is_empty());
    let out = bench.hear(&query("load", 1, |q| (q.ltime, q.flags) = (91, 0)));
    assert_eq!(questions(&out).len(), 1);
}

#[test]
fn an_exchange_of_absurd_times_spoils_nothing() {
    let mut bench = Bench::with(&["a", "b"]);
    for state in [
        PushPullState {
            ltime: u64::MAX,
            ..PushPullState::default()
        },
        PushPullState {
            event_ltime: u64::MAX - 1,
            ..PushPullState::default()
        },
        PushPullState {
            query_ltime: 1 << 62,
            ..PushPullState::default()
        },
        with_event(u64::MAX, Vec::new()),
        with_event(39, vec![0; 10_000]),
        PushPullState {
            status_ltimes: vec![("<script>".to_owned(), 70), ("a".to_owned(), u64::MAX)],
            ..PushPullState::default()
        },
        PushPullState {
            status_ltimes: vec![("me".to_owned(), 70)],
            left_members: vec!["me".to_owned()],
            ..PushPullState::default()
        },
    ] {
        let (out, said) = bench.exchange(Vec::new(), state);
        assert!(
            out.events
                .iter()
                .all(|e| matches!(e, Event::Dropped { .. })),
            "{:?}",
            out.events
        );
        assert_eq!(said.nodes.len(), 3, "we told all that we know");
        assert_eq!(bench.status("a"), Some(Status::Alive));
        assert_eq!(bench.status("me"), Some(Status::Alive));
        let clocks = bench.node.clocks();
        assert!(
            clocks.member.max(clocks.event).max(clocks.query) < 1000,
            "{clocks:?}"
        );
    }
}

#[test]
fn one_peer_cannot_make_us_doubt_everybody() {
    let names: Vec<String> = (0..300).map(|i| format!("n{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::configured(&names, |config| config.timings.probe_interval *= 1000);
    for name in &names {
        bench.hear(&Message::Suspect(accuse(name, 1, "n0")));
    }
    let stats = bench.node.stats();
    assert_eq!(stats.suspect, 150);
    assert_eq!(stats.dropped[&DropReason::Limit], 150);
    // Another peer is another matter.
    let more = Message::Suspect(accuse("n299", 1, "n1")).encode();
    bench.node.handle_datagram(bench.now, at(3), &more);
    assert_eq!(bench.node.stats().suspect, 150, "both are at one address");
    bench
        .node
        .handle_datagram(bench.now, ([10, 0, 0, 9], 3).into(), &more);
    assert_eq!(bench.node.stats().suspect, 151);
    // Doubts about us are always contradicted.
    bench.hear(&Message::Suspect(accuse("me", 100, "n1")));
    assert_eq!(bench.node.stats().refutations, 1);
    assert_eq!(bench.node.member("me").unwrap().incarnation, 101);
}

#[test]
fn a_claim_of_our_name_is_voted_on_and_we_go_on() {
    let mut bench = Bench::with(&["a", "b", "c", "stranger"]);
    bench.know(&["a", "b", "c"]);
    let out = bench.hear(&Message::Alive(record("me", 99, 1)));
    let claimed = bench.answer(&out, 99);
    assert!(matches!(&claimed.events[..], [Event::Conflict { name, .. }] if name == "me"));
    let asked = out.serf().into_iter().find_map(|serf| match serf {
        SerfMessage::Query(query) if query.name == "_serf_conflict" => Some(query),
        _ => None,
    });
    let asked = asked.unwrap();
    assert_eq!(asked.payload.as_deref(), Some(&b"me"[..]));
    let vote = |from: &str, port| {
        let known = MemberRecord {
            name: "me".to_owned(),
            address: at(port),
            tags: BTreeMap::new(),
            status: 1,
            protocol: [1, 5, 2],
            delegate: [2, 5, 5],
        };
        let response = QueryResponse {
            ltime: asked.ltime,
            id: asked.id,
            from: from.to_owned(),
            flags: 0,
            payload: Some(SerfMessage::ConflictResponse(Some(known)).encode()),
        };
        Message::User(SerfMessage::QueryResponse(response).encode())
    };
    let voters = [(2, "a", 1), (3, "b", 99), (4, "c", 99)];
    // Who never answered us has no vote, nor is anybody believed to be another.
    let strangers = [(5, "stranger", 99), (5, "a", 99), (9, "unknown", 99)];
    for (at, from, port) in strangers.into_iter().chain(voters) {
        assert!(bench.hear_from(at, &vote(from, port)).events.is_empty());
    }
    let out = bench.pass(Duration::from_secs(4));
    let voted = Event::Voted {
        kept: false,
        votes: 1,
        answers: 3,
    };
    assert!(out.events.contains(&voted), "{:?}", out.events);
    assert_eq!(bench.status("me"), Some(Status::Alive));
}

#[test]
fn our_name_at_the_address_of_a_former_life_is_taken_until_that_is_forgotten() {
    for (state, taken) in [
        (RecordState::Dead, true),
        (RecordState::Suspect, true),
        (RecordState::Left, false),
    ] {
        let mut bench = Bench::with(&["a", "b", "c"]);
        let former = NodeState {
            record: record("me", 99, 7),
            state,
        };
        let (out, _) = bench.exchange(vec![former], PushPullState::default());
        let found = bench.answer(&out, 99);
        let conflict = |e: &Event| matches!(e, Event::Conflict { name, .. } if name == "me");
        assert_eq!(found.events.iter().any(conflict), taken, "{state:?}");
        let asks = |serf: &SerfMessage| matches!(serf, SerfMessage::Query(_));
        assert_eq!(out.serf().iter().any(asks), taken, "{state:?}");
        assert_eq!(bench.status("me"), Some(Status::Alive));
    }
}

#[test]
fn a_vote_about_another_is_answered_with_what_we_know() {
    let mut bench = Bench::with(&["a", "b"]);
    let ask = |bench: &mut Bench, id, name: &str| {
        let payload = Some(name.as_bytes().to_vec());
        let out = bench.hear(&query("_serf_conflict", id, |q| q.payload = payload));
        let response = responses(&out, 2).pop()?;
        SerfMessage::decode(response.payload.as_deref()?).ok()
    };
    let known = ask(&mut bench, 1, "b");
    assert!(matches!(known, Some(SerfMessage::ConflictResponse(Some(m))) if m.address == at(3)));
    assert_eq!(
        ask(&mut bench, 2, "zz"),
        Some(SerfMessage::ConflictResponse(None))
    );
    assert_eq!(ask(&mut bench, 3, "me"), None);
}

#[test]
fn only_so_many_questions_wait() {
    let mut bench = Bench::with(&["a"]);
    let mut ids = Vec::new();
    for id in 0..600 {
        let out = bench.hear(&query("load", id, |q| q.ltime = 60 + u64::from(id)));
        ids.extend(questions(&out).iter().map(|q| q.id));
    }
    assert_eq!(ids.len(), 600);
    assert_eq!(
        bench.node.respond(bench.now, ids[0], b""),
        Err(SayError::Over)
    );
    assert_eq!(bench.node.respond(bench.now, ids[599], b""), Ok(()));
}
