//! Rounds of gossip: what is new goes out at once, then again in a steady rhythm.

use std::time::{Duration, Instant};

use super::Node;
use super::record::{Record, Swim};
use super::timers::Timer;

/// Rounds out of turn are at least this far apart, so that a burst shares its packets.
const SOON: Duration = Duration::from_millis(10);

/// Keeps rounds out of turn apart.
#[derive(Debug, Default)]
pub(super) struct Soon {
    /// Something was queued since the last round.
    fresh: bool,
    /// A deadline for the next round out of turn is set.
    pending: bool,
    earliest: Option<Instant>,
}

impl Soon {
    /// Asks for a round, as something was queued.
    pub(super) fn wanted(&mut self) {
        self.fresh = true;
    }
}

impl Node {
    /// How often each broadcast is sent.
    pub(super) fn transmissions(&self) -> u32 {
        let digits = ((self.known + 1) as f64).log10().ceil() as u32;
        self.config.timings.retransmit_mult * digits.max(1)
    }

    pub(super) fn gossip_tick(&mut self, now: Instant) {
        self.timers
            .set(now + self.config.timings.gossip_interval, Timer::Gossip);
        self.gossip_round(now);
    }

    pub(super) fn gossip_soon_due(&mut self) {
        self.gossip_soon.pending = false;
    }

    /// Sends what was queued since the last round without waiting for the next one.
    pub(super) fn gossip_fresh(&mut self, now: Instant) {
        if !self.gossip_soon.fresh || self.gossip_soon.pending {
            return;
        }
        match self.gossip_soon.earliest {
            Some(earliest) if now < earliest => {
                self.gossip_soon.pending = true;
                self.timers.set(earliest, Timer::GossipSoon);
            }
            _ => self.gossip_round(now),
        }
    }

    /// Sends one packet each to a few members, as long as there is something to send.
    fn gossip_round(&mut self, now: Instant) {
        self.gossip_soon.fresh = false;
        self.gossip_soon.earliest = Some(now + SOON);
        let keep = self.config.timings.gossip_to_the_dead;
        let mut reached: Vec<std::sync::Arc<str>> = Vec::new();
        for _ in 0..self.config.timings.gossip_nodes {
            if self.queue.is_empty() {
                return;
            }
            let members = &self.members;
            let target = self.to_gossip.next(&mut self.rng, |name| {
                let fits = |r: &Record| hears_gossip(r, now, keep);
                !reached.iter().any(|r| **r == *name) && members.get(name).is_some_and(fits)
            });
            let Some(name) = target else {
                return;
            };
            let record = &self.members[&name];
            let (to, crc) = (record.member.address, record.protocol_max() >= 5);
            reached.push(name);
            self.send_broadcasts(to, crc);
        }
    }
}

/// The living hear gossip, and the dead for a while, so that they can contradict.
fn hears_gossip(record: &Record, now: Instant, keep: Duration) -> bool {
    match record.swim {
        Swim::Alive | Swim::Suspect => true,
        Swim::Dead => now < record.changed + keep,
        Swim::Left | Swim::Gone => false,
    }
}
