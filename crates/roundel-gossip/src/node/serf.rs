//! Serf's level: intents, member status, and what of it a state exchange carries.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Node;
use super::doubt::Word;
use super::intents::Kind;
use super::origin::{Origin, Way};
use super::queue::Tier;
use super::record::Record;
use super::roster::Place;
use crate::event::{DropReason, Event};
use crate::member::{Known, Status, is_valid_name};
use crate::wire::{JoinIntent, LeaveIntent, Message, PushPullState, SerfMessage};

/// Where an intent came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// As a message of its own.
    Directly,
    /// Out of the status times of a state exchange.
    Hearsay,
}

impl Node {
    /// The SWIM level found a member, `new` or back again.
    pub(super) fn serf_joined(&mut self, now: Instant, name: &Arc<str>, new: bool) {
        self.revision += 1;
        let intent = if new { self.intents.take(name) } else { None };
        let Some(record) = self.members.get_mut(name) else {
            return;
        };
        record.member.status = Status::Alive;
        record.member.since = now;
        record.prune = false;
        if let Some(intent) = intent {
            record.status_time = intent.time;
            if intent.kind == Kind::Leave {
                record.member.status = Status::Leaving;
            }
        }
        let member = record.member.clone();
        self.event(Event::Join(member.clone()));
        if member.status == Status::Leaving {
            self.event(Event::Leaving(member));
        }
    }

    /// The SWIM level lost a member. A death that the member itself announced is a graceful
    /// leave, whether or not its leave intent came by: only a leaving member sends it.
    pub(super) fn serf_gone(&mut self, now: Instant, name: &Arc<str>, by_itself: bool) {
        self.revision += 1;
        let Some(record) = self.members.get_mut(name) else {
            return;
        };
        let graceful = by_itself || record.member.status == Status::Leaving;
        record.member.status = if graceful {
            Status::Left
        } else {
            Status::Failed
        };
        record.member.since = now;
        let member = record.member.clone();
        self.event(if graceful {
            Event::Leave(member)
        } else {
            Event::Failed(member)
        });
    }

    /// Whether an intent can be considered at all; otherwise it is counted as refused.
    pub(super) fn intent_is_sane(&mut self, from: SocketAddr, name: &str, time: u64) -> bool {
        if !is_valid_name(name) {
            self.refuse(from, DropReason::Name);
            return false;
        }
        let clock = self.clock.clone();
        self.time_is_sane(from, &clock, time)
    }

    /// Somebody leaves, or is told to be gone for good. Gives whether that is news to pass on.
    pub(super) fn leave_intent(
        &mut self,
        now: Instant,
        origin: Origin,
        intent: &LeaveIntent,
        heard: Heard,
    ) -> bool {
        let Some((name, record)) = self.members.get_key_value(&intent.node) else {
            return self.intent_kept(now, &intent.node, Kind::Leave, intent.ltime);
        };
        let name = name.clone();
        if name == self.name && self.leave.is_none() {
            self.own_leave_denied(origin, intent.ltime);
            return false;
        }
        // A state exchange tells the time of a leave as if it were a join. If that came first,
        // the leave itself has an equal time and still is news.
        let tie = intent.ltime == record.status_time && record.status_hearsay;
        if intent.ltime <= record.status_time && !(tie && heard == Heard::Directly) {
            return false;
        }
        let first_hand = origin.is_at(record.member.address);
        let is_news = record.member.status == Status::Alive;
        self.clock.witness(intent.ltime);
        if is_news && !first_hand && self.knows(now, &name) {
            return self.doubt(now, &name, Word::Leaving(intent.clone()));
        }
        let known = match first_hand {
            true => Known::Itself,
            false => Known::Hearsay,
        };
        self.leave_believed(now, intent, known);
        true
    }

    /// Somebody says that we leave, and we do not. Whoever says so of a time before our own last word has
    /// not heard that, and is told it; all are told where neither word is the newer one.
    fn own_leave_denied(&mut self, origin: Origin, time: u64) {
        let said = self.own().status_time;
        if time >= said {
            self.clock.witness(time);
            return self.say_we_are_here();
        }
        if origin.way != Way::Datagram {
            // The exchange itself tells it.
            return;
        }
        let intent = JoinIntent {
            ltime: said,
            node: self.name.to_string(),
        };
        let message = Message::User(SerfMessage::Join(intent).encode());
        self.send_alone(origin.from, &message.encode());
    }

    /// Keeps an intent about one who is not known yet. Gives whether that is news to pass on.
    fn intent_kept(&mut self, now: Instant, name: &str, kind: Kind, time: u64) -> bool {
        let limit = self.config.limits.intents;
        let kept = self.intents.keep(now, name, kind, time, limit);
        if kept {
            self.clock.witness(time);
        }
        kept
    }

