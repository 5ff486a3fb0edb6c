//! What a running proxy shows of itself.

use std::net::SocketAddr;
use std::sync::Arc;

use roundel_model::Name;
use roundel_stats::PerWorker;

use crate::FrontendCounters;

/// One frontend as it runs.
#[derive(Debug, Clone)]
pub struct FrontendStatus {
    /// Its name.
    pub name: Name,
    /// The addresses it is bound to, in the order of the configuration, with real ports.
    pub addresses: Vec<SocketAddr>,
    /// Those of them at which TLS is spoken.
    pub tls: Vec<SocketAddr>,
    /// Its counters by worker; they outlive reloads.
    pub counters: Arc<PerWorker<FrontendCounters>>,
    /// The most connections that it may have, by its own limit or that of the process.
    pub maxconn: Option<u64>,
    /// Whether it accepts nothing at this moment, since that many are open.
    pub is_full: bool,
}

/// The pipes through which large bodies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipeStatus {
    /// The most that there may be.
    pub most: u64,
    /// Those that hold something.
    pub used: u64,
    /// Those that are kept for later.
    pub free: u64,
    /// Bytes that went through them since the start.
    pub bytes: u64,
}

/// What the streams of HTTP/2 hold, see [`crate::Routes::http2_memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStatus {
    /// Bytes reserved for streams that are open.
    pub used: u64,
    /// The most.
    pub limit: u64,
    /// Streams refused since the start.
    pub refused: u64,
}
