//! The servers of a backend at one moment, as requests read them.

use std::net::SocketAddr;
use std::sync::Arc;

use roundel_model::ServerState;
use roundel_stats::PerWorker;

use crate::hash::{Load, Place, Ring};
use crate::least_conn::LeastConn;
use crate::live::{Flights, Opening};
use crate::maglev::Table;
use crate::queue::Queue;
use crate::round_robin::Schedule;
use crate::sticky::{CookieValue, is_cookie_value};
use crate::turn::Turn;
use crate::{BackendConfig, PickContext, PickError, Placement, Policy, Rounding, ServerId};
use crate::{ServerLive, StickyVerdict, p2c};

/// The immutable state of one backend: which servers there are and which of them serve.
///
/// Shape: `servers` holds every server known, in table order, whatever its state; `usable` the
/// indices of those that take new requests, in order. Only the cursor of the rotation moves.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    servers: Vec<Entry>,
    usable: Vec<u32>,
    rotation: Rotation,
    turn_before: Option<Turn>,
    /// Indices of the servers in order of their sticky values.
    cookies: Arc<[u32]>,
    queue: Arc<Queue>,
    flights: Arc<PerWorker<Flights>>,
}

/// One server of a snapshot.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What outlives the snapshot.
    pub live: Arc<ServerLive>,
    /// Where to connect.
    pub address: SocketAddr,
    /// The share of traffic in units of 1/[`Placement::WEIGHT_UNIT`].
    pub weight: u32,
    /// Serves only while no other server does.
    pub backup: bool,
    /// Its state.
    pub state: ServerState,
    cookie: CookieValue,
}

#[derive(Debug)]
enum Rotation {
    RoundRobin(Schedule),
    LeastConn(LeastConn),
    P2c,
    Hash(Ring),
    Maglev(Table),
}

impl Snapshot {
    /// `alike` has the same sticky key; where it has the same servers, their values are not worked
    /// out again.
    pub(crate) fn build(
        generation: u64,
        placements: Vec<Placement>,
        config: &BackendConfig,
        turn_before: Option<Turn>,
        queue: Arc<Queue>,
        flights: Arc<PerWorker<Flights>>,
        alike: Option<&Self>,
    ) -> Self {
        let alike = alike.filter(|before| before.is_of(&placements));
        let value = |p: &Placement| config.sticky_key.value(&config.name, &p.live.name);
        let servers: Vec<Entry> = placements
            .into_iter()
            .enumerate()
            .map(|(i, p)| Entry {
                cookie: alike.map_or_else(|| value(&p), |before| before.servers[i].cookie),
                live: p.live,
                address: p.address,
                weight: p.weight,
                backup: p.backup,
                state: p.state,
            })
            .collect();
        let usable = usable(&servers);
        let cookies = match alike {
            Some(before) => Arc::clone(&before.cookies),
            None => by_value(&servers),
        };
        let mut snapshot = Self {
            generation,
            rotation: Rotation::new(config.policy, &servers, &usable),
            servers,
            usable,
            turn_before,
            cookies,
            queue,
            flights,
        };
        snapshot.resume();
        snapshot
    }

    /// Whether these are its servers, in its order.
    fn is_of(&self, placements: &[Placement]) -> bool {
        let mut pairs = self.servers.iter().zip(placements);
        self.servers.len() == placements.len() && pairs.all(|(a, b)| Arc::ptr_eq(&a.live, &b.live))
    }

    /// Puts the rotation where the one before stood.
    fn resume(&mut self) {
        let Some(turn) = &self.turn_before else {
            return;
        };
        let slot = match self.order() {
            order if order.is_empty() => return,
            order => turn.resume(&order),
        };
        match &mut self.rotation {
            Rotation::RoundRobin(schedule) => schedule.start_at(slot),
            Rotation::LeastConn(least) => least.start_at(slot),
            Rotation::P2c | Rotation::Hash(_) | Rotation::Maglev(_) => {}
        }
    }

