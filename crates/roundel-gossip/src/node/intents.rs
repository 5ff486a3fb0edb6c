//! Intents about members that are not known yet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What somebody intends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Join,
    Leave,
}

/// The newest intent about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) kind: Kind,
    pub(super) time: u64,
    heard: Instant,
}

/// Keeps the newest intent of each unknown name, since gossip may bring it before the member.
///
/// Shape: one per name; the owner's limit bounds it.
#[derive(Debug, Default)]
pub(super) struct Intents {
    by_name: BTreeMap<String, Intent>,
}

impl Intents {
    /// Keeps an intent. Gives whether it was news. With `limit` names no further one is kept.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        name: &str,
        kind: Kind,
        time: u64,
        limit: usize,
    ) -> bool {
        let intent = Intent {
            kind,
            time,
            heard: now,
        };
        if let Some(known) = self.by_name.get_mut(name) {
            let news = time > known.time;
            if news {
                *known = intent;
            }
            return news;
        }
        if self.by_name.len() >= limit {
            return false;
        }
        self.by_name.insert(name.to_owned(), intent);
        true
    }

    /// Takes what was kept about a name.
    pub(super) fn take(&mut self, name: &str) -> Option<Intent> {
        self.by_name.remove(name)
    }

    /// Drops what is older than `age`.
    pub(super) fn expire(&mut self, now: Instant, age: Duration) {
        self.by_name.retain(|_, intent| now < intent.heard + age);
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_intent_of_a_name_is_kept_for_a_while() {
        let now = Instant::now();
        let mut intents = Intents::default();
        assert!(intents.keep(now, "a", Kind::Join, 5, 2));
        assert!(!intents.keep(now, "a", Kind::Leave, 5, 2));
        assert!(intents.keep(now, "a", Kind::Leave, 6, 2));
        assert!(intents.keep(now, "b", Kind::Join, 1, 2));
        assert!(!intents.keep(now, "c", Kind::Join, 1, 2));
        assert_eq!(intents.take("a").unwrap().kind, Kind::Leave);
        assert_eq!(intents.take("a"), None);
        intents.expire(now + Duration::from_secs(300), Duration::from_secs(300));
        assert_eq!(intents.len(), 0);
    }
}
