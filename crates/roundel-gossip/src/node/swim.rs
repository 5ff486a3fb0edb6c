//! The rules of the SWIM level: who is alive, suspect, dead.
//!
//! Source: SWIM (Das et al. 2002) sections 4.2 and 4.3; Lifeguard (Dadgar et al. 2018);
//! memberlist's rules where those leave room.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::border::PASSED;
use super::doubt::Word;
use super::origin::{Origin, Way};
use super::queue::BroadcastId;
use super::record::{Record, Swim};
use super::roster::Place;
use super::timers::Timer;
use super::{COMPLAINTS, Node};
use crate::event::{DropReason, Event};
use crate::member::{Known, Member, Status, is_valid_name};
use crate::wire::{
    Accusation, BadRecord, Message, NodeRecord, NodeState, RecordState, Versions, tags,
};

impl Node {
    /// Somebody says that a member is alive.
    pub(super) fn alive_heard(&mut self, now: Instant, origin: Origin, record: NodeRecord) {
        if let Some(reason) = self.unacceptable(now, &record) {
            self.refuse(origin.from, reason);
            if reason == DropReason::Incarnation && *record.name() == *self.name {
                self.say_who_we_are(origin);
            }
            return;
        }
        if *record.name() == *self.name {
            self.alive_about_us(now, origin, record);
            return;
        }
        let Some((name, known)) = self.members.get_key_value(record.name()) else {
            if self.must_answer(origin, &record) {
                self.newcomer_asked(now, origin, record);
            } else if self.has_room(now) {
                self.member_added(now, origin, record);
            } else {
                self.stats.members_refused += 1;
                self.refuse(origin.from, DropReason::Limit);
                self.newcomer_asked(now, origin, record);
            }
            return;
        };
        let moved = known.member.address != record.address();
        let replaceable = matches!(known.swim, Swim::Left | Swim::Gone);
        let newer = record.incarnation() > known.member.incarnation
            || known.swim == Swim::Gone
            || (moved && replaceable);
        let by_itself = origin.is_at(known.member.address);
        let differs = known.meta != record.meta();
        let (name, is_up) = (name.clone(), known.is_up());
        if moved && !replaceable {
            // The name stays where it is as long as somebody answers there.
            self.doubt(now, &name, Word::Moved(record));
            return;
        }
        if by_itself {
            self.contradict_tags(&name, record.meta());
        }
        if newer && differs && !by_itself && is_up && self.knows(now, &name) {
            if self.doubt(now, &name, Word::Changed(record.clone())) {
                self.say_about(name, &Message::Alive(record));
            }
        } else if newer {
            self.member_alive(now, record);
        }
    }

    /// Says why a record must be neither believed nor passed on.
    pub(super) fn unacceptable(&self, now: Instant, record: &NodeRecord) -> Option<DropReason> {
        if !is_valid_name(record.name()) {
            return Some(DropReason::Name);
        }
        if record.address().port() == 0 {
            return Some(DropReason::Address);
        }
        if !self.may_be_reached(now, record.incarnation()) {
            return Some(DropReason::Incarnation);
        }
        let compatible = record.versions().is_compatible_with(&Versions::SERF);
        (!compatible).then_some(DropReason::Incompatible)
    }

    /// Whether an honest member may have come to this incarnation.
    pub(super) fn may_be_reached(&self, now: Instant, incarnation: u32) -> bool {
        incarnation <= self.time_of_day.border(now)
    }

    fn alive_about_us(&mut self, now: Instant, origin: Origin, record: NodeRecord) {
        if self.leave.is_some() {
            return;
        }
        if self.name_is_taken(now, origin, &record) {
            return;
        }
        let own = self.own();
        let same = record.incarnation() == own.member.incarnation
            && record.meta() == own.meta
            && *record.versions().as_bytes() == own.member.versions;
        if record.incarnation() >= own.member.incarnation && !same {
            self.refute(now, record.incarnation());
        }
    }

    /// Answers what we do not take of ourselves: whoever believes it asks us what is right.
    fn say_who_we_are(&mut self, origin: Origin) {
        if self.leave.is_none() && origin.way == Way::Datagram {
            let alive = Message::Alive(self.own().to_wire());
            self.send_alone(origin.from, &alive.encode());
        }
    }

