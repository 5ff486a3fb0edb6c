//! How many suspicions one peer may bring: a peer gone mad must not make the cluster doubt all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// Most peers that are remembered.
const PEERS: usize = 1024;

/// Suspicions that any peer may bring at once, however small the cluster is.
const BURST: f64 = 64.0;

/// Suspicions that a peer may bring in each second after that.
const PER_SECOND: f64 = 32.0;

/// A bucket of tokens per peer.
///
/// Shape: at most [`PEERS`] buckets; full ones need not be remembered.
#[derive(Debug, Default)]
pub(super) struct Accusers {
    buckets: BTreeMap<IpAddr, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Accusers {
    /// Whether `peer` may raise one more suspicion in a cluster of `known` members. Half of a
    /// large cluster may fall away at once, and one peer may be the first to tell of all.
    pub(super) fn may_accuse(&mut self, now: Instant, peer: IpAddr, known: usize) -> bool {
        let burst = BURST.max(known as f64 / 2.0);
        let left = |bucket: &Bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + passed * PER_SECOND).min(burst)
        };
        if !self.buckets.contains_key(&peer) && self.buckets.len() >= PEERS {
            self.buckets.retain(|_, bucket| left(bucket) < burst);
            if self.buckets.len() >= PEERS {
                return false;
            }
        }
        let bucket = self.buckets.entry(peer).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        bucket.tokens = left(bucket);
        bucket.at = now;
        let may = bucket.tokens >= 1.0;
        if may {
            bucket.tokens -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_peer_has_a_burst_and_then_a_pace() {
        let now = Instant::now();
        let peer = IpAddr::from([10, 0, 0, 1]);
        let mut accusers = Accusers::default();
        let count = |accusers: &mut Accusers, now, known| {
            let tries = 0..10_000;
            tries
                .filter(|_| accusers.may_accuse(now, peer, known))
                .count()
        };
        assert_eq!(count(&mut accusers, now, 10), 64);
        assert_eq!(count(&mut accusers, now + Duration::from_secs(1), 10), 32);
        assert_eq!(count(&mut accusers, now + Duration::from_secs(99), 10), 64);
        let mut large = Accusers::default();
        assert_eq!(count(&mut large, now, 1000), 500);
    }

    #[test]
    fn too_many_peers_are_not_remembered() {
        let now = Instant::now();
        let mut accusers = Accusers::default();
        let peer = |i: u32| IpAddr::from(i.to_be_bytes());
        assert!((0..1024).all(|i| accusers.may_accuse(now, peer(i), 9)));
        assert!(!accusers.may_accuse(now, peer(5000), 9));
        let later = now + Duration::from_secs(1);
        assert!(accusers.may_accuse(later, peer(5000), 9));
        assert!(accusers.buckets.len() <= PEERS);
    }
}
