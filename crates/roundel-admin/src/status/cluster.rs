//! The gossip side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One member of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The node name as it announced it: hostile until escaped.
    pub name: String,
    /// `ip:port` of its gossip.
    pub address: String,
    /// What the cluster holds of it.
    pub status: MemberStatus,
    /// Its tags as announced: hostile until escaped.
    pub tags: BTreeMap<String, String>,
    /// Whether it is alive but suspected.
    pub suspect: bool,
    /// Its incarnation number.
    pub incarnation: u32,
    /// Whole seconds in this status.
    pub since_seconds: u64,
    /// The last round trip of a probe in microseconds.
    pub rtt_us: Option<u64>,
    /// Where Prometheus is sent for its metrics; nowhere if it says no port, or where no server may be.
    pub metrics: Option<String>,
    /// Whether this is the node itself.
    pub me: bool,
    /// Memberlist protocol version in use.
    pub protocol: u8,
    /// Serf protocol versions: lowest, highest, in use.
    pub delegate: [u8; 3],
}

impl Member {
    /// The `role` tag; `other` without one.
    pub fn role(&self) -> &str {
        self.tags.get("role").map_or("other", String::as_str)
    }
}

/// A member's status, in Serf's words.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum MemberStatus {
    /// Answers.
    #[default]
    Alive,
    /// Announced that it leaves.
    Leaving,
    /// Left.
    Left,
    /// Held for failed.
    Failed,
}

impl MemberStatus {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// What balancers share under a key of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sharing {
    /// The others that have proven that they hold the key.
    pub balancers: Vec<String>,
    /// Certificates, keys and orders in common.
    pub entries: u64,
    /// Streams that were refused: strangers, and what was not understood.
    pub refused_total: u64,
}

/// Counters of the gossip node.
///
/// A map that stays empty shows no series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gossip {
    /// The address of its sockets.
    pub listen: String,
    /// The address at which other members reach it.
    pub address: String,
    /// Why it is this one, as a clause.
    pub address_reason: String,
    /// The name that it was given, where that belongs to another member and it goes on under a
    /// name with a suffix.
    pub taken_name: Option<String>,
    /// Which seeds were tried in vain, and why, while none has answered for some seconds.
    pub seed_trouble: String,
    /// What it shares with other balancers; `None` without a key.
    pub sharing: Option<Sharing>,
    /// The addresses it was told to join.
    pub seeds: Vec<String>,
    /// Whether packets are encrypted.
    pub encrypted: bool,
    /// Whether some member answers by TCP and not by UDP.
    pub udp_blocked: bool,
    /// Lifeguard's health score; 0 is healthy.
    pub health_score: u64,
    /// Broadcasts waiting to be sent.
    pub broadcast_queue: u64,
    /// Member events by word: `join`, `leave`, `failed`, `update`, `reap`.
    pub events_total: BTreeMap<String, u64>,
    /// Probes by result: `ack`, `stream` (TCP answered, UDP did not), `fail`.
    pub probes_total: BTreeMap<String, u64>,
    /// Suspicions begun.
    pub suspicions_total: u64,
    /// Suspicions refuted.
    pub refutations_total: u64,
    /// Words of others about a member that the member was asked about.
    pub asked_back_total: u64,
    /// Those of them that the member contradicted.
    pub hearsay_refuted_total: u64,
    /// Times the driver ended by a panic and was started again with its members.
    pub restarts_total: u64,
    /// Messages by direction (`in`, `out`) and kind.
    pub messages_total: Vec<(String, String, u64)>,
    /// Bytes by direction (`in`, `out`) and transport (`udp`, `tcp`).
    pub bytes_total: Vec<(String, String, u64)>,
    /// Packets and streams that could not be read, by reason.
    pub decode_errors_total: BTreeMap<String, u64>,
    /// Attempts to join by result: `ok`, `fail`.
    pub join_attempts_total: BTreeMap<String, u64>,
}
