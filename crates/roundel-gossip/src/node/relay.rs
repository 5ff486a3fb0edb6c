//! Messages of Serf's level: intents are acted on, events and queries passed on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use super::Node;
use super::origin::Origin;
use super::queue::Tier;
use super::serf::Heard;
use crate::event::{DropReason, Event};
use crate::wire::msgpack;
use crate::wire::{BufferedEvent, EventGroup, SerfMessage, UserEvent};

/// Most bytes of name and payload of an event; no agent can be set to more.
const LONGEST_EVENT: usize = 9 << 10;

impl Node {
    /// Takes a message of Serf's level. What is gossiped and news is passed on unchanged.
    pub(super) fn user_heard(&mut self, now: Instant, origin: Origin, bytes: &[u8]) {
        let from = origin.from;
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
                    && self.leave_intent(now, origin, &intent, Heard::Directly)
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
            SerfMessage::Query(query) => self.query_heard(now, from, query, bytes),
            SerfMessage::QueryResponse(response) => self.answer_heard(from, response),
            SerfMessage::Relay(relay) => self.relay_heard(from, &relay),
            // Payloads in the wrong place.
            SerfMessage::PushPull(_)
            | SerfMessage::ConflictResponse(_)
            | SerfMessage::KeyRequest(_)
            | SerfMessage::KeyResponse(_) => {}
        }
    }

    fn user_event_heard(&mut self, from: SocketAddr, event: UserEvent, bytes: &[u8]) {
        let clock = self.event_clock.clone();
        if !self.fits_gossip(from, bytes) || !self.time_is_sane(from, &clock, event.ltime) {
            return;
        }
        if self.user_event_is_news(event) {
            self.spread(Tier::Event, bytes);
        }
    }

    /// Tells the application of an event, unless it was told before or is too old to know.
    pub(super) fn user_event_is_news(&mut self, event: UserEvent) -> bool {
        self.event_clock.witness(event.ltime);
        let print = fingerprint(&(&event.name, &event.payload));
        let clock = self.event_clock.time();
        if event.ltime < self.event_floor || !self.events_seen.note(clock, event.ltime, print) {
            return false;
        }
        let kept = BufferedEvent {
            name: event.name.clone(),
            payload: event.payload.clone(),
        };
        self.recent.keep(event.ltime, kept);
        self.event(Event::User {
            name: event.name,
            payload: event.payload.unwrap_or_default(),
            time: event.ltime,
            coalesce: event.coalesce,
        });
        true
    }

    /// Takes the events of a state exchange. They are not passed on: whoever missed them asks
    /// for them in the same way.
    pub(super) fn old_events_heard(&mut self, from: SocketAddr, slots: Vec<Option<EventGroup>>) {
        for group in slots.into_iter().flatten() {
            let clock = self.event_clock.clone();
            if !self.time_is_sane(from, &clock, group.ltime) {
                continue;
            }
            for event in group.events {
                let event = UserEvent {
                    ltime: group.ltime,
                    name: event.name,
                    payload: event.payload,
                    coalesce: false,
                };
                // What nobody could have gossiped is made up.
                let len = event.name.len() + event.payload.as_ref().map_or(0, Vec::len);
                if len > LONGEST_EVENT {
                    self.refuse(from, DropReason::Limit);
                } else {
                    self.user_event_is_news(event);
                }
            }
        }
    }

    /// Whether a message can be passed on in a packet.
    pub(super) fn fits_gossip(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
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