    /// A member leaves, or is gone for good.
    pub(super) fn leave_believed(&mut self, now: Instant, intent: &LeaveIntent, known: Known) {
        let Some(record) = self.members.get_mut(&intent.node) else {
            return;
        };
        // Something newer may have come while the member was asked.
        if intent.ltime < record.status_time {
            return;
        }
        record.status_time = intent.ltime;
        record.status_hearsay = false;
        record.member.known = known;
        record.prune |= intent.prune;
        match record.member.status {
            Status::Alive => {
                record.member.status = Status::Leaving;
                record.member.since = now;
                self.revision += 1;
                let member = record.member.clone();
                self.event(Event::Leaving(member));
            }
            Status::Failed => {
                record.member.status = Status::Left;
                record.member.since = now;
                self.revision += 1;
                let member = record.member.clone();
                self.event(Event::Leave(member));
            }
            Status::Leaving | Status::Left => {}
        }
        let pruned = self.members.get_key_value(&intent.node);
        let pruned = pruned.filter(|(name, record)| record.is_pruned() && **name != self.name);
        if let Some((name, _)) = pruned {
            let name = name.clone();
            self.forget(now, &name);
        }
    }

    /// Somebody joined, or says that it is not leaving. Gives whether that is news to pass on.
    pub(super) fn join_intent(&mut self, now: Instant, intent: &JoinIntent, heard: Heard) -> bool {
        let Some((name, record)) = self.members.get_key_value(&intent.node) else {
            return self.intent_kept(now, &intent.node, Kind::Join, intent.ltime);
        };
        if intent.ltime <= record.status_time {
            return false;
        }
        let name = name.clone();
        self.clock.witness(intent.ltime);
        self.contradict_leave(&name, intent.ltime);
        let Some(record) = self.members.get_mut(&intent.node) else {
            return false;
        };
        record.status_time = intent.ltime;
        record.status_hearsay = heard == Heard::Hearsay;
        if record.member.status == Status::Leaving && *intent.node != *self.name {
            record.member.status = Status::Alive;
            record.member.since = now;
            self.revision += 1;
            let member = record.member.clone();
            self.event(Event::Update(member));
        }
        true
    }

    /// Gossips that we are here, with the current time: contradicts any leave intent about us.
    pub(super) fn say_we_are_here(&mut self) {
        let intent = JoinIntent {
            ltime: self.clock.time(),
            node: self.name.to_string(),
        };
        self.clock.witness(intent.ltime);
        let own = self.own_mut();
        own.status_time = own.status_time.max(intent.ltime);
        self.spread(Tier::Intent, &SerfMessage::Join(intent).encode());
    }

    /// Queues a message of Serf's level as it is. Gives the name of the broadcast.
    pub(super) fn spread(&mut self, tier: Tier, serf: &[u8]) -> super::queue::BroadcastId {
        self.rounds.wanted();
        self.queue.push(tier, Message::User(serf.to_vec()).encode())
    }

    /// What a state exchange carries of Serf's level.
    ///
    /// Leaving members are listed among the left ones, and all of those with a time one lower:
    /// the receiver adds one. Listed otherwise, a leave would reach the receiver as a join of the
    /// same time, and it would take the death that follows for a failure.
    pub(super) fn user_state(&self) -> Vec<u8> {
        let clocks = PushPullState {
            ltime: self.clock.time(),
            event_ltime: self.event_clock.time(),
            query_ltime: self.query_clock.time(),
            events: self.recent.groups(),
            ..PushPullState::default()
        };
        let gone = |r: &&Record| matches!(r.member.status, Status::Leaving | Status::Left);
        let left: Vec<&str> = self
            .members
            .values()
            .filter(gone)
            .map(|record| record.member.name.as_str())
            .collect();
        let times = self.members.values().map(|record| {
            let early = u64::from(gone(&record));
            let time = record.status_time.saturating_sub(early);
            (record.member.name.as_str(), time)
        });
        clocks.encode_with(&left, self.members.len(), times)
    }

    /// Takes Serf's part of a state exchange. `living` are those who live for the peer in an
    /// incarnation that is not older than ours. With `fresh` its user events are of a time when
    /// we were not there.
    pub(super) fn user_state_heard(
        &mut self,
        now: Instant,
        origin: Origin,
        state: PushPullState,
        living: &BTreeSet<String>,
        fresh: bool,
    ) {
        let from = origin.from;
        let before = self.clock.time();
        if !self.clocks_heard(origin, &state) {
            self.refuse(from, DropReason::Time);
            return;
        }
        if fresh {
            self.event_floor = self.event_floor.max(state.event_ltime);
        }
        self.old_events_heard(from, state.events.unwrap_or_default());
        let left: BTreeSet<String> = state.left_members.into_iter().collect();
        let mut place = Place::default();
        for (node, time) in state.status_ltimes {
            let known = self.members.follow(&mut place, &node);
            let old = |r: &Record| {
                time < r.status_time || (time == r.status_time && !left.contains(&node))
            };
            if known.is_some_and(old) {
                continue;
            }
            if !self.intent_is_sane(from, &node, time) {
                continue;
            }
            if !left.contains(&node) {
                let intent = JoinIntent { ltime: time, node };
                self.join_intent(now, &intent, Heard::Hearsay);
            } else if !self.leave_is_stale(&node, living) {
                let intent = LeaveIntent {
                    ltime: time.saturating_add(1),
                    node,
                    prune: false,
                };
                self.leave_intent(now, origin, &intent, Heard::Hearsay);
            }
        }
        self.bring_along(origin, before);
    }

    /// Whether hearsay of a leave is about a former life: the member lives here, and the peer
    /// does not know it in this incarnation.
    fn leave_is_stale(&self, name: &str, living: &BTreeSet<String>) -> bool {
        let lives = self.members.get(name).is_some_and(|record| record.is_up());
        lives && *name != *self.name && !living.contains(name)
    }
}
