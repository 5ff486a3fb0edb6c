//! State exchanges with the gossip port by peers that do not play fair: whatever they do, memory and
//! descriptors stay within bounds, others join, and all is given back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use roundel_gossip::wire::{NodeRecord, NodeState, PushPull, RecordState, StreamMessage, Versions};
use roundel_testkit::{external, loopback, wait_for};
use socket2::{Domain, Socket, Type};

use crate::balancer::{Balancer, SOON};
use crate::servers::{Agent, SerfServer, Toy};
use crate::turns::alone;

const MIB: usize = 1 << 20;

/// Members that are known before, with tags that do not compress: with those who come later, fewer than
/// would have to answer as a crowd or be forgotten.
const KNOWN: u16 = 550;

/// What a debug build and its threads may take beside what is bounded.
const SLACK: usize = 24 * MIB;

/// When all streams have ended that anybody left as they were.
const ENDED: Duration = Duration::from_secs(40);

/// Made-up members, at addresses where nobody is.
fn members(first: u16, count: u16, seed: u64) -> Vec<NodeState> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let member = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let meta = (0..500).map(|_| rng.u8(..)).collect();
        let at = SocketAddr::from(([127, 77, high, low], 7946));
        let record = NodeRecord::new(format!("m{seed}-{n}"), at, meta, 1, Versions::SERF);
        NodeState {
            record: record.unwrap(),
            state: RecordState::Alive,
        }
    };
    (first..first + count).map(member).collect()
}

fn exchange(nodes: Vec<NodeState>) -> Vec<u8> {
    let state = PushPull {
        nodes,
        ..PushPull::default()
    };
    StreamMessage::PushPull(state).encode()
}

/// A connection from this address, for which the kernels hold little unread.
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// The address of stranger `n`; several connections come from each.
fn stranger(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 66, 0, n + 1)
}

fn descriptors(balancer: &Balancer) -> usize {
    let folder = format!("/proc/{}/fd", balancer.process.id());
    std::fs::read_dir(folder).unwrap().count()
}

