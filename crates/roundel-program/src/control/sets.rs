//! Whole sets of servers on their way to the directors.
//!
//! A set costs a look at each server that it names. Where strangers name servers by the thousand, over
//! and over, only the newest set counts, and between two looks the control task does its other work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roundel_model::{BackendSet, Name};

use super::Control;

/// The time until the next sets are taken in, as a multiple of what the last ones took.
const REST: u32 = 10;

/// What took less needs no rest: a few sets at the start are all there at once.
const QUICK: Duration = Duration::from_millis(5);

/// The newest set of each backend that is not taken in yet.
#[derive(Default)]
pub(super) struct Sets {
    waiting: BTreeMap<Name, BackendSet>,
    from: Option<Instant>,
}

impl Sets {
    /// When [`Control::take_sets`] is due; `None` while no set waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = !self.waiting.is_empty();
        waits.then(|| self.from.unwrap_or_else(Instant::now))
    }

    fn rest(&mut self, begun: Instant, took: Duration) {
        self.from = (took >= QUICK).then(|| begun + took * (REST + 1));
    }
}

impl Control {
    /// Takes a set in, at once unless those before took long.
    pub(super) fn handle_set(&mut self, set: BackendSet) {
        self.sets.waiting.insert(set.backend.clone(), set);
        if self.sets.due().is_some_and(|due| due <= Instant::now()) {
            self.take_sets();
        }
    }

    /// Takes in what waits.
    pub(super) fn take_sets(&mut self) {
        let begun = Instant::now();
        for (backend, set) in std::mem::take(&mut self.sets.waiting) {
            if let Some(managed) = self.backends.get_mut(&backend) {
                managed.handle_set(Instant::now(), set);
            }
        }
        self.sets.rest(begun, begun.elapsed());
        self.drains.soon();
    }
}

#[cfg(test)]
mod tests {
    use roundel_model::Generation;

    use super::*;

    #[test]
    fn what_took_five_milliseconds_rests_for_ten_times_as_long() {
        let mut sets = Sets::default();
        let begun = Instant::now();
        assert_eq!(sets.due(), None);
        let backend = Name::new("nodes").unwrap();
        let set = BackendSet {
            backend: backend.clone(),
            generation: Generation::default(),
            servers: Vec::new(),
        };
        sets.waiting.insert(backend, set);
        let is_due = |sets: &Sets| sets.due().is_some_and(|due| due <= Instant::now());
        assert!(is_due(&sets), "nothing was taken in before");
        sets.rest(begun, Duration::from_micros(4_999));
        assert!(is_due(&sets), "those before were quick");
        sets.rest(begun, Duration::from_millis(5));
        assert_eq!(sets.due(), Some(begun + Duration::from_millis(55)));
        sets.rest(begun, Duration::from_micros(10));
        assert!(is_due(&sets), "the last ones were quick again");
        sets.waiting.clear();
        assert_eq!(sets.due(), None);
    }
}