    /// Where the rotation stands at this moment, for the snapshot after this one.
    pub(crate) fn turn(&self) -> Option<Turn> {
        if self.usable.is_empty() {
            return self.turn_before.clone();
        }
        let last = match &self.rotation {
            Rotation::RoundRobin(schedule) => schedule.last(),
            Rotation::LeastConn(least) => least.last(self.usable.len()),
            Rotation::P2c | Rotation::Hash(_) | Rotation::Maglev(_) => None,
        };
        match last {
            Some(last) => Some(Turn {
                order: self.order(),
                last,
            }),
            None => self.turn_before.clone(),
        }
    }

    /// The servers in order of rotation, repeated by weight under round robin; none where
    /// nothing rotates.
    fn order(&self) -> Vec<ServerId> {
        let id = |position: usize| self.entry(position).live.id;
        match &self.rotation {
            Rotation::RoundRobin(schedule) => {
                schedule.slots().iter().map(|p| id(*p as usize)).collect()
            }
            Rotation::LeastConn(_) => (0..self.usable.len()).map(id).collect(),
            Rotation::P2c | Rotation::Hash(_) | Rotation::Maglev(_) => Vec::new(),
        }
    }

    fn entry(&self, position: usize) -> &Entry {
        &self.servers[self.usable[position] as usize]
    }

    /// Grows by one with every snapshot of a balancer.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Every server known, whatever its state, in table order.
    pub fn servers(&self) -> &[Entry] {
        &self.servers
    }

