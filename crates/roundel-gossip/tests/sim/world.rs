//! A cluster in memory: nodes, a network between them, one queue of events, one clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::wire::{Envelope, Packet, decode_packet};
use roundel_gossip::{Clocks, Config, Event, Limits, MAX_PACKET, Node, Output, StreamId, Timings};

/// What the network does to datagrams. Streams are only delayed, as TCP hides the rest.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Share of datagrams that vanish.
    pub(crate) loss: f64,
    /// Share of datagrams that come twice.
    pub(crate) duplication: f64,
    /// Shortest and longest way; different ways reorder.
    pub(crate) delay: (Duration, Duration),
}

impl Link {
    /// A good network within one house.
    pub(crate) fn good() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_micros(100), Duration::from_millis(2)),
        }
    }

    /// A bad one: a share is lost, some comes twice, much out of order.
    pub(crate) fn bad(loss: f64) -> Self {
        Self {
            loss,
            duplication: 0.05,
            delay: (Duration::from_millis(1), Duration::from_millis(60)),
        }
    }
}

/// One place in the cluster: a node lives there, or did, or will.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) node: Option<Node>,
    /// Raised with each start, so that what was meant for a former node is dropped.
    life: u32,
    wake: Option<Instant>,
    /// Peers on different sides cannot reach each other.
    pub(crate) side: u8,
    pub(crate) events: Vec<(Duration, Event)>,
}

/// One end of a stream.
type End = (usize, u32, StreamId);

enum What {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Wake,
    Open { opener: End },
    Opened(StreamId),
    Bytes(StreamId, Vec<u8>),
    Closed(StreamId, &'static str),
}

struct Due {
    peer: usize,
    /// The life it is meant for; datagrams and connects reach whoever is there.
    life: Option<u32>,
    what: What,
}

/// The whole cluster.
pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) peers: Vec<Peer>,
    pub(crate) link: Link,
    pub(crate) timings: Timings,
    rng: fastrand::Rng,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    due: BTreeMap<u64, Due>,
    next: u64,
    /// Both directions of each stream.
    streams: BTreeMap<End, End>,
    /// Closed by the opener before the other side heard of them.
    abandoned: BTreeSet<End>,
    compress: bool,
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
}

impl World {
    pub(crate) fn new(seed: u64, link: Link) -> Self {
        let start = Instant::now();
        Self {
            now: start,
            start,
            peers: Vec::new(),
            link,
            timings: Timings::lan(),
            rng: fastrand::Rng::with_seed(seed),
            queue: BinaryHeap::new(),
            due: BTreeMap::new(),
            next: 0,
            streams: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            compress: seed % 2 == 1,
            datagrams: 0,
            bytes: 0,
        }
    }

    /// Adds a place and starts a node there.
    pub(crate) fn add(&mut self, tags: &[(&str, &str)]) -> usize {
        let index = self.peers.len();
        let [a, b] = u16::try_from(index + 1).unwrap().to_be_bytes();
        self.peers.push(Peer {
            name: format!("node-{index}"),
            address: ([10, 0, a, b], 7946).into(),
            node: None,
            life: 0,
            wake: None,
            side: 0,
            events: Vec::new(),
        });
        self.start(index, tags);
        index
    }

    /// Starts a node at a place where none runs.
    pub(crate) fn start(&mut self, index: usize, tags: &[(&str, &str)]) {
        let seconds = (self.now - self.start).as_secs() as u32;
        let seed = self.rng.u64(..);
        let peer = &mut self.peers[index];
        assert!(peer.node.is_none(), "a node runs there");
        peer.life += 1;
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let config = Config {
            name: peer.name.clone(),
            advertise: peer.address,
            tags: tags.collect(),
            keys: Vec::new(),
            label: String::new(),
            nonce: [0; 12],
            compress: self.compress,
            incarnation: 1_800_000_000 + seconds + peer.life,
            seed,
            timings: self.timings.clone(),
            limits: Limits::default(),
            clocks: Clocks::default(),
            keys_are_saved: false,
        };
        peer.node = Some(Node::new(config, self.now).unwrap());
        peer.wake = None;
        self.settle(index);
    }

