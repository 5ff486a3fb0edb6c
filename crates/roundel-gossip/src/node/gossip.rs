//! Rounds of gossip: what is new goes out at once, then again in a steady rhythm. While there is
//! nothing to say the rhythm costs nothing: no deadline is set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::queue::Head;
use super::record::{Record, Swim};
use super::ring::Ring;
use super::timers::Timer;

/// Rounds out of turn are at least this far apart, so that a burst shares its packets.
const SOON: Duration = Duration::from_millis(10);

/// When the rounds are.
#[derive(Debug)]
pub(super) struct Rounds {
    /// A round in the steady rhythm; the others are whole intervals away.
    beat: Instant,
    /// A deadline for the next beat is set.
    beating: bool,
    /// Something was queued since the last round.
    fresh: bool,
    /// A deadline for the next round out of turn is set.
    pending: bool,
    /// Rounds out of turn are not before this.
    earliest: Option<Instant>,
}

impl Rounds {
    /// A rhythm with one of its beats at `beat`.
    pub(super) fn new(beat: Instant) -> Self {
        Self {
            beat,
            beating: false,
            fresh: false,
            pending: false,
            earliest: None,
        }
    }

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
        self.rounds.beating = false;
        self.gossip_round(now);
    }

    pub(super) fn gossip_soon_due(&mut self) {
        self.rounds.pending = false;
    }

    /// Sets the deadline for the next beat, if there is something to say.
    pub(super) fn keep_beating(&mut self, now: Instant) {
        if self.rounds.beating || self.queue.is_empty() {
            return;
        }
        let interval = self.config.timings.gossip_interval;
        let rounds = &mut self.rounds;
        if let Some(past) = now.checked_duration_since(rounds.beat) {
            let nanos = past.as_nanos() % interval.as_nanos().max(1);
            let since = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
            rounds.beat = now + interval - since;
        }
        rounds.beating = true;
        self.timers.set(rounds.beat, Timer::Gossip);
    }

    /// Sends what was queued since the last round without waiting for the next one.
    pub(super) fn gossip_fresh(&mut self, now: Instant) {
        let at_once = self.config.timings.gossip_at_once;
        if !at_once || !self.rounds.fresh || self.rounds.pending {
            return;
        }
        match self.rounds.earliest {
            Some(earliest) if now < earliest => {
                self.rounds.pending = true;
                self.timers.set(earliest, Timer::GossipSoon);
            }
            _ => self.gossip_round(now),
        }
    }

    /// Sends one packet each to a few members, as long as there is something to send.
    fn gossip_round(&mut self, now: Instant) {
        self.rounds.fresh = false;
        self.rounds.earliest = Some(now + SOON);
        let mut reached: Vec<Arc<str>> = Vec::new();
        for _ in 0..self.config.timings.gossip_nodes {
            let Some(head) = self.queue.head() else {
                return;
            };
            let target = match self.members.ring_rank(&self.name) {
                Some(rank) if self.config.timings.gossip_in_rings => {
                    self.next_in_ring(now, head, rank, &reached)
                }
                // Once we have left we stand outside.
                _ => self.any_in_ring(now, &reached),
            };
            let Some(name) = target else {
                return;
            };
            let record = &self.members[&name];
            let (to, crc) = (record.member.address, record.protocol_max() >= 5);
            reached.push(name);
            self.send_broadcasts(to, crc);
        }
    }

    /// Whom the broadcast goes to by its rings, in which we have the place `rank`.
    fn next_in_ring(
        &self,
        now: Instant,
        head: Head,
        rank: usize,
        reached: &[Arc<str>],
    ) -> Option<Arc<str>> {
        let ring = Ring::new(head.print, head.sent, self.members.ring_len());
        ring.receivers(rank).find_map(|rank| {
            let (name, record) = self.members.ring_nth(rank)?;
            let may = self.may_gossip_to(now, name, record, reached);
            may.then(|| name.clone())
        })
    }

    /// Draws a member as memberlist does, whoever was drawn before by anyone.
    fn any_in_ring(&mut self, now: Instant, reached: &[Arc<str>]) -> Option<Arc<str>> {
        let len = self.members.ring_len();
        for _ in 0..3 * len {
            let rank = self.rng.usize(..len);
            let (name, record) = self.members.ring_nth(rank)?;
            if self.may_gossip_to(now, name, record, reached) {
                return Some(name.clone());
            }
        }
        None
    }

    /// The living hear gossip, and the dead for a while, so that they can contradict; each once in
    /// a round.
    fn may_gossip_to(
        &self,
        now: Instant,
        name: &Arc<str>,
        record: &Record,
        reached: &[Arc<str>],
    ) -> bool {
        let keep = self.config.timings.gossip_to_the_dead;
        let hears = record.swim != Swim::Dead || now < record.changed + keep;
        hears && *name != self.name && !reached.contains(name)
    }
}
