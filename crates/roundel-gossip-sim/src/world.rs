//! The cluster: nodes, one queue of events, one clock.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::wire::{Envelope, Message, NodeRecord, Packet, Versions, decode_packet, tags};
use roundel_gossip::{
    Clocks, Config, ConfigError, Event, Limits, MAX_PACKET, Node, Output, StreamId, Timings,
};

use crate::clock::Clock;
use crate::link::Link;
use crate::streams::{End, Streams};

/// One place in the cluster: a node lives there, or did, or will.
pub struct Peer {
    /// The name of whoever lives there.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// The node, while it runs.
    pub node: Option<Node>,
    /// Peers on different sides cannot reach each other.
    pub side: u8,
    /// Share of what it sends that vanishes, beside what the network loses.
    pub loss_out: f64,
    /// Share of what is sent to it that vanishes, beside what the network loses.
    pub loss_in: f64,
    /// Its clock.
    pub clock: Clock,
    /// What it told, with true times since the start, unless [`World::listen`] was called.
    pub events: Vec<(Duration, Event)>,
    /// Raised with each start and stop, so that what was meant for a former node is dropped.
    pub(crate) life: u32,
    /// The newest Lamport times of this life, while packets are checked.
    clocks: Clocks,
    wake: Option<Instant>,
    asleep: Option<Instant>,
}

impl Peer {
    fn watch_clocks(&mut self) {
        let Some(now) = self.node.as_ref().map(Node::clocks) else {
            return;
        };
        let was = self.clocks;
        let forward = was.member <= now.member && was.event <= now.event && was.query <= now.query;
        assert!(forward, "{}: {was:?} before {now:?}", self.name);
        self.clocks = now;
    }
}

pub(crate) enum What {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Wake,
    Open { opener: End },
    Opened(StreamId),
    Bytes(StreamId, Vec<u8>),
    Closed(StreamId, &'static str),
}

/// Something that will happen. Ordered by time, then by when it was arranged.
struct Due {
    at: Instant,
    id: u64,
    peer: usize,
    /// The life it is meant for; datagrams and connects reach whoever is there.
    life: Option<u32>,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.id).cmp(&(other.at, other.id))
    }
}

/// Takes the events of all nodes: true time since the start, place, event.
pub type Listener = Box<dyn FnMut(Duration, usize, &Event)>;

/// The whole cluster.
///
/// Shape: at most 65,535 places. Time passes only in [`World::run`] and [`World::run_until`].
pub struct World {
    /// The true time.
    pub now: Instant,
    /// All places, in the order of their addition.
    pub peers: Vec<Peer>,
    /// The network between them.
    pub link: Link,
    /// The timings of nodes that are started from here on.
    pub timings: Timings,
    /// Whether every packet is decoded as the strictest receiver does, and the clocks of every
    /// node are watched. Costs half of the time.
    pub strict: bool,
    /// Whether nodes that are started from here on compress what they send.
    pub compress: bool,
    /// Whether nodes that are started from here on begin at incarnation 1, as agents do.
    pub as_agents: bool,
    /// Lamport times of a former life of nodes that are started from here on.
    pub clocks: Clocks,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Bytes of datagrams sent, without headers.
    pub bytes: u64,
    /// Bytes written to streams.
    pub stream_bytes: u64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) streams: Streams,
    start: Instant,
    queue: BinaryHeap<Reverse<Due>>,
    next: u64,
    listener: Option<Listener>,
}

