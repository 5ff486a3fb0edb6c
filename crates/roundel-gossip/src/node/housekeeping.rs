//! What is forgotten, and who is tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::Node;
use super::record::{Record, Swim};
use super::streams::Role;
use super::timers::Timer;
use crate::event::Event;
use crate::member::Status;

impl Node {
    /// Forgets intents, the dead, and in the end what remained of them: soon, of those who were
    /// never heard, where many are known.
    pub(super) fn reap_tick(&mut self, now: Instant) {
        let timings = self.config.timings.clone();
        self.timers.set(now + timings.reap_interval, Timer::Reap);
        self.intents.expire(now, timings.intent_timeout);
        self.newcomers_waited(now);
        let quiet = now.checked_sub(timings.gossip_to_the_dead);
        let dead = |r: &Record| {
            matches!(r.swim, Swim::Dead | Swim::Left) && quiet.is_some_and(|at| r.changed <= at)
        };
        let dead = self.names_of(dead).into_iter().collect();
        self.delist_all(now, &dead);
        let old = now.checked_sub(timings.tombstone);
        let many = self.members.len() > self.config.limits.members / 2;
        let forgotten = |r: &Record| {
            let old = old.is_some_and(|at| r.member.since <= at);
            (r.swim == Swim::Gone && (old || (many && !r.heard))) || r.is_pruned()
        };
        let forgotten = self.names_of(forgotten).into_iter().collect();
        self.forget_all(now, &forgotten);
    }

    /// Whether one more member can be known. Makes room by those who are not up, if there are any.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        let limit = self.config.limits.members;
        if self.members.len() < limit {
            return true;
        }
        if self.members.down() == 0 {
            return false;
        }
        let mut down: Vec<_> = self.names_of(|r| !r.is_up());
        let rank = |name: &Arc<str>| {
            let record = &self.members[name];
            (record.heard, record.member.since)
        };
        down.sort_by_key(rank);
        // Several at once: looking for them costs a look at all.
        down.truncate((limit / 16).max(1));
        self.stats.members_refused += down.len() as u64;
        self.forget_all(now, &down.into_iter().collect());
        self.members.len() < limit
    }

    /// Forgets a member that never answered us: the last that came, as most of a flood did. Gives
    /// whether there was one.
    pub(super) fn stranger_forgotten(&mut self, now: Instant) -> bool {
        let strangers = self.names_of(|record| !record.heard);
        let since = |name: &Arc<str>| self.members[name].member.since;
        let Some(name) = strangers.into_iter().max_by_key(since) else {
            return false;
        };
        self.stats.members_refused += 1;
        self.forget(now, &name);
        true
    }

    /// A member answered us itself.
    pub(super) fn heard_itself(&mut self, name: &str) {
        if self.members.get(name).is_some_and(|record| !record.heard)
            && let Some(record) = self.members.get_mut(name)
        {
            record.heard = true;
            self.unmet.remove(name);
        }
    }

    /// Erases a member that is gone from both levels, and what was still to be said about it.
    pub(super) fn forget(&mut self, now: Instant, name: &Arc<str>) {
        self.forget_all(now, &[name.clone()].into());
    }

    /// Erases many at once. O(members), however many they are.
    pub(super) fn forget_all(&mut self, now: Instant, names: &BTreeSet<Arc<str>>) {
        let listed =
            |name: &&Arc<str>| self.members.get(name).is_some_and(|r| r.swim != Swim::Gone);
        let listed = names.iter().filter(listed).cloned().collect();
        self.delist_all(now, &listed);
        for name in names {
            self.contacts.forget(name);
            self.drop_doubts(name);
            self.queue.forget(name);
            self.unmet.remove(name);
            if let Some(record) = self.members.remove(name) {
                self.revision += 1;
                self.event(Event::Reap(record.member));
            }
        }
    }

    /// Names of others for which `fits` holds.
    fn names_of(&self, fits: impl Fn(&Record) -> bool) -> Vec<Arc<str>> {
        let own = &self.name;
        let others = self.members.iter().filter(|(name, _)| *name != own);
        others
            .filter(|(_, record)| fits(record))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Tries to reach a failed member, the likelier the more have failed.
    pub(super) fn reconnect_tick(&mut self, now: Instant) {
        self.timers.set(
            now + self.config.timings.reconnect_interval,
            Timer::Reconnect,
        );
        if self.leave.is_some() {
            return;
        }
        let count = |status| self.members().filter(|m| m.status == status).count();
        let failed = count(Status::Failed);
        let alive = count(Status::Alive).max(1);
        if self.rng.f64() > failed as f64 / alive as f64 {
            return;
        }
        for (to, _) in self.random_members(1, |r| r.member.status == Status::Failed) {
            self.open_stream(now, to, Role::Sync { join: true });
        }
    }
}
