//! The clock of one node, which may run apart from the true one.

use std::time::{Duration, Instant};

/// Turns true time into a node's time and back.
///
/// Units: `rate` is the node's seconds in one true second, above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    start: Instant,
    ahead: Duration,
    rate: f64,
}

impl Clock {
    /// A clock that is right, in a world that began at `start`.
    pub fn right(start: Instant) -> Self {
        Self::skewed(start, Duration::ZERO, 1.0)
    }

    /// A clock that is `ahead` at `start` and then runs at `rate`.
    pub fn skewed(start: Instant, ahead: Duration, rate: f64) -> Self {
        Self { start, ahead, rate }
    }

    /// The node's time at a true time.
    pub fn local(&self, now: Instant) -> Instant {
        let passed = now.saturating_duration_since(self.start);
        self.start + self.ahead + self.scaled(passed, self.rate)
    }

    /// The first true time at which the node's time is not before `at`.
    pub fn global(&self, at: Instant) -> Instant {
        let passed = at.saturating_duration_since(self.start + self.ahead);
        let passed = self.scaled(passed, self.rate.recip());
        if self.is_even() {
            self.start + passed
        } else {
            // Rounding must not lead to a time just before.
            self.start + passed + Duration::from_micros(1)
        }
    }

    fn is_even(&self) -> bool {
        self.rate == 1.0
    }

    fn scaled(&self, passed: Duration, rate: f64) -> Duration {
        if self.is_even() {
            passed
        } else {
            passed.mul_f64(rate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_at_its_true_time() {
        let start = Instant::now();
        for rate in [0.9, 0.9999, 1.0, 1.0001, 1.3] {
            let clock = Clock::skewed(start, Duration::from_secs(5), rate);
            for ms in [1, 17, 999, 86_400_000] {
                let now = start + Duration::from_millis(ms);
                let at = clock.local(now);
                assert!(clock.local(clock.global(at)) >= at, "{rate} {ms}");
                assert!(clock.global(at) - now < Duration::from_micros(3));
            }
        }
    }
}
