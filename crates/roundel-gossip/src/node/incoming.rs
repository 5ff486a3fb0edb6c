//! How many bytes all streams hold together of what peers send.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// What each stream may hold whatever others hold: the states of small clusters, and all else that
/// is said on a stream. The budget of all is that much smaller.
const OWN: usize = 32 << 10;

/// One peer's address takes at most this part of what all share, so that others find some.
const SHARE: usize = 2;

/// Counts what streams hold, in all and by the address of their peer.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    shared: usize,
    held: usize,
    by_peer: BTreeMap<IpAddr, usize>,
}

impl Incoming {
    /// For so many streams that hold at most `limit` bytes together.
    pub(super) fn new(limit: usize, streams: usize) -> Self {
        Self {
            shared: limit.saturating_sub(streams * OWN),
            ..Self::default()
        }
    }

    /// How much all streams hold.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How much a stream of `peer` may hold that holds `own` bytes already.
    pub(super) fn room(&self, peer: IpAddr, own: usize) -> usize {
        let peers = self.by_peer.get(&network(peer)).copied().unwrap_or(0);
        let of_all = self.shared.saturating_sub(self.held - own);
        let of_peer = (self.shared / SHARE).saturating_sub(peers - own);
        of_all.min(of_peer).max(OWN)
    }

    /// A stream of `peer` that held `before` bytes holds `after` bytes.
    pub(super) fn changed(&mut self, peer: IpAddr, before: usize, after: usize) {
        self.held = self.held - before + after;
        let peer = network(peer);
        let peers = self.by_peer.entry(peer).or_default();
        *peers = *peers - before + after;
        if *peers == 0 {
            self.by_peer.remove(&peer);
        }
    }
}

/// Who is meant by an address: one machine may have 2⁶⁴ of IPv6.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_leaves_something_to_others_and_all_leave_everybody_a_little() {
        let mut incoming = Incoming::new(10 * OWN, 2);
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        assert_eq!(incoming.room(a, 0), 4 * OWN);
        incoming.changed(a, 0, 3 * OWN);
        assert_eq!(incoming.room(a, 3 * OWN), 4 * OWN, "it may go on");
        assert_eq!(incoming.room(a, 0), OWN, "another stream of the same peer");
        assert_eq!(incoming.room(b, 0), 4 * OWN);
        incoming.changed(b, 0, 4 * OWN);
        assert_eq!(incoming.room(c, 0), OWN);
        incoming.changed(c, 0, OWN);
        assert_eq!(incoming.held(), 8 * OWN);
        for (peer, held) in [(a, 3), (b, 4), (c, 1)] {
            incoming.changed(peer, held * OWN, 0);
        }
        assert!(incoming.held() == 0 && incoming.by_peer.is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer() {
        let mut incoming = Incoming::new(10 * OWN, 2);
        let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse().unwrap());
        incoming.changed(a, 0, 4 * OWN);
        assert_eq!(incoming.room(b, 0), OWN);
        assert_eq!(incoming.room("2001:db8:1::1".parse().unwrap(), 0), 4 * OWN);
    }
}
