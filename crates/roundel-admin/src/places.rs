//! Places for connections, shared out by address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::pulse::Pulse;

/// A number of places. When all are taken, a newcomer gets that of the connection whose client
/// has been waited for longest: one of the address that has most, if the newcomer's has clearly
/// fewer, else any that was waited for at least `patience`.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    per_address: usize,
    patience: Duration,
    taken: Mutex<Taken>,
    freed: Notify,
    /// Newcomers that found all places taken, whoever had to go.
    full: AtomicU64,
    /// Newcomers whose address had all the places that it may have.
    full_of_one: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    /// In the order in which they came.
    places: BTreeMap<u64, Held>,
    next: u64,
}

#[derive(Debug)]
struct Held {
    who: IpAddr,
    pulse: Arc<Pulse>,
}

impl Places {
    pub(crate) fn new(limit: usize, per_address: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            per_address,
            patience,
            taken: Mutex::default(),
            freed: Notify::new(),
            full: AtomicU64::new(0),
            full_of_one: AtomicU64::new(0),
        })
    }

    /// Takes a place for a connection from this address; another may be closed for it. `None`: none is
    /// to be had.
    pub(crate) fn take(self: &Arc<Self>, from: IpAddr, pulse: &Arc<Pulse>) -> Option<Place> {
        self.find(from, pulse, 1)
    }

    /// As [`Self::take`], but waits until there is one, as long as it takes for a client that does
    /// nothing to lose its own.
    pub(crate) async fn wait(self: &Arc<Self>, from: IpAddr, pulse: &Arc<Pulse>) -> Option<Place> {
        if let Some(place) = self.take(from, pulse) {
            return Some(place);
        }
        let freed = timeout(self.patience, async {
            loop {
                let freed = self.freed.notified();
                if let Some(place) = self.find(from, pulse, 0) {
                    return place;
                }
                freed.await;
            }
        });
        freed.await.ok().or_else(|| self.find(from, pulse, 0))
    }

    fn find(self: &Arc<Self>, from: IpAddr, pulse: &Arc<Pulse>, hits: u64) -> Option<Place> {
        let who = household(from);
        let mut taken = self.lock();
        let own = taken.of(who);
        let victim = if own >= self.per_address {
            self.full_of_one.fetch_add(hits, Relaxed);
            Some(taken.longest(|held| held.who == who, self.patience)?)
        } else if taken.places.len() >= self.limit {
            self.full.fetch_add(hits, Relaxed);
            Some(match taken.greatest() {
                Some((most, n)) if n > own + 1 => {
                    taken.longest(|held| held.who == most, Duration::ZERO)?
                }
                _ => taken.longest(|_| true, self.patience)?,
            })
        } else {
            None
        };
        if let Some(held) = victim.and_then(|id| taken.places.remove(&id)) {
            held.pulse.close();
        }
        let id = taken.next;
        taken.next += 1;
        let pulse = Arc::clone(pulse);
        taken.places.insert(id, Held { who, pulse });
        let places = Arc::clone(self);
        Some(Place { places, id })
    }

    /// Closes every connection whose client has taken nothing for so long.
    pub(crate) fn close_stuck(&self, long: Duration) {
        for held in self.lock().places.values() {
            if held.pulse.is_stuck_for(long) {
                held.pulse.close();
            }
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().places.len()
    }

    /// How many places the address has that has most.
    pub(crate) fn most(&self) -> usize {
        self.lock().greatest().map_or(0, |(_, n)| n)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn per_address(&self) -> usize {
        self.per_address
    }

    pub(crate) fn full(&self) -> u64 {
        self.full.load(Relaxed)
    }

    pub(crate) fn full_of_one(&self) -> u64 {
        self.full_of_one.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&self, who: IpAddr) -> usize {
        self.places.values().filter(|held| held.who == who).count()
    }

    /// The address that has most places.
    fn greatest(&self) -> Option<(IpAddr, usize)> {
        let mut counts = BTreeMap::new();
        for held in self.places.values() {
            *counts.entry(held.who).or_insert(0) += 1;
        }
        counts.into_iter().max_by_key(|(_, n)| *n)
    }

    /// Of those that `fits`, the one whose client was waited for longest, if at least so long; the
    /// first come of equals. With no patience to have, one that waits for us will do.
    fn longest(&self, fits: impl Fn(&Held) -> bool, patience: Duration) -> Option<u64> {
        let waits = self.places.iter().filter(|(_, held)| fits(held));
        let waits = waits.map(|(id, held)| (held.pulse.waited(), *id));
        let (waited, id) = waits.reduce(|a, b| if b.0 > a.0 { b } else { a })?;
        (waited.unwrap_or_default() >= patience).then_some(id)
    }
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().places.remove(&self.id);
        self.places.freed.notify_waiters();
    }
}

/// What counts as one address: whoever has an address of version 6 has a network of them.
pub(crate) fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    async fn is_closed(pulse: &Pulse) -> bool {
        tokio::select! {
            biased;
            () = pulse.closed() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_that_has_most_makes_room_for_others() {
        let places = Places::new(4, 4, SECOND);
        let flood: Vec<_> = (0..4).map(|_| Pulse::new()).collect();
        let taken: Vec<_> = flood.iter().map(|p| places.take(ip(1), p)).collect();
        assert!(taken.iter().all(Option::is_some));
        let busy = flood[0].answer();
        let (late, other) = (Pulse::new(), Pulse::new());
        assert!(places.take(ip(1), &late).is_none(), "its own are as young");
        let place = places.take(ip(2), &other);
        assert!(place.is_some());
        assert!(is_closed(&flood[1]).await, "the first that is waited for");
        assert!(!is_closed(&flood[0]).await);
        assert_eq!((places.used(), places.most()), (4, 3));
        drop((taken, busy, place));
        assert_eq!(places.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn among_equals_the_one_waited_for_longest_goes() {
        let places = Places::new(2, 2, SECOND);
        let old = Pulse::new();
        let _old = places.take(ip(1), &old);
        advance(SECOND).await;
        let new = Pulse::new();
        let _new = places.take(ip(2), &new);
        let third = Pulse::new();
        let _third = places.take(ip(3), &third).expect("of the old one");
        assert!(is_closed(&old).await);
        assert!(places.take(ip(4), &third).is_none());
        assert_eq!(places.full(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_own_limit_and_a_network_of_version_6_is_one() {
        let places = Places::new(9, 2, SECOND);
        let pulses: Vec<_> = (0..3).map(|_| Pulse::new()).collect();
        let from = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, n]);
        let first = places.take(from(1), &pulses[0]);
        let second = places.take(from(2), &pulses[1]);
        assert!(first.is_some() && second.is_some());
        assert!(places.take(from(3), &pulses[2]).is_none());
        assert_eq!((places.full_of_one(), places.full()), (1, 0));
        assert!(places.take(ip(1), &pulses[2]).is_some());
    }
}
