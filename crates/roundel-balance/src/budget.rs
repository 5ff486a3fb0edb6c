//! How many requests may be sent a second time, so that retries cannot multiply an outage.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Balancer;

/// The limit on requests of one backend that are sent to a second server after a first one took
/// them and gave no answer. Attempts that could not even connect cost the servers nothing, and
/// are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// The share of the requests of the last 10 s, in per cent. Default 20, as Envoy's and
    /// linkerd's.
    pub percent: u8,
    /// So many in 10 s always. Default 10: a server that dies takes about that many requests of
    /// a quiet backend along.
    pub min: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            percent: 20,
            min: 10,
        }
    }
}

/// The time over which requests and retries are compared, in two halves: `old` slides out.
/// Source: linkerd's retry budget has a `ttl` of 10 s.
const HALF: Duration = Duration::from_secs(5);

/// What was spent lately. Touched when a retry is due, and now and then by the control side so
/// that it knows the traffic of the time before.
#[derive(Debug, Default)]
pub(crate) struct Spent(Mutex<Option<Halves>>);

#[derive(Debug, Clone, Copy)]
struct Halves {
    since: Instant,
    old: Half,
    new: Half,
}

/// Shape: `requests` is the backend's count when the half began.
#[derive(Debug, Clone, Copy)]
struct Half {
    requests: u64,
    retries: u64,
}

impl Balancer {
    /// Whether one more request may be sent a second time; counts it if so.
    ///
    /// Requests that are in flight count as well as those of the last 10 s.
    pub fn may_retry(&self, now: Instant, budget: RetryBudget) -> bool {
        let requests = self.counters().sum(|w| w.requests.get());
        let snapshot = self.load();
        let lives = snapshot.servers().iter().map(|entry| &entry.live);
        let in_flight = lives.map(|live| u64::from(live.in_flight())).sum();
        self.spent().spend(now, requests, in_flight, budget)
    }

    /// Notes how far the count of requests is.
    pub(crate) fn note_traffic(&self, now: Instant) {
        self.spent()
            .note(now, self.counters().sum(|w| w.requests.get()));
    }
}

impl Spent {
    fn note(&self, now: Instant, requests: u64) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let halves = halves.get_or_insert(Halves::new(now, requests));
        halves.turn(now, requests);
    }

    fn spend(&self, now: Instant, requests: u64, in_flight: u64, budget: RetryBudget) -> bool {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let halves = halves.get_or_insert(Halves::new(now, requests));
        halves.turn(now, requests);
        let lately = requests.saturating_sub(halves.old.requests).max(in_flight);
        let allowed = u128::from(lately) * u128::from(budget.percent) / 100;
        let spent = u128::from(halves.old.retries + halves.new.retries);
        let may = spent < allowed.max(budget.min.into());
        halves.new.retries += u64::from(may);
        may
    }
}

impl Halves {
    fn new(now: Instant, requests: u64) -> Self {
        let half = Half {
            requests,
            retries: 0,
        };
        Self {
            since: now,
            old: half,
            new: half,
        }
    }

    /// Lets the old half slide out; both when nobody asked for long.
    fn turn(&mut self, now: Instant, requests: u64) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= 2 * HALF {
            *self = Self::new(now, requests);
        } else if passed >= HALF {
            self.old = self.new;
            self.since = now;
            self.new = Half {
                requests,
                retries: 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: RetryBudget = RetryBudget {
        percent: 20,
        min: 3,
    };

    fn spend_all(spent: &Spent, now: Instant, requests: u64, in_flight: u64) -> usize {
        (0..10_000)
            .take_while(|_| spent.spend(now, requests, in_flight, BUDGET))
            .count()
    }

    #[test]
    fn a_share_of_the_requests_and_some_always() {
        let now = Instant::now();
        let check = |requests, in_flight, retries| {
            let spent = Spent::default();
            spent.note(now, 0);
            assert_eq!(spend_all(&spent, now, requests, in_flight), retries);
        };
        check(0, 0, 3);
        check(10, 0, 3);
        check(1_000, 0, 200);
        check(0, 100, 20);
    }

    #[test]
    fn what_was_spent_comes_back_with_time_and_traffic() {
        let start = Instant::now();
        let spent = Spent::default();
        spent.note(start, 0);
        assert_eq!(spend_all(&spent, start, 100, 0), 20);
        assert_eq!(spend_all(&spent, start + HALF, 200, 0), 20);
        assert_eq!(spend_all(&spent, start + HALF, 200, 0), 0);
        let later = start + 100 * HALF;
        assert_eq!(
            spend_all(&spent, later, 1_000, 0),
            3,
            "old traffic earns nothing"
        );
        assert_eq!(spend_all(&spent, later + HALF / 2, 1_050, 0), 7);
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let start = Instant::now();
        let spent = Spent::default();
        spent.note(start, 0);
        // 100 requests per second, each failing until it may not be repeated.
        let mut retries = 0;
        for n in 1..=6_000u32 {
            let now = start + n * Duration::from_millis(10);
            while retries < 3 * n && spent.spend(now, u64::from(n), 4, BUDGET) {
                retries += 1;
            }
        }
        assert!((1_000..=1_260).contains(&retries), "{retries} for 6,000");
    }
}
