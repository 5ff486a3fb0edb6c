//! Settings of a node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of one [`Node`](crate::Node).
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name, unique in the cluster; see [`is_valid_name`](crate::is_valid_name).
    pub name: String,
    /// The address that others reach us at, for UDP and TCP alike. Must be a real address and port.
    pub advertise: SocketAddr,
    /// What we say about ourselves, such as `role=balancer`; at most 512 bytes when encoded.
    pub tags: BTreeMap<String, String>,
    /// Keys of 16, 24 or 32 bytes; the first encrypts, all decrypt. Empty: no encryption.
    pub keys: Vec<Vec<u8>>,
    /// Sets clusters on one network apart. Empty: none, as with Serf agents.
    pub label: String,
    /// Where the numbers used once for each encryption begin: random bytes, different at each
    /// start of each node. Of no effect without keys.
    pub nonce: [u8; 12],
    /// Whether to compress what we send, as Serf agents do by default. Both forms are understood.
    pub compress: bool,
    /// The first incarnation. Unix seconds make a restarted node newer than its former self, so
    /// that it is believed at once.
    pub incarnation: u32,
    /// Unix seconds when the node is made: by them it tells incarnations that no honest member
    /// reaches.
    pub unix_seconds: u32,
    /// Seed of all random choices.
    pub seed: u64,
    /// Intervals and factors of the protocol; all members of a cluster should agree.
    pub timings: Timings,
    /// Upper bounds of what peers can make us hold.
    pub limits: Limits,
    /// Lamport times of a former life of this node; all 0 if there was none.
    pub clocks: Clocks,
    /// Whether a change of the keys is saved before it holds; see
    /// [`Output::SaveKeys`](crate::Output::SaveKeys).
    pub keys_are_saved: bool,
}

/// The newest Lamport times that a node has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clocks {
    /// Of intents.
    pub member: u64,
    /// Of user events: older ones and this one are not told again.
    pub event: u64,
    /// Of queries: older ones and this one are not answered again.
    pub query: u64,
}

impl Clocks {
    /// The later of each two.
    pub fn newest(self, other: Self) -> Self {
        Self {
            member: self.member.max(other.member),
            event: self.event.max(other.event),
            query: self.query.max(other.query),
        }
    }
}

/// Intervals and factors of the protocol.
///
/// Source: the LAN profile of memberlist and the defaults of Serf; SWIM (Das et al. 2002) and
/// Lifeguard (Dadgar et al. 2018) explain the factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    /// One member is probed in each interval (times the awareness score + 1). Default 1 s.
    pub probe_interval: Duration,
    /// A direct ping unanswered for this long is followed by indirect ones. Default 500 ms.
    pub probe_timeout: Duration,
    /// How many members are asked to ping for us. Default 3.
    pub indirect_checks: usize,
    /// Shortest suspicion in probe intervals, times log10 of the cluster's size. Default 4.
    pub suspicion_mult: u32,
    /// Longest suspicion as a multiple of the shortest. Default 6.
    pub suspicion_max_mult: u32,
    /// Pause between rounds of gossip. Default 200 ms.
    pub gossip_interval: Duration,
    /// How many members get a packet in each round. Default 3.
    pub gossip_nodes: usize,
    /// Whether news is first sent when it comes instead of in the next round. Default true;
    /// memberlist waits.
    pub gossip_at_once: bool,
    /// Whether all senders of a broadcast share out its receivers, so that nobody is left out.
    /// Default true; memberlist's senders each draw at random.
    pub gossip_in_rings: bool,
    /// Failed members hear gossip for this long, so that they can refute; after it they are
    /// dropped from the probe list. Default 30 s.
    pub gossip_to_the_dead: Duration,
    /// A broadcast is sent this many times ceil(log10(N + 1)). Default 4.
    pub retransmit_mult: u32,
    /// Pause between full exchanges with a random member. Default 30 s.
    pub push_pull_interval: Duration,
    /// This long after a join that met somebody states are exchanged once more: what spread while
    /// we joined may have missed us, and whom we joined by. `None`: never, as memberlist. Default
    /// 1 s.
    pub push_pull_after_join: Option<Duration>,
    /// A stream that is not done after this long is closed. Default 10 s.
    pub stream_timeout: Duration,
    /// Upper bound of the awareness score, exclusive. Default 8.
    pub awareness_max: u32,
    /// Pause between looks for members to forget. Default 15 s.
    pub reap_interval: Duration,
    /// Failed and left members are forgotten after this long. Default 24 h.
    pub tombstone: Duration,
    /// Intents for unknown members are kept this long. Default 5 min.
    pub intent_timeout: Duration,
    /// Pause between attempts to reach a failed member. Default 30 s.
    pub reconnect_interval: Duration,
    /// Longest wait for each half of our own leave to spread. Default 1 s.
    pub leave_timeout: Duration,
    /// Watched members are pinged this often; two pings missed make one silent. Default 250 ms.
    pub watch_interval: Duration,
    /// The second of them is waited for no longer than this. Default 150 ms, so that silence is known
    /// within 650 ms.
    pub watch_again: Duration,
    /// A direct answer younger than this makes a watch ping needless. Less than the interval;
    /// default 200 ms.
    pub watch_fresh: Duration,
}