    /// Stops a node without a word.
    pub(crate) fn crash(&mut self, index: usize) {
        self.peers[index].node = None;
        self.peers[index].life += 1;
    }

    /// Does something with a node, then carries out what it asks for.
    pub(crate) fn with(&mut self, index: usize, act: impl FnOnce(&mut Node, Instant)) {
        let now = self.now;
        if let Some(node) = &mut self.peers[index].node {
            act(node, now);
        }
        self.settle(index);
    }

    pub(crate) fn join(&mut self, index: usize, seed: usize) {
        let address = self.peers[seed].address;
        self.with(index, |node, now| node.join(now, &[address]));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, looked at every 10 ms. Gives how long it took; panics at `limit`.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        done: impl Fn(&World) -> bool,
    ) -> Duration {
        let begun = self.now;
        while !done(self) {
            assert!(self.now - begun < limit, "{what}: not within {limit:?}");
            self.run(Duration::from_millis(10));
        }
        self.now - begun
    }

    fn step(&mut self, end: Instant) -> bool {
        match self.queue.peek() {
            Some(Reverse((at, _))) if *at <= end => {}
            _ => return false,
        }
        let Some(Reverse((at, id))) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        let due = self.due.remove(&id).expect("each entry is taken once");
        self.happen(due);
        true
    }

    fn happen(&mut self, due: Due) {
        let (index, now) = (due.peer, self.now);
        let peer = &mut self.peers[index];
        if due.life.is_some_and(|life| life != peer.life) {
            return;
        }
        let life = peer.life;
        let Some(node) = &mut peer.node else {
            if let What::Open { opener } = due.what {
                self.push_closed(opener, "connection refused");
            }
            return;
        };
        match due.what {
            What::Datagram { from, bytes } => node.handle_datagram(now, from, &bytes),
            // Another waking took the place of this one.
            What::Wake if peer.wake != Some(now) => return,
            What::Wake => {
                peer.wake = None;
                if node.poll_timeout().is_some_and(|at| at <= now) {
                    node.handle_timeout(now);
                }
            }
            What::Open { opener } => self.open(index, life, opener),
            What::Opened(id) => node.handle_stream_opened(now, id),
            What::Bytes(id, bytes) => node.handle_stream_bytes(now, id, &bytes),
            What::Closed(id, why) => node.handle_stream_closed(now, id, why),
        }
        self.settle(index);
    }

    fn open(&mut self, index: usize, life: u32, opener: End) {
        let from = self.peers[opener.0].address;
        let now = self.now;
        let node = self.peers[index]
            .node
            .as_mut()
            .expect("checked by the caller");
        match node.accept_stream(now, from) {
            Some(id) if self.abandoned.remove(&opener) => {
                self.push_closed((index, life, id), "closed by the peer");
            }
            Some(id) => {
                let here = (index, life, id);
                self.streams.insert(here, opener);
                self.streams.insert(opener, here);
                let (peer, life, id) = opener;
                self.push(peer, Some(life), self.way(), What::Opened(id));
            }
            None => self.push_closed(opener, "connection reset"),
        }
    }

    fn push_closed(&mut self, end: End, why: &'static str) {
        let (peer, life, id) = end;
        self.push(peer, Some(life), self.way(), What::Closed(id, why));
    }

    /// Streams keep their order, so each piece takes the same time.
    fn way(&self) -> Duration {
        self.link.delay.1
    }

    fn push(&mut self, peer: usize, life: Option<u32>, after: Duration, what: What) {
        let id = self.next;
        self.next += 1;
        self.queue.push(Reverse((self.now + after, id)));
        self.due.insert(id, Due { peer, life, what });
    }

