//! What others say of a member is asked of the member itself.
//!
//! It is pinged, and told what is said of it, so that it can contradict. What nobody contradicts is
//! believed: at once where the member does not answer, or as soon as it has answered twice, since
//! agents answer a ping before they look at what came with it. That the member is dead is
//! contradicted by any answer.
//!
//! That a member is at another address is asked there too. A word that is no newer than what is known
//! is believed only if somebody answers there to its name: else two old words about one that is gone,
//! each with another address, would bring it back to life by turns without end.
//!
//! Asking back costs a cluster about what the broadcast of the word costs. Who was asked in vain
//! already is not asked about its death again, so a death is known as early as without asking. Who has
//! never answered us is changed by hearsay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::timers::{Timer, TimerKey};
use crate::member::Known;
use crate::wire::{Accusation, LeaveIntent, Message, NodeRecord, SerfMessage};

/// A member is asked so often within the time of one ping.
const TRIES: u32 = 3;

/// Whether the name of one that answered lately is free for another address is asked for so many
/// times that of one ping: a pause must not cost a member its name.
const PATIENCE: u32 = 4;

/// Pause before the second ping, and before what came with its answer is all taken in.
const AGAIN: Duration = Duration::from_millis(50);
const JUDGE: Duration = Duration::from_millis(20);

/// What somebody else says of a member.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// Nobody reaches it, says `from`.
    Suspect(Accusation),
    /// It is dead.
    Dead(Accusation),
    /// It left.
    Left(Accusation),
    /// It leaves.
    Leaving(LeaveIntent),
    /// It changed its tags.
    Changed(NodeRecord),
    /// It is at another address.
    Moved(NodeRecord),
}

/// The kinds of words; one of each may be asked back at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Suspect,
    Dead,
    Left,
    Leaving,
    Changed,
    Moved,
}

/// Who is asked about what.
pub(super) type Subject = (Arc<str>, Kind);

impl Kind {
    fn is_refuted_by_an_answer(self) -> bool {
        matches!(self, Self::Suspect | Self::Dead | Self::Moved)
    }
}

impl Word {
    fn kind(&self) -> Kind {
        match self {
            Self::Suspect(_) => Kind::Suspect,
            Self::Dead(_) => Kind::Dead,
            Self::Left(_) => Kind::Left,
            Self::Leaving(_) => Kind::Leaving,
            Self::Changed(_) => Kind::Changed,
            Self::Moved(_) => Kind::Moved,
        }
    }

    /// How new it is, among words of its kind.
    fn age(&self) -> u64 {
        match self {
            Self::Suspect(a) | Self::Dead(a) | Self::Left(a) => a.incarnation.into(),
            Self::Leaving(intent) => intent.ltime,
            Self::Changed(record) | Self::Moved(record) => record.incarnation().into(),
        }
    }

    /// What the member is told. A death too is told as a suspicion, since agents that leave have
    /// nothing to say to that and others contradict. To whom its name is claimed elsewhere is
    /// nothing that a member could contradict.
    fn told(&self, by: &str) -> Option<Message> {
        match self {
            Self::Suspect(a) | Self::Dead(a) | Self::Left(a) => {
                Some(Message::Suspect(Accusation {
                    from: by.to_owned(),
                    ..a.clone()
                }))
            }
            Self::Leaving(intent) => {
                Some(Message::User(SerfMessage::Leave(intent.clone()).encode()))
            }
            Self::Changed(record) => Some(Message::Alive(record.clone())),
            Self::Moved(_) => None,
        }
    }
}

/// A word that waits for what the member says to it.
#[derive(Debug)]
struct Doubt {
    word: Word,
    begun: Instant,
    until: Instant,
    pings: Vec<u32>,
    answers: u8,
    /// Whether somebody answers to the name at the address that is asked about.
    found: bool,
    timer: Option<TimerKey>,
}

/// The words that wait.
///
/// Shape: at most one of each kind per member that is known.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    open: BTreeMap<Subject, Doubt>,
}

impl Doubts {
    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    #[cfg(debug_assertions)]
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.open.keys().map(|(name, _)| name)
    }
}

