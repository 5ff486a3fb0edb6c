//! Rings that tell which user events and queries were seen already.

use std::collections::VecDeque;

use crate::query::QueryId;

/// How many queries to us alone are remembered: each may come twice, one after the other.
const DIRECTS: usize = 512;

/// How many Lamport times back are remembered, as in Serf.
const SLOTS: u64 = 512;

/// The most different messages remembered for one Lamport time. More is no honest traffic.
const PER_SLOT: usize = 64;

/// Remembers fingerprints by Lamport time, newest 512 times only.
///
/// Shape: at most 512 * 64 numbers.
/// Source: the event and query buffers of Serf.
#[derive(Debug)]
pub(super) struct Seen {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    time: u64,
    prints: Vec<u64>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS as usize],
        }
    }

    /// Notes a message. Gives whether it is new: not noted before and not too old to tell.
    /// `clock` is the current time of the clock that `time` belongs to.
    pub(super) fn note(&mut self, clock: u64, time: u64, print: u64) -> bool {
        if clock > SLOTS && time < clock - SLOTS {
            return false;
        }
        let slot = &mut self.slots[(time % SLOTS) as usize];
        if slot.time > time {
            return false;
        }
        if slot.time < time {
            slot.time = time;
            slot.prints.clear();
        }
        if slot.prints.len() >= PER_SLOT || slot.prints.contains(&print) {
            return false;
        }
        slot.prints.push(print);
        true
    }
}

/// Remembers the newest queries that were asked of us alone.
///
/// Shape: at most [`DIRECTS`].
#[derive(Debug, Default)]
pub(super) struct Directs {
    ids: VecDeque<QueryId>,
}

impl Directs {
    /// Notes a query. Gives whether it is new.
    pub(super) fn note(&mut self, id: QueryId) -> bool {
        if self.ids.contains(&id) {
            return false;
        }
        if self.ids.len() >= DIRECTS {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_new_once() {
        let mut seen = Seen::new();
        assert!(seen.note(1, 1, 7));
        assert!(!seen.note(2, 1, 7));
        assert!(seen.note(2, 1, 8));
        assert!(seen.note(2, 5, 7));
    }

    #[test]
    fn what_is_too_old_to_tell_is_not_new() {
        let mut seen = Seen::new();
        assert!(seen.note(1000, 600, 1));
        assert!(!seen.note(1000, 487, 1));
        assert!(seen.note(1000, 600 + 512, 2));
        assert!(!seen.note(1000, 600, 3));
    }

    #[test]
    fn one_time_holds_a_bounded_number() {
        let mut seen = Seen::new();
        let new = (0..1000).filter(|print| seen.note(1, 1, *print)).count();
        assert_eq!(new, PER_SLOT);
    }
}
