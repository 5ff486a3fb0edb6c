//! Broadcasts that wait to be sent, each a limited number of times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// What goes first when a packet has room for little: lower first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// Alive, suspect, dead.
    Swim,
    /// Serf's join and leave intents.
    Intent,
    /// Serf's queries.
    Query,
    /// Serf's user events.
    Event,
}

/// Names a queued broadcast.
pub(super) type BroadcastId = u64;

/// Order of taking: by tier, then the least sent, then the longest that fits, then the newest.
type Rank = (Tier, u32, Reverse<usize>, Reverse<BroadcastId>);

/// Holds broadcasts until each was sent as often as asked.
///
/// Shape: at most one per member in [`Tier::Swim`], at most `limit` in the other tiers together;
/// when those are full the most-sent of the last tier goes.
/// Source: the transmit-limited queue of memberlist; SWIM (Das et al. 2002), section 4.1.
#[derive(Debug)]
pub(super) struct Queue {
    entries: BTreeMap<BroadcastId, Entry>,
    ranks: BTreeSet<Rank>,
    by_subject: BTreeMap<Arc<str>, BroadcastId>,
    next: BroadcastId,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    tier: Tier,
    subject: Option<Arc<str>>,
    message: Arc<[u8]>,
    print: u64,
    sent: u32,
}

/// The broadcast that is taken next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// A number that all who pass the same news on agree on.
    pub(super) print: u64,
    /// How often we sent it.
    pub(super) sent: u32,
}

