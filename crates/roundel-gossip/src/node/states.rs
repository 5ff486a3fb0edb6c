//! What we tell in state exchanges: one encoding for all who are told the same.

use std::sync::{Arc, Weak};

use super::Node;
use super::record::Record;
use crate::wire::encode_push_pull_of;

/// States that are being sent.
#[derive(Debug, Default)]
pub(super) struct States {
    /// The newest last.
    sent: Vec<Sent>,
}

/// One state, as long as somebody writes it. Who gets the same bytes learns nothing more from
/// them, encrypted or not.
#[derive(Debug)]
struct Sent {
    of: Version,
    join: bool,
    len: usize,
    bytes: Weak<[u8]>,
}

/// Differs between two states that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    members: u64,
    clocks: [u64; 3],
    events: u64,
}

impl States {
    fn forget_unused(&mut self) {
        self.sent.retain(|sent| sent.bytes.strong_count() > 0);
    }

    /// Bytes of all that are being sent.
    pub(super) fn held(&self) -> usize {
        let held = self
            .sent
            .iter()
            .filter(|sent| sent.bytes.strong_count() > 0);
        held.map(|sent| sent.len).sum()
    }

    /// The same state, if it is being sent.
    fn same(&self, of: Version, join: bool) -> Option<Arc<[u8]>> {
        let same = |sent: &&Sent| sent.of == of && sent.join == join;
        self.sent.iter().rev().find(same)?.bytes.upgrade()
    }

    /// The newest state that is being sent, if one more of its kind would be too many.
    fn newest_if_full(&self, join: bool, limit: usize) -> Option<Arc<[u8]>> {
        let newest = self.sent.iter().rfind(|sent| sent.join == join)?;
        let full = self.held() + newest.len > limit;
        full.then(|| newest.bytes.upgrade()).flatten()
    }
}

impl Node {
    /// All that we know, wrapped, to be sent to a peer.
    ///
    /// While peers that do not read keep the memory for states, others get the newest of those:
    /// what they miss by that, gossip tells them.
    pub(super) fn sealed_state(&mut self, join: bool) -> Arc<[u8]> {
        self.states.forget_unused();
        let of = self.state_version();
        if let Some(same) = self.states.same(of, join) {
            return same;
        }
        let limit = self.config.limits.state_bytes;
        if let Some(newest) = self.states.newest_if_full(join, limit) {
            self.stats.states_old += 1;
            return newest;
        }
        let bytes: Arc<[u8]> = self.seal.stream(&self.own_state(join)).into();
        self.states.sent.push(Sent {
            of,
            join,
            len: bytes.len(),
            bytes: Arc::downgrade(&bytes),
        });
        bytes
    }

    fn own_state(&self, join: bool) -> Vec<u8> {
        let states = self.members.values().filter_map(Record::as_state);
        encode_push_pull_of(join, self.known, states, &self.user_state())
    }

    fn state_version(&self) -> Version {
        Version {
            members: self.members.version(),
            clocks: [&self.clock, &self.event_clock, &self.query_clock].map(|clock| clock.time()),
            events: self.recent.kept(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Version = Version {
        members: 1,
        clocks: [1; 3],
        events: 0,
    };

    fn send(states: &mut States, of: Version, len: usize) -> Arc<[u8]> {
        let bytes: Arc<[u8]> = vec![0; len].into();
        states.sent.push(Sent {
            of,
            join: false,
            len,
            bytes: Arc::downgrade(&bytes),
        });
        bytes
    }

    #[test]
    fn what_is_the_same_is_shared_while_it_is_sent() {
        let mut states = States::default();
        let first = send(&mut states, OF, 10);
        assert!(Arc::ptr_eq(&first, &states.same(OF, false).unwrap()));
        assert!(states.same(OF, true).is_none());
        let later = Version { events: 1, ..OF };
        assert!(states.same(later, false).is_none());
        drop(first);
        assert!(states.same(OF, false).is_none());
        states.forget_unused();
        assert!(states.sent.is_empty() && states.held() == 0);
    }

    #[test]
    fn the_newest_is_sent_again_when_more_would_be_too_much() {
        let mut states = States::default();
        let first = send(&mut states, OF, 10);
        assert!(states.newest_if_full(false, 20).is_none());
        let second = send(&mut states, Version { members: 2, ..OF }, 10);
        assert_eq!(states.held(), 20);
        let again = states.newest_if_full(false, 20).unwrap();
        assert!(Arc::ptr_eq(&again, &second));
        drop((again, first));
        assert!(states.newest_if_full(false, 20).is_none());
    }
}
