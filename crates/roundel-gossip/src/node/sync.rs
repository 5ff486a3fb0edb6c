//! Exchanges of full states, which bring in what gossip missed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::origin::Origin;
use super::record::Swim;
use super::roster::Place;
use super::streams::Role;
use super::swim::reason_of;
use super::timers::Timer;
use crate::event::DropReason;
use crate::wire::{NodeState, PushPull, PushPullState, Reason, RecordState, SerfMessage};

/// Up to this many members the exchanges keep their pace; memberlist's figure.
const UNHURRIED: usize = 32;

impl Node {
    /// Exchanges states with a random member.
    pub(super) fn push_pull_tick(&mut self, now: Instant) {
        let interval = push_pull_interval(self.config.timings.push_pull_interval, self.known);
        self.timers.set(now + interval, Timer::PushPull);
        self.push_pull(now);
    }

    /// Exchanges states once more a moment after a join. News that spread meanwhile went to those
    /// whom its senders knew, and they did not know us yet.
    pub(super) fn catch_up_later(&mut self, now: Instant) {
        if let Some(after) = self.config.timings.push_pull_after_join {
            self.timers.set(now + after, Timer::CatchUp);
        }
    }

    pub(super) fn push_pull(&mut self, now: Instant) {
        if self.has_departed() {
            return;
        }
        let chosen = self.random_members(1, |record| record.swim == Swim::Alive);
        for (to, _) in chosen {
            self.open_stream(now, to, Role::Sync { join: false });
        }
    }

    /// Takes what a peer knows. A bad record spoils only itself.
    pub(super) fn merge(&mut self, now: Instant, origin: Origin, state: PushPull) {
        let from = origin.from;
        // The first whom we meet knows user events of a time when we were not there.
        let fresh = self.known == 1;
        self.stats.push_pulls += 1;
        for rejected in &state.rejected {
            let reason = match rejected.reason {
                Reason::Record(bad) => reason_of(bad),
                _ => DropReason::Malformed,
            };
            self.refuse(from, reason);
        }
        let user_state = self.user_state_in(from, &state.user_state);
        let left = user_state.iter().flat_map(|state| &state.left_members);
        let left: BTreeSet<&str> = left.map(String::as_str).collect();
        let living = self.living_in(&state, &left);
        let mut place = Place::default();
        for node in state.nodes {
            if !self.is_old_news(&mut place, &node) {
                self.state_heard(now, origin, node);
            }
        }
        if let Some(user_state) = user_state {
            self.user_state_heard(now, origin, user_state, &living, fresh);
        }
        if origin.is_fetched() {
            let mut members = self.members.iter();
            let there = members.find(|(_, record)| record.member.address == from);
            let there = there.map(|(name, _)| name.clone());
            drop(members);
            if let Some(name) = there {
                self.answered(now, &name);
            }
        }
    }

    /// Serf's part of a state exchange, if there is one.
    fn user_state_in(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<PushPullState> {
        if bytes.is_empty() {
            return None;
        }
        let Ok(SerfMessage::PushPull(state)) = SerfMessage::decode(bytes) else {
            self.refuse(from, DropReason::Malformed);
            return None;
        };
        Some(state)
    }

    /// Names out of `left` of those who live for the peer in an incarnation that is not older
    /// than ours.
    fn living_in(&self, state: &PushPull, left: &BTreeSet<&str>) -> BTreeSet<String> {
        if left.is_empty() {
            return BTreeSet::new();
        }
        let lives = |node: &&NodeState| {
            let up = matches!(node.state, RecordState::Alive | RecordState::Suspect);
            let known = self.members.get(node.record.name());
            let said = left.contains(node.record.name());
            up && said && known.is_none_or(|r| r.member.incarnation <= node.record.incarnation())
        };
        let names = state.nodes.iter().filter(lives);
        names.map(|node| node.record.name().to_owned()).collect()
    }
}

/// Stretches the interval with the logarithm of the cluster's size.
fn push_pull_interval(interval: Duration, nodes: usize) -> Duration {
    if nodes <= UNHURRIED {
        return interval;
    }
    let more = ((nodes as f64).log2() - (UNHURRIED as f64).log2()).ceil();
    interval * (more as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_become_rarer_in_large_clusters() {
        let factor = |nodes| push_pull_interval(Duration::from_secs(1), nodes).as_secs();
        assert_eq!(factor(1), 1);
        assert_eq!(factor(32), 1);
        assert_eq!(factor(33), 2);
        assert_eq!(factor(1000), 6);
        assert_eq!(factor(10_000), 10);
    }
}
