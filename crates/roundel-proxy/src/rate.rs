//! How many requests one client may send in a time.
//!
//! The generic cell rate algorithm: per client one number, the time at which it would be back at
//! rest. What a client may do at once (`burst`) is how far that time may lie ahead. Equal to a
//! token bucket, without anything that fills buckets up.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The rate that one client may keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in [`Self::per`]. At least one.
    pub requests: u32,
    /// At least one nanosecond per request.
    pub per: Duration,
    /// Requests that may come at once after a pause. At least one.
    pub burst: u32,
}

/// Sets in the table; with [`WAYS`] clients each it knows 65,536 in about 1 MiB.
const SETS: usize = 8192;
const WAYS: usize = 8;

/// Counts the clients of one rule, over all workers.
///
/// Shape: a fixed table. A client is an IPv4 address or an IPv6 network of 64 bits, of which one
/// customer has all addresses. A newcomer takes the place of whoever in its set owes least: one
/// that has paused for long enough, else the most patient. So a flood of addresses forgets the
/// patient, never the greedy. The table's hash has a secret key, so that nobody can aim at a set.
/// A worker holds the lock of one set for the time of a comparison.
#[derive(Debug)]
pub struct Limiter {
    limit: RateLimit,
    /// Nanoseconds between two requests at the rate.
    interval: u64,
    /// Nanoseconds that a client's time of rest may lie ahead.
    tolerance: u64,
    started: Instant,
    hasher: RandomState,
    sets: Box<[Mutex<[Slot; WAYS]>]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    client: u64,
    /// When the client is back at rest, in nanoseconds since the start.
    rest: u64,
}

impl Limiter {
    /// Makes a table in which nobody has sent anything.
    pub fn new(limit: RateLimit) -> Self {
        let interval = nanos(limit.per) / u64::from(limit.requests.max(1));
        let interval = interval.max(1);
        Self {
            limit,
            interval,
            tolerance: interval.saturating_mul(u64::from(limit.burst.max(1) - 1)),
            started: Instant::now(),
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        }
    }

    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Counts a request of `client` at `now`. Errors: how long until one would be let through;
    /// nothing is counted then.
    pub(crate) fn admit(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = self.hasher.hash_one(network(client));
        let now = nanos(now.saturating_duration_since(self.started));
        let set = &self.sets[client as usize % SETS];
        let mut slots = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|slot| slot.client == client);
        let rest = known.map_or(now, |at| slots[at].rest.max(now));
        if let Some(wait) = (rest - now).checked_sub(self.tolerance).filter(|w| *w > 0) {
            return Err(Duration::from_nanos(wait));
        }
        let owes_least = || (0..WAYS).min_by_key(|at| slots[*at].rest);
        if let Some(at) = known.or_else(owes_least) {
            let rest = rest.saturating_add(self.interval);
            slots[at] = Slot { client, rest };
        }
        Ok(())
    }
}

fn nanos(t: Duration) -> u64 {
    u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)
}

/// What counts as one client.
fn network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits() | u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(requests: u32, per: Duration, burst: u32) -> Limiter {
        Limiter::new(RateLimit {
            requests,
            per,
            burst,
        })
    }

    /// How many of `n` requests at one moment are let through.
    fn admitted(limiter: &Limiter, client: &str, at: Duration, n: usize) -> usize {
        let (client, now) = (client.parse().unwrap(), limiter.started + at);
        (0..n)
            .filter(|_| limiter.admit(client, now).is_ok())
            .count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = limiter(10, SECOND, 20);
        let at = Duration::from_millis;
        let go = |t: u64, n: usize| admitted(&limiter, "192.0.2.1", at(t), n);
        assert_eq!(go(0, 50), 20);
        assert_eq!(go(99, 5), 0);
        assert_eq!(go(100, 5), 1);
        assert_eq!(go(1100, 50), 10);
        // A pause gives a burst back, and no more than that.
        assert_eq!(go(60_000, 50), 20);
    }

    #[test]
    fn the_denied_are_told_when_to_come_back() {
        let limiter = limiter(1, 10 * SECOND, 2);
        let (client, now) = ("192.0.2.1".parse().unwrap(), limiter.started);
        assert!(limiter.admit(client, now).is_ok());
        assert!(limiter.admit(client, now).is_ok());
        assert_eq!(limiter.admit(client, now), Err(10 * SECOND));
        let later = now + 4 * SECOND;
        assert_eq!(limiter.admit(client, later), Err(6 * SECOND));
        assert!(limiter.admit(client, later + 6 * SECOND).is_ok());
    }

    #[test]
    fn clients_are_told_apart_by_address_or_network() {
        let limiter = limiter(1, SECOND, 1);
        let one = |client| admitted(&limiter, client, SECOND, 1);
        assert_eq!(
            (one("192.0.2.1"), one("192.0.2.2"), one("192.0.2.1")),
            (1, 1, 0)
        );
        assert_eq!(one("::ffff:192.0.2.1"), 0);
        assert_eq!((one("2001:db8::1"), one("2001:db8::ffff:2")), (1, 0));
        assert_eq!(one("2001:db8:0:1::1"), 1);
    }

    #[test]
    fn a_flood_of_addresses_does_not_free_the_greedy() {
        let limiter = limiter(1, SECOND, 100);
        assert_eq!(admitted(&limiter, "192.0.2.1", SECOND, 1000), 100);
        let now = limiter.started + SECOND;
        for n in 0..4 * (SETS * WAYS) as u32 {
            let client = IpAddr::V4((0x0a00_0000 + n).into());
            assert!(limiter.admit(client, now).is_ok());
        }
        assert_eq!(admitted(&limiter, "192.0.2.1", SECOND, 10), 0);
    }
}