impl Timings {
    /// The profile for one data centre, equal to the defaults of Serf agents.
    pub fn lan() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_at_once: true,
            gossip_in_rings: true,
            gossip_to_the_dead: Duration::from_secs(30),
            retransmit_mult: 4,
            push_pull_interval: Duration::from_secs(30),
            push_pull_after_join: Some(Duration::from_secs(1)),
            stream_timeout: Duration::from_secs(10),
            awareness_max: 8,
            reap_interval: Duration::from_secs(15),
            tombstone: Duration::from_secs(24 * 3600),
            intent_timeout: Duration::from_secs(300),
            reconnect_interval: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(1),
            watch_interval: Duration::from_millis(250),
            watch_again: Duration::from_millis(150),
            watch_fresh: Duration::from_millis(200),
        }
    }

    /// The profile for one data centre with memberlist's own ways where the protocol leaves a
    /// choice, for comparison: news waits for the next round and goes to random members.
    pub fn memberlist() -> Self {
        Self {
            gossip_at_once: false,
            gossip_in_rings: false,
            push_pull_after_join: None,
            ..Self::lan()
        }
    }

    /// The profile for members on one host, equal to memberlist's local profile.
    pub fn local() -> Self {
        Self {
            probe_timeout: Duration::from_millis(200),
            indirect_checks: 1,
            suspicion_mult: 3,
            gossip_interval: Duration::from_millis(100),
            retransmit_mult: 2,
            push_pull_interval: Duration::from_secs(15),
            gossip_to_the_dead: Duration::from_secs(15),
            stream_timeout: Duration::from_secs(1),
            ..Self::lan()
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self::lan()
    }
}

/// Upper bounds of what peers can make a node hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most members, in any state. Default 20,000.
    pub members: usize,
    /// More members than this who never answered us are all pinged, and forgotten unless they answer:
    /// they may be made up. Default 1,000.
    pub unmet: usize,
    /// Most concurrent incoming streams. Default 128, as memberlist has.
    pub streams: usize,
    /// Most of them from one address, or one /64 of IPv6. Default 32.
    pub peer_streams: usize,
    /// Most bytes read from one stream. Default 20 MiB.
    pub stream_bytes: usize,
    /// Most bytes that all streams hold of what peers sent; half of it may be one address's. What
    /// has no room is refused. Default 64 MiB.
    pub incoming_bytes: usize,
    /// Most bytes of our states that are being sent; more peers get the newest of those. One
    /// state is sent however long it is. Default 16 MiB.
    pub state_bytes: usize,
    /// Most broadcasts waiting, of Serf's layer. Default 4096, as Serf has.
    pub broadcasts: usize,
    /// Most intents kept for unknown members. Default 4096.
    pub intents: usize,
    /// Most watch pings in one interval, and most pings of those who never answered. Default 500,
    /// which is 2,000 in a second.
    pub watch_pings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 20_000,
            unmet: 1_000,
            streams: 128,
            peer_streams: 32,
            stream_bytes: 20 << 20,
            incoming_bytes: 64 << 20,
            state_bytes: 16 << 20,
            broadcasts: 4096,
            intents: 4096,
            watch_pings: 500,
        }
    }
}

/// Says what is wrong with a [`Config`], or with new tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The name is not allowed.
    #[error("node name {0:?} is not 1 to 128 characters out of A-Z a-z 0-9 . _ : -")]
    Name(String),
    /// The advertised address is no address that others could send to.
    #[error("{0} cannot be advertised: it needs a real address and a port")]
    Advertise(SocketAddr),
    /// The tags are too long when encoded.
    #[error("the tags need {0} bytes; the gossip protocol carries at most 512")]
    Tags(usize),
    /// A key has a wrong length.
    #[error("a gossip key has 16, 24 or 32 bytes, not {0}")]
    Key(usize),
    /// There are too many keys.
    #[error("{0} gossip keys are more than the 16 that are tried")]
    Keys(usize),
    /// The label is too long.
    #[error("a gossip label has at most 255 bytes, not {0}")]
    Label(usize),
}
