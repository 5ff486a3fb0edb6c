//! What we ask and announce on Serf's level: queries with their answers, user events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::queue::Tier;
use super::timers::Timer;
use crate::event::{DropReason, Event};
use crate::member::is_valid_name;
use crate::query::{Answer, MAX_EVENT, MAX_QUERY, QueryId, QueryParams, SayError};
use crate::wire::{Filter, Message, Query, QueryResponse, SerfMessage, UserEvent};

/// Most of our queries that wait for answers at a time.
const ASKED: usize = 512;

/// Longest time that answers are waited for.
const LONGEST: Duration = Duration::from_secs(300);

/// A query waits this many rounds of gossip, times the digits of the cluster's size; Serf's figure.
const ROUNDS: u32 = 16;

/// Why a query was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The application wants the answers.
    Application,
    /// A vote about our own name.
    Vote,
}

/// A query of ours that waits for answers.
#[derive(Debug)]
struct Asked {
    purpose: Purpose,
    acknowledged: BTreeSet<String>,
    answered: BTreeSet<String>,
}

/// Our queries that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Asking {
    queries: BTreeMap<QueryId, Asked>,
}

impl Asking {
    /// What the application asked.
    pub(super) fn application(&self) -> impl Iterator<Item = QueryId> {
        let asked = self.queries.iter();
        asked
            .filter(|(_, asked)| matches!(asked.purpose, Purpose::Application))
            .map(|(id, _)| *id)
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.queries.len()
    }
}

impl Node {
    pub(super) fn ask(
        &mut self,
        now: Instant,
        params: &QueryParams,
        purpose: Purpose,
    ) -> Result<QueryId, SayError> {
        if self.has_departed() {
            return Err(SayError::Left);
        }
        if self.asking.queries.len() >= ASKED {
            return Err(SayError::TooMany);
        }
        let query = self.query_of(params)?;
        let encoded = SerfMessage::Query(query.clone()).encode();
        self.check_length(&encoded, MAX_QUERY)?;
        let id = query_id(&query);
        self.query_clock.increment();
        // What comes back to us by gossip is no news.
        let clock = self.query_clock.time();
        self.queries_seen.note(clock, id.time, id.number.into());
        let asked = Asked {
            purpose,
            acknowledged: BTreeSet::new(),
            answered: BTreeSet::new(),
        };
        self.asking.queries.insert(id, asked);
        self.timers.set(now + query.timeout, Timer::QueryEnd(id));
        if params.direct {
            self.tell_directly(&params.nodes, &encoded);
        } else {
            self.spread(Tier::Query, &encoded);
        }
        // We are a member too.
        self.query_for_us(now, query);
        Ok(id)
    }

    fn query_of(&mut self, params: &QueryParams) -> Result<Query, SayError> {
        let mut filters = Vec::new();
        if !params.nodes.is_empty() {
            filters.push(Filter::Nodes(params.nodes.clone()).encode());
        }
        for (tag, expr) in &params.tags {
            if super::answering::expression(expr).is_none() {
                return Err(SayError::Expression(expr.clone()));
            }
            let (tag, expr) = (tag.clone(), expr.clone());
            filters.push(Filter::Tag { tag, expr }.encode());
        }
        let ack = if params.ack { Query::WANTS_ACK } else { 0 };
        let direct = if params.direct {
            Query::NO_BROADCAST
        } else {
            0
        };
        Ok(Query {
            ltime: self.query_clock.time(),
            // Agents draw 31 bits.
            id: self.rng.u32(..) >> 1,
            from: self.own().member.address,
            source_node: self.name.to_string(),
            filters,
            flags: ack | direct,
            relay_factor: params.relay_factor,
            timeout: params
                .timeout
                .unwrap_or_else(|| self.query_time())
                .min(LONGEST),
            name: params.name.clone(),
            payload: Some(params.payload.clone()),
        })
    }

    /// How long a query waits unless told.
    pub(super) fn query_time(&self) -> Duration {
        let digits = ((self.known + 1) as f64).log10().ceil() as u32;
        self.config.timings.gossip_interval * ROUNDS * digits.max(1)
    }

    fn tell_directly(&mut self, names: &[String], encoded: &[u8]) {
        let mut messages = vec![Message::User(encoded.to_vec())];
        if self.leave.is_none() {
            messages.push(Message::Alive(self.own().to_wire()));
        }
        let known = names.iter().filter(|name| name.as_str() != &*self.name);
        let addresses: Vec<SocketAddr> = known
            .filter_map(|name| self.members.get(name.as_str()))
            .map(|record| record.member.address)
            .collect();
        for to in addresses {
            self.send(to, &messages);
        }
    }

    /// Whether something of ours can be sent at all.
    pub(super) fn check_length(&self, encoded: &[u8], limit: usize) -> Result<(), SayError> {
        // One byte of the packet says that it is a user message.
        let limit = limit.min(self.longest_message() - 1);
        match encoded.len() {
            len if len > limit => Err(SayError::TooLong { len, limit }),
            _ => Ok(()),
        }
    }

    /// Somebody answers a query. Late ones, strange ones and repeated ones are nothing.
    pub(super) fn answer_heard(&mut self, from: SocketAddr, response: QueryResponse) {
        let id = QueryId {
            time: response.ltime,
            number: response.id,
        };
        let most = 64 + 2 * self.known;
        let Some(asked) = self.asking.queries.get_mut(&id) else {
            return;
        };
        if !is_valid_name(&response.from) {
            self.refuse(from, DropReason::Name);
            return;
        }
        // Before it is noted: nobody speaks in another's place.
        if asked.purpose == Purpose::Vote && !self.vote.may(from, &response.from) {
            return;
        }
        let ack = response.is_ack();
        let who = if ack {
            &mut asked.acknowledged
        } else {
            &mut asked.answered
        };
        if who.len() >= most || !who.insert(response.from.clone()) {
            return;
        }
        let payload = (!ack).then(|| response.payload.unwrap_or_default());
        match asked.purpose {
            Purpose::Application => self.event(Event::Answer(Answer {
                query: id,
                from: response.from,
                payload,
            })),
            Purpose::Vote => self.vote_heard(payload.as_deref()),
        }
    }

    /// The time for answers is over.
    pub(super) fn query_ended(&mut self, id: QueryId) {
        match self.asking.queries.remove(&id).map(|asked| asked.purpose) {
            Some(Purpose::Application) => self.event(Event::QueryEnded { query: id }),
            Some(Purpose::Vote) => self.vote_ended(),
            None => {}
        }
    }

    pub(super) fn announce_event(
        &mut self,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<(), SayError> {
        if self.has_departed() {
            return Err(SayError::Left);
        }
        let event = UserEvent {
            ltime: self.event_clock.time(),
            name: name.to_owned(),
            payload: Some(payload.to_vec()),
            coalesce,
        };
        let encoded = SerfMessage::UserEvent(event.clone()).encode();
        self.check_length(&encoded, MAX_EVENT)?;
        self.event_clock.increment();
        self.user_event_is_news(event);
        self.spread(Tier::Event, &encoded);
        Ok(())
    }
}

pub(super) fn query_id(query: &Query) -> QueryId {
    QueryId {
        time: query.ltime,
        number: query.id,
    }
}
