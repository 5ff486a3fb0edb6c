//! Following our own address: what peers taught us, and what became of our interfaces.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::{Member, Status};
use tokio::time::{Interval, MissedTickBehavior};

use super::Task;
use crate::advertise::{self, Basis, OwnAddress};
use crate::interfaces;

/// How often the interfaces are looked at: an address that moves is followed within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Most members towards whom an address is looked for.
const PEERS: usize = 16;

/// When the interfaces are looked at.
pub(super) fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

impl Task {
    /// Moves when our address is on no interface any more, or what was told stands for another.
    pub(super) fn look_at_interfaces(&mut self, now: Instant) {
        let own = self.publish.own.borrow().address;
        if self.seeding.basis == Basis::Fixed {
            return;
        }
        let there = interfaces::own();
        let lonely = own.ip().is_loopback() && self.has_no_seed();
        if there.is_empty() || (there.iter().any(|at| at.ip == own.ip()) && !lonely) {
            return;
        }
        let found = match &self.seeding.basis {
            Basis::Chosen(told) => advertise::fitting(told, &there),
            _ => advertise::instead(&self.peers(), &there),
        };
        let Some((ip, why)) = found else {
            return;
        };
        let to = SocketAddr::new(ip, own.port());
        if self.node.move_address(now, to) {
            self.say_address(to, format!("{why}, since {} is gone", own.ip()));
            self.seeds_soon();
        }
    }

    /// Whether there is nothing by which loopback could have been chosen on purpose.
    fn has_no_seed(&self) -> bool {
        let seeding = &self.seeding;
        seeding.seeds.is_empty() && seeding.cached.is_empty() && self.node.members().count() == 1
    }

    /// Where members are, the living first.
    fn peers(&self) -> Vec<SocketAddr> {
        let others = self.node.members().filter(|m| m.name != self.node.name());
        let (alive, lost): (Vec<&Member>, Vec<&Member>) =
            others.partition(|m| m.status == Status::Alive);
        let all = alive.into_iter().chain(lost).map(|m| m.address);
        all.take(PEERS).collect()
    }

    /// The node took another address for its own.
    pub(super) fn moved(&mut self, to: SocketAddr, peer: Option<SocketAddr>) {
        if let Some(peer) = peer {
            self.say_address(to, format!("where the member at {peer} reaches us"));
        }
    }

    /// The first member there is did not correct our guess.
    pub(super) fn confirmed(&mut self, member: &Member) {
        let own = self.publish.own.borrow().clone();
        if own.is_guess() && self.seeding.basis == Basis::Learnt {
            let why = format!(
                "a guess by the routes that {} did not correct",
                member.address
            );
            self.say_address(own.address, why);
        }
    }

    /// Publishes where we are and why, and logs it once.
    pub(super) fn say_address(&mut self, address: SocketAddr, why: String) {
        let own = OwnAddress { address, why };
        if *self.publish.own.borrow() != own {
            tracing::info!(%address, why = own.why, "other members reach us here");
            self.publish.own.send_replace(own);
        }
    }
}
