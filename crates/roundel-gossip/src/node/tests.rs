//! Rules of the node, one message at a time. Clusters are in `tests/sim`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::wire::{
    Accusation, Envelope, IndirectPing, JoinIntent, LeaveIntent, Message, Nack, NodeRecord,
    NodeState, Packet, Ping, Progress, PushPull, PushPullState, Query, QueryResponse, RecordState,
    Relay, SerfMessage, Source, StreamDecoder, StreamMessage, UserEvent, decode_packet,
};
use crate::{Clocks, Limits, Timings};

/// A node under test, with time standing still unless told.
struct Bench {
    node: Node,
    now: Instant,
}

/// What came out, sorted.
#[derive(Default)]
struct Out {
    messages: Vec<(SocketAddr, Message)>,
    events: Vec<Event>,
    saved: Vec<(QueryId, Vec<Vec<u8>>)>,
    written: Vec<u8>,
    opened: Vec<SocketAddr>,
    closed: usize,
}

impl Out {
    fn to(&self, port: u16) -> Vec<&Message> {
        let mine = self.messages.iter().filter(|(to, _)| *to == at(port));
        mine.map(|(_, message)| message).collect()
    }

    fn serf(&self) -> Vec<SerfMessage> {
        let decode = |(_, message): &(SocketAddr, Message)| match message {
            Message::User(bytes) => SerfMessage::decode(bytes).ok(),
            _ => None,
        };
        self.messages.iter().filter_map(decode).collect()
    }
}

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn record(name: &str, port: u16, incarnation: u32) -> NodeRecord {
    let meta = b"\xff\x80".to_vec();
    NodeRecord::new(name.to_owned(), at(port), meta, incarnation, Versions::SERF).unwrap()
}

fn accuse(node: &str, incarnation: u32, from: &str) -> Accusation {
    Accusation {
        node: node.to_owned(),
        incarnation,
        from: from.to_owned(),
    }
}

fn leave_intent(node: &str, ltime: u64) -> Message {
    let intent = LeaveIntent {
        ltime,
        node: node.to_owned(),
        prune: false,
    };
    Message::User(SerfMessage::Leave(intent).encode())
}

fn join_intent(node: &str, ltime: u64) -> Message {
    let intent = JoinIntent {
        ltime,
        node: node.to_owned(),
    };
    Message::User(SerfMessage::Join(intent).encode())
}

impl Bench {
    /// The node `me` at port 1, which knows `a` at port 2, `b` at port 3 and so on.
    fn with(peers: &[&str]) -> Self {
        Self::configured(peers, |_| {})
    }

    fn configured(peers: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let now = Instant::now();
        let mut config = Config {
            name: "me".to_owned(),
            advertise: at(1),
            tags: BTreeMap::from([("role".to_owned(), "balancer".to_owned())]),
            keys: Vec::new(),
            label: String::new(),
            nonce: [0; 12],
            compress: false,
            incarnation: 100,
            seed: 1,
            timings: Timings::lan(),
            limits: Limits {
                streams: 2,
                intents: 3,
                ..Limits::default()
            },
            clocks: Clocks::default(),
            keys_are_saved: false,
        };
        change(&mut config);
        let node = Node::new(config, now).unwrap();
        let mut bench = Self { node, now };
        for (port, name) in (2..).zip(peers) {
            bench.hear(&Message::Alive(record(name, port, 1)));
        }
        // Spreads what came of that, so that it is out of the way.
        while bench.node.stats().queued > 0 {
            bench.pass(Duration::from_millis(200));
        }
        bench.node.clock.witness(50);
        bench
    }

    fn hear(&mut self, message: &Message) -> Out {
        self.hear_bytes(&message.encode())
    }

    fn hear_bytes(&mut self, bytes: &[u8]) -> Out {
        self.node.handle_datagram(self.now, at(2), bytes);
        self.drain()
    }

    fn pass(&mut self, time: Duration) -> Out {
        let end = self.now + time;
        let mut out = Out::default();
        while let Some(next) = self.node.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.node.handle_timeout(self.now);
            let more = self.drain();
            out.messages.extend(more.messages);
            out.events.extend(more.events);
        }
        self.now = end;
        out
    }

    fn drain(&mut self) -> Out {
        let mut out = Out::default();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Datagram { to, bytes } => {
                    let mut packet = Packet::default();
                    decode_packet(&bytes, &Envelope::default(), &mut packet).unwrap();
                    let messages = packet.messages.into_iter().map(|message| (to, message));
                    out.messages.extend(messages);
                }
                Output::Event(event) => out.events.push(event),
                Output::SaveKeys { query, keys } => out.saved.push((query, keys)),
                Output::Write { bytes, .. } => out.written.extend(bytes),
                Output::Close { .. } => out.closed += 1,
                Output::Open { to, .. } => out.opened.push(to),
            }
        }
        out
    }

    /// Lets a peer exchange states with us; gives what came out and what we said.
    fn exchange(&mut self, nodes: Vec<NodeState>, state: PushPullState) -> (Out, PushPull) {
        let id = self.node.accept_stream(self.now, at(2)).unwrap();
        let message = StreamMessage::PushPull(PushPull {
            nodes,
            user_state: SerfMessage::PushPull(state).encode(),
            ..PushPull::default()
        });
        self.node
            .handle_stream_bytes(self.now, id, &message.encode());
        let out = self.drain();
        let mut decoder = StreamDecoder::default();
        match decoder.feed(&out.written, &Envelope::default()) {
            Ok(Progress::Message(StreamMessage::PushPull(state))) => (out, state),
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, name: &str) -> Option<Status> {
        self.node.member(name).map(|member| member.status)
    }
}

