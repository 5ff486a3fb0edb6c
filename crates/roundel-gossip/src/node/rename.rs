//! Going on under another name, when ours belongs to somebody else.

use std::time::Instant;

use super::timers::Timer;
use super::{Node, StreamId};
use crate::config::{Config, ConfigError};
use crate::event::Event;
use crate::query::QueryId;

impl Node {
    /// Begins anew as another member at our address, with our tags, keys, clocks and counts;
    /// [`Event::Renamed`] follows. Nobody else is known then: join again.
    ///
    /// Nothing is said about the old name: a leave in that name would be taken for the other's.
    ///
    /// Errors: a name that is not allowed; nothing is changed.
    pub fn rename(&mut self, now: Instant, name: &str) -> Result<(), ConfigError> {
        let own = self.own().member.clone();
        let config = Config {
            name: name.to_owned(),
            advertise: own.address,
            tags: own.tags,
            incarnation: own.incarnation.saturating_add(1),
            seed: self.rng.u64(..),
            clocks: self.clocks(),
            ..self.config.clone()
        };
        let mut fresh = Self::new(config, now)?;
        self.abandon_probe();
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in streams {
            self.stream_failed(id, "this node takes another name");
        }
        let queries: Vec<QueryId> = self.asking.application().collect();
        for id in queries {
            self.query_ended(id);
        }
        // The keys may be others by now, and no nonce is ever used twice.
        std::mem::swap(&mut fresh.seal, &mut self.seal);
        // We heard what we heard; but what only we know of, such as a vote that never went out,
        // must not make the next word of others seem old.
        (fresh.event_floor, fresh.query_floor) = (self.event_floor, self.query_floor);
        std::mem::swap(&mut fresh.events_seen, &mut self.events_seen);
        std::mem::swap(&mut fresh.queries_seen, &mut self.queries_seen);
        fresh.next_stream = self.next_stream;
        fresh.revision = self.revision + 1;
        fresh.stats = std::mem::take(&mut self.stats);
        fresh.complaints = std::mem::take(&mut self.complaints);
        fresh.outputs = std::mem::take(&mut self.outputs);
        fresh.address = std::mem::take(&mut self.address);
        fresh.watches = std::mem::take(&mut self.watches).anew();
        if fresh.watches.are_ticking() {
            fresh.timers.set(now, Timer::Watch);
        }
        *self = fresh;
        self.event(Event::Renamed {
            from: own.name,
            to: name.to_owned(),
        });
        self.finish(now);
        Ok(())
    }
}
