//! Figures of one node: packets in a second, large state exchanges, memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use roundel_gossip::wire::{
    Ack, Envelope, Message, NodeRecord, Packet, Ping, Source, Versions, decode_packet, tags,
};
use roundel_gossip::{Clocks, Config, Limits, Node, Output, StreamId, Timings};

/// How many packets are timed at a time.
const PACKETS: u32 = 50_000;

/// How often. The best counts, as whatever else runs on the machine only ever adds time.
const BATCHES: usize = 20;

fn address(index: usize) -> SocketAddr {
    let [a, b] = (index as u16 + 1).to_be_bytes();
    ([10, 0, a, b], 7946).into()
}

fn name(index: usize) -> String {
    format!("web-{index}")
}

fn member_tags() -> std::collections::BTreeMap<String, String> {
    let pairs = [("role", "backend"), ("port", "8080")];
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn node(index: usize, compress: bool, now: Instant) -> Result<Node> {
    let config = Config {
        name: name(index),
        advertise: address(index),
        tags: member_tags(),
        keys: Vec::new(),
        label: String::new(),
        nonce: [0; 12],
        compress,
        incarnation: 1,
        unix_seconds: 1_800_000_000,
        seed: index as u64,
        timings: Timings::lan(),
        limits: Limits::default(),
        clocks: Clocks::default(),
        keys_are_saved: false,
    };
    Ok(Node::new(config, now)?)
}

fn drain(node: &mut Node) {
    while node.poll_output().is_some() {}
}

/// A node that knows `members` others by their own word and has nothing left to say.
fn acquainted(members: usize, compress: bool, now: Instant) -> Result<Node> {
    let mut register = node(0, compress, now)?;
    let meta = tags::encode(&member_tags())?;
    for index in 1..=members {
        let record = NodeRecord::new(name(index), address(index), meta.clone(), 1, Versions::SERF)?;
        register.handle_datagram(now, address(index), &Message::Alive(record).encode());
        drain(&mut register);
    }
    // Its queue is full of news; a node that learns from it has none.
    let mut settled = node(0, compress, now)?;
    settled.learn_from(&register);
    Ok(settled)
}

/// Pings answered in a second, one after the other, by one core.
pub(super) fn pings(members: usize) -> Result<f64> {
    let now = Instant::now();
    let mut node = acquainted(members, false, now)?;
    let ping = |seq: u32| {
        let from = 1 + seq as usize % members;
        let ping = Ping {
            node: name(0),
            seq,
            source: Source {
                address: Some(address(from)),
                node: name(from),
            },
        };
        (address(from), Message::Ping(ping).encode())
    };
    let packets: Vec<_> = (0..1000).map(ping).collect();
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        let begun = Instant::now();
        for i in 0..PACKETS as usize {
            let (from, bytes) = &packets[i % packets.len()];
            node.handle_datagram(now, *from, bytes);
            drain(&mut node);
        }
        best = best.min(begun.elapsed());
    }
    Ok(f64::from(PACKETS) / best.as_secs_f64())
}

/// Acks of own pings handled in a second by one core.
pub(super) fn acks(members: usize) -> Result<f64> {
    let mut now = Instant::now();
    let mut node = acquainted(members, false, now)?;
    for index in 1..=members {
        node.watch(now, &name(index), true);
    }
    drain(&mut node);
    let mut best = Duration::MAX;
    for _ in 0..BATCHES * 100 {
        now = node.poll_timeout().context("a node always waits")?.max(now);
        node.handle_timeout(now);
        let acks = acks_of(&mut node)?;
        let begun = Instant::now();
        for (from, bytes) in &acks {
            node.handle_datagram(now, *from, bytes);
            drain(&mut node);
        }
        if acks.len() >= members {
            best = best.min(begun.elapsed() / acks.len() as u32);
        }
    }
    Ok(1.0 / best.as_secs_f64())
}

/// What the others answer to the pings that a node has just sent.
fn acks_of(node: &mut Node) -> Result<Vec<(SocketAddr, Vec<u8>)>> {
    let mut packet = Packet::default();
    let mut acks = Vec::new();
    while let Some(output) = node.poll_output() {
        let Output::Datagram { to, bytes } = output else {
            continue;
        };
        decode_packet(&bytes, &Envelope::default(), &mut packet)?;
        for message in &packet.messages {
            if let Message::Ping(ping) = message {
                let (seq, payload) = (ping.seq, None);
                acks.push((to, Message::Ack(Ack { seq, payload }).encode()));
            }
        }
    }
    Ok(acks)
}

/// One state exchange of `members` with a node that knows the same: bytes that come, and the
/// milliseconds that the answering side needs to decode, merge and encode. `packed` as Serf agents
/// send it.
pub(super) fn exchange(members: usize, packed: bool) -> Result<(usize, f64)> {
    let now = Instant::now();
    let mut asking = acquainted(members, true, now)?;
    let mut answering = acquainted(members, true, now)?;
    let envelope = Envelope {
        compress: true,
        ..Envelope::default()
    };
    let plain = question(&mut asking, now)?;
    let question = if packed {
        envelope.seal_packet(&plain, false, &Default::default())
    } else {
        plain
    };
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        let begun = Instant::now();
        let id = answering
            .accept_stream(now, address(1))
            .context("one stream is not too many")?;
        answering.handle_stream_bytes(now, id, &question);
        let mut answered = false;
        while let Some(output) = answering.poll_output() {
            answered |= matches!(output, Output::Write { .. });
        }
        best = best.min(begun.elapsed());
        anyhow::ensure!(answered, "the exchange was not answered");
    }
    Ok((question.len(), best.as_secs_f64() * 1e3))
}

/// What a node says first in a state exchange.
fn question(node: &mut Node, now: Instant) -> Result<Vec<u8>> {
    node.join(now, &[address(1)]);
    let mut opened: Option<StreamId> = None;
    while let Some(output) = node.poll_output() {
        if let Output::Open { id, .. } = output {
            opened = Some(id);
        }
    }
    let id = opened.context("a join opens a stream")?;
    node.handle_stream_opened(now, id);
    let mut said = None;
    while let Some(output) = node.poll_output() {
        if let Output::Write { bytes, .. } = output {
            said = Some(bytes.to_vec());
        }
    }
    node.handle_stream_closed(now, id, "enough");
    drain(node);
    said.context("a join says what is known")
}

/// Bytes of memory that one more node with `members` costs this process.
pub(super) fn memory(members: usize) -> Result<f64> {
    let count = (20_000 / members.max(1)).max(1);
    let now = Instant::now();
    // The first fills the allocator's own lists.
    let first = acquainted(members, true, now)?;
    let before = resident()?;
    let nodes = (0..count)
        .map(|_| acquainted(members, true, now))
        .collect::<Result<Vec<_>>>()?;
    let after = resident()?;
    drop((first, nodes));
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

fn resident() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).context("statm has a second field")?;
    Ok(pages.parse::<usize>()? * 4096)
}
