//! What a director tells about a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_model::{AdminState, Name, Presence, ServerState, SourceKind};

use crate::{CheckStatus, CookieValue, ServerLive};

/// Everything known about one server at one moment, for pages, tables and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerStatus {
    /// Counters and requests in flight; its `id` is the CSV's `sid`.
    pub live: Arc<ServerLive>,
    /// The name.
    pub name: Name,
    /// Where requests go.
    pub address: SocketAddr,
    /// The state.
    pub state: ServerState,
    /// Why it is in that state, in a few words; empty when there is nothing to add.
    pub reason: String,
    /// Whether it serves although something speaks against it (gossip silent or failed).
    pub doubt: bool,
    /// The effective weight, 0 to 256; rounded down, but only a true zero shows as zero.
    pub weight: u16,
    /// The weight an operator set, else the one of its source.
    pub uweight: u16,
    /// The weight its source gave it.
    pub initial_weight: u16,
    /// Per cent of its weight while it warms up.
    pub throttle: Option<u8>,
    /// Serves only while no other server does.
    pub backup: bool,
    /// Who said that it exists.
    pub source: SourceKind,
    /// What that source says about its life.
    pub presence: Presence,
    /// What an operator ordered.
    pub admin: AdminState,
    /// When the state last changed.
    pub since: Instant,
    /// The time it was known and did not serve because it was down, in sum.
    pub downtime: Duration,
    /// Failed probes while it was up.
    pub check_failures: u64,
    /// Times it went down.
    pub check_downs: u64,
    /// Times passive errors put it out, in the order of [`crate::EjectionCause::ALL`].
    pub ejections: [u64; 3],
    /// Its check; `None` when checks are off.
    pub check: Option<CheckState>,
    /// The value of the sticky cookie that leads to it; `None` for a row that has left.
    pub cookie: Option<CookieValue>,
}

/// Where the check of one server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// The last result.
    pub status: CheckStatus,
    /// Whether a probe is under way.
    pub running: bool,
    /// The HTTP status of the last answer.
    pub http_code: Option<u16>,
    /// How long the last probe took.
    pub duration: Duration,
    /// The words of the last result.
    pub description: Arc<str>,
    /// 0 to `rise + fall − 1`; below `rise` the check says down.
    pub health: u32,
    /// Passes in a row that bring it back.
    pub rise: u32,
    /// Whether an operator switched it off.
    pub off: bool,
    /// The port that an operator ordered for it.
    pub port: Option<u16>,
    /// Failures in a row that put it down.
    pub fall: u32,
}
