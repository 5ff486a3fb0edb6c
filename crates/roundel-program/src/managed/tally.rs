//! What is counted of a backend beside its counters: changes of states, probes, time without a server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roundel_balance::ServerId;
use roundel_model::{Name, ServerState, SourceKind};

use super::SOURCES;
use crate::handover::legacy::{BackendLegacy, ServerLegacy, seconds};

/// Counts of what the director's states did; nothing goes back.
pub(crate) struct Tally {
    pub(super) seen: Option<u64>,
    /// In the order of the snapshot seen last.
    pub(super) states: Vec<(ServerId, ServerState)>,
    /// State changes by server and the state they led to.
    pub(crate) changes: BTreeMap<ServerId, BTreeMap<ServerState, u64>>,
    /// Probes that passed and failed, by server.
    pub(super) probes: BTreeMap<ServerId, (u64, u64)>,
    /// Changes of the set by the source they came from.
    pub(crate) set_changes: BTreeMap<SourceKind, u64>,
    usable: bool,
    /// When the backend last became usable or unusable.
    pub(crate) since: Instant,
    downtime: Duration,
    /// Times it went from usable to unusable.
    pub(crate) downs: u64,
    /// What another process counted of servers that are still to be seen.
    former: BTreeMap<String, ServerLegacy>,
}

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: None,
            states: Vec::new(),
            changes: BTreeMap::new(),
            probes: BTreeMap::new(),
            set_changes: BTreeMap::new(),
            usable: false,
            since: now,
            downtime: Duration::ZERO,
            downs: 0,
            former: BTreeMap::new(),
        }
    }

    /// How many probes of a server passed and failed.
    pub(crate) fn probes(&self, server: ServerId) -> (u64, u64) {
        self.probes.get(&server).copied().unwrap_or_default()
    }

    pub(super) fn note_states(&mut self, states: Vec<(ServerId, ServerState)>) {
        let before: BTreeMap<ServerId, ServerState> = self.states.iter().copied().collect();
        let now: BTreeMap<ServerId, ServerState> = states.iter().copied().collect();
        let changed = now.iter().filter(|(id, state)| {
            let old = before.get(id);
            old.is_some_and(|old| old != *state)
        });
        let gone = before.keys().filter(|id| !now.contains_key(id));
        let gone = gone.map(|id| (id, &ServerState::Left));
        for (id, state) in changed.chain(gone) {
            let changes = self.changes.entry(*id).or_default();
            *changes.entry(*state).or_default() += 1;
        }
        self.states = states;
    }

    pub(super) fn note_usable(&mut self, now: Instant, usable: bool) {
        if self.usable != usable {
            if usable {
                self.downtime += now.saturating_duration_since(self.since);
            } else {
                self.downs += 1;
            }
            self.usable = usable;
            self.since = now;
        }
    }

    pub(super) fn inherit(&mut self, legacy: &BackendLegacy) {
        (self.downs, self.downtime) = (legacy.downs.0, seconds(legacy.downs.1));
        self.former.clone_from(&legacy.servers);
        for kind in SOURCES {
            if let Some(n) = legacy.set_changes.get(kind.as_str()) {
                self.set_changes.insert(kind, *n);
            }
        }
    }

    /// Gives servers seen for the first time what was counted of them before.
    pub(super) fn welcome<'a>(&mut self, servers: impl Iterator<Item = (&'a Name, ServerId)>) {
        if self.former.is_empty() {
            return;
        }
        for (name, id) in servers {
            if let Some(legacy) = self.former.remove(name.as_str()) {
                self.probes.insert(id, legacy.probes);
                let changes = ServerState::ALL.into_iter().filter_map(|state| {
                    let n = legacy.changes.get(state.as_str())?;
                    Some((state, *n))
                });
                self.changes.insert(id, changes.collect());
            }
        }
    }

    /// The time without a usable server, in sum.
    pub(crate) fn downtime(&self, now: Instant) -> Duration {
        if self.usable {
            self.downtime
        } else {
            self.downtime + now.saturating_duration_since(self.since)
        }
    }

    /// Forgets servers whose rows are no longer shown.
    pub(crate) fn keep(&mut self, shown: impl Fn(ServerId) -> bool) {
        self.changes.retain(|id, _| shown(*id));
        self.probes.retain(|id, _| shown(*id));
    }
}
