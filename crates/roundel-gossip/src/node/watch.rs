//! Watched members: pinged while nothing is heard of them, for our application's use only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::record::Record;
use super::timers::Timer;
use crate::event::Event;

/// So many pings in a row unanswered make a member silent.
const MISSED: u32 = 2;

/// The members that are watched.
///
/// Shape: as many as the application asked for; names may be unknown.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_name: BTreeMap<Arc<str>, Watch>,
    /// Where the next round begins, so that a limited round reaches all in turn.
    next: Option<Arc<str>>,
    ticking: bool,
}

#[derive(Debug, Default)]
struct Watch {
    /// The last direct answer.
    heard: Option<Instant>,
    /// The ping that waits for its answer.
    ping: Option<u32>,
    missed: u32,
    silent: bool,
}

impl Watches {
    /// The same members, nothing known of any.
    pub(super) fn anew(self) -> Self {
        let names = self.by_name.into_keys();
        Self {
            by_name: names.map(|name| (name, Watch::default())).collect(),
            next: None,
            ticking: self.ticking,
        }
    }

    pub(super) fn are_ticking(&self) -> bool {
        self.ticking
    }
}

impl Node {
    pub(super) fn watch_set(&mut self, now: Instant, name: &str, on: bool) {
        if !on {
            let watch = self.watches.by_name.remove(name);
            if let Some(seq) = watch.and_then(|watch| watch.ping) {
                self.forget_ping(seq);
            }
            return;
        }
        if !self.watches.by_name.contains_key(name) {
            self.watches.by_name.insert(name.into(), Watch::default());
        }
        if !self.watches.ticking {
            self.watches.ticking = true;
            self.timers.set(now, Timer::Watch);
        }
    }

    /// Has exactly these watched; those that are already stay as they are.
    pub(super) fn watch_all(&mut self, now: Instant, names: &BTreeSet<String>) {
        let watched = self.watches.by_name.keys();
        let dropped = watched.filter(|name| !names.contains(&***name));
        for name in dropped.cloned().collect::<Vec<_>>() {
            self.watch_set(now, &name, false);
        }
        for name in names {
            self.watch_set(now, name, true);
        }
    }

    /// Looks at every watched member: counts unanswered pings, pings those of whom nothing was
    /// heard lately.
    pub(super) fn watch_tick(&mut self, now: Instant) {
        if self.watches.by_name.is_empty() || self.has_departed() {
            self.watches.ticking = false;
            return;
        }
        self.timers
            .set(now + self.config.timings.watch_interval, Timer::Watch);
        let fresh = self.config.timings.watch_fresh;
        let names = self.watch_round(|watch| {
            watch.ping.is_some() || watch.heard.is_none_or(|heard| heard + fresh <= now)
        });
        for name in names {
            self.watch_one(now, &name);
        }
    }

    /// Chooses who is looked at, beginning behind those of the last round.
    fn watch_round(&mut self, stale: impl Fn(&Watch) -> bool) -> Vec<Arc<str>> {
        let watches = &mut self.watches;
        let start = watches.next.clone().unwrap_or_else(|| "".into());
        let names: Vec<Arc<str>> = watches
            .by_name
            .range(start.clone()..)
            .chain(watches.by_name.range(..start))
            .filter(|(_, watch)| stale(watch))
            .map(|(name, _)| name.clone())
            .take(self.config.limits.watch_pings + 1)
            .collect();
        let limit = self.config.limits.watch_pings;
        watches.next = names.get(limit).cloned();
        names.into_iter().take(limit).collect()
    }

    fn watch_one(&mut self, now: Instant, name: &Arc<str>) {
        let target = self.members.get(name).filter(|r| Record::is_up(r));
        let target = target.map(|record| record.member.address);
        let Some(watch) = self.watches.by_name.get_mut(name) else {
            return;
        };
        let unanswered = watch.ping.take();
        let Some(to) = target else {
            *watch = Watch::default();
            if let Some(seq) = unanswered {
                self.forget_ping(seq);
            }
            return;
        };
        if let Some(seq) = unanswered {
            self.forget_ping(seq);
            if self.watch_missed(name) == 1 {
                let again = now + self.config.timings.watch_again;
                self.timers.set(again, Timer::WatchAgain(name.clone()));
            }
        }
        let seq = self.ping_to_watch(now, name, to);
        if let Some(watch) = self.watches.by_name.get_mut(name) {
            watch.ping = Some(seq);
        }
    }

    /// Counts a ping that was not answered and tells of a member that is silent by now; returns
    /// how many it missed in a row.
    fn watch_missed(&mut self, name: &str) -> u32 {
        let Some(watch) = self.watches.by_name.get_mut(name) else {
            return 0;
        };
        watch.missed += 1;
        let missed = watch.missed;
        if missed >= MISSED && !std::mem::replace(&mut watch.silent, true) {
            if let Some((name, _)) = self.members.get_key_value(name) {
                self.contacts.lost(name);
            }
            self.event(Event::Silent {
                name: name.to_owned(),
            });
        }
        missed
    }

    /// Judges the ping that followed a missed one; its answer may still come.
    pub(super) fn watch_again(&mut self, name: &str) {
        let watch = self.watches.by_name.get(name);
        if watch.is_some_and(|watch| watch.ping.is_some() && watch.missed == 1) {
            self.watch_missed(name);
        }
    }

    /// A member answered us directly.
    pub(super) fn watch_heard(&mut self, now: Instant, name: &str, round_trip: Duration) {
        let Some(watch) = self.watches.by_name.get_mut(name) else {
            return;
        };
        let news = watch.silent || watch.heard.is_none();
        let ping = watch.ping.take();
        *watch = Watch {
            heard: Some(now),
            ..Watch::default()
        };
        if let Some(seq) = ping {
            self.forget_ping(seq);
        }
        if news {
            self.event(Event::Heard {
                name: name.to_owned(),
                round_trip,
            });
        }
    }
}
