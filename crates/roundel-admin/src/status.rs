//! The plain values that every view reads.
//!
//! The binary's collector fills one [`Snapshot`] a second, and one more after each act. Counters are cumulative since the
//! process started and never go back while their frontend, backend or server is known;
//! rates, percentiles and history are computed from successive snapshots on this side.
//! Serialised, this is the core of `/api/v1/snapshot`.

mod alarm;
mod backend;
mod bound;
mod certificate;
mod cluster;
mod coding;
mod event;
mod frontend;
mod process;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use alarm::Alarm;
pub use backend::{Backend, Check, KeptOrder, Server, Source, Times, Traffic};
pub use bound::Bound;
pub use certificate::{Certificate, Orders};
pub use cluster::{Gossip, Member, MemberStatus, Sharing};
pub use event::Event;
pub use frontend::Frontend;
pub use process::{ConfigStatus, Pipes, Process};

/// Everything that Roundel knows about itself at one moment.
///
/// Shape: frontends and backends in configuration order, servers in set order with the LEFT
/// ones last, members by name, events oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Grows by one with each snapshot of one process.
    pub seq: u64,
    /// Grows by one each second; snapshots that acts ask for in between share it.
    pub second: u64,
    /// This balancer's node name.
    pub node: String,
    /// Roundel's version, such as `0.1.0`.
    pub version: String,
    /// When the snapshot was taken, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Seconds since the process started.
    pub uptime_seconds: f64,
    /// Whether the process is ending and takes no new connection: `/readyz` answers 503.
    pub draining: bool,
    /// The process.
    pub process: Process,
    /// The configuration in force and its reloads.
    pub config: ConfigStatus,
    /// The listening sides.
    pub frontends: Vec<Frontend>,
    /// The sets of servers.
    pub backends: Vec<Backend>,
    /// The gossip node's members, itself included; empty when gossip is off.
    pub members: Vec<Member>,
    /// The gossip node's counters; `None` when gossip is off.
    pub gossip: Option<Gossip>,
    /// What clients are shown over TLS.
    pub certificates: Vec<Certificate>,
    /// What strangers can make the process keep.
    pub bounds: Vec<Bound>,
    /// What clients feel and a person should know, the gravest first.
    pub alarms: Vec<Alarm>,
    /// The newest events, oldest first, at most 2,000.
    pub events: Vec<Arc<Event>>,
    /// Access log lines lost: the log's reader was too slow, or they could not be written.
    pub log_lines_dropped_total: u64,
    /// The same of the program's own log on standard error.
    pub system_log_lines_dropped_total: u64,
}

impl Snapshot {
    /// What clients feel, in one sentence: the gravest alarm; `None` while all is well.
    pub fn felt(&self) -> Option<String> {
        let (first, more) = self.alarms.split_first()?;
        Some(match more.len() {
            0 => first.text.clone(),
            1 => format!("{}; 1 more alarm", first.text),
            n => format!("{}; {n} more alarms", first.text),
        })
    }

    /// The backend of this name.
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|b| b.name == name)
    }
}
