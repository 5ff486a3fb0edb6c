//! Beginning anew: under another name, or after an error of our own.

use std::time::Instant;

use super::timers::Timer;
use super::{Node, StreamId};
use crate::config::{Config, ConfigError};
use crate::event::Event;
use crate::query::QueryId;

impl Node {
    /// Begins anew as another member at our address, which knows the others as before, with our
    /// tags, keys, clocks and counts; [`Event::Renamed`] follows. Join again, so that they know us.
    ///
    /// Nothing is said about the old name: a leave in that name would be taken for the other's.
    ///
    /// Errors: a name that is not allowed; nothing is changed.
    pub fn rename(&mut self, now: Instant, name: &str) -> Result<(), ConfigError> {
        let acquaintances = self.acquaintances();
        let from = self.name.to_string();
        self.begin_anew(now, name, "this node takes another name")?;
        self.event(Event::Renamed {
            from,
            to: name.to_owned(),
        });
        self.remember(now, acquaintances);
        self.announce_ourselves();
        self.finish(now);
        Ok(())
    }

    /// Begins anew as the same member, which knows the others as before, after an error of our
    /// own left parts of this node that may disagree; [`Event::Restarted`] follows. Streams and
    /// queries under way end, a leave under way begins again.
    ///
    /// Errors: what this node is cannot be made; nothing is changed.
    /// Panics: if what the error left is worse than that.
    pub fn restart(&mut self, now: Instant) -> Result<(), ConfigError> {
        let acquaintances = self.acquaintances();
        let (name, leaves) = (self.name.to_string(), self.leave.is_some());
        self.begin_anew(now, &name, "this node begins anew")?;
        self.stats.restarts += 1;
        self.event(Event::Restarted);
        self.remember(now, acquaintances);
        if leaves {
            self.leave_begin(now);
        } else {
            // What was still to be said of us may be lost.
            self.announce_ourselves();
        }
        self.finish(now);
        Ok(())
    }

    fn begin_anew(&mut self, now: Instant, name: &str, why: &str) -> Result<(), ConfigError> {
        let own = self.own().member.clone();
        let config = Config {
            name: name.to_owned(),
            advertise: own.address,
            tags: own.tags,
            incarnation: own.incarnation.saturating_add(1),
            unix_seconds: self.time_of_day.unix(now),
            seed: self.rng.u64(..),
            clocks: self.clocks(),
            ..self.config.clone()
        };
        let mut fresh = Self::new(config, now)?;
        self.abandon_probe();
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in streams {
            self.stream_failed(id, why);
        }
        let queries: Vec<QueryId> = self.asking.application().collect();
        for id in queries {
            self.query_ended(id);
        }
        // The keys may be others by now, and no nonce is ever used twice.
        std::mem::swap(&mut fresh.seal, &mut self.seal);
        // What is being saved holds afterwards: the file and the ring say the same.
        fresh.saving = std::mem::take(&mut self.saving);
        // We heard what we heard; but what only we know of, such as a vote that never went out,
        // must not make the next word of others seem old.
        (fresh.event_floor, fresh.query_floor) = (self.event_floor, self.query_floor);
        std::mem::swap(&mut fresh.events_seen, &mut self.events_seen);
        std::mem::swap(&mut fresh.queries_seen, &mut self.queries_seen);
        std::mem::swap(&mut fresh.directs_seen, &mut self.directs_seen);
        fresh.vote_of(self);
        fresh.times.settle();
        fresh.next_stream = self.next_stream;
        fresh.revision = self.revision + 1;
        fresh.stats = std::mem::take(&mut self.stats);
        fresh.complaints = std::mem::take(&mut self.complaints);
        fresh.outputs = std::mem::take(&mut self.outputs);
        fresh.contacts = std::mem::take(&mut self.contacts);
        fresh.address = std::mem::take(&mut self.address);
        fresh.watches = std::mem::take(&mut self.watches).anew();
        if fresh.watches.are_ticking() {
            fresh.timers.set(now, Timer::Watch);
        }
        *self = fresh;
        Ok(())
    }
}