impl Node {
    /// Asks a member back. Gives whether the word is newer than one of its kind that waits.
    pub(super) fn doubt(&mut self, now: Instant, name: &Arc<str>, word: Word) -> bool {
        let subject = (name.clone(), word.kind());
        let waiting = self.doubts.open.get(&subject);
        if waiting.is_some_and(|doubt| word.age() <= doubt.word.age()) {
            return false;
        }
        self.drop_doubt(&subject);
        let patience = match word.kind() {
            Kind::Moved if self.knows(now, name) => PATIENCE,
            _ => 1,
        };
        let doubt = Doubt {
            word,
            begun: now,
            until: now + self.config.timings.probe_timeout * patience,
            pings: Vec::new(),
            answers: 0,
            found: false,
            timer: None,
        };
        self.stats.asked_back += 1;
        self.doubts.open.insert(subject.clone(), doubt);
        self.ask_back(now, &subject);
        true
    }

    fn ask_back(&mut self, now: Instant, subject: &Subject) {
        let (Some(doubt), Some(record)) = (
            self.doubts.open.get_mut(subject),
            self.members.get(&subject.0),
        ) else {
            return;
        };
        let to = record.member.address;
        let told = doubt.word.told(&self.name);
        let elsewhere = match &doubt.word {
            Word::Moved(record) if !doubt.found => Some(record.address()),
            _ => None,
        };
        let next = (now + self.config.timings.probe_timeout / TRIES).min(doubt.until);
        doubt.timer = Some(self.timers.set(next, Timer::Doubt(subject.clone())));
        let seq = self.ping_to_doubt(now, subject);
        if let Some(doubt) = self.doubts.open.get_mut(subject) {
            doubt.pings.push(seq);
        }
        let ping = Message::Ping(self.ping_for(&subject.0, seq));
        let messages: Vec<Message> = std::iter::once(ping).chain(told).collect();
        self.send(to, &messages);
        if let Some(to) = elsewhere {
            self.ask_elsewhere(now, subject, to);
        }
    }

    /// Asks whether the member is where it is said to be.
    fn ask_elsewhere(&mut self, now: Instant, subject: &Subject, to: SocketAddr) {
        let seq = self.ping_to_find(now, subject);
        if let Some(doubt) = self.doubts.open.get_mut(subject) {
            doubt.pings.push(seq);
        }
        let ping = Message::Ping(self.ping_for(&subject.0, seq));
        self.send_alone(to, &ping.encode());
    }

    /// The member answered where it is said to be.
    pub(super) fn doubt_found(&mut self, subject: &Subject) {
        if let Some(doubt) = self.doubts.open.get_mut(subject) {
            doubt.found = true;
        }
    }

    /// Asks again, or has waited for long enough.
    pub(super) fn doubt_tick(&mut self, now: Instant, subject: &Subject) {
        let Some(doubt) = self.doubts.open.get_mut(subject) else {
            return;
        };
        doubt.timer = None;
        let last = self.contacts.last(&subject.0);
        let answered = last.is_some_and(|at| at > doubt.begun);
        if answered && subject.1.is_refuted_by_an_answer() {
            return self.doubt_refuted(now, subject);
        }
        if doubt.answers < 2 && now < doubt.until {
            return self.ask_back(now, subject);
        }
        if !answered {
            self.contacts.lost(&subject.0);
        }
        let Some(doubt) = self.drop_doubt(subject) else {
            return;
        };
        if doubt.found || self.is_newer(&subject.0, &doubt.word) {
            self.doubt_confirmed(now, &subject.0, doubt.word);
        } else {
            self.stats.hearsay_refuted += 1;
        }
    }

    /// Whether a member that is at another address said so after all else that we know of it. Other
    /// words are measured when they are believed.
    fn is_newer(&self, name: &str, word: &Word) -> bool {
        let Word::Moved(record) = word else {
            return true;
        };
        let known = self.members.get(name);
        known.is_some_and(|known| record.incarnation() > known.member.incarnation)
    }

    /// The member answered a ping of ours.
    pub(super) fn doubt_answered(&mut self, now: Instant, subject: &Subject) {
        let Some(doubt) = self.doubts.open.get_mut(subject) else {
            return;
        };
        doubt.answers += 1;
        if subject.1.is_refuted_by_an_answer() {
            return self.doubt_refuted(now, subject);
        }
        let pause = match doubt.answers {
            1 => AGAIN,
            2 => JUDGE,
            _ => return,
        };
        let old = doubt.timer.take();
        let timer = Timer::Doubt(subject.clone());
        doubt.timer = Some(self.timers.set(now + pause, timer));
        if let Some(old) = old {
            self.timers.cancel(old);
        }
    }

