//! Votes about a name that two claim.
//!
//! Only the node that hears its own name claimed asks; it tells its application what the others
//! say, and goes on. Agents end themselves when they lose.
//!
//! A claim alone is a word: somebody must answer to our name where it is claimed, and only those
//! vote who have answered us before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::answering::Asker;
use super::asking::Purpose;
use super::origin::{Origin, Way};
use super::record::Record;
use crate::event::Event;
use crate::member::Status;
use crate::query::{QueryId, QueryParams};
use crate::wire::{MemberRecord, SerfMessage, canonical};

/// Votes are at least this far apart.
const APART: Duration = Duration::from_secs(30);

/// The running vote about our own name.
#[derive(Debug, Default)]
pub(super) struct Vote {
    running: bool,
    votes: usize,
    answers: usize,
    next: Option<Instant>,
    /// Where each voter is; none if whoever answers may vote.
    voters: Option<BTreeMap<String, SocketAddr>>,
    /// The ping that asks for the claimant.
    claim: Option<u32>,
    /// Our name until we took another.
    former: Option<String>,
    /// What another asked about our name, to be answered when we know by it whom it is left to.
    owed: Option<Owed>,
}

/// An answer that is not known yet.
#[derive(Debug)]
struct Owed {
    id: QueryId,
    asker: Asker,
    name: String,
}

impl Vote {
    /// Whether what came from an address in the name of `voter` is a vote.
    pub(super) fn may(&self, from: SocketAddr, voter: &str) -> bool {
        let voters = self.voters.as_ref();
        voters.is_none_or(|voters| voters.get(voter) == Some(&from))
    }
}

impl Node {
    /// Somebody says that our name is at another address.
    ///
    /// Whoever we were told to join by is believed, and so are those who are met that way: we
    /// know nobody better. In other cases the claimant is looked for.
    pub(super) fn name_claimed(&mut self, now: Instant, origin: Origin, at: SocketAddr) {
        if origin.way == Way::Joined {
            self.name_is_at(at);
            return self.vote_begin(now, None);
        }
        if self.vote.claim.is_none() {
            self.vote.claim = Some(self.ping_claim(now, at));
        }
        let known = self.contacts.answering().filter_map(|name| {
            let record = self.members.get(name).filter(|r| Record::is_up(r))?;
            Some((name.to_string(), record.member.address))
        });
        let known = known.collect();
        self.vote_begin(now, Some(known));
    }

    /// Somebody answers to our name at another address.
    pub(super) fn claim_answered(&mut self, at: SocketAddr) {
        self.vote.claim = None;
        self.name_is_at(at);
    }

    /// Nobody does.
    pub(super) fn claim_unanswered(&mut self, seq: u32) {
        self.forget_ping(seq);
        self.vote.claim = None;
        self.stats.hearsay_refuted += 1;
    }

    fn name_is_at(&mut self, at: SocketAddr) {
        let kept = self.own().member.address;
        if at != kept {
            let name = self.name.clone();
            self.conflict(&name, kept, at);
        }
    }

    /// Asks all members whom they know by our name.
    fn vote_begin(&mut self, now: Instant, voters: Option<BTreeMap<String, SocketAddr>>) {
        if self.vote.running || self.vote.next.is_some_and(|next| now < next) {
            return;
        }
        let params = QueryParams {
            name: "_serf_conflict".to_owned(),
            payload: self.name.as_bytes().to_vec(),
            ..QueryParams::default()
        };
        if self.ask(now, &params, Purpose::Vote).is_ok() {
            self.vote = Vote {
                running: true,
                next: Some(now + APART),
                voters,
                claim: self.vote.claim,
                former: self.vote.former.take(),
                owed: self.vote.owed.take(),
                ..Vote::default()
            };
        }
    }

    pub(super) fn vote_heard(&mut self, payload: Option<&[u8]>) {
        let Some(Ok(SerfMessage::ConflictResponse(Some(known)))) = payload.map(SerfMessage::decode)
        else {
            return;
        };
        self.vote.answers += 1;
        if canonical(known.address) == self.own().member.address {
            self.vote.votes += 1;
        }
    }

    pub(super) fn vote_ended(&mut self) {
        let Vote { votes, answers, .. } = self.vote;
        self.vote.running = false;
        self.event(Event::Voted {
            kept: votes > answers / 2,
            votes,
            answers,
        });
    }

    /// Another has us vote on a name. About ourselves there is nothing to say, but once we have left
    /// the name to the other, its vote may hang on ours: it asks only once.
    pub(super) fn vote_asked(&mut self, id: QueryId, asker: Asker, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return;
        };
        let was_ours = *name == *self.name || self.vote.former.as_deref() == Some(name);
        if was_ours && (*name == *self.name || !self.members.contains_key(name)) {
            let name = name.to_owned();
            self.vote.owed = Some(Owed { id, asker, name });
            return;
        }
        let known = self.members.get(name).map(member_record);
        let answer = SerfMessage::ConflictResponse(known).encode();
        self.send_answer(id, &asker, 0, Some(answer));
    }

    /// A member is known from now on: a vote that waited for that is given.
    pub(super) fn vote_known(&mut self, now: Instant, name: &str) {
        let owed = self.vote.owed.take_if(|owed| owed.name == name);
        if let Some(Owed { id, asker, name }) = owed
            && asker.waits(now)
        {
            self.vote_asked(id, asker, name.as_bytes());
        }
    }

    /// Takes along, under another name, what others asked about the one of before.
    pub(super) fn vote_of(&mut self, before: &mut Self) {
        self.vote.former = match self.name == before.name {
            true => before.vote.former.take(),
            false => Some(before.name.to_string()),
        };
        self.vote.owed = before.vote.owed.take();
    }
}

fn member_record(record: &Record) -> MemberRecord {
    let member = &record.member;
    let [min, max, current, dmin, dmax, dcurrent] = member.versions;
    MemberRecord {
        name: member.name.clone(),
        address: record.written_address(),
        tags: member.tags.clone(),
        status: match member.status {
            Status::Alive => 1,
            Status::Leaving => 2,
            Status::Left => 3,
            Status::Failed => 4,
        },
        protocol: [min, max, current],
        delegate: [dmin, dmax, dcurrent],
    }
}
