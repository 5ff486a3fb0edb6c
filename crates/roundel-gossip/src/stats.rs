//! What a node counts.

use std::collections::BTreeMap;

use crate::event::DropReason;

/// Counts what a node did and holds. Counters never go back while the node lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Members alive, ourselves included.
    pub alive: usize,
    /// Members leaving.
    pub leaving: usize,
    /// Members known to have left.
    pub left: usize,
    /// Members failed.
    pub failed: usize,
    /// Members suspected.
    pub suspect: usize,
    /// The awareness score: 0 is well, 7 is very slow or badly connected ourselves.
    pub awareness: u32,
    /// Broadcasts waiting to be sent.
    pub queued: usize,
    /// Streams open in either direction.
    pub streams: usize,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Bytes of datagrams received.
    pub datagram_bytes_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of datagrams sent.
    pub datagram_bytes_out: u64,
    /// Full exchanges completed, either side having begun.
    pub push_pulls: u64,
    /// Probes begun.
    pub probes: u64,
    /// Probes that no way was answered.
    pub probes_failed: u64,
    /// Probes that were answered by a stream only: datagrams do not get through.
    pub probes_by_stream: u64,
    /// Suspicions raised or passed on.
    pub suspicions: u64,
    /// Times we had to refute what was said about us.
    pub refutations: u64,
    /// Words of others about a member that the member was asked about.
    pub asked_back: u64,
    /// Those of them that the member contradicted.
    pub hearsay_refuted: u64,
    /// Pings sent for watched members.
    pub watch_pings: u64,
    /// Times this node began anew after an error of our own.
    pub restarts: u64,
    /// Bytes that streams hold of what peers sent.
    pub incoming: usize,
    /// Streams refused because there was no room for what they sent.
    pub incoming_refused: u64,
    /// Bytes of our states that are being sent.
    pub states: usize,
    /// Streams that were sent a state from before, as too many are being sent.
    pub states_old: u64,
    /// Streams of others that are served until all is sent; the owner counts them.
    pub places: usize,
    /// Streams closed because too many were open.
    pub streams_refused: u64,
    /// Streams closed because too many of one address were open.
    pub peer_streams_refused: u64,
    /// Members refused, or forgotten for others or for never having answered, because too many were
    /// known.
    pub members_refused: u64,
    /// Messages refused, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}
