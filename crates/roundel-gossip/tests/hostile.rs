//! Whatever peers send, in whatever order: no panic, no broken invariant, bounded holdings.
//!
//! The node checks its own invariants after each step in debug builds.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests, which begin at some instant"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use roundel_gossip::wire::{
    Accusation, Filter, JoinIntent, KeyRequest, LeaveIntent, Message, NodeRecord, NodeState, Ping,
    PushPull, PushPullState, Query, QueryResponse, RecordState, Relay, SerfMessage, StreamMessage,
    UserEvent, Versions, limits,
};
use roundel_gossip::{
    Clocks, Config, Event, Limits, MAX_PACKET, Node, Output, QueryParams, StreamId, Timings,
};

/// One thing that happens to a node.
#[derive(Debug, Clone)]
enum Step {
    Datagram(Vec<u8>),
    Stream(Vec<u8>, bool),
    Opened(usize),
    Answer(usize, Vec<u8>),
    Lost(usize),
    Wait(u64),
    Join(u16),
    Leave,
    Tags(String),
    Watch(String, bool),
    Ask(QueryParams),
    Announce(String),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["me", "a", "b", "c", "d"]).prop_map(str::to_owned),
        1 => "[a-z<> ]{0,6}",
    ]
}

fn record() -> impl Strategy<Value = NodeRecord> {
    (name(), 0..9_u16, 0..4_u32, vec(any::<u8>(), 0..8)).prop_filter_map(
        "a record that can be built",
        |(name, port, incarnation, meta)| {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            NodeRecord::new(name, address, meta, incarnation, Versions::SERF).ok()
        },
    )
}

fn accusation() -> impl Strategy<Value = Accusation> {
    (name(), 0..4_u32, name()).prop_map(|(node, incarnation, from)| Accusation {
        node,
        incarnation,
        from,
    })
}

fn serf() -> impl Strategy<Value = SerfMessage> {
    let time = prop_oneof![4 => 0..20_u64, 1 => any::<u64>()];
    prop_oneof![
        2 => query(),
        1 => (time.clone(), 0..4_u32, name(), 0..2_u32).prop_map(|(ltime, id, from, flags)| {
            SerfMessage::QueryResponse(QueryResponse {
                ltime,
                id,
                from,
                flags,
                payload: None,
            })
        }),
        1 => (query(), 0..9_u16).prop_map(|(query, port)| {
            SerfMessage::Relay(Relay {
                to: SocketAddr::from(([10, 0, 0, 1], port)),
                node: String::new(),
                message: query.encode(),
            })
        }),
        1 => (time.clone(), name(), any::<bool>()).prop_map(|(ltime, node, prune)| {
            SerfMessage::Leave(LeaveIntent { ltime, node, prune })
        }),
        1 => (time.clone(), name())
            .prop_map(|(ltime, node)| SerfMessage::Join(JoinIntent { ltime, node })),
        1 => (time, name(), vec(any::<u8>(), 0..40)).prop_map(|(ltime, name, payload)| {
            SerfMessage::UserEvent(UserEvent {
                ltime,
                name,
                payload: Some(payload),
                coalesce: false,
            })
        }),
    ]
}

fn query() -> impl Strategy<Value = SerfMessage> {
    let what = prop::sample::select(vec![
        "load",
        "_serf_ping",
        "_serf_conflict",
        "_serf_install-key",
        "_serf_use-key",
        "_serf_remove-key",
        "_serf_list-keys",
        "_serf_else",
        "_serf_roundel-else",
    ]);
    let key = vec(0..2_u8, 15..18).prop_map(|key| {
        let request = KeyRequest { key };
        SerfMessage::KeyRequest(request).encode()
    });
    let payload = prop_oneof![key, vec(any::<u8>(), 0..20)];
    let filter = prop_oneof![
        vec(name(), 0..3).prop_map(|nodes| Filter::Nodes(nodes).encode()),
        "[(.*a\\[]{0,8}".prop_map(|expr| Filter::Tag {
            tag: "t".to_owned(),
            expr
        }
        .encode()),
        vec(any::<u8>(), 0..9),
    ];
    let rest = (0..20_u64, 0..4_u32, 0..4_u32, 0..9_u16, any::<u8>());
    (what, payload, vec(filter, 0..2), rest).prop_map(
        |(name, payload, filters, (ltime, id, flags, port, relay_factor))| {
            SerfMessage::Query(Query {
                ltime,
                id,
                from: SocketAddr::from(([10, 0, 0, 1], port)),
                source_node: "a".to_owned(),
                filters,
                flags,
                relay_factor,
                timeout: Duration::from_millis(ltime * 100),
                name: name.to_owned(),
                payload: Some(payload),
            })
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        record().prop_map(Message::Alive),
        accusation().prop_map(Message::Suspect),
        accusation().prop_map(Message::Dead),
        serf().prop_map(|serf| Message::User(serf.encode())),
        (name(), any::<u32>()).prop_map(|(node, seq)| {
            Message::Ping(Ping {
                node,
                seq,
                ..Ping::default()
            })
        }),
    ]
}

fn exchange() -> impl Strategy<Value = Vec<u8>> {
    let state = prop::sample::select(vec![
        RecordState::Alive,
        RecordState::Suspect,
        RecordState::Dead,
        RecordState::Left,
    ]);
    let node = (record(), state).prop_map(|(record, state)| NodeState { record, state });
    let times = vec((name(), 0..20_u64), 0..4);
    (vec(node, 0..5), times, vec(name(), 0..3), any::<bool>()).prop_map(
        |(nodes, status_ltimes, left_members, join)| {
            let state = PushPullState {
                status_ltimes,
                left_members,
                ..PushPullState::default()
            };
            StreamMessage::PushPull(PushPull {
                join,
                nodes,
                user_state: SerfMessage::PushPull(state).encode(),
                ..PushPull::default()
            })
            .encode()
        },
    )
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![message().prop_map(|m| m.encode()), exchange()];
    let damaged = (whole, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut b, at, v)| {
        let at = at.index(b.len().max(1));
        if let Some(byte) = b.get_mut(at) {
            *byte = v;
        }
        b
    });
    prop_oneof![vec(any::<u8>(), 0..60), damaged]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => message().prop_map(|m| Step::Datagram(m.encode())),
        2 => bytes().prop_map(Step::Datagram),
        2 => (exchange(), any::<bool>()).prop_map(|(b, end)| Step::Stream(b, end)),
        1 => (bytes(), any::<bool>()).prop_map(|(b, end)| Step::Stream(b, end)),
        1 => any::<usize>().prop_map(Step::Opened),
        1 => (any::<usize>(), exchange()).prop_map(|(i, b)| Step::Answer(i, b)),
        1 => any::<usize>().prop_map(Step::Lost),
        6 => (1..3000_u64).prop_map(Step::Wait),
        1 => (1_000_000..100_000_000_u64).prop_map(Step::Wait),
        1 => (1..9_u16).prop_map(Step::Join),
        1 => Just(Step::Leave),
        1 => "[a-z]{0,600}".prop_map(Step::Tags),
        1 => (name(), any::<bool>()).prop_map(|(n, on)| Step::Watch(n, on)),
        1 => (name(), vec(name(), 0..3), any::<bool>(), any::<u8>()).prop_map(
            |(name, nodes, direct, relay_factor)| {
                Step::Ask(QueryParams {
                    name,
                    ack: !nodes.is_empty(),
                    nodes,
                    direct,
                    relay_factor,
                    ..QueryParams::default()
                })
            },
        ),
        1 => "[a-z]{0,600}".prop_map(Step::Announce),
    ]
}

