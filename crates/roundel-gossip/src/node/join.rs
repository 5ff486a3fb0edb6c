//! Joining by given addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::origin::{Origin, Way};
use super::record::{Record, Swim};
use super::rotation::Rotation;
use super::states::States;
use super::streams::Role;
use crate::event::Event;
use crate::member::Status;
use crate::wire::{PushPull, canonical};

/// Strangers are asked for their state at most this often.
const STRANGERS: Duration = Duration::from_secs(1);

impl Node {
    /// Somebody takes us, by name, for a member. If we do not know it, we were started anew
    /// before anyone noticed: we ask it for what our former self knew. If we hold it for failed,
    /// we were wrong.
    pub(super) fn pinged_by(&mut self, now: Instant, name: &str, address: SocketAddr) {
        let due = self.strangers_from.is_none_or(|from| from <= now);
        if !due || self.leave.is_some() {
            return;
        }
        // One that has left may be answering its last probes.
        let known = |r: &Record| r.is_up() || r.member.status == Status::Left;
        let at_address = |r: &Record| r.member.address == address && known(r);
        if self.members.get(name).is_some_and(known) || self.members.values().any(at_address) {
            return;
        }
        self.strangers_from = Some(now + STRANGERS);
        self.open_stream(now, address, Role::Sync { join: true });
    }

    /// Takes over the roster of another node; our own record stays as it is.
    pub(super) fn adopt(&mut self, other: &Node) {
        let own = self.own().clone();
        self.members = other.members.clone();
        self.states = States::default();
        self.members.remove(&self.name);
        self.members.insert(self.name.clone(), own);
        self.known = 1;
        self.to_probe = Rotation::default();
        let others = self.members.iter().filter(|(_, r)| r.swim != Swim::Gone);
        let others: Vec<Arc<str>> = others.map(|(name, _)| name.clone()).collect();
        for name in others.into_iter().filter(|name| *name != self.name) {
            self.known += 1;
            self.to_probe.append(name);
        }
        self.to_probe.restart();
        self.revision += 1;
    }

    pub(super) fn join_all(&mut self, now: Instant, addresses: &[SocketAddr]) {
        for address in addresses {
            let to = canonical(*address);
            if self.leave.is_some() {
                self.join_failed(*address, "this node is leaving");
            } else if to == self.own().member.address {
                self.join_failed(*address, "this is our own address");
            } else if self.open_stream(now, to, Role::Join(*address)).is_none() {
                self.join_failed(*address, "too many streams are open");
            }
        }
    }

    pub(super) fn join_failed(&mut self, address: SocketAddr, why: &str) {
        self.event(Event::JoinFailed {
            address,
            reason: why.to_owned(),
        });
    }

    /// A peer told us its state in answer to a join.
    pub(super) fn joined(
        &mut self,
        now: Instant,
        from: SocketAddr,
        address: SocketAddr,
        state: PushPull,
    ) {
        let members = state.nodes.len();
        let before = self.known;
        let way = Way::Joined;
        self.merge(now, Origin { from, way }, state);
        // A join repeated to heal a cluster is no news to anyone, unless it found somebody.
        if self.leave.is_none() && (self.own().status_time == 0 || self.known > before) {
            self.say_we_are_here();
            self.catch_up_later(now);
        }
        self.event(Event::Joined { address, members });
    }
}
