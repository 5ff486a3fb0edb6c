//! How many streams of others are served at a time, counted until their tasks have ended.
//!
//! The node forgets a stream once it has said all; the bytes may still wait for a peer that does
//! not read. Whoever comes gets a place: the oldest stream of the peer that has most is ended for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roundel_gossip::{Crowd, Limits, StreamId, network};
use tokio::task::AbortHandle;

/// The places for streams that others open.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    all: usize,
    of_peer: usize,
    /// The oldest first.
    taken: Arc<Mutex<BTreeMap<StreamId, Taken>>>,
}

#[derive(Debug)]
struct Taken {
    peer: IpAddr,
    task: Option<AbortHandle>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    id: StreamId,
    places: Places,
}

impl Places {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            all: limits.streams,
            of_peer: limits.peer_streams,
            taken: Arc::default(),
        }
    }

    /// Ends a stream if there is no place for another one of `peer`, and gives its name and what
    /// there were too many of.
    pub(crate) fn make_room(&self, peer: IpAddr) -> Option<(StreamId, Crowd)> {
        let mut taken = self.lock();
        let peer = network(peer);
        let counts = count(&taken);
        let own = counts.get(&peer).copied().unwrap_or(0);
        let most = counts.values().copied().max().unwrap_or(0);
        let crowd = match own {
            own if own >= self.of_peer => Crowd::Peer,
            _ if taken.len() >= self.all => Crowd::All,
            _ => return None,
        };
        let goes = |held: &Taken| match crowd {
            Crowd::Peer => held.peer == peer,
            Crowd::All => counts[&held.peer] == most,
        };
        let id = *taken.iter().find(|(_, held)| goes(held))?.0;
        if let Some(task) = taken.remove(&id)?.task {
            task.abort();
        }
        Some((id, crowd))
    }

    /// How many there are.
    pub(crate) fn taken(&self) -> usize {
        self.lock().len()
    }

    /// Takes a place.
    pub(crate) fn take(&self, id: StreamId, peer: IpAddr) -> Place {
        let peer = network(peer);
        self.lock().insert(id, Taken { peer, task: None });
        Place {
            id,
            places: self.clone(),
        }
    }

    /// Notes who serves a stream, unless that has ended already.
    pub(crate) fn served_by(&self, id: StreamId, task: AbortHandle) {
        if let Some(taken) = self.lock().get_mut(&id) {
            taken.task = Some(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.id);
    }
}

fn count(taken: &BTreeMap<StreamId, Taken>) -> BTreeMap<IpAddr, usize> {
    let mut counts = BTreeMap::new();
    for held in taken.values() {
        *counts.entry(held.peer).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundel_gossip::{Config, Node};
    use std::collections::BTreeMap;
    use std::time::Instant;

    /// As many names of streams as wanted.
    fn names(count: usize) -> Vec<StreamId> {
        let now = Instant::now();
        let limits = Limits {
            streams: count,
            ..Limits::default()
        };
        let config = Config {
            name: "me".to_owned(),
            advertise: ([10, 0, 0, 1], 7946).into(),
            tags: BTreeMap::new(),
            keys: Vec::new(),
            label: String::new(),
            nonce: [0; 12],
            compress: false,
            incarnation: 1,
            unix_seconds: 1,
            seed: 1,
            timings: roundel_gossip::Timings::lan(),
            limits,
            clocks: roundel_gossip::Clocks::default(),
            keys_are_saved: false,
        };
        let mut node = Node::new(config, now).unwrap();
        let from = ([10, 0, 0, 2], 7946).into();
        let accept = |_| node.accept_stream(now, from).unwrap();
        (0..count).map(accept).collect()
    }

    fn places() -> Places {
        Places::new(&Limits {
            streams: 4,
            peer_streams: 3,
            ..Limits::default()
        })
    }

    #[test]
    fn the_oldest_of_who_has_most_goes_for_a_newcomer() {
        let (places, names) = (places(), names(6));
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let mut held = Vec::new();
        for (id, peer) in names.iter().zip([b, a, a, a]) {
            assert_eq!(places.make_room(peer), None);
            held.push(places.take(*id, peer));
        }
        // Its own are too many, whoever else has places.
        assert_eq!(places.make_room(a), Some((names[1], Crowd::Peer)));
        held.push(places.take(names[4], a));
        assert_eq!(places.make_room(c), Some((names[2], Crowd::All)));
        held.push(places.take(names[5], c));
        assert_eq!(places.make_room(b), Some((names[3], Crowd::All)));
        assert_eq!(places.make_room(b), None, "there is a free place");
        drop(held);
        assert!(places.lock().is_empty());
    }

    #[test]
    fn where_all_have_the_same_the_oldest_of_all_goes() {
        let (places, names) = (places(), names(4));
        let peer = |last| IpAddr::from([10, 0, 0, last]);
        let held: Vec<Place> = (names.iter().zip([9, 8, 7, 6]))
            .map(|(id, last)| places.take(*id, peer(last)))
            .collect();
        assert_eq!(places.make_room(peer(1)), Some((names[0], Crowd::All)));
        drop(held);
    }

    #[tokio::test]
    async fn who_goes_is_ended_even_in_the_middle_of_a_write() {
        let (places, names) = (places(), names(4));
        let peer = IpAddr::from([10, 0, 0, 1]);
        let place = places.take(names[0], peer);
        let task = tokio::spawn(async move {
            let _place = place;
            std::future::pending::<()>().await;
        });
        places.served_by(names[0], task.abort_handle());
        let _others: Vec<Place> = names[1..3]
            .iter()
            .map(|id| places.take(*id, peer))
            .collect();
        assert!(places.make_room(peer).is_some());
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
