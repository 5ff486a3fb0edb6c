//! The rules of the SWIM level: who is alive, suspect, dead.
//!
//! Source: SWIM (Das et al. 2002) sections 4.2 and 4.3; Lifeguard (Dadgar et al. 2018);
//! memberlist's rules where those leave room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::queue::BroadcastId;
use super::record::{Record, Swim};
use super::roster::Place;
use super::suspicion::Suspicion;
use super::timers::Timer;
use super::{COMPLAINTS, Node};
use crate::event::{DropReason, Event};
use crate::member::{Member, Status, is_valid_name};
use crate::wire::{
    Accusation, BadRecord, Message, NodeRecord, NodeState, RecordState, Versions, tags,
};

impl Node {
    /// Somebody says that a member is alive. `from` is who told us, for complaints.
    pub(super) fn alive_heard(&mut self, now: Instant, from: SocketAddr, record: NodeRecord) {
        if let Some(reason) = self.unacceptable(&record) {
            self.refuse(from, reason);
            return;
        }
        if *record.name() == *self.name {
            self.alive_about_us(now, record);
            return;
        }
        let Some(known) = self.members.get(record.name()) else {
            if self.members.len() >= self.config.limits.members {
                self.refuse(from, DropReason::Limit);
            } else {
                self.member_added(now, record);
            }
            return;
        };
        let moved = known.member.address != record.address();
        let replaceable = matches!(known.swim, Swim::Left | Swim::Gone);
        if moved && !replaceable {
            let kept = known.member.address;
            self.conflict(record.name(), kept, record.address());
            return;
        }
        let newer = record.incarnation() > known.member.incarnation;
        if newer || known.swim == Swim::Gone || (moved && replaceable) {
            self.member_alive(now, record);
        }
    }

    /// Says why a record must be neither believed nor passed on.
    pub(super) fn unacceptable(&self, record: &NodeRecord) -> Option<DropReason> {
        if !is_valid_name(record.name()) {
            return Some(DropReason::Name);
        }
        if record.address().port() == 0 {
            return Some(DropReason::Address);
        }
        let compatible = record.versions().is_compatible_with(&Versions::SERF);
        (!compatible).then_some(DropReason::Incompatible)
    }

    fn alive_about_us(&mut self, now: Instant, record: NodeRecord) {
        if self.leave.is_some() {
            return;
        }
        if self.name_is_taken(now, &record) {
            return;
        }
        let own = self.own();
        let same = record.incarnation() == own.member.incarnation
            && record.meta() == own.meta
            && *record.versions().as_bytes() == own.member.versions;
        if record.incarnation() >= own.member.incarnation && !same {
            self.refute(record.incarnation());
        }
    }

    /// Whether our name is known at another address: then others refuse us, and they vote. That
    /// is so as well when the other is dead, until it is forgotten.
    fn name_is_taken(&mut self, now: Instant, record: &NodeRecord) -> bool {
        if self.is_former_self(now, record.address(), record.incarnation()) {
            return true;
        }
        let kept = self.own().member.address;
        let taken = record.address() != kept;
        if taken {
            self.conflict(record.name(), kept, record.address());
            self.vote_begin(now);
        }
        taken
    }

    /// Tells once that a name is claimed twice.
    fn conflict(&mut self, name: &str, kept: SocketAddr, refused: SocketAddr) {
        if self.conflicts.len() >= COMPLAINTS {
            self.conflicts.clear();
        }
        if self.conflicts.insert((name.to_owned(), refused)) {
            self.event(Event::Conflict {
                name: name.to_owned(),
                kept,
                refused,
            });
        }
    }

    fn member_added(&mut self, now: Instant, wire: NodeRecord) {
        let name: Arc<str> = wire.name().into();
        let member = Member {
            name: wire.name().to_owned(),
            address: wire.address(),
            tags: tags::decode(wire.meta()).unwrap_or_default(),
            status: Status::Alive,
            suspect: false,
            incarnation: wire.incarnation(),
            versions: *wire.versions().as_bytes(),
            since: now,
        };
        let mut record = Record::new(member, wire.meta().to_vec(), now);
        record.mapped = is_mapped(&wire);
        self.members.insert(name.clone(), record);
        self.enlist(name.clone());
        self.say_about(name.clone(), &Message::Alive(wire));
        self.serf_joined(now, &name, true);
    }

