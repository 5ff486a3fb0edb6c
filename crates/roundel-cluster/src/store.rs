//! The replicated store: the entries, and which of two stays.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::limits::{ENTRIES, NAME, TOTAL, VALUE};

/// One entry as it travels. What has been taken away leaves an entry without a value, so that an
/// older one does not come back.
///
/// The greater one stays: first by version, then by author, then by value. That is a total order, so
/// any two stores that have seen the same entries hold the same.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: u64,
    /// The balancer that put it.
    pub(crate) author: String,
    pub(crate) value: Option<Zeroizing<Vec<u8>>>,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let version = self.version.cmp(&other.version);
        let author = || self.author.cmp(&other.author);
        let value = || self.value.as_deref().cmp(&other.value.as_deref());
        version.then_with(author).then_with(value)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Entry {
    /// Values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            author,
            value,
        } = self;
        let bytes = value.as_ref().map(|value| value.len());
        write!(f, "Entry({version}, {author}, {bytes:?})")
    }
}

/// Why an entry is not taken. The store is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum PutError {
    #[error("the name of an entry has 1 to {NAME} bytes")]
    Name,
    #[error("an entry has at most {VALUE} bytes")]
    Value,
    #[error("the store is full: {ENTRIES} entries of {TOTAL} bytes in all")]
    Full,
}

/// All entries by name.
///
/// Shape: at most [`ENTRIES`] of [`TOTAL`] bytes. `revision` counts the changes of this store, and each
/// entry has that of its last change: what one has to be told who knows all up to a revision.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: BTreeMap<String, (u64, Entry)>,
    revision: u64,
    bytes: usize,
}

