//! Connections between nodes: ordered, slower on a bad network, cut by partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::StreamId;

use crate::world::{What, World};

/// A lost SYN is sent again after this long.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// Lost data is sent again after this long.
const DATA_AGAIN: Duration = Duration::from_millis(200);

/// One end of a stream: place, life, name there.
pub(crate) type End = (usize, u32, StreamId);

/// All connections.
#[derive(Default)]
pub(crate) struct Streams {
    /// Both directions of each stream, with when what was written so far has come through.
    open: BTreeMap<End, (End, Instant)>,
    /// Closed by the opener before the other side heard of them.
    abandoned: BTreeSet<End>,
}

impl World {
    pub(crate) fn connect(&mut self, index: usize, id: StreamId, to: SocketAddr) {
        let opener = (index, self.peers[index].life, id);
        if let Some(peer) = self.place(to).filter(|to| self.reachable(index, *to)) {
            // Both directions have to work.
            let way = self.stream_way(index, peer, SYN_AGAIN);
            let back = self.stream_way(peer, index, SYN_AGAIN);
            self.push(peer, None, way.max(back), What::Open { opener });
        }
    }

    pub(crate) fn open(&mut self, index: usize, opener: End) {
        let from = self.peers[opener.0].address;
        let peer = &mut self.peers[index];
        let now = peer.clock.local(self.now);
        let life = peer.life;
        let Some(node) = &mut peer.node else {
            return self.push_closed(opener, "connection refused");
        };
        match node.accept_stream(now, from) {
            Some(id) if self.streams.abandoned.remove(&opener) => {
                self.push_closed((index, life, id), "closed by the peer");
            }
            Some(id) => {
                let here = (index, life, id);
                self.streams.open.insert(here, (opener, self.now));
                self.streams.open.insert(opener, (here, self.now));
                let (peer, life, id) = opener;
                self.push(peer, Some(life), self.link.delay.1, What::Opened(id));
            }
            None => self.push_closed(opener, "connection reset"),
        }
    }

    fn push_closed(&mut self, end: End, why: &'static str) {
        let (peer, life, id) = end;
        self.push(peer, Some(life), self.link.delay.1, What::Closed(id, why));
    }

    pub(crate) fn write(&mut self, index: usize, id: StreamId, bytes: &[u8]) {
        let end = (index, self.peers[index].life, id);
        self.stream_bytes += bytes.len() as u64;
        let Some(&(other, clear)) = self.streams.open.get(&end) else {
            return;
        };
        if !self.reachable(index, other.0) {
            return;
        }
        let way = self.stream_way(index, other.0, DATA_AGAIN);
        let at = clear.max(self.now + way);
        self.streams.open.insert(end, (other, at));
        // In two pieces, as TCP cuts where it likes.
        let middle = self.rng.usize(0..=bytes.len());
        let (first, second) = bytes.split_at(middle);
        for piece in [first, second] {
            let what = What::Bytes(other.2, piece.to_vec());
            self.push(other.0, Some(other.1), at - self.now, what);
        }
    }

    pub(crate) fn close(&mut self, index: usize, id: StreamId) {
        let end = (index, self.peers[index].life, id);
        let Some((other, clear)) = self.streams.open.remove(&end) else {
            self.streams.abandoned.insert(end);
            return;
        };
        self.streams.open.remove(&other);
        if self.reachable(index, other.0) {
            let after = (clear.max(self.now) - self.now).max(self.link.delay.1);
            let what = What::Closed(other.2, "closed by the peer");
            self.push(other.0, Some(other.1), after, what);
        }
    }

    fn stream_way(&mut self, from: usize, to: usize, again: Duration) -> Duration {
        let extra = self.loss_between(from, to);
        self.link.stream_way(&mut self.rng, again, extra)
    }
}