    fn member_alive(&mut self, now: Instant, wire: NodeRecord) {
        let name: Arc<str> = wire.name().into();
        let Some(record) = self.members.get_mut(&name) else {
            return;
        };
        let before = record.swim;
        let update = record.meta != wire.meta() || record.member.address != wire.address();
        if update {
            record.member.tags = tags::decode(wire.meta()).unwrap_or_default();
            record.meta = wire.meta().to_vec();
        }
        record.member.address = wire.address();
        record.mapped = is_mapped(&wire);
        record.member.incarnation = wire.incarnation();
        record.member.versions = *wire.versions().as_bytes();
        self.set_swim(now, &name, Swim::Alive);
        self.say_about(name.clone(), &Message::Alive(wire));
        match before {
            Swim::Gone => {
                self.enlist(name.clone());
                self.serf_joined(now, &name, false);
            }
            Swim::Dead | Swim::Left => self.serf_joined(now, &name, false),
            Swim::Alive | Swim::Suspect => {
                if before == Swim::Suspect {
                    self.event(Event::Refuted {
                        name: name.to_string(),
                    });
                }
                if update {
                    let member = self.members[&name].member.clone();
                    self.event(Event::Update(member));
                }
            }
        }
    }

    /// Lets a member take part in probing and gossip.
    fn enlist(&mut self, name: Arc<str>) {
        self.known += 1;
        self.to_probe.insert(&mut self.rng, name);
    }

    /// Drops a dead member from this level; Serf's level remembers it.
    pub(super) fn delist(&mut self, now: Instant, name: &Arc<str>) {
        self.set_swim(now, name, Swim::Gone);
        self.known -= 1;
        self.to_probe.remove(name);
    }

    /// Changes the state and keeps what hangs on it in step.
    pub(super) fn set_swim(&mut self, now: Instant, name: &Arc<str>, swim: Swim) {
        self.revision += 1;
        let Some(record) = self.members.get_mut(name) else {
            return;
        };
        if let Some((_, key)) = record.suspicion.take() {
            self.timers.cancel(key);
        }
        record.member.suspect = false;
        let was_up = record.is_up();
        if was_up != matches!(swim, Swim::Alive | Swim::Suspect) {
            record.changed = now;
        }
        self.members.set_swim(name, swim);
    }

    /// Somebody got no answer from a member.
    ///
    /// `peer` brought the news, if a peer did: it may not raise doubts about everybody.
    pub(super) fn suspect_heard(
        &mut self,
        now: Instant,
        peer: Option<SocketAddr>,
        accusation: Accusation,
    ) {
        // Most of what is heard is known; only what is news may copy a shared record.
        let Some((name, record)) = self.members.get_key_value(&accusation.node) else {
            return;
        };
        let over = !record.is_up() || accusation.incarnation < record.member.incarnation;
        if over {
            return;
        }
        let name = name.clone();
        let Some(record) = self.members.get_mut(&name) else {
            return;
        };
        if let Some((suspicion, key)) = &mut record.suspicion {
            if suspicion.confirm(&accusation.from) {
                self.timers.cancel(*key);
                *key = self
                    .timers
                    .set(suspicion.deadline(), Timer::Suspicion(name.clone()));
                self.say_about(name, &Message::Suspect(accusation));
            }
        } else if record.swim == Swim::Alive {
            if name == self.name {
                self.address.accused(now);
                self.refute(accusation.incarnation);
            } else if self.may_doubt(now, peer) {
                self.suspicion_begins(now, name, accusation);
            }
        }
    }

    /// Whether whoever brought a doubt has not brought too many.
    fn may_doubt(&mut self, now: Instant, peer: Option<SocketAddr>) -> bool {
        let Some(peer) = peer else {
            return true;
        };
        let may = self.accusers.may_accuse(now, peer.ip(), self.known);
        if !may {
            self.refuse(peer, DropReason::Limit);
        }
        may
    }

    fn suspicion_begins(&mut self, now: Instant, name: Arc<str>, accusation: Accusation) {
        let suspicion = Suspicion::new(now, &accusation.from, self.known, &self.config.timings);
        let timer = Timer::Suspicion(name.clone());
        let key = self.timers.set(suspicion.deadline(), timer);
        self.revision += 1;
        self.stats.suspicions += 1;
        let Some(record) = self.members.get_mut(&name) else {
            return;
        };
        record.swim = Swim::Suspect;
        record.member.suspect = true;
        record.member.incarnation = accusation.incarnation;
        record.suspicion = Some((suspicion, key));
        self.event(Event::Suspect {
            name: name.to_string(),
            from: accusation.from.clone(),
        });
        self.say_about(name, &Message::Suspect(accusation));
    }

    /// A suspicion has lasted its time without a refutation.
    pub(super) fn suspicion_ended(&mut self, now: Instant, name: &str) {
        let Some(record) = self.members.get(name) else {
            return;
        };
        let over = record
            .suspicion
            .as_ref()
            .is_some_and(|(suspicion, _)| suspicion.deadline() <= now);
        if over {
            let accusation = Accusation {
                node: name.to_owned(),
                incarnation: record.member.incarnation,
                from: self.name.to_string(),
            };
            self.dead_heard(now, accusation);
        }
    }

