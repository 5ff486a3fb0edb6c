//! Which incarnations an honest member may have.
//!
//! Ours begin at Unix seconds and those of agents at 1; both go up by one for each word against
//! them. What is far beyond the time of day was made up. As the border goes on by one each second,
//! nobody can say anything that the member itself could not pass a second later: see
//! [`Node::refute`](super::Node).

use std::time::{Duration, Instant};

/// How far a clock may be ahead of ours, in seconds: ten years. The more, the less a wrong clock
/// matters; nothing else hangs on it.
const AHEAD: u32 = 10 * 365 * 24 * 3600;

/// The start of 2026. A clock that is behind it is wrong.
const EARLIEST: u32 = 1_767_225_600;

/// A refutation at the border is said once more after this, when nobody can refuse it any more
/// whose clock is less than that behind ours.
pub(super) const PASSED: Duration = Duration::from_secs(3);

/// The time of day, as told when the node was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeOfDay {
    unix: u32,
    at: Instant,
}

impl TimeOfDay {
    pub(super) fn new(unix: u32, at: Instant) -> Self {
        Self { unix, at }
    }

    /// Unix seconds.
    pub(super) fn unix(self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at).as_secs();
        self.unix
            .saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
    }

    /// The greatest incarnation that is believed. There is always a greater one.
    pub(super) fn border(self, now: Instant) -> u32 {
        let border = self.unix(now).max(EARLIEST).saturating_add(AHEAD);
        border.min(u32::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_ahead_of_every_clock_and_moves_on() {
        let now = Instant::now();
        let later = now + Duration::from_secs(7);
        let today = TimeOfDay::new(1_796_000_000, now);
        assert_eq!(today.border(later), today.border(now) + 7);
        // A clock that begins in 1970 believes those that are right, for years.
        let wrong = TimeOfDay::new(3, now);
        assert!(wrong.border(now) > today.unix(now));
        // There is something beyond the last one.
        let end = TimeOfDay::new(u32::MAX, now);
        assert!(end.border(later) < u32::MAX);
    }
}
