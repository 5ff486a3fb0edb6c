//! Our own address: learnt from where peers reach us, and changed when it is another.
//!
//! Others keep a name at the address where they met it first, unless the member has left. So a
//! member that moves says that its former self has left, and then that it is alive elsewhere, one
//! after the other and to each member directly: a broadcast about a member takes the place of the
//! one before.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::record::{Record, Swim};
use super::timers::Timer;
use super::{Node, canonical};
use crate::event::Event;
use crate::wire::{Accusation, Message};

/// Nothing came in at our address for so long, though members probe each other every second.
const UNHEARD: Duration = Duration::from_secs(5);

/// A word against us is of use for so long.
const ACCUSED: Duration = Duration::from_secs(60);

/// Pause between the end of the former self and the word that we are alive elsewhere. Agents
/// handle the latter first if both wait.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause before both are said again: a datagram may be lost.
const AGAIN: Duration = Duration::from_millis(400);

/// Those who still hold us for our former self are told at most this often.
const REMIND: Duration = Duration::from_secs(5);

/// How often both are said.
const ROUNDS: u8 = 2;

/// Most members that are told directly; gossip reaches the others.
const TOLD: usize = 1024;

/// Most former addresses that are remembered.
const FORMER: usize = 8;

/// What is known of our own address beside the address itself.
#[derive(Debug, Default)]
pub(super) struct OwnAddress {
    /// Whether it may be replaced by one at which peers reach us.
    learns: bool,
    /// Whether a peer was told of it or reached us at it.
    settled: bool,
    /// When something of a peer came in at it last.
    heard: Option<Instant>,
    /// When we were held for failed last.
    accused: Option<Instant>,
    /// Where we were before, newest last.
    former: Vec<SocketAddr>,
    /// Words that are still to be said of a move; odd: that we are alive.
    steps: u8,
    /// When others may be reminded of a move.
    remind_from: Option<Instant>,
}

impl OwnAddress {
    /// Notes that something of a peer came in, at this address if that is known.
    pub(super) fn came_in(&mut self, now: Instant, at: Option<IpAddr>, own: SocketAddr) {
        if at.is_none_or(|at| at.to_canonical() == own.ip()) {
            self.heard = Some(now);
        }
    }

    /// Notes that the address is a guess again, which the next peer may correct.
    pub(super) fn forget_peer(&mut self) {
        self.settled = false;
    }

    /// Notes that somebody holds us for failed.
    pub(super) fn accused(&mut self, now: Instant) {
        self.accused = Some(now);
    }

    /// Whether nobody reaches us at our address, as far as can be told from here.
    fn is_dead(&self, now: Instant) -> bool {
        let within = |at: Option<Instant>, span| {
            at.is_some_and(|at| now.saturating_duration_since(at) < span)
        };
        within(self.accused, ACCUSED) && !within(self.heard, UNHEARD)
    }
}

impl Node {
    /// Lets our address be replaced by one at which peers reach us, or keeps it as it is, which
    /// is the default. While nobody else is known, the first peer counts; later only where
    /// nothing comes in at the present one and others hold us for failed.
    ///
    /// Called again while nobody is known, the next peer counts as the first.
    pub fn learn_address(&mut self, learns: bool) {
        self.address.learns = learns;
        if self.known == 1 {
            self.address.forget_peer();
        }
    }

    /// Moves to another address: says to all that know us that our former self has left, and
    /// that we are alive at the new one. Where nobody else is known, as
    /// [`Node::set_address`]. Gives whether the address is another one now.
    pub fn move_address(&mut self, now: Instant, address: SocketAddr) -> bool {
        let moved = self.move_to(now, canonical(address), None);
        self.finish(now);
        moved
    }

