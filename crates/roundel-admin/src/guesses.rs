//! Wrong tokens and passwords: counted, told of, slow to answer, and few.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::places::household;
use crate::serve::Peer;

/// How long a wrong guess waits for its answer.
const WRONG: Duration = Duration::from_millis(100);

/// The most wrong guesses that wait at a time.
const WAITING: usize = 64;

/// So many wrong guesses may come from one address within [`WINDOW`].
const GUESSES: u32 = 10;

const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered; the one that began to guess first goes.
const ADDRESSES: usize = 4096;

/// One line in so long tells of wrong guesses.
const TELL: Duration = Duration::from_secs(10);

/// What becomes of a wrong guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It waited, and is told so.
    Told,
    /// Too many wait already.
    Flood,
}

#[derive(Debug)]
pub(crate) struct Guesses {
    count: AtomicU64,
    /// When they were told of, and how many by then.
    told: Mutex<Option<(Instant, u64)>>,
    waiting: Semaphore,
    /// When an address began to guess, and how often it was wrong since.
    wrong: Mutex<BTreeMap<IpAddr, (Instant, u32)>>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            told: Mutex::default(),
            waiting: Semaphore::new(WAITING),
            wrong: Mutex::default(),
        }
    }
}

impl Guesses {
    /// How many were wrong.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// How long this address may not guess any more, right or wrong.
    pub(crate) fn wait(&self, peer: Option<Peer>) -> Option<Duration> {
        let (since, count) = *self.wrong().get(&household(peer?.0.ip()))?;
        let left = WINDOW.saturating_sub(since.elapsed());
        (count >= GUESSES && !left.is_zero()).then_some(left)
    }

    /// Notes a wrong guess, and holds the answer to it back for a moment.
    pub(crate) async fn refuse(&self, peer: Option<Peer>) -> Wrong {
        self.count.fetch_add(1, Relaxed);
        self.note(peer);
        self.tell(peer);
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Wrong::Flood;
        };
        tokio::time::sleep(WRONG).await;
        Wrong::Told
    }

    fn note(&self, peer: Option<Peer>) {
        let Some(peer) = peer else { return };
        let who = household(peer.0.ip());
        let now = Instant::now();
        let mut wrong = self.wrong();
        if wrong.len() >= ADDRESSES && !wrong.contains_key(&who) {
            wrong.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            let first = wrong.iter().min_by_key(|(_, (since, _))| *since);
            let first = first.map(|(address, _)| *address);
            if let Some(first) = first.filter(|_| wrong.len() >= ADDRESSES) {
                wrong.remove(&first);
            }
        }
        let (since, count) = wrong.entry(who).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }

    fn wrong(&self) -> MutexGuard<'_, BTreeMap<IpAddr, (Instant, u32)>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, peer: Option<Peer>) {
        let told = self.told.lock();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        let (now, count) = (Instant::now(), self.count());
        let (at, before) = told.unzip();
        if at.is_some_and(|at| now.duration_since(at) < TELL) {
            return;
        }
        *told = Some((now, count));
        let fresh = count - before.unwrap_or_default();
        let from = peer.map_or("unknown".to_owned(), |p| p.0.to_string());
        tracing::warn!(
            "wrong token or password on the page's port from {from}; {fresh} since the last such line"
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer(address.parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_counted_and_wait_but_not_all_of_them() {
        let guesses = Guesses::default();
        let began = Instant::now();
        let all = (0..WAITING + 3).map(|_| guesses.refuse(None));
        let all = futures_util::future::join_all(all).await;
        let refused = all.iter().filter(|wrong| **wrong == Wrong::Flood).count();
        assert_eq!(refused, 3);
        assert_eq!(began.elapsed(), WRONG);
        assert_eq!(guesses.refuse(None).await, Wrong::Told);
        assert_eq!(guesses.count(), WAITING as u64 + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_ten_a_minute() {
        let guesses = Guesses::default();
        let network = peer("[2001:db8::1]:4000");
        for _ in 0..GUESSES {
            assert_eq!(guesses.wait(network), None);
            guesses.refuse(network).await;
        }
        let neighbour = peer("[2001:db8::ffff:2]:1");
        assert_eq!(guesses.wait(neighbour), Some(Duration::from_secs(59)));
        assert_eq!(guesses.wait(peer("192.0.2.1:1")), None, "others may");
        advance(Duration::from_secs(59)).await;
        assert_eq!(guesses.wait(network), None);
        guesses.refuse(network).await;
        assert_eq!(guesses.wait(network), None, "a new minute has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_take_no_memory_without_end() {
        let guesses = Guesses::default();
        for n in 0..ADDRESSES + 50 {
            let ip = std::net::Ipv4Addr::from_bits(n as u32);
            guesses.note(Some(Peer((ip, 1).into())));
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(guesses.wrong().len(), ADDRESSES);
        assert!(!guesses.wrong().contains_key(&IpAddr::from([0, 0, 0, 0])));
    }
}
