//! All members of a node, sorted by name, cheap to copy.

use std::ops::Index;
use std::sync::Arc;

use super::record::{Record, Swim};

/// A chunk with more entries is cut in two.
const CHUNK: usize = 128;

/// Members by name, in chunks that copies share until one of them changes.
///
/// A copy of ten thousand members costs some hundred counters; a change copies one chunk and one
/// record, and nothing if nobody shares them. Thousands of nodes in one process share what they
/// agree on.
///
/// Shape: sorted by name, each name once; no chunk is empty. Lookup is O(log n), `rank` and `nth`
/// are O(n / 64).
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    chunks: Vec<Arc<Chunk>>,
    len: usize,
    /// How many take part in gossip.
    ring: usize,
    /// How many are not up.
    down: usize,
    /// Raised with whatever may change something in it.
    version: u64,
}

/// Where [`Roster::follow`] looks first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    chunk: usize,
    at: usize,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    entries: Vec<(Arc<str>, Arc<Record>)>,
    /// How many of them take part in gossip.
    ring: usize,
}

impl Chunk {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(n, _)| (**n).cmp(name))
    }
}

/// Whether a member is one of those among whom gossip is handed on: all that the SWIM level
/// knows, but for those that left.
fn in_ring(record: &Record) -> bool {
    matches!(record.swim, Swim::Alive | Swim::Suspect | Swim::Dead)
}

impl Roster {
    /// The chunk in which `name` is, or would be.
    fn chunk_of(&self, name: &str) -> usize {
        let after = self
            .chunks
            .partition_point(|chunk| &*chunk.entries[0].0 <= name);
        after.saturating_sub(1)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A number that differs whenever what is held does.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, name: &str) -> Option<&Record> {
        self.get_key_value(name).map(|(_, record)| record)
    }

    /// The record with the name as it is held here, to be shared.
    pub(super) fn get_key_value(&self, name: &str) -> Option<(&Arc<str>, &Record)> {
        let chunk = self.chunks.get(self.chunk_of(name))?;
        let (name, record) = &chunk.entries[chunk.place(name).ok()?];
        Some((name, record))
    }

    /// The record of `name`, found at once if it comes behind the one found before.
    pub(super) fn follow(&self, place: &mut Place, name: &str) -> Option<&Record> {
        let ended = |chunk: &Arc<Chunk>| chunk.entries.len() == place.at;
        if self.chunks.get(place.chunk).is_some_and(ended) {
            *place = Place {
                chunk: place.chunk + 1,
                at: 0,
            };
        }
        let next = self.chunks.get(place.chunk);
        let next = next.and_then(|chunk| chunk.entries.get(place.at));
        if let Some((_, record)) = next.filter(|(next, _)| **next == *name) {
            place.at += 1;
            return Some(record);
        }
        let found = self.chunk_of(name);
        let chunk = self.chunks.get(found)?;
        let at = chunk.place(name).ok()?;
        *place = Place {
            chunk: found,
            at: at + 1,
        };
        Some(&chunk.entries[at].1)
    }