    /// Whether our name is known at another address: then others refuse us, and they vote. That
    /// is so as well when the other is dead, until it is forgotten.
    ///
    /// Only whoever we were told to join by is believed in this at once; else somebody must answer
    /// there to our name.
    fn name_is_taken(&mut self, now: Instant, origin: Origin, record: &NodeRecord) -> bool {
        if self.is_former_self(now, record.address(), record.incarnation()) {
            return true;
        }
        let taken = record.address() != self.own().member.address;
        if taken {
            self.name_claimed(now, origin, record.address());
        }
        taken
    }

    /// Tells once that a name is claimed twice.
    pub(super) fn conflict(&mut self, name: &str, kept: SocketAddr, refused: SocketAddr) {
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

    pub(super) fn member_added(&mut self, now: Instant, origin: Origin, wire: NodeRecord) {
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
            known: match origin.is_at(wire.address()) {
                true => Known::Itself,
                false => Known::Hearsay,
            },
        };
        let mut record = Record::new(member, wire.meta().to_vec(), now);
        record.mapped = is_mapped(&wire);
        self.members.insert(name.clone(), record);
        self.enlist(name.clone());
        self.unmet.add(name.clone());
        self.say_about(name.clone(), &Message::Alive(wire));
        self.serf_joined(now, &name, true);
        self.greet(now, &name);
        self.vote_known(now, &name);
        self.unmet_counted(now);
    }

    pub(super) fn member_alive(&mut self, now: Instant, wire: NodeRecord) {
        let name: Arc<str> = wire.name().into();
        self.contradict(&name, wire.incarnation());
        let Some(record) = self.members.get_mut(&name) else {
            return;
        };
        let (before, was_shown) = (record.swim, record.member.suspect);
        let update = record.meta != wire.meta() || record.member.address != wire.address();
        if update {
            record.member.tags = tags::decode(wire.meta()).unwrap_or_default();
            record.meta = wire.meta().to_vec();
        }
        record.member.address = wire.address();
        record.mapped = is_mapped(&wire);
        record.member.incarnation = wire.incarnation();
        record.member.versions = *wire.versions().as_bytes();
        if !record.is_up() {
            record.member.known = Known::Hearsay;
        }
        self.set_swim(now, &name, Swim::Alive);
        self.say_about(name.clone(), &Message::Alive(wire));
        match before {
            Swim::Gone => {
                self.enlist(name.clone());
                self.serf_joined(now, &name, false);
            }
            Swim::Dead | Swim::Left => self.serf_joined(now, &name, false),
            Swim::Alive | Swim::Suspect => {
                if was_shown {
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

    /// Drops members from this level; Serf's level remembers them. O(members), however many they are.
    pub(super) fn delist_all(&mut self, now: Instant, names: &BTreeSet<Arc<str>>) {
        for name in names {
            self.set_swim(now, name, Swim::Gone);
            self.known -= 1;
        }
        self.to_probe.remove(names);
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

    /// Contradicts what was said about us in incarnation `accused`.
    pub(super) fn refute(&mut self, now: Instant, accused: u32) {
        self.stats.refutations += 1;
        self.awareness.shift(1);
        let own = self.own_mut();
        own.member.incarnation = own.member.incarnation.max(accused).saturating_add(1);
        let newest = own.member.incarnation;
        self.announce_ourselves();
        // Others refuse it until their borders have gone on.
        if !self.may_be_reached(now, newest) && !std::mem::replace(&mut self.passes, true) {
            self.timers.set(now + PASSED, Timer::Passed);
        }
    }

    /// Says once more what was beyond the border a moment ago.
    pub(super) fn border_passed(&mut self) {
        self.passes = false;
        if self.leave.is_none() {
            self.announce_ourselves();
        }
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
    pub(super) fn state_heard(&mut self, now: Instant, origin: Origin, state: NodeState) {
        let record = &state.record;
        if let Some(reason) = self.unacceptable(now, record) {
            self.refuse(origin.from, reason);
            return;
        }
        let accusation = |from: &str| Accusation {
            node: record.name().to_owned(),
            incarnation: record.incarnation(),
            from: from.to_owned(),
        };
        let about_us = *record.name() == *self.name && self.leave.is_none();
        // One that left has given its name back.
        if about_us && state.state != RecordState::Left && self.name_is_taken(now, origin, record) {
            return;
        }
        match state.state {
            RecordState::Alive => self.alive_heard(now, origin, state.record),
            RecordState::Left => self.dead_heard(now, origin, accusation(record.name())),
            RecordState::Suspect | RecordState::Dead => {
                self.suspect_heard(now, Some(origin), accusation(&self.name));
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
