//! What is said against members: that nobody reaches them, that they are dead, that they left.
//!
//! Source: as for the rules of the SWIM level in `swim.rs`.

use std::sync::Arc;
use std::time::Instant;

use super::Node;
use super::doubt::Word;
use super::origin::Origin;
use super::record::{Record, Swim};
use super::suspicion::Suspicion;
use super::timers::Timer;
use crate::event::{DropReason, Event};
use crate::member::{Known, Status};
use crate::wire::{Accusation, Message};

impl Node {
    /// Somebody got no answer from a member.
    ///
    /// `peer` brought the news, if a peer did: it may not raise doubts about everybody. Else we
    /// got none ourselves.
    pub(super) fn suspect_heard(
        &mut self,
        now: Instant,
        peer: Option<Origin>,
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
        if peer.is_none() {
            self.contacts.lost(&name);
            self.suspicion_shows(&name, &accusation.from);
        }
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
                self.refute(now, accusation.incarnation);
            } else if self.may_doubt(now, peer) {
                self.suspicion_begins(now, name, peer.is_some(), accusation);
            }
        }
    }

    /// Whether whoever brought a doubt has not brought too many.
    fn may_doubt(&mut self, now: Instant, peer: Option<Origin>) -> bool {
        let Some(Origin { from, .. }) = peer else {
            return true;
        };
        let may = self.accusers.may_accuse(now, from.ip(), self.known);
        if !may {
            self.refuse(from, DropReason::Limit);
        }
        may
    }

    /// Others are told at once, as they count who shares the suspicion. Our application is told
    /// when a member that we know has not answered.
    fn suspicion_begins(
        &mut self,
        now: Instant,
        name: Arc<str>,
        hearsay: bool,
        accusation: Accusation,
    ) {
        let suspicion = Suspicion::new(now, &accusation.from, self.known, &self.config.timings);
        let timer = Timer::Suspicion(name.clone());
        let key = self.timers.set(suspicion.deadline(), timer);
        self.stats.suspicions += 1;
        let Some(record) = self.members.get_mut(&name) else {
            return;
        };
        record.swim = Swim::Suspect;
        record.member.incarnation = accusation.incarnation;
        record.suspicion = Some((suspicion, key));
        if hearsay && !self.contacts.is_lost(&name) {
            self.doubt(now, &name, Word::Suspect(accusation.clone()));
        } else {
            self.suspicion_shows(&name, &accusation.from);
        }
        self.say_about(name, &Message::Suspect(accusation));
    }

    /// Tells of a suspicion, once.
    pub(super) fn suspicion_shows(&mut self, name: &Arc<str>, from: &str) {
        let hidden = |r: &Record| r.swim == Swim::Suspect && !r.member.suspect;
        if !self.members.get(name).is_some_and(hidden) {
            return;
        }
        if let Some(record) = self.members.get_mut(name) {
            record.member.suspect = true;
        }
        self.revision += 1;
        self.event(Event::Suspect {
            name: name.to_string(),
            from: from.to_owned(),
        });
    }

    /// A suspect whom somebody holds for dead answered us. What is left of the suspicion reminds
    /// us of who accused it; when its time is over, the member is well.
    pub(super) fn suspicion_refuted(&mut self, now: Instant, name: &Arc<str>) {
        let deadline = |r: &Record| Some(r.suspicion.as_ref()?.0.deadline());
        let is_over = |r: &&Record| deadline(r).is_some_and(|deadline| deadline <= now);
        let Some(record) = self.members.get(name).filter(is_over) else {
            return;
        };
        let was_shown = record.member.suspect;
        self.set_swim(now, name, Swim::Alive);
        if was_shown {
            self.event(Event::Refuted {
                name: name.to_string(),
            });
        }
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
            let Some((name, _)) = self.members.get_key_value(name) else {
                return;
            };
            let name = name.clone();
            // It answered us since: our own word is worth no more than that of others.
            if self.knows(now, &name) {
                self.doubt(now, &name, Word::Dead(accusation));
            } else {
                self.died(now, &name, accusation, Known::Asked);
            }
        }
    }

    /// Somebody says that a member is dead; if it is the member itself, it has left.
    pub(super) fn dead_heard(&mut self, now: Instant, origin: Origin, accusation: Accusation) {
        let Some((name, record)) = self.members.get_key_value(&accusation.node) else {
            return;
        };
        let by_itself = accusation.from == accusation.node;
        if accusation.incarnation < record.member.incarnation {
            return;
        }
        let first_hand = by_itself && origin.is_at(record.member.address);
        let announced = by_itself && record.member.status == Status::Leaving;
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
            self.refute(now, accusation.incarnation);
            return;
        }
        if first_hand {
            self.died(now, &name, accusation, Known::Itself);
        } else if !announced && !self.contacts.is_lost(&name) {
            let word = match by_itself {
                true => Word::Left(accusation),
                false => Word::Dead(accusation),
            };
            self.doubt(now, &name, word);
        } else {
            self.died(now, &name, accusation, Known::Hearsay);
        }
    }

    /// A member is dead, or has left if that is its own word.
    pub(super) fn died(
        &mut self,
        now: Instant,
        name: &Arc<str>,
        accusation: Accusation,
        known: Known,
    ) {
        let by_itself = accusation.from == accusation.node;
        let Some(record) = self.members.get_mut(name) else {
            return;
        };
        record.member.incarnation = accusation.incarnation;
        record.member.known = known;
        self.contacts.forget(name);
        let swim = if by_itself { Swim::Left } else { Swim::Dead };
        self.set_swim(now, name, swim);
        self.say_about(name.clone(), &Message::Dead(accusation));
        self.serf_gone(now, name, by_itself);
        if by_itself {
            self.name_given_back(now, name);
        }
    }
}