    /// The record to be changed; [`Roster::set_swim`] changes its state.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Record> {
        self.version += 1;
        let at = self.chunk_of(name);
        let chunk = self.chunks.get_mut(at)?;
        let place = chunk.place(name).ok()?;
        let (_, record) = &mut Arc::make_mut(chunk).entries[place];
        Some(Arc::make_mut(record))
    }

    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a member that is not there yet.
    pub(super) fn insert(&mut self, name: Arc<str>, record: Record) {
        self.version += 1;
        let at = self.chunk_of(&name);
        if self.chunks.is_empty() {
            self.chunks.push(Arc::default());
        }
        let takes_part = usize::from(in_ring(&record));
        let is_down = usize::from(!record.is_up());
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let Err(place) = chunk.place(&name) else {
            debug_assert!(false, "{name} is there already");
            return;
        };
        chunk.entries.insert(place, (name, Arc::new(record)));
        chunk.ring += takes_part;
        self.ring += takes_part;
        self.down += is_down;
        self.len += 1;
        if chunk.entries.len() > CHUNK {
            let entries = chunk.entries.split_off(CHUNK / 2);
            let ring = entries.iter().filter(|(_, r)| in_ring(r)).count();
            chunk.ring -= ring;
            let chunk = Chunk { entries, ring };
            self.chunks.insert(at + 1, Arc::new(chunk));
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Record> {
        self.version += 1;
        let at = self.chunk_of(name);
        let chunk = self.chunks.get_mut(at)?;
        let place = chunk.place(name).ok()?;
        let chunk = Arc::make_mut(chunk);
        let (_, record) = chunk.entries.remove(place);
        let took_part = usize::from(in_ring(&record));
        chunk.ring -= took_part;
        self.ring -= took_part;
        self.down -= usize::from(!record.is_up());
        self.len -= 1;
        if chunk.entries.is_empty() {
            self.chunks.remove(at);
        }
        Some(Arc::unwrap_or_clone(record))
    }

    /// Changes the state of a member, and with it whether it takes part in gossip.
    pub(super) fn set_swim(&mut self, name: &str, swim: Swim) {
        self.version += 1;
        let at = self.chunk_of(name);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return;
        };
        let Ok(place) = chunk.place(name) else {
            return;
        };
        let chunk = Arc::make_mut(chunk);
        let record = Arc::make_mut(&mut chunk.entries[place].1);
        let before = usize::from(in_ring(record));
        self.down -= usize::from(!record.is_up());
        record.swim = swim;
        self.down += usize::from(!record.is_up());
        let after = usize::from(in_ring(record));
        chunk.ring = chunk.ring + after - before;
        self.ring = self.ring + after - before;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Record)> {
        let entries = self.chunks.iter().flat_map(|chunk| &chunk.entries);
        entries.map(|(name, record)| (name, &**record))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Record> {
        self.iter().map(|(_, record)| record)
    }

    /// How many are not up.
    pub(super) fn down(&self) -> usize {
        self.down
    }

    /// How many take part in gossip.
    pub(super) fn ring_len(&self) -> usize {
        self.ring
    }

    /// The place of `name` among those that take part in gossip, if it does.
    pub(super) fn ring_rank(&self, name: &str) -> Option<usize> {
        let at = self.chunk_of(name);
        let chunk = self.chunks.get(at)?;
        let place = chunk.place(name).ok()?;
        let before: usize = self.chunks[..at].iter().map(|chunk| chunk.ring).sum();
        let within = chunk.entries[..place].iter();
        let within = within.filter(|(_, record)| in_ring(record)).count();
        in_ring(&chunk.entries[place].1).then_some(before + within)
    }

    /// The member at a place among those that take part in gossip.
    pub(super) fn ring_nth(&self, mut rank: usize) -> Option<(&Arc<str>, &Record)> {
        for chunk in &self.chunks {
            if rank >= chunk.ring {
                rank -= chunk.ring;
                continue;
            }
            let mut entries = chunk.entries.iter().filter(|(_, record)| in_ring(record));
            return entries.nth(rank).map(|(name, record)| (name, &**record));
        }
        None
    }

    /// Checks that order and counts hold.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.iter().count(), self.len, "members");
        assert!(self.chunks.iter().all(|chunk| !chunk.entries.is_empty()));
        assert!(self.iter().map(|(name, _)| name).is_sorted());
        for chunk in &self.chunks {
            let ring = chunk.entries.iter().filter(|(_, r)| in_ring(r)).count();
            assert_eq!(ring, chunk.ring, "those that take part in gossip");
        }
        let ring: usize = self.chunks.iter().map(|chunk| chunk.ring).sum();
        assert_eq!(ring, self.ring);
        let down = self.values().filter(|record| !record.is_up());
        assert_eq!(down.count(), self.down, "those that are not up");
    }
}

impl Index<&Arc<str>> for Roster {
    type Output = Record;

    /// Panics: if there is no such member.
    fn index(&self, name: &Arc<str>) -> &Record {
        self.get(name).expect("the name was taken from the roster")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::{Known, Member, Status};
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Instant;

    fn record(name: &str, now: Instant) -> Record {
        let member = Member {
            name: name.to_owned(),
            address: ([10, 0, 0, 1], 7946).into(),
            tags: BTreeMap::new(),
            status: Status::Alive,
            suspect: false,
            incarnation: 1,
            versions: [1, 5, 2, 2, 5, 5],
            since: now,
            known: Known::Hearsay,
        };
        Record::new(member, Vec::new(), now)
    }

    #[test]
    fn it_holds_what_a_set_holds_in_the_same_order() {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(11);
        let (mut roster, mut set) = (Roster::default(), BTreeSet::new());
        for _ in 0..3000 {
            let name = format!("n{}", rng.u32(..700));
            if set.contains(&name) {
                assert_eq!(roster[&Arc::from(&*name)].member.name, name);
                if rng.bool() {
                    set.remove(&name);
                    assert!(roster.remove(&name).is_some());
                }
            } else {
                assert!(!roster.contains_key(&name));
                roster.insert(name.as_str().into(), record(&name, now));
                set.insert(name);
            }
        }
        roster.check_invariants();
        let mut place = Place::default();
        for name in set.iter().chain(set.iter().rev()) {
            assert_eq!(roster.follow(&mut place, name).unwrap().member.name, **name);
            assert!(roster.follow(&mut place, "unknown").is_none());
        }
        let held: Vec<&str> = roster.iter().map(|(name, _)| &**name).collect();
        assert_eq!(held, set.iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_ring_counts_all_but_those_that_left() {
        let now = Instant::now();
        let mut roster = Roster::default();
        for i in 0..500 {
            let name = format!("n{i:03}");
            roster.insert(name.as_str().into(), record(&name, now));
        }
        for i in (0..500).step_by(5) {
            roster.set_swim(&format!("n{i:03}"), Swim::Left);
        }
        roster.set_swim("n001", Swim::Dead);
        roster.check_invariants();
        assert_eq!(roster.ring_len(), 400);
        for rank in 0..400 {
            let (name, _) = roster.ring_nth(rank).unwrap();
            assert_eq!(roster.ring_rank(name), Some(rank));
        }
        assert!(roster.ring_nth(400).is_none());
        assert_eq!(roster.ring_rank("n005"), None);
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let now = Instant::now();
        let mut roster = Roster::default();
        roster.insert("a".into(), record("a", now));
        let copy = roster.clone();
        roster.get_mut("a").unwrap().member.incarnation = 2;
        roster.insert("b".into(), record("b", now));
        assert_eq!(copy.get("a").unwrap().member.incarnation, 1);
        assert_eq!((copy.len(), roster.len()), (1, 2));
    }
}