impl World {
    /// An empty world.
    #[allow(
        clippy::disallowed_methods,
        reason = "a world begins at some instant, and all instants are alike"
    )]
    pub fn new(seed: u64, link: Link) -> Self {
        let start = Instant::now();
        Self {
            now: start,
            peers: Vec::new(),
            link,
            timings: Timings::lan(),
            strict: true,
            compress: seed % 2 == 1,
            as_agents: false,
            clocks: Clocks::default(),
            datagrams: 0,
            bytes: 0,
            stream_bytes: 0,
            rng: fastrand::Rng::with_seed(seed),
            streams: Streams::default(),
            start,
            queue: BinaryHeap::new(),
            next: 0,
            listener: None,
        }
    }

    /// A cluster whose members know each other, as if they had for long.
    pub fn settled(seed: u64, link: Link, timings: Timings, count: usize) -> Self {
        let mut world = Self::new(seed, link);
        world.timings = timings;
        world.strict = false;
        world.compress = false;
        for _ in 0..count {
            let index = world.place_added();
            world.peers[index].node = Some(world.made(index, &[("role", "backend")]));
        }
        if count == 0 {
            return world;
        }
        // One that hears of all and says nothing; it bears the first one's name.
        let mut register = world.made(0, &[("role", "backend")]);
        for peer in &world.peers[1..] {
            let Some(alive) = peer.node.as_ref().and_then(alive) else {
                continue;
            };
            register.handle_datagram(world.now, peer.address, &alive);
            while register.poll_output().is_some() {}
        }
        for peer in &mut world.peers {
            if let Some(node) = &mut peer.node {
                node.learn_from(&register);
            }
        }
        (0..count).for_each(|index| world.settle(index));
        world
    }

    /// Gives all events to `listener` from here on, instead of keeping them with the peers.
    pub fn listen(&mut self, listener: Listener) {
        self.listener = Some(listener);
    }

    fn place_added(&mut self) -> usize {
        let index = self.peers.len();
        let number = u16::try_from(index + 1).expect("there are at most 65,535 places");
        let [a, b] = number.to_be_bytes();
        self.peers.push(Peer {
            name: format!("node-{index}"),
            address: ([10, 0, a, b], 7946).into(),
            node: None,
            side: 0,
            loss_out: 0.0,
            loss_in: 0.0,
            clock: Clock::right(self.start),
            events: Vec::new(),
            life: 0,
            clocks: Clocks::default(),
            wake: None,
            asleep: None,
        });
        index
    }

    /// Adds a place and starts a node there.
    pub fn add(&mut self, tags: &[(&str, &str)]) -> usize {
        let index = self.place_added();
        self.start(index, tags);
        index
    }

    /// Starts a node at a place where none runs.
    ///
    /// Panics: if one runs there.
    pub fn start(&mut self, index: usize, tags: &[(&str, &str)]) {
        assert!(self.peers[index].node.is_none(), "a node runs there");
        self.peers[index].life += 1;
        let node = self.made(index, tags);
        let peer = &mut self.peers[index];
        peer.node = Some(node);
        peer.clocks = Clocks::default();
        peer.wake = None;
        peer.asleep = None;
        self.settle(index);
    }

    fn made(&mut self, index: usize, tags: &[(&str, &str)]) -> Node {
        let peer = &self.peers[index];
        let mut config = self.config(&peer.name, peer.address, peer.life);
        config.seed = self.rng.u64(..);
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        config.tags = tags.collect();
        let node: Result<Node, ConfigError> = Node::new(config, peer.clock.local(self.now));
        node.expect("names and addresses of places are good ones")
    }

    fn config(&self, name: &str, address: SocketAddr, life: u32) -> Config {
        let unix_seconds = self.unix_seconds();
        Config {
            name: name.to_owned(),
            advertise: address,
            tags: Default::default(),
            keys: Vec::new(),
            label: String::new(),
            nonce: [0; 12],
            compress: self.compress,
            incarnation: match self.as_agents {
                true => 1,
                false => unix_seconds + life,
            },
            unix_seconds,
            seed: 0,
            timings: self.timings.clone(),
            limits: Limits::default(),
            clocks: self.clocks,
            keys_are_saved: false,
        }
    }

    /// Stops a node without a word.
    pub fn crash(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.node = None;
        peer.life += 1;
    }

    /// Keeps a node from doing anything for a while; what is sent to it waits.
    pub fn slow(&mut self, index: usize, time: Duration) {
        self.peers[index].asleep = Some(self.now + time);
    }

    /// Does something with a node, then carries out what it asks for. The node's time is given.
    pub fn with(&mut self, index: usize, act: impl FnOnce(&mut Node, Instant)) {
        let peer = &mut self.peers[index];
        let now = peer.clock.local(self.now);
        if let Some(node) = &mut peer.node {
            act(node, now);
        }
        self.settle(index);
    }

    /// Has one node join by the address of another.
    pub fn join(&mut self, index: usize, seed: usize) {
        let address = self.peers[seed].address;
        self.with(index, |node, now| node.join(now, &[address]));
    }

    /// Sends a node something in the name of whoever is at `from`, which need not be a place.
    pub fn tell(&mut self, index: usize, from: SocketAddr, message: &Message) {
        let way = self.link.way(&mut self.rng);
        let bytes = message.encode();
        self.push(index, None, way, What::Datagram { from, bytes });
    }

    /// The time of day.
    pub fn unix_seconds(&self) -> u32 {
        1_800_000_000 + self.elapsed().as_secs() as u32
    }

    /// True time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, looked at every 10 ms. Gives how long it took.
    ///
    /// Panics: when `limit` has passed.
    pub fn run_until(
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

    /// Indexes of the places where a node runs.
    pub fn running(&self) -> BTreeSet<usize> {
        let running = |(index, peer): (usize, &Peer)| peer.node.is_some().then_some(index);
        self.peers.iter().enumerate().filter_map(running).collect()
    }

    fn step(&mut self, end: Instant) -> bool {
        match self.queue.peek() {
            Some(Reverse(due)) if due.at <= end => {}
            _ => return false,
        }
        let Some(Reverse(due)) = self.queue.pop() else {
            return false;
        };
        self.now = due.at;
        self.happen(due);
        true
    }

    fn happen(&mut self, due: Due) {
        let index = due.peer;
        let peer = &mut self.peers[index];
        if due.life.is_some_and(|life| life != peer.life) {
            return;
        }
        // An earlier waking took the place of this one.
        if matches!(due.what, What::Wake) && peer.wake != Some(due.at) {
            return;
        }
        if let Some(until) = peer.asleep.filter(|until| *until > self.now) {
            // Put off in the same order, but timers come first: whoever wakes up sees the time
            // before what was said meanwhile.
            let mut after = until - self.now;
            if matches!(due.what, What::Wake) {
                peer.wake = Some(until);
            } else {
                after += Duration::from_micros(1);
            }
            return self.push(index, due.life, after, due.what);
        }
        let now = peer.clock.local(self.now);
        if let What::Open { opener } = due.what {
            self.open(index, opener);
            return self.settle(index);
        }
        let Some(node) = &mut peer.node else {
            return;
        };
        match due.what {
            What::Datagram { from, bytes } => node.handle_datagram(now, from, &bytes),
            What::Wake => {
                peer.wake = None;
                if node.poll_timeout().is_some_and(|at| at <= now) {
                    node.handle_timeout(now);
                }
            }
            What::Opened(id) => node.handle_stream_opened(now, id),
            What::Bytes(id, bytes) => node.handle_stream_bytes(now, id, &bytes),
            What::Closed(id, why) => node.handle_stream_closed(now, id, why),
            What::Open { .. } => {}
        }
        self.settle(index);
    }

    pub(crate) fn push(&mut self, peer: usize, life: Option<u32>, after: Duration, what: What) {
        let id = self.next;
        self.next += 1;
        let at = self.now + after;
        self.queue.push(Reverse(Due {
            at,
            id,
            peer,
            life,
            what,
        }));
    }

    /// Carries out all that a node asks for.
    fn settle(&mut self, index: usize) {
        while let Some(output) = self.peers[index].node.as_mut().and_then(Node::poll_output) {
            match output {
                Output::Datagram { to, bytes } => self.send(index, to, bytes),
                Output::Open { id, to } => self.connect(index, id, to),
                Output::Write { id, bytes } => self.write(index, id, &bytes),
                Output::Close { id } => self.close(index, id),
                Output::SaveKeys { .. } => unreachable!("no keys are saved here"),
                Output::Event(event) => self.told(index, event),
            }
        }
        if self.strict {
            self.peers[index].watch_clocks();
        }
        self.set_wake(index);
    }

    fn told(&mut self, index: usize, event: Event) {
        let at = self.elapsed();
        match &mut self.listener {
            Some(listener) => listener(at, index, &event),
            None => self.peers[index].events.push((at, event)),
        }
    }

    fn set_wake(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(at) = peer.node.as_ref().and_then(Node::poll_timeout) else {
            return;
        };
        let at = peer.clock.global(at).max(self.now);
        if peer.wake.is_none_or(|wake| at < wake) {
            peer.wake = Some(at);
            let life = peer.life;
            self.push(index, Some(life), at - self.now, What::Wake);
        }
    }

    pub(crate) fn place(&self, address: SocketAddr) -> Option<usize> {
        let SocketAddr::V4(v4) = address else {
            return None;
        };
        let [_, _, a, b] = v4.ip().octets();
        let index = usize::from(u16::from_be_bytes([a, b])).checked_sub(1)?;
        (self.peers.get(index)?.address == address).then_some(index)
    }

    pub(crate) fn reachable(&self, a: usize, b: usize) -> bool {
        self.peers[a].side == self.peers[b].side
    }

    /// What the two ends add to the loss of the network.
    pub(crate) fn loss_between(&self, from: usize, to: usize) -> f64 {
        1.0 - (1.0 - self.peers[from].loss_out) * (1.0 - self.peers[to].loss_in)
    }

    fn send(&mut self, index: usize, to: SocketAddr, bytes: Vec<u8>) {
        if self.strict {
            check_packet(&bytes);
        }
        self.datagrams += 1;
        self.bytes += bytes.len() as u64;
        let from = self.peers[index].address;
        let Some(peer) = self.place(to).filter(|to| self.reachable(index, *to)) else {
            return;
        };
        let extra = self.loss_between(index, peer);
        let loss = 1.0 - (1.0 - self.link.loss) * (1.0 - extra);
        let twice = self.link.duplication > 0.0 && self.rng.f64() < self.link.duplication;
        for bytes in twice.then(|| bytes.clone()).into_iter().chain([bytes]) {
            if loss > 0.0 && self.rng.f64() < loss {
                continue;
            }
            let way = self.link.way(&mut self.rng);
            self.push(peer, None, way, What::Datagram { from, bytes });
        }
    }
}

/// What a node says of itself, as a packet.
fn alive(node: &Node) -> Option<Vec<u8>> {
    let member = node.member(node.name())?;
    let meta = tags::encode(&member.tags).ok()?;
    let versions = Versions::from_wire(&member.versions).ok()?;
    let (name, incarnation) = (member.name.clone(), member.incarnation);
    let record = NodeRecord::new(name, member.address, meta, incarnation, versions).ok()?;
    Some(Message::Alive(record).encode())
}

/// Whatever leaves a node must fit and be plain to the strictest receiver.
fn check_packet(bytes: &[u8]) {
    assert!(bytes.len() <= MAX_PACKET, "packet of {} bytes", bytes.len());
    let mut packet = Packet::default();
    let decoded = decode_packet(bytes, &Envelope::default(), &mut packet);
    assert_eq!(decoded, Ok(()));
    assert_eq!(packet.rejected, []);
    assert_ne!(packet.messages, []);
}