    /// A peer that speaks our protocol uses a stream whose near end is `at`.
    pub(super) fn reached(&mut self, now: Instant, peer: SocketAddr, at: Option<IpAddr>) {
        let own = self.own().member.address;
        let Some(at) = at.map(|at| at.to_canonical()) else {
            return;
        };
        if at == own.ip() {
            self.address.settled = true;
            return;
        }
        // What is on this machine only says nothing about how others reach us.
        let foreign = at.is_loopback() && !own.ip().is_loopback();
        if !self.address.learns || foreign || !is_usable(at) || self.leave.is_some() {
            return;
        }
        let first = self.known == 1 && !self.address.settled;
        if first || (self.known > 1 && self.address.is_dead(now)) {
            self.move_to(now, SocketAddr::new(at, own.port()), Some(peer));
        }
    }

    fn move_to(&mut self, now: Instant, to: SocketAddr, peer: Option<SocketAddr>) -> bool {
        let from = self.own().member.address;
        let usable = !to.ip().is_unspecified() && to.port() != 0;
        if !usable || to == from || self.leave.is_some() {
            return false;
        }
        let alone = self.known == 1;
        let own = self.own_mut();
        own.member.address = to;
        own.member.incarnation = own.member.incarnation.saturating_add(1);
        self.revision += 1;
        let address = &mut self.address;
        address
            .former
            .retain(|former| *former != to && *former != from);
        address.former.push(from);
        if address.former.len() > FORMER {
            address.former.remove(0);
        }
        address.settled = peer.is_some();
        address.heard = Some(now);
        address.accused = None;
        self.event(Event::Moved { from, to, peer });
        if alone {
            self.announce_ourselves();
        } else {
            self.say_move(now);
        }
        true
    }

    /// Begins to tell everyone of a move.
    fn say_move(&mut self, now: Instant) {
        self.address.steps = 2 * ROUNDS;
        self.address.remind_from = Some(now + REMIND);
        self.timers.set(now, Timer::Moved);
    }

    /// Says the next word of a move.
    pub(super) fn moved_tick(&mut self, now: Instant) {
        if self.address.steps == 0 || self.leave.is_some() {
            return;
        }
        // An even number of words is left: the end of the former self comes first.
        let alive = self.address.steps % 2 == 1;
        self.address.steps -= 1;
        let message = if alive {
            self.here_we_are()
        } else {
            self.gone_from_there()
        };
        let told: Vec<SocketAddr> = self
            .members
            .iter()
            .filter(|(name, record)| **name != self.name && is_told(record))
            .map(|(_, record)| record.member.address)
            .take(TOLD)
            .collect();
        for to in told {
            self.send(to, std::slice::from_ref(&message));
        }
        if alive {
            self.announce_ourselves();
        }
        let pause = if alive { AGAIN } else { PAUSE };
        if self.address.steps > 0 {
            self.timers.set(now + pause, Timer::Moved);
        }
    }

    fn here_we_are(&self) -> Message {
        Message::Alive(self.own().to_wire())
    }

    /// What only a member itself says of itself: it has left.
    fn gone_from_there(&self) -> Message {
        Message::Dead(Accusation {
            node: self.name.to_string(),
            incarnation: self.own().member.incarnation.saturating_sub(1),
            from: self.name.to_string(),
        })
    }

    /// Whether a record of us is one of where we were before; then whoever believes it is told
    /// again.
    pub(super) fn is_former_self(
        &mut self,
        now: Instant,
        address: SocketAddr,
        incarnation: u32,
    ) -> bool {
        if !self.address.former.contains(&address) {
            return false;
        }
        let own = self.own_mut();
        if incarnation >= own.member.incarnation {
            own.member.incarnation = incarnation.saturating_add(1);
            self.revision += 1;
        }
        let due = self.address.remind_from.is_none_or(|from| from <= now);
        if due && self.address.steps == 0 {
            self.say_move(now);
        }
        true
    }
}

/// Whether a member may hold us for our former self.
fn is_told(record: &Record) -> bool {
    matches!(record.swim, Swim::Alive | Swim::Suspect | Swim::Dead)
}

/// Whether others could use an address; link-local ones mean something on one link only.
fn is_usable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !is_link_local && !ip.is_unspecified() && !ip.is_multicast()
}
