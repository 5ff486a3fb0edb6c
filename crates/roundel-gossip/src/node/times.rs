//! Which Lamport times are believed.
//!
//! A word is refused whose time is far ahead of our clock. It moves the clock only where it is
//! passed on, so that all clocks go together and nobody refuses what another says next. A node that
//! starts learns the clocks of its cluster, however far ahead or behind a former life they are,
//! from the first member to which it goes; the address it was told to join by is one.

use std::net::{IpAddr, SocketAddr};

use super::Node;
use super::lamport::Lamport;
use super::origin::{Origin, Way};
use super::seen::Seen;
use crate::event::DropReason;
use crate::wire::PushPullState;

/// No cluster counts so far, and one that did could not count on.
const ABSURD: u64 = 1 << 62;

/// Who follows an exchange over more than this says so to the others. As many times back are
/// remembered of events and queries.
const STEP: u64 = 512;

/// What is known of the clocks beside their times.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Whether we have been near somebody's clocks.
    learnt: bool,
    /// A member to which we went, and whose clocks are far ahead of ours.
    ahead: Option<IpAddr>,
}

impl Times {
    /// Nobody is believed any more only for being joined by.
    pub(super) fn settle(&mut self) {
        self.learnt = true;
    }
}

impl Node {
    /// Whether a time is one that the others' clocks may have; otherwise it is counted as refused.
    pub(super) fn time_is_sane(&mut self, from: SocketAddr, clock: &Lamport, time: u64) -> bool {
        let sane = clock.is_near(time);
        if !sane {
            self.refuse(from, DropReason::Time);
        }
        sane
    }

    /// Follows the clocks of a peer to which we went. Gives whether a peer's are believed.
    ///
    /// Far ahead, they are believed of the first one; later only if two say so, one after the
    /// other: we have missed much then. Whoever comes to us moves nothing.
    pub(super) fn clocks_heard(&mut self, origin: Origin, state: &PushPullState) -> bool {
        let theirs = [state.ltime, state.event_ltime, state.query_ltime];
        if theirs.into_iter().any(|time| time >= ABSURD) {
            return false;
        }
        let ours = [&self.clock, &self.event_clock, &self.query_clock];
        let near = ours.iter().zip(theirs).all(|(our, time)| our.is_near(time));
        if !origin.is_fetched() {
            self.times.learnt |= near;
            return near;
        }
        if !std::mem::replace(&mut self.times.learnt, true) {
            if origin.way == Way::Joined {
                self.step_back(state);
            }
        } else if !near {
            let ip = origin.from.ip();
            let before = self.times.ahead.replace(ip);
            if before.is_none_or(|before| before == ip) {
                return false;
            }
        }
        self.times.ahead = None;
        self.clock.witness(state.ltime.saturating_sub(1));
        self.event_clock
            .witness(state.event_ltime.saturating_sub(1));
        self.query_clock
            .witness(state.query_ltime.saturating_sub(1));
        true
    }

    /// Forgets times of a former life that the cluster would refuse.
    fn step_back(&mut self, state: &PushPullState) {
        self.clock.step_back(state.ltime);
        if self.event_clock.step_back(state.event_ltime) {
            self.event_floor = state.event_ltime;
            self.events_seen = Seen::new();
        }
        if self.query_clock.step_back(state.query_ltime) {
            self.query_floor = state.query_ltime;
            self.queries_seen = Seen::new();
        }
    }

    /// Says our time to all, if an exchange has moved our clock far, and not only ours.
    pub(super) fn bring_along(&mut self, origin: Origin, before: u64) {
        let moved = self.clock.time().saturating_sub(before);
        if moved > STEP && origin.way != Way::Joined && self.leave.is_none() {
            self.say_we_are_here();
        }
    }
}
