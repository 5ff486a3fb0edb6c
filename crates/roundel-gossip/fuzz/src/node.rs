//! A node under a list of operations read from the input.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::{
    Clocks, Config, Event, Limits, MAX_PACKET, Node, Output, QueryParams, StreamId, Timings,
};

/// Runs operations: one byte says what, most take a length byte and that many bytes.
///
/// The node checks its own invariants where debug assertions are on. Panics if a packet is too
/// long or a bound is passed.
pub fn run(data: &[u8]) {
    let mut bench = Bench::new();
    let mut rest = data;
    while let Some((&kind, after)) = rest.split_first() {
        rest = bench.operate(kind, after);
        bench.drain();
    }
}

struct Bench {
    node: Node,
    now: Instant,
    open: Vec<StreamId>,
}

impl Bench {
    fn new() -> Self {
        // The first instant is of no account: only differences matter to the node.
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
                members: 8,
                streams: 4,
                intents: 4,
                broadcasts: 8,
                ..Limits::default()
            },
            clocks: Clocks::default(),
            keys_are_saved: true,
        };
        Self {
            node: Node::new(config, now).expect("the settings are good"),
            now,
            open: Vec::new(),
        }
    }

    /// Does one operation and gives what is left of the input.
    fn operate<'a>(&mut self, kind: u8, rest: &'a [u8]) -> &'a [u8] {
        let (bytes, rest) = take(rest);
        let first = bytes.first().copied().unwrap_or_default();
        let stream = self.open.get(usize::from(first) % self.open.len().max(1));
        let stream = stream.copied();
        let from = SocketAddr::from(([10, 0, 0, 2], 2));
        let (node, now) = (&mut self.node, self.now);
        match kind % 12 {
            0..=3 => node.handle_datagram(now, from, bytes),
            4 => {
                if let Some(id) = node.accept_stream(now, from) {
                    node.handle_stream_bytes(now, id, bytes);
                }
            }
            5 => drop(stream.map(|id| node.handle_stream_bytes(now, id, bytes))),
            6 => drop(stream.map(|id| node.handle_stream_opened(now, id))),
            7 => drop(stream.map(|id| node.handle_stream_closed(now, id, "lost"))),
            8 => self.wait(Duration::from_millis(u64::from(first) * 50)),
            9 => self.wait(Duration::from_secs(u64::from(first) * 600)),
            10 => node.join(now, &[([10, 0, 0, 1], u16::from(first)).into()]),
            _ => self.command(first, &String::from_utf8_lossy(bytes)),
        }
        rest
    }

    fn command(&mut self, kind: u8, text: &str) {
        match kind % 6 {
            0 => self.node.leave(self.now),
            1 => drop(
                self.node
                    .set_tags(self.now, [(text.to_owned(), String::new())].into()),
            ),
            2 => self.node.watch(self.now, text, true),
            3 => drop(self.node.user_event(self.now, text, b"", true)),
            4 => {
                let params = QueryParams {
                    name: text.to_owned(),
                    ack: true,
                    relay_factor: kind,
                    ..QueryParams::default()
                };
                drop(self.node.query(self.now, &params));
            }
            _ => self.node.watch(self.now, text, false),
        }
    }

    /// Lets time pass in at most 50 steps, as a driver that is late would.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.node.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now + time / 50).min(end);
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
                Output::SaveKeys { query, .. } => {
                    self.node.handle_keys_saved(self.now, query, None);
                }
                Output::Event(Event::Query(question)) => {
                    let _ = self.node.respond(self.now, question.id, b"answer");
                }
                Output::Write { .. } | Output::Event(_) => {}
            }
        }
        assert!(self.node.members().count() <= 8);
        assert!(self.node.stats().queued <= 16);
    }
}

/// Takes a length byte and that many bytes, or as many as there are.
fn take(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((&length, rest)) = input.split_first() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(length).min(rest.len()))
}