impl Entry {
    fn rank(&self, id: BroadcastId) -> Rank {
        (
            self.tier,
            self.sent,
            Reverse(self.message.len()),
            Reverse(id),
        )
    }
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            ranks: BTreeSet::new(),
            by_subject: BTreeMap::new(),
            next: 0,
            limit,
        }
    }

    /// Queues what is to be said about a member; an older broadcast about it is replaced.
    pub(super) fn push_about(&mut self, subject: Arc<str>, message: Vec<u8>) -> BroadcastId {
        if let Some(old) = self.by_subject.get(&subject) {
            self.remove(*old);
        }
        // The accusers of one member differ, but the news is the same.
        let kind = message.first().map_or(0, |kind| u64::from(*kind));
        let print = kind << 32 | u64::from(crc32fast::hash(subject.as_bytes()));
        self.insert(Tier::Swim, Some(subject), message, print)
    }

    /// Drops what is to be said about a member.
    pub(super) fn forget(&mut self, subject: &str) {
        if let Some(id) = self.by_subject.get(subject) {
            self.remove(*id);
        }
    }

    /// Queues a message of Serf's layer.
    pub(super) fn push(&mut self, tier: Tier, message: Vec<u8>) -> BroadcastId {
        if self.entries.len() - self.by_subject.len() >= self.limit {
            let last = self.ranks.last().map(|rank| rank.3.0);
            if let Some(id) = last {
                self.remove(id);
            }
        }
        let print = u64::from(crc32fast::hash(&message));
        self.insert(tier, None, message, print)
    }

    fn insert(
        &mut self,
        tier: Tier,
        subject: Option<Arc<str>>,
        message: Vec<u8>,
        print: u64,
    ) -> BroadcastId {
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            tier,
            subject: subject.clone(),
            message: message.into(),
            print,
            sent: 0,
        };
        self.ranks.insert(entry.rank(id));
        self.entries.insert(id, entry);
        if let Some(subject) = subject {
            self.by_subject.insert(subject, id);
        }
        id
    }

    fn remove(&mut self, id: BroadcastId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.ranks.remove(&entry.rank(id));
            if let Some(subject) = entry.subject {
                self.by_subject.remove(&subject);
            }
        }
    }

    /// Takes messages for one packet: each costs its length and `overhead`, together at most
    /// `room` and at most `count`. What was sent `times` times leaves the queue.
    /// O(log n) for each that is taken and each number of times that one was sent.
    pub(super) fn take(
        &mut self,
        mut room: usize,
        overhead: usize,
        count: usize,
        times: u32,
    ) -> Vec<Arc<[u8]>> {
        let mut chosen = Vec::new();
        let mut next = self.ranks.first().copied();
        while let Some(rank) = next {
            if chosen.len() == count || room <= overhead {
                break;
            }
            let (tier, sent, Reverse(len), Reverse(id)) = rank;
            let longest = room - overhead;
            let from = if len <= longest {
                room -= len + overhead;
                chosen.push(id);
                Bound::Excluded(rank)
            } else {
                // Past all that do not fit, of which there may be thousands.
                let first = (tier, sent, Reverse(longest), Reverse(BroadcastId::MAX));
                Bound::Included(first)
            };
            next = self.ranks.range((from, Bound::Unbounded)).next().copied();
        }
        chosen
            .into_iter()
            .filter_map(|id| self.count_one(id, times))
            .collect()
    }

    fn count_one(&mut self, id: BroadcastId, times: u32) -> Option<Arc<[u8]>> {
        let entry = self.entries.get_mut(&id)?;
        self.ranks.remove(&entry.rank(id));
        entry.sent += 1;
        let message = entry.message.clone();
        if entry.sent >= times {
            self.remove(id);
        } else {
            let rank = entry.rank(id);
            self.ranks.insert(rank);
        }
        Some(message)
    }

    /// The broadcast that the next packet carries first, if it fits.
    pub(super) fn head(&self) -> Option<Head> {
        let rank = self.ranks.first()?;
        let entry = self.entries.get(&rank.3.0)?;
        Some(Head {
            print: entry.print,
            sent: entry.sent,
        })
    }

    /// Whether a broadcast still waits to be sent again.
    pub(super) fn contains(&self, id: BroadcastId) -> bool {
        self.entries.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The members of which something is said.
    #[cfg(debug_assertions)]
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_subject.keys()
    }

    /// Whether the three indexes agree and the bounds hold.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        assert_eq!(
            self.entries.len(),
            self.ranks.len(),
            "each entry has a rank"
        );
        assert!(self.by_subject.len() <= self.entries.len());
        assert!(self.entries.len() - self.by_subject.len() <= self.limit.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(taken: Vec<Arc<[u8]>>) -> Vec<String> {
        taken
            .iter()
            .map(|m| String::from_utf8_lossy(m).into_owned())
            .collect()
    }

    #[test]
    fn newer_word_about_a_member_replaces_the_older() {
        let mut queue = Queue::new(10);
        let old = queue.push_about("a".into(), b"old".to_vec());
        let new = queue.push_about("a".into(), b"new".to_vec());
        assert!(!queue.contains(old) && queue.contains(new));
        assert_eq!(texts(queue.take(100, 2, 10, 1)), ["new"]);
        assert!(queue.is_empty());
        queue.check_invariants();
    }

    #[test]
    fn least_sent_first_then_longest_then_newest() {
        let mut queue = Queue::new(10);
        queue.push(Tier::Intent, b"aaaa".to_vec());
        assert_eq!(texts(queue.take(100, 2, 10, 9)), ["aaaa"]);
        queue.push(Tier::Intent, b"bb".to_vec());
        queue.push(Tier::Intent, b"cc".to_vec());
        queue.push(Tier::Intent, b"ddd".to_vec());
        assert_eq!(
            texts(queue.take(100, 2, 10, 9)),
            ["ddd", "cc", "bb", "aaaa"]
        );
        queue.check_invariants();
    }

    #[test]
    fn tiers_go_in_order_and_small_ones_fill_the_rest() {
        let mut queue = Queue::new(10);
        queue.push(Tier::Event, b"ev".to_vec());
        queue.push(Tier::Query, vec![b'q'; 50]);
        queue.push_about("a".into(), b"swim".to_vec());
        assert_eq!(texts(queue.take(12, 2, 10, 9)), ["swim", "ev"]);
        assert_eq!(queue.take(1000, 2, 1, 9).len(), 1);
    }

    #[test]
    fn what_fits_is_taken_as_if_each_were_looked_at() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let mut queue = Queue::new(100);
            for n in 0..rng.usize(..40) {
                let message = vec![b'x'; rng.usize(1..30)];
                match rng.bool() {
                    true => queue.push_about(format!("m{n}").into(), message),
                    false => queue.push(Tier::Event, message),
                };
                if rng.u8(..4) == 0 {
                    queue.take(40, 2, 3, 5);
                }
            }
            let (mut room, overhead, count) = (rng.usize(..200), 2, rng.usize(..12));
            let before = room;
            let mut expected = Vec::new();
            for rank in &queue.ranks {
                let cost = rank.2.0 + overhead;
                if expected.len() < count && cost <= room {
                    room -= cost;
                    expected.push(queue.entries[&rank.3.0].message.clone());
                }
            }
            assert_eq!(queue.take(before, overhead, count, 5), expected);
            queue.check_invariants();
        }
    }

    #[test]
    fn word_about_one_member_has_one_print_whoever_says_it() {
        let print = |subject: &str, message: &[u8]| {
            let mut queue = Queue::new(10);
            queue.push_about(subject.into(), message.to_vec());
            queue.head().unwrap().print
        };
        assert_eq!(print("a", b"\x03from b"), print("a", b"\x03from c"));
        assert_ne!(print("a", b"\x03from b"), print("a", b"\x05from b"));
        assert_ne!(print("a", b"\x03from b"), print("c", b"\x03from b"));
    }

    #[test]
    fn a_message_leaves_after_its_number_of_sendings() {
        let mut queue = Queue::new(10);
        let id = queue.push(Tier::Event, b"e".to_vec());
        for _ in 0..3 {
            assert!(queue.contains(id));
            assert_eq!(queue.take(100, 2, 10, 3).len(), 1);
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn full_queue_loses_the_least_urgent() {
        let mut queue = Queue::new(2);
        queue.push(Tier::Intent, b"i1".to_vec());
        queue.push(Tier::Event, b"e1".to_vec());
        queue.push(Tier::Intent, b"i2".to_vec());
        queue.push_about("a".into(), b"swim".to_vec());
        assert_eq!(texts(queue.take(100, 2, 10, 1)), ["swim", "i2", "i1"]);
        queue.check_invariants();
    }
}
