//! Rules of the node, one message at a time. Clusters are in `roundel-gossip-sim`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::wire::{
    Accusation, Ack, Envelope, IndirectPing, JoinIntent, LeaveIntent, Message, Nack, NodeRecord,
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
    /// The node `me` at port 1, which knows `a` at port 2, `b` at port 3 and so on. Each of them has
    /// answered once, and none lately, so that what others say of them is believed.
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
            unix_seconds: 1_800_000_000,
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
            bench.node.contacts.lost(&(*name).into());
            bench.node.heard_itself(name);
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

    /// Hears a message that comes from the peer at `port`.
    fn hear_from(&mut self, port: u16, message: &Message) -> Out {
        let bytes = message.encode();
        self.node.handle_datagram(self.now, at(port), &bytes);
        self.drain()
    }

    /// Takes it that these members have answered us.
    fn know(&mut self, names: &[&str]) {
        for name in names {
            self.node.answered(self.now, &(*name).into());
        }
    }

    /// Has the peer at `port` answer the pings that came out.
    fn answer(&mut self, out: &Out, port: u16) -> Out {
        let mut after = Out::default();
        for message in out.to(port) {
            if let Message::Ping(ping) = message {
                let ack = Ack {
                    seq: ping.seq,
                    payload: None,
                };
                let more = self.hear_from(port, &Message::Ack(ack));
                after.messages.extend(more.messages);
                after.events.extend(more.events);
            }
        }
        after
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
                Output::Write { bytes, .. } => out.written.extend_from_slice(&bytes),
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

mod acquaintances;
mod address;
mod hearsay;
mod identity;
mod keys;
mod leaves;
mod many;
mod queries;
mod relays;
mod states;
mod swim;
mod times;
