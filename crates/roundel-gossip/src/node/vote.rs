//! Votes about a name that two claim.
//!
//! Only the node that hears its own name claimed asks; it tells its application what the others
//! say, and goes on. Agents end themselves when they lose.

use std::time::{Duration, Instant};

use super::Node;
use super::asking::Purpose;
use crate::event::Event;
use crate::member::Status;
use crate::query::QueryParams;
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
}

impl Node {
    /// Asks all members whom they know by our name.
    pub(super) fn vote_begin(&mut self, now: Instant) {
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

    /// What we know by a name, for the vote of another; nothing to say about ourselves.
    pub(super) fn conflict_answer(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = std::str::from_utf8(name).ok()?;
        if *name == *self.name {
            return None;
        }
        let known = self.members.get(name).map(|record| {
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
        });
        Some(SerfMessage::ConflictResponse(known).encode())
    }
}