mod keys;
mod queries;

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = Bench::with(&[]).node.config;
    let try_with = |change: fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        Node::new(config, Instant::now()).map(drop)
    };
    assert_eq!(
        try_with(|c| c.name = "a b".to_owned()),
        Err(ConfigError::Name("a b".to_owned()))
    );
    let nowhere: SocketAddr = "0.0.0.0:7946".parse().unwrap();
    assert_eq!(
        try_with(|c| c.advertise = "0.0.0.0:7946".parse().unwrap()),
        Err(ConfigError::Advertise(nowhere))
    );
    assert_eq!(
        try_with(|c| c.keys = vec![vec![0; 15]]),
        Err(ConfigError::Key(15))
    );
    assert!(matches!(
        try_with(|c| drop(c.tags.insert("x".to_owned(), "y".repeat(600)))),
        Err(ConfigError::Tags(_))
    ));
}

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
fn a_name_stays_where_it_is_known() {
    let mut bench = Bench::with(&["a", "b"]);
    let thief = Message::Alive(record("b", 9, 50));
    let out = bench.hear(&thief);
    let conflict = Event::Conflict {
        name: "b".to_owned(),
        kept: at(3),
        refused: at(9),
    };
    assert_eq!(out.events, [conflict]);
    assert!(out.messages.is_empty(), "not passed on");
    assert!(bench.hear(&thief).events.is_empty(), "told once");
    let out = bench.hear(&Message::Alive(record("me", 9, 500)));
    assert!(matches!(&out.events[..], [Event::Conflict { name, .. }] if name == "me"));
    assert_eq!(bench.status("me"), Some(Status::Alive));
    // One that has left may come back from elsewhere.
    bench.hear(&Message::Dead(accuse("b", 1, "b")));
    bench.hear(&thief);
    assert_eq!(bench.node.member("b").unwrap().address, at(9));
}

#[test]
fn what_would_harm_others_is_neither_believed_nor_passed_on() {
    let mut bench = Bench::with(&["a"]);
    // An alive message without versions: agents would refuse every exchange from then on.
    let mut poison = vec![4, 0x85];
    for (key, value) in [
        ("Addr", &b"\xa4\x0a\x00\x00\x01"[..]),
        ("Incarnation", b"\x01"),
        ("Meta", b"\xc0"),
        ("Node", b"\xa1x"),
        ("Port", b"\x09"),
    ] {
        poison.push(0xa0 + key.len() as u8);
        poison.extend(key.as_bytes());
        poison.extend(value);
    }
    let out = bench.hear_bytes(&poison);
    let dropped = |reason| Event::Dropped {
        from: at(2),
        reason,
    };
    assert_eq!(out.events, [dropped(DropReason::Versions)]);
    assert!(out.messages.is_empty());
    let out = bench.hear(&Message::Alive(record("<script>", 9, 1)));
    assert_eq!(out.events, [dropped(DropReason::Name)]);
    let out = bench.hear(&Message::Alive(record("<other>", 9, 1)));
    assert!(out.events.is_empty(), "told once for each peer");
    assert!(bench.hear(&leave_intent("a b", 60)).messages.is_empty());
    let out = bench.hear(&Message::Alive(record("portless", 0, 1)));
    assert_eq!(out.events, [dropped(DropReason::Address)]);
    let out = bench.hear(&leave_intent("x", u64::MAX));
    assert_eq!(out.events, [dropped(DropReason::Malformed)]);
    assert_eq!(bench.node.members().count(), 2);
    let stats = bench.node.stats();
    assert_eq!(stats.dropped[&DropReason::Name], 3);
}

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
    let out = bench.pass(Duration::from_millis(700));
    assert!(!out.events.contains(&silent));
    let out = bench.pass(Duration::from_millis(100));
    assert!(out.events.contains(&silent));
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

#[test]
fn our_address_can_be_corrected_until_somebody_knows_it() {
    let mut bench = Bench::with(&[]);
    assert!(bench.node.set_address(bench.now, at(9)));
    assert_eq!(bench.node.member("me").unwrap().address, at(9));
    let nowhere: SocketAddr = "0.0.0.0:9".parse().unwrap();
    assert!(!bench.node.set_address(bench.now, nowhere));
    bench.hear(&Message::Alive(record("a", 2, 1)));
    assert!(!bench.node.set_address(bench.now, at(10)));
    assert_eq!(bench.node.member("me").unwrap().address, at(9));
}