    /// Somebody says that a member is dead; if it is the member itself, it has left.
    pub(super) fn dead_heard(&mut self, now: Instant, accusation: Accusation) {
        let Some((name, record)) = self.members.get_key_value(&accusation.node) else {
            return;
        };
        let by_itself = accusation.from == accusation.node;
        if accusation.incarnation < record.member.incarnation {
            return;
        }
        let name = name.clone();
        if record.swim == Swim::Dead && by_itself {
            // It was not dead, and is gone from there: its name is free for another address.
            self.set_swim(now, &name, Swim::Left);
            self.say_about(name, &Message::Dead(accusation));
            return;
        }
        if !record.is_up() {
            return;
        }
        if name == self.name && self.leave.is_none() {
            self.address.accused(now);
            self.refute(accusation.incarnation);
            return;
        }
        let Some(record) = self.members.get_mut(&name) else {
            return;
        };
        record.member.incarnation = accusation.incarnation;
        let swim = if by_itself { Swim::Left } else { Swim::Dead };
        self.set_swim(now, &name, swim);
        self.say_about(name.clone(), &Message::Dead(accusation));
        self.serf_gone(now, &name, by_itself);
    }

    /// Contradicts what was said about us in incarnation `accused`.
    fn refute(&mut self, accused: u32) {
        self.stats.refutations += 1;
        self.awareness.shift(1);
        let own = self.own_mut();
        own.member.incarnation = own.member.incarnation.max(accused).saturating_add(1);
        self.announce_ourselves();
    }

    /// Gossips our own record.
    pub(super) fn announce_ourselves(&mut self) {
        self.revision += 1;
        let alive = Message::Alive(self.own().to_wire());
        self.say_about(self.name.clone(), &alive);
    }

    pub(super) fn own_tags_changed(
        &mut self,
        tags: std::collections::BTreeMap<String, String>,
        meta: Vec<u8>,
    ) {
        let own = self.own_mut();
        if own.meta == meta {
            return;
        }
        own.member.tags = tags;
        own.meta = meta;
        own.member.incarnation = own.member.incarnation.saturating_add(1);
        let member = own.member.clone();
        if self.leave.is_none() {
            self.announce_ourselves();
        }
        self.event(Event::Update(member));
    }

    /// Whether a record of a state exchange says that a member is well that we know as well or
    /// better: most of them do.
    pub(super) fn is_old_news(&self, place: &mut Place, state: &NodeState) -> bool {
        let record = &state.record;
        let Some(known) = self.members.follow(place, record.name()) else {
            return false;
        };
        let settled = known.swim != Swim::Gone && known.member.address == record.address();
        let older = record.incarnation() <= known.member.incarnation;
        state.state == RecordState::Alive && settled && older && *record.name() != *self.name
    }

    /// Takes one record of a state exchange. A death told this way must survive a suspicion
    /// here, so that a mistake can be refuted.
    pub(super) fn state_heard(&mut self, now: Instant, from: SocketAddr, state: NodeState) {
        let record = &state.record;
        if let Some(reason) = self.unacceptable(record) {
            self.refuse(from, reason);
            return;
        }
        let accusation = |from: &str| Accusation {
            node: record.name().to_owned(),
            incarnation: record.incarnation(),
            from: from.to_owned(),
        };
        let about_us = *record.name() == *self.name && self.leave.is_none();
        // One that left has given its name back.
        if about_us && state.state != RecordState::Left && self.name_is_taken(now, record) {
            return;
        }
        match state.state {
            RecordState::Alive => self.alive_heard(now, from, state.record),
            RecordState::Left => self.dead_heard(now, accusation(record.name())),
            RecordState::Suspect | RecordState::Dead => {
                self.suspect_heard(now, Some(from), accusation(&self.name));
            }
        }
    }

    /// Queues what is to be told about a member.
    pub(super) fn say_about(&mut self, name: Arc<str>, message: &Message) -> BroadcastId {
        self.rounds.wanted();
        self.queue.push_about(name, message.encode())
    }
}

/// Whether a member writes its IPv4 address in 16 bytes.
fn is_mapped(wire: &NodeRecord) -> bool {
    wire.written_address() != wire.address()
}

/// Names the reason for refusing a record that the codec does not take.
pub(super) fn reason_of(bad: BadRecord) -> DropReason {
    match bad {
        BadRecord::VersionForm | BadRecord::Incompatible(_) => DropReason::Versions,
        BadRecord::EmptyName | BadRecord::NameTooLong(_) => DropReason::Name,
        BadRecord::AddressLength(_) | BadRecord::UnusableAddress(_) => DropReason::Address,
        BadRecord::MetaTooLong(_) => DropReason::Meta,
        BadRecord::UnknownState(_) => DropReason::Malformed,
    }
}
