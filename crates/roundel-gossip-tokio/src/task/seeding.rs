//! Trying seeds: what is joined, when, and what a resolved seed tells of our own address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::{Member, Status};
use tokio::sync::oneshot;

use super::Task;
use super::Unanswered;
use crate::advertise::{self, Basis};
use crate::handle::JoinError;
use crate::seeds::{self, Pace, Seed};
use crate::snapshot::TRIED;

/// Most addresses joined by at once.
const JOIN_AT_ONCE: usize = 64;

/// A seed that answered within this time counts as reached.
const ANSWERED: Duration = Duration::from_secs(60);

/// Longest pause before the seeds are looked at after a member was lost.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// Addresses joined by when we are not alone: enough to find a part of the cluster that was lost.
const HEAL_AT_ONCE: usize = 3;

/// Members of a former life that are tried at once while we are alone.
const CACHED_AT_ONCE: usize = 8;

/// The seeds of the configuration, and when they are tried next.
pub(crate) struct Seeding {
    pub(crate) seeds: Vec<Seed>,
    /// Where members of a former life were; tried while we are alone.
    pub(crate) cached: Vec<SocketAddr>,
    pub(crate) next: Option<tokio::time::Instant>,
    pub(crate) pace: Pace,
    pub(crate) rng: fastrand::Rng,
    /// Where our address comes from; the first seed found may correct a guess.
    pub(crate) basis: Basis,
    /// Seed addresses that answered, and when: a member may advertise another address.
    pub(crate) answered: BTreeMap<SocketAddr, Instant>,
    /// Seeds that have not answered.
    pub(crate) unanswered: Unanswered,
    /// What was complained about last, so that it is not said again and again.
    pub(crate) complaint: String,
}

/// What became of seeds or of addresses given by a handle.
pub(super) struct Resolved {
    addresses: Vec<SocketAddr>,
    errors: Vec<String>,
    /// Set for a command, not for the seeds of the configuration.
    reply: Option<oneshot::Sender<Result<usize, JoinError>>>,
}

impl Task {
    /// Begins another try of the seeds.
    pub(super) fn try_seeds(&mut self) {
        self.seeding.next = None;
        self.resolve(self.seeding.seeds.clone(), None);
    }

    /// Resolves apart from the task, as that may take seconds.
    pub(super) fn resolve(
        &self,
        seeds: Vec<Seed>,
        reply: Option<oneshot::Sender<Result<usize, JoinError>>>,
    ) {
        let sender = self.resolved.0.clone();
        tokio::spawn(async move {
            let (addresses, errors) = seeds::resolve_all(seeds).await;
            let resolved = Resolved {
                addresses,
                errors,
                reply,
            };
            let _ = sender.send(resolved).await;
        });
    }

    pub(super) fn join_resolved(&mut self, now: Instant, mut resolved: Resolved) {
        let alone = self.is_alone();
        if alone {
            self.correct_address(now, &resolved.addresses);
        }
        if let Some(reply) = resolved.reply {
            resolved.addresses.truncate(JOIN_AT_ONCE);
            let addresses = resolved.addresses.clone();
            self.joins.begin(addresses, resolved.errors, reply);
            self.node.join(now, &resolved.addresses);
            return;
        }
        self.complain(&resolved.errors.join("; "));
        let (reached, mut missing) = self.sort_seeds(now, resolved.addresses);
        if reached > 0 {
            self.seed_answered();
        } else {
            self.seeding.unanswered.tried(now, &missing);
        }
        let limit = if alone { JOIN_AT_ONCE } else { HEAL_AT_ONCE };
        self.seeding.rng.shuffle(&mut missing);
        missing.truncate(limit);
        if self.started.elapsed() >= TRIED {
            self.seeding.cached.clear();
        }
        if alone {
            self.seeding.rng.shuffle(&mut self.seeding.cached);
            missing.extend(self.seeding.cached.iter().take(CACHED_AT_ONCE));
        }
        self.node.join(now, &missing);
        let unreached = if self.seeding.seeds.is_empty() {
            alone
        } else {
            reached == 0
        };
        self.seeds_after(unreached);
    }

    /// Counts the seed addresses at which a living member is known or somebody answered lately,
    /// and gives the others. Our own address is neither.
    fn sort_seeds(&mut self, now: Instant, found: Vec<SocketAddr>) -> (usize, Vec<SocketAddr>) {
        self.seeding
            .answered
            .retain(|_, at| now.saturating_duration_since(*at) < ANSWERED);
        let own = self.node.member(self.node.name()).map(|own| own.address);
        let living: BTreeSet<SocketAddr> = self
            .node
            .members()
            .filter(|member| member.status == Status::Alive)
            .map(|member| member.address)
            .collect();
        let others: Vec<SocketAddr> = found.into_iter().filter(|a| Some(*a) != own).collect();
        let (reached, missing): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|a| living.contains(a) || self.seeding.answered.contains_key(a));
        (reached.len(), missing)
    }

    /// Sets when the seeds are tried next: soon if none was reached.
    pub(super) fn seeds_after(&mut self, unreached: bool) {
        let pause = self.seeding.pace.next(unreached, &mut self.seeding.rng);
        self.seeding.next = Some(tokio::time::Instant::now() + pause);
    }

    /// Brings the next try of the seeds near, and trusts none to be what it was.
    pub(super) fn seeds_soon(&mut self) {
        self.seeding.answered.clear();
        if let Some(next) = &mut self.seeding.next {
            let pause = LOST_PAUSE.mul_f64(0.5 + self.seeding.rng.f64() / 2.0);
            *next = (*next).min(tokio::time::Instant::now() + pause);
        }
    }

    /// Whether we know no other living member.
    pub(super) fn is_alone(&self) -> bool {
        let living = |m: &&Member| matches!(m.status, Status::Alive | Status::Leaving);
        self.node.members().filter(living).count() <= 1
    }

    /// Takes the address that packets to the first seed carry, if ours was a guess.
    fn correct_address(&mut self, now: Instant, peers: &[SocketAddr]) {
        if self.seeding.basis != Basis::Learnt {
            return;
        }
        self.node.learn_address(true);
        let far = peers.iter().find(|peer| !peer.ip().is_loopback());
        let Some(seed) = far.or(peers.first()).copied() else {
            return;
        };
        let Some(ip) = advertise::towards(seed) else {
            return;
        };
        let address = SocketAddr::new(ip, self.sockets.local.port());
        if self.node.set_address(now, address) {
            self.say_address(address, format!("towards the seed {seed}"));
        }
    }

    fn complain(&mut self, complaint: &str) {
        if complaint != self.seeding.complaint {
            if complaint.is_empty() {
                tracing::info!("all gossip seeds can be resolved");
            } else {
                tracing::warn!("gossip seeds: {complaint}; trying again");
            }
            complaint.clone_into(&mut self.seeding.complaint);
        }
    }
}
