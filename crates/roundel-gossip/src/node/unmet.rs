//! Members that never answered us: others only say that they are there.
//!
//! A few of them wait for their turn in the round of probes. Where they are many they may be made up:
//! then each of them is pinged twice, and who does not answer is forgotten. Others may still know them and tell
//! of them again, so who was forgotten comes back by an answer only, or by its own word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::origin::Origin;
use super::timers::Timer;
use crate::wire::NodeRecord;

/// One of so many pings may be lost.
const TRIES: u8 = 2;

/// Who was forgotten is remembered for at least so long, and twice as long at most.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Who never answered, and who was forgotten for that.
///
/// Shape: members only; of those forgotten, at most two sets as large as the limit of members.
#[derive(Debug, Default)]
pub(super) struct Unmet {
    names: BTreeMap<Arc<str>, Asked>,
    ticking: bool,
    /// Prints of names. Two names of one print do no harm: both are asked before they are let in.
    forgotten: [BTreeSet<u32>; 2],
    forgotten_since: Option<Instant>,
}

/// How often one was pinged, and when last.
#[derive(Debug, Default)]
struct Asked {
    times: u8,
    last: Option<Instant>,
}

impl Unmet {
    pub(super) fn add(&mut self, name: Arc<str>) {
        self.names.insert(name, Asked::default());
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Chooses whom to ping next, at most so many, and who has had time to answer `TRIES` pings.
    fn step(
        &mut self,
        now: Instant,
        most: usize,
        patience: Duration,
    ) -> (Vec<Arc<str>>, BTreeSet<Arc<str>>) {
        let (mut ask, mut silent) = (Vec::new(), BTreeSet::new());
        for (name, asked) in &mut self.names {
            let waits = asked.last.is_some_and(|last| now < last + patience);
            if waits {
                continue;
            }
            if asked.times == TRIES {
                silent.insert(name.clone());
            } else if ask.len() < most {
                asked.times += 1;
                asked.last = Some(now);
                ask.push(name.clone());
            }
        }
        (ask, silent)
    }

    fn note_forgotten(&mut self, now: Instant, name: &str, most: usize) {
        let [fresh, old] = &mut self.forgotten;
        let since = *self.forgotten_since.get_or_insert(now);
        if fresh.len() >= most || now.saturating_duration_since(since) >= REMEMBERED {
            *old = std::mem::take(fresh);
            self.forgotten_since = Some(now);
        }
        fresh.insert(print(name));
    }

    fn is_forgotten(&self, name: &str) -> bool {
        let print = print(name);
        self.forgotten.iter().any(|set| set.contains(&print))
    }

    #[cfg(debug_assertions)]
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }
}

fn print(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

impl Node {
    /// Begins to ask those who never answered, if they are many.
    pub(super) fn unmet_counted(&mut self, now: Instant) {
        if self.unmet.names.len() > self.config.limits.unmet && !self.unmet.ticking {
            self.unmet_go_on(now);
        }
    }

    fn unmet_go_on(&mut self, now: Instant) {
        self.unmet.ticking = true;
        let next = now + self.config.timings.watch_interval;
        self.timers.set(next, Timer::Unmet);
    }

    /// Pings some, and forgets those that have not answered, until nobody is left.
    pub(super) fn unmet_tick(&mut self, now: Instant) {
        if self.unmet.names.is_empty() || self.has_departed() {
            self.unmet.ticking = false;
            return;
        }
        let most = self.config.limits.watch_pings;
        let patience = self.config.timings.probe_timeout;
        let (ask, silent) = self.unmet.step(now, most, patience);
        for name in ask {
            if let Some(record) = self.members.get(&name) {
                let to = record.member.address;
                self.ping_newcomer(now, &name, to);
            }
        }
        for name in &silent {
            self.unmet
                .note_forgotten(now, name, self.config.limits.members);
        }
        self.stats.members_refused += silent.len() as u64;
        self.forget_all(now, &silent);
        self.unmet_go_on(now);
    }

    /// Whether a member that is not known has to answer before it is let in: it was forgotten, and it
    /// is not itself that says that it is there.
    pub(super) fn must_answer(&self, origin: Origin, record: &NodeRecord) -> bool {
        self.unmet.is_forgotten(record.name()) && !origin.is_at(record.address())
    }
}