struct Bench {
    node: Node,
    now: Instant,
    open: Vec<StreamId>,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let config = Config {
            name: "me".to_owned(),
            advertise: ([10, 0, 0, 1], 1).into(),
            tags: BTreeMap::new(),
            keys: Vec::new(),
            label: String::new(),
            nonce: [0; 12],
            compress: false,
            incarnation: 2,
            unix_seconds: 1_800_000_000,
            seed: 1,
            timings: Timings::lan(),
            limits: Limits {
                members: 4,
                streams: 3,
                intents: 3,
                broadcasts: 5,
                ..Limits::default()
            },
            clocks: Clocks::default(),
            keys_are_saved: true,
        };
        Self {
            node: Node::new(config, now).unwrap(),
            now,
            open: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        let (node, now) = (&mut self.node, self.now);
        let from = SocketAddr::from(([10, 0, 0, 2], 2));
        match step {
            Step::Datagram(bytes) => node.handle_datagram(now, from, &bytes),
            Step::Stream(bytes, end) => {
                if let Some(id) = node.accept_stream(now, from) {
                    node.handle_stream_bytes(now, id, &bytes);
                    if end {
                        node.handle_stream_closed(now, id, "the end");
                    }
                }
            }
            Step::Opened(at) => {
                if let Some(id) = pick(&self.open, at) {
                    node.handle_stream_opened(now, id);
                }
            }
            Step::Answer(at, bytes) => {
                if let Some(id) = pick(&self.open, at) {
                    node.handle_stream_bytes(now, id, &bytes);
                }
            }
            Step::Lost(at) => {
                if let Some(id) = pick(&self.open, at) {
                    node.handle_stream_closed(now, id, "lost");
                }
            }
            Step::Wait(millis) => self.wait(Duration::from_millis(millis)),
            Step::Join(port) => node.join(now, &[([10, 0, 0, 1], port).into()]),
            Step::Leave => node.leave(now),
            Step::Tags(text) => {
                let _ = node.set_tags(now, [("t".to_owned(), text)].into());
            }
            Step::Watch(name, on) => node.watch(now, &name, on),
            Step::Ask(params) => drop(node.query(now, &params)),
            Step::Announce(name) => drop(node.user_event(now, &name, b"", false)),
        }
        self.drain();
    }

    /// Lets time pass in at most a hundred steps, as a driver that is late would.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let least = time / 100;
        while let Some(next) = self.node.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now + least).min(end);
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Datagram { bytes, .. } => assert!(bytes.len() <= MAX_PACKET),
                Output::Open { id, .. } => self.open.push(id),
                Output::Close { id } => self.open.retain(|open| *open != id),
                Output::SaveKeys { query, keys } => {
                    assert!(!keys.is_empty() && keys.len() <= limits::KEYS);
                    self.node.handle_keys_saved(self.now, query, None);
                }
                Output::Event(Event::Query(question)) => {
                    let _ = self.node.respond(self.now, question.id, b"answer");
                }
                Output::Write { .. } | Output::Event(_) => {}
            }
        }
        let stats = self.node.stats();
        assert!(self.node.members().count() <= 4);
        assert!(stats.queued <= 4 + 5, "{} broadcasts", stats.queued);
    }
}

fn pick(open: &[StreamId], at: usize) -> Option<StreamId> {
    open.get(at % open.len().max(1)).copied()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_that_is_sent_breaks_the_node(steps in vec(step(), 1..80)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.take(step);
        }
    }
}
