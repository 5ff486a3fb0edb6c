//! Makes one set out of what the sources of a backend say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use roundel_model::{BackendSet, Generation, Name, Server, SourceKind};

/// A change waits for as long after the one before, so that a burst becomes one set …
const QUIET: Duration = Duration::from_millis(20);
/// … but never longer than this.
const LONGEST: Duration = Duration::from_millis(100);

/// Keeps the latest set of each source of one backend and merges them.
///
/// The first change after a quiet time is due at once, a burst behind it is merged. The order
/// is that of the sources, then that of each source; of two servers of one name the first
/// counts. A source that has not spoken yet is spoken for by the servers of its kind that
/// were inherited.
/// Time: `now` comes in and never goes backwards.
#[derive(Debug)]
pub struct Aggregator {
    backend: Name,
    sources: Vec<Latest>,
    inherited: Vec<Server>,
    generation: Generation,
    published: Option<Vec<Server>>,
    pending: Option<Pending>,
    last_change: Option<Instant>,
}

#[derive(Debug)]
struct Latest {
    kind: SourceKind,
    servers: Option<Vec<Server>>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    since: Instant,
    due: Instant,
}

/// Two sources that name a server alike; the second one is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clash {
    /// The name.
    pub name: Name,
    /// The source whose server counts.
    pub kept: SourceKind,
    /// The source whose server is left out.
    pub dropped: SourceKind,
}

impl Aggregator {
    /// Makes the aggregator of a backend with these sources, in order of precedence.
    ///
    /// `inherited` is the set published by a predecessor, if the sources were changed while
    /// running: it bridges the time until each of them has spoken.
    pub fn new(
        backend: Name,
        kinds: impl IntoIterator<Item = SourceKind>,
        inherited: Option<BackendSet>,
    ) -> Self {
        let (generation, inherited) = inherited
            .map(|set| (set.generation, set.servers))
            .unwrap_or_default();
        Self {
            backend,
            sources: kinds
                .into_iter()
                .map(|kind| Latest {
                    kind,
                    servers: None,
                })
                .collect(),
            inherited,
            generation,
            published: None,
            pending: None,
            last_change: None,
        }
    }

    /// Takes the whole set of the source at `index`; ignores an index that does not exist.
    pub fn handle_servers(&mut self, now: Instant, index: usize, servers: Vec<Server>) {
        let Some(source) = self.sources.get_mut(index) else {
            return;
        };
        if source.servers.as_ref() == Some(&servers) {
            return;
        }
        source.servers = Some(servers);
        let is_quiet = self.last_change.is_none_or(|last| now >= last + QUIET);
        self.last_change = Some(now);
        self.pending = Some(match self.pending {
            None if is_quiet => Pending {
                since: now,
                due: now,
            },
            None => Pending {
                since: now,
                due: now + QUIET,
            },
            Some(Pending { since, due }) => Pending {
                since,
                due: (now + QUIET).min(since + LONGEST).max(due),
            },
        });
    }

    /// When [`Self::poll_set`] may have a set.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.map(|pending| pending.due)
    }

    /// The merged set, once it is due and if it differs from the one before; and the clashes in it.
    pub fn poll_set(&mut self, now: Instant) -> Option<(BackendSet, Vec<Clash>)> {
        self.pending.filter(|pending| pending.due <= now)?;
        self.pending = None;
        let (servers, clashes) = self.merge();
        if self.published.as_ref() == Some(&servers) {
            return None;
        }
        self.published = Some(servers.clone());
        self.generation = self.generation.next();
        let set = BackendSet {
            backend: self.backend.clone(),
            generation: self.generation,
            servers,
        };
        Some((set, clashes))
    }

    fn merge(&self) -> (Vec<Server>, Vec<Clash>) {
        let mut merged: Vec<Server> = Vec::new();
        let mut places: HashMap<&Name, SourceKind> = HashMap::new();
        let mut clashes = Vec::new();
        let spoken = self.sources.iter().flat_map(|s| s.servers.iter().flatten());
        for server in spoken {
            if let Some(kept) = places.get(&server.name) {
                clashes.push(Clash {
                    name: server.name.clone(),
                    kept: *kept,
                    dropped: server.source,
                });
                continue;
            }
            places.insert(&server.name, server.source);
            merged.push(server.clone());
        }
        let silent = |kind| {
            let mut sources = self.sources.iter();
            sources.any(|s| s.kind == kind && s.servers.is_none())
        };
        let bridged = self.inherited.iter();
        merged.extend(
            bridged
                .filter(|s| silent(s.source) && !places.contains_key(&s.name))
                .cloned(),
        );
        (merged, clashes)
    }
}