    /// Carries out all that a node asks for.
    fn settle(&mut self, index: usize) {
        while let Some(output) = self.peers[index].node.as_mut().and_then(Node::poll_output) {
            match output {
                Output::Datagram { to, bytes } => self.send(index, to, bytes),
                Output::Open { id, to } => self.connect(index, id, to),
                Output::Write { id, bytes } => self.write(index, id, bytes),
                Output::Close { id } => self.close(index, id),
                Output::SaveKeys { .. } => unreachable!("no keys are saved here"),
                Output::Event(event) => {
                    let at = self.elapsed();
                    self.peers[index].events.push((at, event));
                }
            }
        }
        self.set_wake(index);
    }

    fn set_wake(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(at) = peer.node.as_ref().and_then(Node::poll_timeout) else {
            return;
        };
        let at = at.max(self.now);
        if peer.wake.is_none_or(|wake| at < wake) {
            peer.wake = Some(at);
            let life = peer.life;
            self.push(index, Some(life), at - self.now, What::Wake);
        }
    }

    fn place(&self, address: SocketAddr) -> Option<usize> {
        self.peers.iter().position(|peer| peer.address == address)
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        self.peers[a].side == self.peers[b].side
    }

    fn send(&mut self, index: usize, to: SocketAddr, bytes: Vec<u8>) {
        check_packet(&bytes);
        self.datagrams += 1;
        self.bytes += bytes.len() as u64;
        let from = self.peers[index].address;
        let Some(peer) = self.place(to).filter(|to| self.reachable(index, *to)) else {
            return;
        };
        let copies = 1 + u32::from(self.rng.f64() < self.link.duplication);
        for _ in 0..copies {
            if self.rng.f64() < self.link.loss {
                continue;
            }
            let (short, long) = self.link.delay;
            let delay = short + (long - short).mul_f64(self.rng.f64());
            let bytes = bytes.clone();
            self.push(peer, None, delay, What::Datagram { from, bytes });
        }
    }

    fn connect(&mut self, index: usize, id: StreamId, to: SocketAddr) {
        let opener = (index, self.peers[index].life, id);
        if let Some(peer) = self.place(to).filter(|to| self.reachable(index, *to)) {
            self.push(peer, None, self.way(), What::Open { opener });
        }
    }

    fn write(&mut self, index: usize, id: StreamId, bytes: Vec<u8>) {
        let end = (index, self.peers[index].life, id);
        let other = self.streams.get(&end).copied();
        if let Some((peer, life, id)) = other.filter(|other| self.reachable(index, other.0)) {
            // In two pieces, as TCP cuts where it likes.
            let middle = self.rng.usize(0..=bytes.len());
            let (first, second) = bytes.split_at(middle);
            for piece in [first, second] {
                let what = What::Bytes(id, piece.to_vec());
                self.push(peer, Some(life), self.way(), what);
            }
        }
    }

    fn close(&mut self, index: usize, id: StreamId) {
        let end = (index, self.peers[index].life, id);
        if let Some(other) = self.streams.remove(&end) {
            self.streams.remove(&other);
            if self.reachable(index, other.0) {
                self.push_closed(other, "closed by the peer");
            }
        } else {
            self.abandoned.insert(end);
        }
    }

    /// Indexes of the places where a node runs.
    pub(crate) fn running(&self) -> BTreeSet<usize> {
        let running = |(index, peer): (usize, &Peer)| peer.node.is_some().then_some(index);
        self.peers.iter().enumerate().filter_map(running).collect()
    }
}

/// Whatever leaves a node must fit and be plain to the strictest receiver.
fn check_packet(bytes: &[u8]) {
    assert!(bytes.len() <= MAX_PACKET, "packet of {} bytes", bytes.len());
    let mut packet = Packet::default();
    decode_packet(bytes, &Envelope::default(), &mut packet).unwrap();
    assert_eq!(packet.rejected, []);
    assert_ne!(packet.messages, []);
}