/// Bytes of memory in use.
fn memory(balancer: &Balancer) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", balancer.process.id())).unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// `used`, `limit` or `hits_total` of a bound.
fn bound(balancer: &Balancer, what: &str, name: &str) -> usize {
    let start = format!("roundel_bound_{what}{{bound=\"{name}\"}} ");
    let metrics = balancer.page("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
    line.expect(name).parse::<f64>().unwrap() as usize
}

/// A balancer that was told of many members, and whose pages have been looked at.
fn crowded() -> Balancer {
    let balancer = Balancer::serve(&["--check", "tcp"]);
    let mut stream = connect(stranger(200), balancer.gossip);
    stream.write_all(&exchange(members(0, KNOWN, 1))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    wait_for("all members", SOON, || {
        (bound(&balancer, "used", "gossip_members") > KNOWN as usize).then_some(())
    });
    for _ in 0..20 {
        balancer.snapshot();
        balancer.page("/metrics");
    }
    balancer
}

/// A newcomer of ours and one of Serf's come in.
fn others_join(balancer: &Balancer, serf: &Path) {
    let agent = Agent::start("ours", balancer.gossip);
    balancer.wait_member("ours", "alive", SOON);
    let toy = Toy::start("theirs");
    let theirs = SerfServer::start(serf, "theirs", toy, balancer.gossip);
    balancer.wait_member("theirs", "alive", SOON);
    wait_for("all known to Serf's", SOON, || {
        let members = theirs.members(serf);
        (members.lines().count() > KNOWN as usize).then_some(())
    });
    agent.stop();
}

struct Before {
    files: usize,
    memory: usize,
}

impl Before {
    fn of(balancer: &Balancer) -> Self {
        Self {
            files: descriptors(balancer),
            memory: memory(balancer),
        }
    }

    fn check(&self, balancer: &Balancer, streams: usize) {
        // A stream that makes room for another is closed a moment later.
        wait_for("no more descriptors than places", SOON, || {
            (descriptors(balancer) <= self.files + streams + 16).then_some(())
        });
        let memory = memory(balancer);
        let limit =
            bound(balancer, "limit", "gossip_incoming") + bound(balancer, "limit", "gossip_states");
        let grown = memory.saturating_sub(self.memory);
        assert!(grown <= limit + SLACK, "{grown} bytes more");
    }

    /// All is as it was.
    fn is_back(&self, balancer: &Balancer) {
        wait_for("all streams to end", ENDED, || {
            let used = bound(balancer, "used", "gossip_streams");
            (used == 0 && descriptors(balancer) <= self.files + 16).then_some(())
        });
        assert_eq!(bound(balancer, "used", "gossip_incoming"), 0);
        wait_for("the states to be gone", ENDED, || {
            (bound(balancer, "used", "gossip_states") == 0).then_some(())
        });
        // Of what is free, the allocator keeps some to itself.
        let spare = bound(balancer, "limit", "gossip_states") + 2 * SLACK;
        let grown = memory(balancer).saturating_sub(self.memory);
        assert!(grown <= spare, "{grown} bytes are kept");
    }
}

#[test]
fn answers_that_are_left_unread_cost_little_and_end() {
    let _turn = alone();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let balancer = crowded();
    let streams = bound(&balancer, "limit", "gossip_streams");
    let before = Before::of(&balancer);
    let mut silent = Vec::new();
    // Two hundred from one address, then as many from twenty. Each brings news, so that no two
    // answers are the same.
    let froms = (0..200).map(|_| 0).chain((0..200).map(|n| 1 + n % 20));
    for (from, n) in froms.zip(0..) {
        let mut stream = connect(stranger(from), balancer.gossip);
        // It may have been closed for a newer one already.
        let _ = stream.write_all(&exchange(members(n, 1, 2)));
        silent.push(stream);
        if n % 50 == 49 {
            before.check(&balancer, streams);
        }
    }
    others_join(&balancer, &serf);
    before.check(&balancer, streams);
    assert!(bound(&balancer, "hits_total", "gossip_peer_streams") >= 100);
    assert!(bound(&balancer, "hits_total", "gossip_streams") > 0);
    assert!(bound(&balancer, "hits_total", "gossip_states") > 0);
    before.is_back(&balancer);
    assert_eq!(silent.len(), 400);
}

#[test]
fn exchanges_that_do_not_end_have_one_budget() {
    let _turn = alone();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let balancer = crowded();
    let streams = bound(&balancer, "limit", "gossip_streams");
    let before = Before::of(&balancer);
    let large = exchange(members(0, 20_000, 3));
    assert!(large.len() > 10 * MIB);
    let large = &large[..large.len() - 1];
    let mut silent = Vec::new();
    for n in 0..24 {
        let mut stream = connect(stranger(n % 12), balancer.gossip);
        // Whoever has no room is closed while it writes.
        let _ = stream.write_all(large);
        silent.push(stream);
        if n % 6 == 5 {
            before.check(&balancer, streams);
        }
    }
    others_join(&balancer, &serf);
    before.check(&balancer, streams);
    assert!(bound(&balancer, "hits_total", "gossip_incoming") > 0);
    before.is_back(&balancer);
    assert_eq!(silent.len(), 24);
}

#[test]
fn a_flood_of_members_is_bounded_and_keeps_nobody_out() {
    let _turn = alone();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ip = loopback();
    let place = || SocketAddr::from((ip, roundel_testkit::free_port(ip)));
    let (front, stats, gossip) = (place(), place(), place());
    let file = folder.path().join("roundel.toml");
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[gossip]\nlisten = \"{gossip}\"\n\
         max_members = 1000\n[[frontend]]\nname = \"f\"\nlisten = \"{front}\"\n\
         [[backend]]\nname = \"b\"\ndiscover = [{{ gossip = {{ role = \"backend\" }} }}]\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut balancer = Balancer::with_file(file.to_str().unwrap(), [front, stats]);
    balancer.gossip = gossip;
    let met = Agent::start("met", gossip);
    balancer.wait_up(1, SOON);
    for seed in 10..14 {
        let mut stream = connect(stranger(1), gossip);
        stream.write_all(&exchange(members(0, 5000, seed))).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    wait_for("all refused", SOON, || {
        let refused = bound(&balancer, "hits_total", "gossip_members");
        (refused >= 19_000).then_some(())
    });
    assert_eq!(bound(&balancer, "used", "gossip_members"), 1000);
    let late = Agent::start("late", gossip);
    let theirs = SerfServer::start(&serf, "theirs", Toy::start("theirs"), gossip);
    for name in ["late", "theirs", "met"] {
        balancer.wait_member(name, "alive", SOON);
    }
    balancer.wait_up(3, SOON);
    assert!(bound(&balancer, "used", "gossip_members") <= 1000);
    late.stop();
    met.stop();
    drop(theirs);
}