#[cfg(test)]
mod tests {
    use roundel_model::{Presence, Weight};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn server(name: &str, source: SourceKind) -> Server {
        Server {
            name: Name::new(name).unwrap(),
            address: ([10, 0, 0, 1], 3000).into(),
            weight: Weight::ONE,
            backup: false,
            source,
            presence: Presence::Present,
        }
    }

    fn two() -> Aggregator {
        let kinds = [SourceKind::Static, SourceKind::Gossip];
        Aggregator::new(Name::new("nodes").unwrap(), kinds, None)
    }

    fn names(set: &BackendSet) -> Vec<&str> {
        set.servers.iter().map(|s| s.name.as_str()).collect()
    }

    #[test]
    fn the_first_change_is_due_at_once_and_a_burst_is_merged() {
        let t0 = Instant::now();
        let mut aggregator = two();
        let mut sets = 0;
        for i in 0..200u32 {
            let now = t0 + i * MS;
            let servers = (0..=i)
                .map(|n| server(&format!("s{n}"), SourceKind::Gossip))
                .collect();
            aggregator.handle_servers(now, 1, servers);
            if i == 0 {
                assert_eq!(aggregator.poll_timeout(), Some(t0));
            }
            sets += usize::from(aggregator.poll_set(now).is_some());
        }
        assert_eq!(sets, 2, "one at once, one after the longest wait");
        let due = aggregator.poll_timeout().unwrap();
        assert!(due <= t0 + 220 * MS);
        let (set, _) = aggregator.poll_set(due).unwrap();
        assert_eq!((set.servers.len(), set.generation), (200, Generation(3)));
    }

    #[test]
    fn what_is_equal_is_not_said_again() {
        let t0 = Instant::now();
        let mut aggregator = two();
        let servers = vec![server("a", SourceKind::Gossip)];
        aggregator.handle_servers(t0, 1, servers.clone());
        assert!(aggregator.poll_set(t0).is_some());
        aggregator.handle_servers(t0 + 50 * MS, 1, servers.clone());
        assert_eq!(aggregator.poll_timeout(), None);
        aggregator.handle_servers(t0 + 100 * MS, 1, Vec::new());
        aggregator.handle_servers(t0 + 101 * MS, 1, servers);
        assert!(
            aggregator.poll_set(t0 + 300 * MS).is_none(),
            "there and back"
        );
    }

    #[test]
    fn the_first_source_wins_a_clash() {
        let t0 = Instant::now();
        let mut aggregator = two();
        aggregator.handle_servers(
            t0,
            1,
            vec![
                server("a", SourceKind::Gossip),
                server("b", SourceKind::Gossip),
            ],
        );
        aggregator.handle_servers(t0, 0, vec![server("b", SourceKind::Static)]);
        let (set, clashes) = aggregator.poll_set(t0 + LONGEST).unwrap();
        assert_eq!(names(&set), ["b", "a"]);
        assert_eq!(set.servers[0].source, SourceKind::Static);
        assert_eq!((clashes.len(), clashes[0].dropped), (1, SourceKind::Gossip));
    }

    #[test]
    fn an_empty_set_is_a_statement() {
        let t0 = Instant::now();
        let mut aggregator = two();
        aggregator.handle_servers(t0, 0, Vec::new());
        let (set, _) = aggregator.poll_set(t0).unwrap();
        assert!(set.servers.is_empty());
    }

    #[test]
    fn a_predecessor_bridges_the_silence() {
        let t0 = Instant::now();
        let inherited = BackendSet {
            backend: Name::new("nodes").unwrap(),
            generation: Generation(7),
            servers: vec![
                server("a", SourceKind::Gossip),
                server("f", SourceKind::File),
            ],
        };
        let kinds = [SourceKind::Static, SourceKind::Gossip];
        let mut aggregator = Aggregator::new(Name::new("nodes").unwrap(), kinds, Some(inherited));
        aggregator.handle_servers(t0, 0, vec![server("s", SourceKind::Static)]);
        let (set, _) = aggregator.poll_set(t0).unwrap();
        assert_eq!(names(&set), ["s", "a"], "file is no longer a source");
        assert_eq!(set.generation, Generation(8));
        aggregator.handle_servers(t0 + 50 * MS, 1, Vec::new());
        let (set, _) = aggregator.poll_set(t0 + 50 * MS).unwrap();
        assert_eq!(names(&set), ["s"]);
    }
}