    /// It lives, and is where it was.
    fn doubt_refuted(&mut self, now: Instant, subject: &Subject) {
        let Some(doubt) = self.drop_doubt(subject) else {
            return;
        };
        self.stats.hearsay_refuted += 1;
        let name = &subject.0;
        match doubt.word {
            Word::Dead(_) => self.suspicion_refuted(now, name),
            Word::Moved(record) => {
                let kept = self.members.get(name).map(|r| r.member.address);
                if let Some(kept) = kept {
                    self.conflict(name, kept, record.address());
                }
            }
            Word::Suspect(_) | Word::Left(_) | Word::Leaving(_) | Word::Changed(_) => {}
        }
    }

    /// Nobody contradicted.
    fn doubt_confirmed(&mut self, now: Instant, name: &Arc<str>, word: Word) {
        let Some(record) = self.members.get(name) else {
            return;
        };
        let incarnation = record.member.incarnation;
        match word {
            Word::Suspect(accusation) => self.suspicion_shows(name, &accusation.from),
            Word::Dead(accusation) | Word::Left(accusation) => {
                if record.is_up() && accusation.incarnation >= incarnation {
                    self.died(now, name, accusation, Known::Asked);
                }
            }
            Word::Leaving(intent) => {
                self.leave_believed(now, &intent, Known::Asked);
            }
            Word::Changed(wire) => {
                let stays = record.member.address == wire.address();
                if stays && wire.incarnation() > incarnation {
                    self.member_alive(now, wire);
                }
            }
            Word::Moved(wire) => self.member_alive(now, wire),
        }
    }

    /// A member has left its address, so its name may be at the one that is asked about.
    pub(super) fn name_given_back(&mut self, now: Instant, name: &Arc<str>) {
        let subject = (name.clone(), Kind::Moved);
        if let Some(doubt) = self.drop_doubt(&subject) {
            self.doubt_confirmed(now, name, doubt.word);
        }
    }

    /// Forgets what is contradicted by what a member says of itself in `incarnation`.
    pub(super) fn contradict(&mut self, name: &Arc<str>, incarnation: u32) {
        for kind in [Kind::Suspect, Kind::Dead, Kind::Left, Kind::Changed] {
            let subject = (name.clone(), kind);
            let age = self.doubts.open.get(&subject).map(|doubt| doubt.word.age());
            let newest = u64::from(incarnation);
            if age.is_some_and(|age| age < newest || (kind == Kind::Changed && age == newest)) {
                self.drop_doubt(&subject);
                self.stats.hearsay_refuted += 1;
            }
        }
    }

    /// Forgets tags that a member itself does not know of; it may be right in any incarnation.
    pub(super) fn contradict_tags(&mut self, name: &Arc<str>, meta: &[u8]) {
        let subject = (name.clone(), Kind::Changed);
        let other = |doubt: &Doubt| match &doubt.word {
            Word::Changed(record) => record.meta() != meta,
            _ => false,
        };
        if self.doubts.open.get(&subject).is_some_and(other) {
            self.drop_doubt(&subject);
            self.stats.hearsay_refuted += 1;
        }
    }

    /// Forgets a leave before `time`: the member said that it is there.
    pub(super) fn contradict_leave(&mut self, name: &Arc<str>, time: u64) {
        let subject = (name.clone(), Kind::Leaving);
        let waiting = self.doubts.open.get(&subject);
        if waiting.is_some_and(|doubt| doubt.word.age() < time) {
            self.drop_doubt(&subject);
            self.stats.hearsay_refuted += 1;
        }
    }

    /// Forgets what was said of a member that is no longer known.
    pub(super) fn drop_doubts(&mut self, name: &Arc<str>) {
        let first = (name.clone(), Kind::Suspect);
        let kinds = self.doubts.open.range(first..);
        let all: Vec<Subject> = kinds
            .map(|(subject, _)| subject.clone())
            .take_while(|subject| subject.0 == *name)
            .collect();
        for subject in all {
            self.drop_doubt(&subject);
        }
    }

    fn drop_doubt(&mut self, subject: &Subject) -> Option<Doubt> {
        let doubt = self.doubts.open.remove(subject)?;
        for seq in &doubt.pings {
            self.forget_ping(*seq);
        }
        if let Some(timer) = doubt.timer {
            self.timers.cancel(timer);
        }
        Some(doubt)
    }
}
