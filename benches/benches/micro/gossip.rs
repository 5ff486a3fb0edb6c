//! A datagram decoded and handled by a node that knows 25 members.

use std::net::SocketAddr;
use std::time::Instant;

use criterion::Criterion;
use roundel_gossip::wire::{Message, NodeRecord, Ping, Source, Versions, tags};
use roundel_gossip::{Clocks, Config, Limits, Node, Timings};

const MEMBERS: u32 = 25;

pub(crate) fn run(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut group = criterion.benchmark_group("datagram decoded and handled");
    let mut node = acquainted(now);
    let ping = Message::Ping(Ping {
        node: name(0),
        seq: 7,
        source: Source {
            address: Some(address(1)),
            node: name(1),
        },
    });
    let ping = ping.encode();
    group.bench_function("ping", |b| b.iter(|| handle(&mut node, now, &ping)));
    let known = alive(3, 1).encode();
    group.bench_function("alive, known", |b| {
        b.iter(|| handle(&mut node, now, &known))
    });
    let mut incarnation = 1;
    group.bench_function("alive, news", |b| {
        b.iter(|| {
            incarnation += 1;
            handle(&mut node, now, &alive(3, incarnation).encode());
        });
    });
    group.bench_function("nonsense", |b| {
        b.iter(|| handle(&mut node, now, b"\xff\xfe\xfd"))
    });
}

fn handle(node: &mut Node, now: Instant, bytes: &[u8]) {
    node.handle_datagram(now, address(1), bytes);
    while node.poll_output().is_some() {}
}

fn acquainted(now: Instant) -> Node {
    let config = Config {
        name: name(0),
        advertise: address(0),
        tags: Default::default(),
        keys: Vec::new(),
        label: String::new(),
        nonce: [0; 12],
        compress: false,
        incarnation: 1,
        unix_seconds: 1_800_000_000,
        seed: 1,
        timings: Timings::lan(),
        limits: Limits::default(),
        clocks: Clocks::default(),
        keys_are_saved: false,
    };
    let mut node = Node::new(config, now).expect("the configuration is valid");
    for index in 1..=MEMBERS {
        handle(&mut node, now, &alive(index, 1).encode());
    }
    node
}

fn alive(index: u32, incarnation: u32) -> Message {
    let pairs = [("role", "backend"), ("port", "3000")];
    let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let meta = tags::encode(&pairs.into()).expect("the tags are short");
    let (name, address) = (name(index), address(index));
    let record = NodeRecord::new(name, address, meta, incarnation, Versions::SERF);
    Message::Alive(record.expect("the record is valid"))
}

fn name(index: u32) -> String {
    format!("web-{index}")
}

fn address(index: u32) -> SocketAddr {
    ([10, 0, 0, index as u8 + 1], 7946).into()
}
