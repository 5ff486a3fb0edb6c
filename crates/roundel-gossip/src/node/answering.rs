//! Queries that others ask: whether they mean us, acknowledging, answering, relaying.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use regex::{Regex, RegexBuilder};

use super::Node;
use super::asking::query_id;
use super::queue::Tier;
use super::record::Swim;
use crate::event::{DropReason, Event};
use crate::query::{EXTENSION, INTERNAL, MAX_QUERY, QueryId, Question, SayError};
use crate::wire::{Filter, Message, Query, QueryResponse, Relay, SerfMessage, canonical};

/// Most queries that wait for the application's answer. Further ones replace the oldest.
const QUESTIONS: usize = 512;

/// An answer is of use for no longer than this, whatever the asker says.
const LONGEST: Duration = Duration::from_secs(300);

/// Bytes that a compiled tag filter may take; queries come from the network.
const EXPRESSION: usize = 1 << 18;

/// Lowest memberlist protocol that relays.
const RELAYS: u8 = 5;

/// Where an answer goes, and by which ways.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    to: SocketAddr,
    node: String,
    relay_factor: u8,
    until: Instant,
}

impl Asker {
    /// Whether an answer is still of use.
    pub(super) fn waits(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// Queries that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<QueryId, Asker>,
}

impl Questions {
    fn add(&mut self, now: Instant, id: QueryId, asker: Asker) {
        self.open.retain(|_, asker| asker.waits(now));
        if self.open.len() >= QUESTIONS {
            self.open.pop_first();
        }
        self.open.insert(id, asker);
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        assert!(self.open.len() <= QUESTIONS);
    }
}

impl Node {
    pub(super) fn query_heard(
        &mut self,
        now: Instant,
        from: SocketAddr,
        query: Query,
        bytes: &[u8],
    ) {
        if !self.fits_gossip(from, bytes) {
            return;
        }
        if query.flags & Query::NO_BROADCAST != 0 {
            // For us alone: it need not fit in with what others ask, and moves no clock, as the
            // others would not come along.
            if self.directs_seen.note(query_id(&query)) {
                self.query_for_us(now, query);
            }
            return;
        }
        let clock = self.query_clock.clone();
        if !self.time_is_sane(from, &clock, query.ltime) {
            return;
        }
        self.query_clock.witness(query.ltime);
        let clock = self.query_clock.time();
        if query.ltime < self.query_floor
            || !self.queries_seen.note(clock, query.ltime, query.id.into())
        {
            return;
        }
        self.spread(Tier::Query, bytes);
        self.query_for_us(now, query);
    }

    /// Takes a query that was not seen before, ours too.
    pub(super) fn query_for_us(&mut self, now: Instant, query: Query) {
        if !self.is_meant(&query.filters) {
            return;
        }
        let to = canonical(query.from);
        if to.ip().is_unspecified() || to.ip().is_multicast() || to.port() == 0 {
            return;
        }
        let asker = Asker {
            to,
            node: query.source_node.clone(),
            relay_factor: query.relay_factor,
            until: now + query.timeout.min(LONGEST),
        };
        let id = query_id(&query);
        if query.flags & Query::WANTS_ACK != 0 {
            self.send_answer(id, &asker, QueryResponse::ACK, None);
        }
        if query.name.starts_with(INTERNAL) && !query.name.starts_with(EXTENSION) {
            self.internal_query(now, id, asker, &query);
            return;
        }
        let address = asker.to;
        self.questions.add(now, id, asker);
        self.event(Event::Query(Question {
            id,
            name: query.name,
            payload: query.payload.unwrap_or_default(),
            from: query.source_node,
            address,
            time: query.ltime,
            timeout: query.timeout,
        }));
    }

    /// Whether all filters let us through. What cannot be read or is not known does not.
    fn is_meant(&self, filters: &[Vec<u8>]) -> bool {
        filters.iter().all(|bytes| match Filter::decode(bytes) {
            Ok(Filter::Nodes(nodes)) => nodes.iter().any(|node| **node == *self.name),
            Ok(Filter::Tag { tag, expr }) => {
                let value = self.own().member.tags.get(&tag);
                let value = value.map_or("", String::as_str);
                expression(&expr).is_some_and(|expr| expr.is_match(value))
            }
            Ok(Filter::Unknown(_)) | Err(_) => false,
        })
    }

