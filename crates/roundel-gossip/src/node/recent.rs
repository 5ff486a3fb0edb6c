//! The latest user events, told in state exchanges to those who missed them.

use std::collections::BTreeMap;

use crate::wire::{BufferedEvent, EventGroup};

/// Lamport times back that are kept, as in Serf.
const TIMES: u64 = 512;

/// Bytes of names and payloads that are kept; the oldest go first.
const BYTES: usize = 256 << 10;

/// Keeps user events by Lamport time.
#[derive(Debug, Default)]
pub(super) struct Recent {
    groups: BTreeMap<u64, Vec<BufferedEvent>>,
    bytes: usize,
    kept: u64,
}

impl Recent {
    /// Keeps an event that was not kept before.
    pub(super) fn keep(&mut self, time: u64, event: BufferedEvent) {
        self.kept += 1;
        self.bytes += cost(&event);
        self.groups.entry(time).or_default().push(event);
        let newest = self.groups.last_key_value().map_or(0, |(time, _)| *time);
        while let Some(entry) = self.groups.first_entry() {
            let too_old = newest - *entry.key() >= TIMES;
            if !too_old && self.bytes <= BYTES {
                return;
            }
            let gone = entry.remove();
            self.bytes -= gone.iter().map(cost).sum::<usize>();
        }
    }

    /// How many events were ever kept.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// All that is kept, as a state exchange carries it.
    pub(super) fn groups(&self) -> Option<Vec<Option<EventGroup>>> {
        let group = |(time, events): (&u64, &Vec<BufferedEvent>)| {
            Some(EventGroup {
                ltime: *time,
                events: events.clone(),
            })
        };
        (!self.groups.is_empty()).then(|| self.groups.iter().map(group).collect())
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        assert!(self.bytes <= BYTES || self.groups.len() == 1);
        assert!(self.groups.len() <= TIMES as usize);
    }
}

/// What an event takes; empty ones take something too.
fn cost(event: &BufferedEvent) -> usize {
    64 + event.name.len() + event.payload.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(len: usize) -> BufferedEvent {
        BufferedEvent {
            name: "deploy".to_owned(),
            payload: Some(vec![0; len]),
        }
    }

    #[test]
    fn the_oldest_go_by_time_and_by_size() {
        let mut recent = Recent::default();
        assert_eq!(recent.groups(), None);
        recent.keep(1, event(1));
        recent.keep(512, event(1));
        assert_eq!(recent.groups().unwrap().len(), 2);
        recent.keep(513, event(1));
        assert_eq!(recent.groups().unwrap().len(), 2);
        for time in 514..1000 {
            recent.keep(time, event(10_000));
            recent.check_invariants();
        }
        assert!(recent.groups().unwrap().len() < 30);
    }
}