impl Store {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).map(|(_, entry)| entry)
    }

    /// How many entries have a value.
    pub(crate) fn len(&self) -> usize {
        let entries = self.entries.values();
        entries.filter(|(_, entry)| entry.value.is_some()).count()
    }

    /// The count of changes so far.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The version of an entry that is to stay over the one that is there: later ones win after a time
    /// apart, as far as clocks agree. `now` is in milliseconds since 1970.
    pub(crate) fn next_version(&self, name: &str, now: u64) -> u64 {
        let before = self.get(name).map_or(0, |entry| entry.version);
        before.saturating_add(1).max(now)
    }

    /// Takes an entry if it is greater than the one that is there, and says whether it was.
    pub(crate) fn merge(&mut self, name: &str, entry: Entry) -> Result<bool, PutError> {
        let size = entry.value.as_ref().map_or(0, |value| value.len());
        if name.is_empty() || name.len() > NAME {
            return Err(PutError::Name);
        }
        if size > VALUE {
            return Err(PutError::Value);
        }
        let before = self.get(name);
        if before.is_some_and(|before| *before >= entry) {
            return Ok(false);
        }
        let freed = before
            .and_then(|b| b.value.as_ref())
            .map_or(0, |value| value.len());
        let is_full = before.is_none() && self.entries.len() >= ENTRIES;
        if is_full || self.bytes - freed + size > TOTAL {
            return Err(PutError::Full);
        }
        self.bytes = self.bytes - freed + size;
        self.revision += 1;
        self.entries.insert(name.to_owned(), (self.revision, entry));
        Ok(true)
    }

    /// What has changed since a revision, the oldest change first, up to about `bytes`; and the revision
    /// up to which that tells all. Nothing if nothing has.
    pub(crate) fn since(&self, revision: u64, bytes: usize) -> Option<(Vec<(String, Entry)>, u64)> {
        let changed = self.entries.iter().filter(|(_, (at, _))| *at > revision);
        let mut changed: Vec<_> = changed
            .map(|(name, (at, entry))| (*at, name, entry))
            .collect();
        changed.sort_unstable_by_key(|(at, ..)| *at);
        let (mut told, mut size, mut upto) = (Vec::new(), 0, revision);
        for (at, name, entry) in changed {
            if size > bytes {
                break;
            }
            size += name.len() + entry.value.as_ref().map_or(0, |value| value.len());
            told.push((name.clone(), entry.clone()));
            upto = at;
        }
        (!told.is_empty()).then_some((told, upto))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(version: u64, author: &str, value: Option<u8>) -> Entry {
        let value = value.map(|byte| Zeroizing::new(vec![byte]));
        let author = author.to_owned();
        Entry {
            version,
            author,
            value,
        }
    }

    fn told() -> impl Strategy<Value = Vec<(String, Entry)>> {
        let one = ("[ab]", 0..3u64, "[xy]", proptest::option::of(0..2u8));
        let one =
            one.prop_map(|(name, version, author, value)| (name, entry(version, &author, value)));
        proptest::collection::vec(one, 0..12)
    }

    fn store(told: &[(String, Entry)]) -> Store {
        let mut store = Store::default();
        for (name, entry) in told {
            store.merge(name, entry.clone()).unwrap();
        }
        store
    }

    fn held(store: &Store) -> Vec<(String, Entry)> {
        let entries = store.entries.iter();
        entries
            .map(|(name, (_, entry))| (name.clone(), entry.clone()))
            .collect()
    }

    proptest! {
        #[test]
        fn the_order_and_repetition_of_what_is_told_do_not_matter(told in told(), seed in any::<u64>()) {
            let mut other = told.clone();
            // Any other order will do.
            other.sort_by_key(|(name, e)| seed.wrapping_mul(e.version + 1).rotate_left(name.len() as u32 + 7) ^ u64::from(e.value.is_some()));
            other.extend(told.clone());
            prop_assert_eq!(held(&store(&told)), held(&store(&other)));
        }

        #[test]
        fn who_is_told_what_changed_since_holds_the_same(told in told(), cut in 0..12usize, bytes in 0..4usize) {
            let cut = cut.min(told.len());
            let (mut a, mut b) = (store(&told[..cut]), Store::default());
            let mut known = 0;
            let mut tell = |a: &Store, b: &mut Store| {
                while let Some((changes, upto)) = a.since(known, bytes) {
                    assert!(upto > known);
                    known = upto;
                    for (name, entry) in changes {
                        b.merge(&name, entry).unwrap();
                    }
                }
                assert_eq!(known, a.revision());
            };
            tell(&a, &mut b);
            for (name, entry) in &told[cut..] {
                a.merge(name, entry.clone()).unwrap();
            }
            tell(&a, &mut b);
            prop_assert_eq!(held(&a), held(&b));
        }

        #[test]
        fn what_is_put_stays_over_what_was_there(told in told(), now in 0..4u64) {
            let mut store = store(&told);
            let version = store.next_version("a", now);
            prop_assert!(store.merge("a", entry(version, "", None)).unwrap());
            prop_assert!(version >= now);
        }
    }

    #[test]
    fn nothing_beyond_the_bounds_is_taken() {
        let mut store = Store::default();
        let large = |size| Entry {
            version: 1,
            author: String::new(),
            value: Some(Zeroizing::new(vec![0; size])),
        };
        assert_eq!(store.merge("", large(1)), Err(PutError::Name));
        assert_eq!(
            store.merge(&"n".repeat(NAME + 1), large(1)),
            Err(PutError::Name)
        );
        assert_eq!(store.merge("n", large(VALUE + 1)), Err(PutError::Value));
        for n in 0..TOTAL / VALUE {
            assert_eq!(store.merge(&n.to_string(), large(VALUE)), Ok(true));
        }
        assert_eq!(store.merge("one more", large(1)), Err(PutError::Full));
        // In the place of another it has room.
        let next = Entry {
            version: 2,
            ..large(VALUE)
        };
        assert_eq!(store.merge("0", next), Ok(true));
        let gone = |version| entry(version, "", None);
        for n in store.entries.len()..ENTRIES {
            assert_eq!(store.merge(&n.to_string(), gone(1)), Ok(true));
        }
        assert_eq!(store.merge("one more", gone(1)), Err(PutError::Full));
        assert_eq!(store.merge("1", gone(2)), Ok(true));
        assert_eq!(store.bytes, TOTAL - VALUE);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let text = format!("{:?}", store(&[("n".into(), entry(1, "a", Some(77)))]));
        assert!(!text.contains("77"), "{text}");
    }
}
