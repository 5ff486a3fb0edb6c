//! How many streams of others are served at a time, counted until their tasks have ended.
//!
//! The node forgets a stream once it has said all; the bytes may still wait for a peer that does
//! not read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// One peer's address takes at most this part of all places, so that others find one.
const SHARE: usize = 2;

/// The places for streams that others open.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    limit: usize,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    peer: IpAddr,
    places: Places,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Arc::default(),
        }
    }

    /// A place for a stream of this peer, unless it or all together have too many.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&peer).copied().unwrap_or(0);
        if all >= self.limit || own >= self.limit.div_ceil(SHARE) {
            return None;
        }
        taken.insert(peer, own + 1);
        Some(Place {
            peer,
            places: self.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = self.places.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_for_one_peer_and_for_all() {
        let places = Places::new(8);
        let peer = |last| IpAddr::from([10, 0, 0, last]);
        let mut held: Vec<Place> = (0..4).filter_map(|_| places.take(peer(1))).collect();
        assert_eq!(held.len(), 4);
        assert!(places.take(peer(1)).is_none());
        held.extend((2..9).filter_map(|last| places.take(peer(last))));
        assert_eq!(held.len(), 8);
        assert!(places.take(peer(9)).is_none());
        held.remove(0);
        assert!(places.take(peer(9)).is_some(), "free again");
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