    /// Tells each server whom it takes from here on; those of `before` that are gone, nobody.
    pub(crate) fn open_servers(&self, before: &Self) {
        let mut here: Vec<ServerId> = self.servers.iter().map(|e| e.live.id).collect();
        here.sort_unstable();
        for entry in &before.servers {
            if here.binary_search(&entry.live.id).is_err() {
                entry.live.open(Opening::Closed);
            }
        }
        let mut usable = self.usable.iter().peekable();
        for (i, entry) in (0u32..).zip(&self.servers) {
            let is_usable = usable.next_if_eq(&&i).is_some();
            entry.live.open(match entry.state.takes_sticky() {
                _ if is_usable => Opening::All,
                true => Opening::Sticky,
                false => Opening::Closed,
            });
        }
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Picks on the whole backend, by worker.
    pub(crate) fn flights(&self) -> &Arc<PerWorker<Flights>> {
        &self.flights
    }

    /// Whether the policy reads the servers' latency.
    pub(crate) fn weighs_latency(&self) -> bool {
        matches!(self.rotation, Rotation::P2c)
    }

    /// How many servers take new requests: the active ones, or the backups when none is.
    pub fn usable(&self) -> usize {
        self.usable.len()
    }

    /// Says if weights were rounded, and by how much.
    pub fn rounding(&self) -> Option<Rounding> {
        match &self.rotation {
            Rotation::RoundRobin(schedule) => schedule.rounding,
            _ => None,
        }
    }

    /// Whether a server takes new requests that is not among those tried; full ones count.
    pub fn has_another(&self, tried: &[ServerId]) -> bool {
        let mut usable = 0..self.usable.len();
        match tried {
            [] => !usable.is_empty(),
            _ => usable.any(|p| !tried.contains(&self.entry(p).live.id)),
        }
    }

    /// Chooses a server by the policy and returns its index; moves the rotation, counts nothing.
    ///
    /// Errors: see [`PickError`].
    pub fn choose(
        &self,
        context: &PickContext<'_>,
        rng: &mut fastrand::Rng,
    ) -> Result<usize, PickError> {
        let n = self.usable.len();
        if n == 0 {
            return Err(match self.servers.is_empty() {
                true => PickError::Empty,
                false => PickError::NoneUsable,
            });
        }
        let tried = |p: usize| context.tried.contains(&self.entry(p).live.id);
        let refused = |p: usize| self.entry(p).live.is_refused();
        let skip = |p: usize| tried(p) || self.entry(p).live.is_full();
        let mut position = self.find(context, rng, |p| skip(p) || refused(p));
        if position.is_none() && (0..n).any(refused) {
            // Those that refused others a moment ago are better than none.
            position = self.find(context, rng, skip);
        }
        match position {
            Some(position) => Ok(self.usable[position] as usize),
            None if (0..n).all(tried) => Err(PickError::AllTried),
            None => Err(PickError::Full),
        }
    }

    /// The position in `usable` that the policy gives, among those that `skip` allows.
    fn find(
        &self,
        context: &PickContext<'_>,
        rng: &mut fastrand::Rng,
        skip: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let n = self.usable.len();
        match &self.rotation {
            Rotation::RoundRobin(schedule) => schedule.next(skip),
            Rotation::LeastConn(least) => least.next(n, |p| {
                let entry = self.entry(p);
                (!skip(p)).then(|| (entry.live.in_flight(), u64::from(entry.weight)))
            }),
            Rotation::P2c => p2c::next(n, rng, |p| {
                let Entry { live, weight, .. } = self.entry(p);
                let load = || {
                    p2c::load(
                        live.latency_us(context.now),
                        live.in_flight(),
                        u64::from(*weight),
                    )
                };
                (!skip(p)).then(load)
            }),
            Rotation::Hash(ring) => {
                let all = || Flights::in_flight(&self.flights);
                ring.find(n, key(context, rng), all, |p| {
                    let Entry { live, weight, .. } = self.entry(p);
                    (!skip(p)).then(|| Load {
                        in_flight: live.in_flight(),
                        weight: u64::from(*weight),
                    })
                })
            }
            Rotation::Maglev(table) => table.find(n, key(context, rng), skip),
        }
    }

    /// Judges the value of a client's sticky cookie.
    pub fn sticky(&self, value: &[u8]) -> StickyVerdict {
        let found = self
            .cookies
            .binary_search_by(|i| self.servers[*i as usize].cookie.as_bytes().cmp(value));
        let Ok(at) = found else {
            return match is_cookie_value(value) {
                true => StickyVerdict::Unknown,
                false => StickyVerdict::Invalid,
            };
        };
        let index = self.cookies[at] as usize;
        match self.servers[index].state {
            ServerState::Up | ServerState::Warming => StickyVerdict::Valid(index),
            ServerState::Draining => StickyVerdict::Draining(index),
            ServerState::Leaving | ServerState::Left => StickyVerdict::Leaving(index),
            _ => StickyVerdict::Down(index),
        }
    }

    pub(crate) fn cookie(&self, index: usize) -> CookieValue {
        self.servers[index].cookie
    }

    /// The value of the sticky cookie that leads to the server at `index`.
    pub fn cookie_value(&self, index: usize) -> &str {
        self.servers[index].cookie.as_str()
    }
}

impl Rotation {
    fn new(policy: Policy, servers: &[Entry], usable: &[u32]) -> Self {
        match policy {
            Policy::RoundRobin => {
                let weight = |i: &u32| u64::from(servers[*i as usize].weight);
                let weights: Vec<u64> = usable.iter().map(weight).collect();
                Self::RoundRobin(Schedule::new(&weights))
            }
            Policy::LeastConn => Self::LeastConn(LeastConn::default()),
            Policy::P2c => Self::P2c,
            Policy::Hash => Self::Hash(Ring::new(&places(servers, usable))),
            Policy::Maglev => Self::Maglev(Table::new(&places(servers, usable))),
        }
    }
}

fn places<'a>(servers: &'a [Entry], usable: &[u32]) -> Vec<Place<'a>> {
    let place = |i: &u32| {
        let entry = &servers[*i as usize];
        Place {
            name: entry.live.name.as_str(),
            weight: u64::from(entry.weight),
        }
    };
    usable.iter().map(place).collect()
}

/// The request's key; a request without one goes anywhere.
fn key(context: &PickContext<'_>, rng: &mut fastrand::Rng) -> u64 {
    context.hash.unwrap_or_else(|| rng.u64(..))
}

/// Indices of servers in order of their sticky values.
fn by_value(servers: &[Entry]) -> Arc<[u32]> {
    let mut order: Vec<u32> = (0..servers.len() as u32).collect();
    order.sort_by_cached_key(|i| servers[*i as usize].cookie.rank());
    order.into()
}

/// The servers that take new requests; backups only when there is no other.
fn usable(servers: &[Entry]) -> Vec<u32> {
    let takes = |backup: bool| {
        (0u32..)
            .zip(servers)
            .filter(move |(_, s)| s.state.takes_new() && s.backup == backup)
            .map(|(i, _)| i)
            .collect::<Vec<_>>()
    };
    let active = takes(false);
    if active.is_empty() {
        takes(true)
    } else {
        active
    }
}
