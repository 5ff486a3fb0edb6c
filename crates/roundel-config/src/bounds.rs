//! What strangers can make a process keep: each number once.
//!
//! A stranger is whoever can send bytes to a port. The crates take these numbers as a part of their
//! own configurations and count what they refuse for them; `roundel_bound_used`, `_limit` and
//! `_hits_total` on `/metrics` show all of them by the names given here, and the README has them in a table. Numbers
//! that a file can set are the defaults of their keys.

use roundel_gossip_tokio::Limits;

/// `gossip_members`: members known, in any state; `gossip.max_members`.
pub const GOSSIP_MEMBERS: usize = 20_000;

/// What streams to and from the gossip port hold in memory, beside its sockets; `gossip.memory`. Two
/// thirds are `gossip_incoming`, what peers send; a sixth is `gossip_states`, what they are told; the
/// rest is for what is on its way between a socket and the node.
pub const GOSSIP_MEMORY: usize = 96 << 20;

/// The least of it: every stream has some room of its own.
pub const GOSSIP_MEMORY_LEAST: usize = 24 << 20;

/// `gossip_streams`: streams to the gossip port that are served at a time, as memberlist has.
pub const GOSSIP_STREAMS: usize = 128;

/// `http2_memory`: what the open streams of HTTP/2 may hold, unless `global.http2_memory` says so.
pub const HTTP2_MEMORY: &str = "\"256MiB\"";

/// `servers`: servers of a backend from one kind of source, unless its `max_servers` says so.
pub const SERVERS: &str = "1000";

/// `gossip_peer_streams`: those of one address, or of one /64 of IPv6.
pub const GOSSIP_PEER_STREAMS: usize = 32;

/// Those of a gossip node with so many bytes for its streams and so many members.
pub fn gossip(memory: usize, members: usize) -> Limits {
    Limits {
        members,
        streams: GOSSIP_STREAMS,
        peer_streams: GOSSIP_PEER_STREAMS,
        incoming_bytes: memory / 3 * 2,
        state_bytes: memory / 6,
        ..Limits::default()
    }
}

/// `stats_memory`: what readers of the page's port may have it keep, unless
/// `stats.memory` says so. A view of 5,000 servers has up to 10 MiB, one of each second may be on its way to
/// slow readers, and what connections hold while they ask is counted in full.
pub const STATS_MEMORY: &str = "\"96MiB\"";

/// `stats_connections`: connections to the page's port, if the descriptors allow it.
pub const STATS_CONNECTIONS: usize = 512;

/// `stats_connections_per_address`: those from one address.
pub const STATS_CONNECTIONS_PER_ADDRESS: usize = 256;

/// `stats_health_connections`: those beside them that are answered about health only.
pub const STATS_HEALTH_CONNECTIONS: usize = 64;

/// `stats_viewers`: viewers of `/events`.
pub const STATS_VIEWERS: usize = 64;

/// `cli_connections`: connections to the runtime API's port.
pub const CLI_CONNECTIONS: usize = 64;

/// `cli_connections_per_address`: those from one address.
pub const CLI_CONNECTIONS_PER_ADDRESS: usize = 48;
