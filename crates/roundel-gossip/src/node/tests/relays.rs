//! What is passed on, and what is not.

use super::*;

#[test]
fn user_events_are_told_and_passed_on_once() {
    let mut bench = Bench::with(&["a", "b"]);
    let event = UserEvent {
        ltime: 9,
        name: "deploy".to_owned(),
        payload: Some(b"v2".to_vec()),
        coalesce: true,
    };
    let message = Message::User(SerfMessage::UserEvent(event).encode());
    let out = bench.hear(&message);
    assert!(matches!(&out.events[..], [Event::User { name, time: 9, .. }] if name == "deploy"));
    assert!(out.messages.iter().any(|(_, m)| *m == message));
    let again = bench.hear(&message);
    assert!(again.events.is_empty() && again.messages.is_empty());
}

#[test]
fn queries_are_passed_on_unless_they_say_otherwise() {
    let mut bench = Bench::with(&["a", "b"]);
    let query = |id, flags| {
        let query = Query {
            ltime: 5,
            id,
            from: at(2),
            source_node: "a".to_owned(),
            filters: Vec::new(),
            flags,
            relay_factor: 0,
            timeout: Duration::from_secs(3),
            name: "load".to_owned(),
            payload: None,
        };
        Message::User(SerfMessage::Query(query).encode())
    };
    assert!(!bench.hear(&query(1, 0)).messages.is_empty());
    assert!(bench.hear(&query(1, 0)).messages.is_empty());
    assert!(
        bench
            .hear(&query(2, Query::NO_BROADCAST))
            .messages
            .is_empty()
    );
}

#[test]
fn answers_are_relayed_to_members_only() {
    let mut bench = Bench::with(&["a", "b"]);
    let answer = SerfMessage::QueryResponse(QueryResponse::default()).encode();
    let relay = |to| {
        let relay = Relay {
            to,
            node: String::new(),
            message: answer.clone(),
        };
        Message::User(SerfMessage::Relay(relay).encode())
    };
    let out = bench.hear(&relay(at(3)));
    assert_eq!(out.to(3), [&Message::User(answer.clone())]);
    assert!(bench.hear(&relay(at(99))).messages.is_empty());
}

#[test]
fn what_is_too_long_for_a_packet_is_not_passed_on() {
    let mut bench = Bench::with(&["a"]);
    let event = UserEvent {
        ltime: 9,
        name: "big".to_owned(),
        payload: Some(vec![b'x'; 4000]),
        coalesce: false,
    };
    let out = bench.hear(&Message::User(SerfMessage::UserEvent(event).encode()));
    assert!(out.messages.is_empty());
    assert_eq!(bench.node.stats().dropped[&DropReason::Limit], 1);
}

#[test]
fn too_many_streams_are_refused() {
    let mut bench = Bench::with(&["a"]);
    let now = bench.now;
    let first = bench.node.accept_stream(now, at(2)).unwrap();
    assert!(bench.node.accept_stream(now, at(2)).is_some());
    assert_eq!(bench.node.accept_stream(now, at(2)), None);
    bench.node.handle_stream_closed(now, first, "gone");
    assert!(bench.node.accept_stream(now, at(2)).is_some());
    // A peer that says nothing loses its streams after a while.
    bench.drain();
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.node.stats().streams, 0);
    assert_eq!(bench.node.stats().dropped[&DropReason::Timeout], 2);
}

#[test]
fn nonsense_on_a_stream_is_answered_by_an_error() {
    let mut bench = Bench::with(&["a"]);
    let id = bench.node.accept_stream(bench.now, at(2)).unwrap();
    bench.node.handle_stream_bytes(bench.now, id, &[200, 1, 2]);
    let out = bench.drain();
    let mut decoder = StreamDecoder::default();
    let answer = decoder.feed(&out.written, &Envelope::default());
    assert!(
        matches!(answer, Ok(Progress::Message(StreamMessage::Error(_)))),
        "{answer:?}"
    );
    assert_eq!(out.closed, 1);
}
