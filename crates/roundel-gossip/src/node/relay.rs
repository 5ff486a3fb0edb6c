//! Messages of Serf's level: intents are acted on, events and queries passed on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use super::Node;
use super::queue::Tier;
use super::serf::Heard;
use crate::event::{DropReason, Event};
use crate::wire::msgpack;
use crate::wire::{Message, Query, Relay, SerfMessage, UserEvent};

impl Node {
    /// Takes a message of Serf's level. What is gossiped and news is passed on unchanged.
    pub(super) fn user_heard(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Ok(message) = SerfMessage::decode(bytes) else {
            self.refuse(from, DropReason::Malformed);
            return;
        };
        // Old agents refuse newer markers, so what carries them is passed on in the old form.
        let encoded;
        let old_spec = bytes.get(1..).is_some_and(msgpack::is_old_spec);
        let bytes = if old_spec {
            bytes
        } else {
            encoded = message.encode();
            &encoded
        };
        match message {
            SerfMessage::Leave(intent) => {
                if self.intent_is_sane(from, &intent.node, intent.ltime)
                    && self.leave_intent(now, &intent, Heard::Directly)
                {
                    self.spread(Tier::Intent, bytes);
                }
            }
            SerfMessage::Join(intent) => {
                if self.intent_is_sane(from, &intent.node, intent.ltime)
                    && self.join_intent(now, &intent, Heard::Directly)
                {
                    self.spread(Tier::Intent, bytes);
                }
            }
            SerfMessage::UserEvent(event) => self.user_event_heard(from, event, bytes),
            SerfMessage::Query(query) => self.query_heard(from, &query, bytes),
            SerfMessage::Relay(relay) => self.relay_heard(from, &relay),
            // Answers to queries that we never ask, and payloads in the wrong place.
            SerfMessage::QueryResponse(_)
            | SerfMessage::PushPull(_)
            | SerfMessage::ConflictResponse(_)
            | SerfMessage::KeyRequest(_)
            | SerfMessage::KeyResponse(_) => {}
        }
    }

    fn user_event_heard(&mut self, from: SocketAddr, event: UserEvent, bytes: &[u8]) {
        if !self.fits_gossip(from, bytes) || !self.time_is_sane(from, event.ltime) {
            return;
        }
        self.event_clock.witness(event.ltime);
        let print = fingerprint(&(&event.name, &event.payload));
        let clock = self.event_clock.time();
        if self.events_seen.note(clock, event.ltime, print) {
            self.spread(Tier::Event, bytes);
            self.event(Event::User {
                name: event.name,
                payload: event.payload.unwrap_or_default(),
                time: event.ltime,
                coalesce: event.coalesce,
            });
        }
    }

    fn query_heard(&mut self, from: SocketAddr, query: &Query, bytes: &[u8]) {
        if !self.fits_gossip(from, bytes) || !self.time_is_sane(from, query.ltime) {
            return;
        }
        self.query_clock.witness(query.ltime);
        let clock = self.query_clock.time();
        let news = self.queries_seen.note(clock, query.ltime, query.id.into());
        if news && query.flags & Query::NO_BROADCAST == 0 {
            self.spread(Tier::Query, bytes);
        }
    }

    /// Passes a message on to a member, and to nobody else.
    fn relay_heard(&mut self, from: SocketAddr, relay: &Relay) {
        let known = self.members.values().any(|r| r.member.address == relay.to);
        if !known {
            self.refuse(from, DropReason::Address);
            return;
        }
        let message = Message::User(relay.message.clone()).encode();
        if message.len() <= self.longest_message() {
            self.send_alone(relay.to, &message);
        } else {
            self.refuse(from, DropReason::Limit);
        }
    }

    /// Whether a message can be passed on in a packet.
    fn fits_gossip(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let fits = bytes.len() < self.longest_message();
        if !fits {
            self.refuse(from, DropReason::Limit);
        }
        fits
    }
}

/// A number that tells messages of one time apart. The hasher's keys are fixed, so that the same
/// inputs give the same run.
fn fingerprint(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