    /// Queries between nodes. Unknown ones are for newer nodes.
    fn internal_query(&mut self, now: Instant, id: QueryId, asker: Asker, query: &Query) {
        let payload = query.payload.as_deref().unwrap_or_default();
        let what = query.name.strip_prefix(INTERNAL).unwrap_or_default();
        match what {
            "conflict" => self.vote_asked(id, asker, payload),
            "install-key" | "use-key" | "remove-key" | "list-keys" => {
                self.questions.add(now, id, asker);
                self.key_query(now, id, what, payload, &query.source_node);
            }
            // A ping is answered by the acknowledgement that it asks for.
            _ => {}
        }
    }

    /// The application, or we for it, answers a query; once only.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        id: QueryId,
        payload: Vec<u8>,
    ) -> Result<(), SayError> {
        let asker = self.questions.open.get(&id).ok_or(SayError::Over)?.clone();
        if !asker.waits(now) {
            self.questions.open.remove(&id);
            return Err(SayError::Over);
        }
        let response = self.response(id, 0, Some(payload));
        let encoded = SerfMessage::QueryResponse(response.clone()).encode();
        self.check_length(&encoded, MAX_QUERY)?;
        self.questions.open.remove(&id);
        self.deliver(&asker, response, &encoded);
        Ok(())
    }

    pub(super) fn send_answer(
        &mut self,
        id: QueryId,
        asker: &Asker,
        flags: u32,
        payload: Option<Vec<u8>>,
    ) {
        let response = self.response(id, flags, payload);
        let encoded = SerfMessage::QueryResponse(response.clone()).encode();
        if self.check_length(&encoded, MAX_QUERY).is_ok() {
            self.deliver(asker, response, &encoded);
        }
    }

    /// How long an answer of ours is with this payload.
    pub(super) fn answer_length(&self, id: QueryId, payload: Vec<u8>) -> usize {
        let response = self.response(id, 0, Some(payload));
        SerfMessage::QueryResponse(response).encode().len()
    }

    fn response(&self, id: QueryId, flags: u32, payload: Option<Vec<u8>>) -> QueryResponse {
        QueryResponse {
            ltime: id.time,
            id: id.number,
            from: self.name.to_string(),
            flags,
            payload,
        }
    }

    /// Sends an answer straight, and by other members when asked to.
    fn deliver(&mut self, asker: &Asker, response: QueryResponse, encoded: &[u8]) {
        let own = self.own().member.address;
        if asker.to == own {
            self.answer_heard(own, response);
            return;
        }
        self.send_alone(asker.to, &Message::User(encoded.to_vec()).encode());
        let factor = usize::from(asker.relay_factor);
        if factor == 0 || self.known < factor + 1 {
            return;
        }
        let relay = SerfMessage::Relay(Relay {
            to: asker.to,
            node: asker.node.clone(),
            message: encoded.to_vec(),
        });
        let message = Message::User(relay.encode()).encode();
        if message.len() > self.longest_message() {
            return;
        }
        let to = asker.to;
        let relays = self.random_members(factor, |r| {
            r.swim == Swim::Alive && r.protocol_max() >= RELAYS && r.member.address != to
        });
        for (relay, _) in relays {
            self.send_alone(relay, &message);
        }
    }

    /// Passes a message on to a member, and to nobody else.
    pub(super) fn relay_heard(&mut self, from: SocketAddr, relay: &Relay) {
        let to = canonical(relay.to);
        if to == self.own().member.address {
            // Somebody relays to us what is for us.
            if let Ok(SerfMessage::QueryResponse(response)) = SerfMessage::decode(&relay.message) {
                self.answer_heard(from, response);
            }
            return;
        }
        let known = self.members.values().any(|r| r.member.address == to);
        if !known {
            self.refuse(from, DropReason::Address);
            return;
        }
        let message = Message::User(relay.message.clone()).encode();
        if message.len() <= self.longest_message() {
            self.send_alone(to, &message);
        } else {
            self.refuse(from, DropReason::Limit);
        }
    }
}

/// Compiles a tag filter; nothing if it is none or too costly.
pub(super) fn expression(text: &str) -> Option<Regex> {
    RegexBuilder::new(text)
        .size_limit(EXPRESSION)
        .dfa_size_limit(EXPRESSION)
        .nest_limit(32)
        .build()
        .ok()
}
