//! Workers that ended by a panic, and whether another one follows.

use std::time::{Duration, Instant};

/// So many ends within [`WINDOW`] are no accident: nobody follows the last one.
const MOST: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// What became of workers that ended by a panic since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerEnds {
    /// Workers that another one of the same number followed.
    pub replaced: u64,
    /// The number of the one that ended last.
    pub last: usize,
    /// Nobody followed the last one: new connections on its listeners would wait for ever.
    pub is_lost: bool,
    /// The ends of the last [`WINDOW`].
    recent: Vec<Instant>,
}

impl WorkerEnds {
    /// Notes the end of a worker. Returns whether another one is to follow it.
    pub(crate) fn note(&mut self, worker: usize, now: Instant) -> bool {
        self.recent
            .retain(|end| now.saturating_duration_since(*end) < WINDOW);
        self.recent.push(now);
        self.last = worker;
        self.is_lost |= self.recent.len() >= MOST;
        if !self.is_lost {
            self.replaced += 1;
        }
        !self.is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_in_a_minute_is_the_last() {
        let mut ends = WorkerEnds::default();
        let start = Instant::now();
        for (second, follows) in [(0, true), (30, true), (61, true), (89, false), (500, false)] {
            let now = start + Duration::from_secs(second);
            assert_eq!(ends.note(1, now), follows, "{second} s");
        }
        assert_eq!((ends.replaced, ends.last, ends.is_lost), (3, 1, true));
    }
}
