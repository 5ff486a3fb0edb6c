//! What is forgotten, and who is tried again.

use std::sync::Arc;
use std::time::Instant;

use super::Node;
use super::record::{Record, Swim};
use super::streams::Role;
use super::timers::Timer;
use crate::event::Event;
use crate::member::Status;

impl Node {
    /// Forgets intents, the dead, and in the end what remained of them.
    pub(super) fn reap_tick(&mut self, now: Instant) {
        let timings = self.config.timings.clone();
        self.timers.set(now + timings.reap_interval, Timer::Reap);
        self.intents.expire(now, timings.intent_timeout);
        let quiet = now.checked_sub(timings.gossip_to_the_dead);
        let dead = |r: &Record| {
            matches!(r.swim, Swim::Dead | Swim::Left) && quiet.is_some_and(|at| r.changed <= at)
        };
        for name in self.names_of(dead) {
            self.delist(now, &name);
        }
        let old = now.checked_sub(timings.tombstone);
        let forgotten = |r: &Record| {
            let old = r.swim == Swim::Gone && old.is_some_and(|at| r.member.since <= at);
            old || r.is_pruned()
        };
        for name in self.names_of(forgotten) {
            self.forget(now, &name);
        }
    }

    /// Erases a member that is gone from both levels.
    pub(super) fn forget(&mut self, now: Instant, name: &Arc<str>) {
        if self.members.get(name).is_some_and(|r| r.swim != Swim::Gone) {
            self.delist(now, name);
        }
        if let Some(record) = self.members.remove(name) {
            self.revision += 1;
            self.event(Event::Reap(record.member));
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
