//! One backend's servers behind one pointer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use roundel_model::{Name, ServerState};
use roundel_stats::PerWorker;

use crate::budget::Spent;
use crate::loss::Loss;
use crate::queue::Queue;
use crate::{BackendCounters, Policy, ServerId, ServerLive, Snapshot, StickyKey};

/// The part of a backend's configuration that picking depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendConfig {
    /// The backend's name; fixed for the life of a balancer.
    pub name: Name,
    /// How servers are chosen.
    pub policy: Policy,
    /// The key of the sticky values.
    pub sticky_key: StickyKey,
}

/// One server as it goes into the next snapshot.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Its live state, from [`Balancer::live`].
    pub live: Arc<ServerLive>,
    /// Where to connect.
    pub address: SocketAddr,
    /// The share of traffic in units of 1/[`Placement::WEIGHT_UNIT`]; at least 1.
    pub weight: u32,
    /// Serves only while no other server does.
    pub backup: bool,
    /// Its state.
    pub state: ServerState,
}

impl Placement {
    /// The weight of a server of weight 1. Finer than whole weights, so that a percentage of a
    /// small weight is never rounded to nothing.
    pub const WEIGHT_UNIT: u32 = 256;
}

/// The servers of one backend: many threads read, one task publishes.
///
/// Outlives every snapshot and every reload that keeps the backend's name.
#[derive(Debug)]
pub struct Balancer {
    name: Name,
    workers: usize,
    counters: PerWorker<BackendCounters>,
    generation: AtomicU64,
    snapshot: ArcSwap<Snapshot>,
    publisher: Mutex<Publisher>,
    queue: Arc<Queue>,
    spent: Spent,
    silences: AtomicU64,
    loss: Loss,
}

/// What only the publishing side touches.
#[derive(Debug)]
struct Publisher {
    config: BackendConfig,
    configured: bool,
    lives: BTreeMap<Name, Arc<ServerLive>>,
    last_id: u32,
}

impl Balancer {
    /// Makes a balancer without servers; `workers` is the number of worker threads, at least 1.
    pub fn new(config: BackendConfig, workers: usize) -> Arc<Self> {
        let queue = Arc::<Queue>::default();
        let flights = Arc::new(PerWorker::new(workers));
        let empty = Snapshot::build(
            0,
            Vec::new(),
            &config,
            None,
            Arc::clone(&queue),
            flights,
            None,
        );
        Arc::new(Self {
            name: config.name.clone(),
            workers,
            counters: PerWorker::new(workers),
            generation: AtomicU64::new(0),
            snapshot: ArcSwap::from_pointee(empty),
            queue,
            spent: Spent::default(),
            silences: AtomicU64::new(0),
            loss: Loss::default(),
            publisher: Mutex::new(Publisher {
                config,
                configured: false,
                lives: BTreeMap::new(),
                last_id: 0,
            }),
        })
    }

    /// The backend's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How many worker threads count in here.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The number of the newest snapshot; one atomic read.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest snapshot. Workers read it through a [`crate::View`] instead.
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What the workers count for the backend.
    pub fn counters(&self) -> &PerWorker<BackendCounters> {
        &self.counters
    }

    /// How servers are chosen.
    pub fn policy(&self) -> Policy {
        self.publisher().config.policy
    }

    /// Changes policy and sticky key; both apply from the next snapshot, which
    /// [`Self::publish`] then builds even for equal servers. The name stays.
    pub fn configure(&self, policy: Policy, sticky_key: StickyKey) {
        let mut publisher = self.publisher();
        let config = BackendConfig {
            name: self.name.clone(),
            policy,
            sticky_key,
        };
        if publisher.config != config {
            publisher.config = config;
            publisher.configured = true;
        }
    }

    /// The live state of a server name; made when first asked for, with an id of its own.
    pub fn live(&self, name: &Name) -> Arc<ServerLive> {
        let mut publisher = self.publisher();
        if let Some(live) = publisher.lives.get(name) {
            return Arc::clone(live);
        }
        publisher.last_id += 1;
        let id = ServerId(publisher.last_id);
        let live = Arc::new(ServerLive::new(id, name.clone(), self.workers));
        publisher.lives.insert(name.clone(), Arc::clone(&live));
        live
    }

    /// Forgets the live state of a name whose row is no longer shown.
    pub fn forget(&self, name: &Name) {
        self.publisher().lives.remove(name);
    }

    /// Publishes a snapshot of these servers, in this order, if it differs from the newest one.
    ///
    /// Returns the snapshot published; `None` when nothing differs. The rotation goes on after
    /// the server picked last.
    pub fn publish(&self, placements: Vec<Placement>) -> Option<Arc<Snapshot>> {
        let mut publisher = self.publisher();
        let before = self.snapshot.load_full();
        if !publisher.configured && is_same(&before, &placements) {
            // A limit may have been raised.
            self.queue.look_at(&before);
            return None;
        }
        let alike = (!publisher.configured).then_some(&*before);
        publisher.configured = false;
        let generation = before.generation() + 1;
        let snapshot = Arc::new(Snapshot::build(
            generation,
            placements,
            &publisher.config,
            before.turn(),
            Arc::clone(&self.queue),
            Arc::clone(before.flights()),
            alike,
        ));
        snapshot.open_servers(&before);
        self.snapshot.store(Arc::clone(&snapshot));
        self.generation.store(generation, Ordering::Release);
        self.queue.look_at(&snapshot);
        Some(snapshot)
    }

    /// How often a server was found silent. When it grows, requests that wait should look whether
    /// it is theirs: [`ServerLive::is_silent`].
    pub fn silences(&self) -> u64 {
        self.silences.load(Ordering::Relaxed)
    }

    pub(crate) fn note_silence(&self) {
        self.silences.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn loss(&self) -> &Loss {
        &self.loss
    }

    pub(crate) fn spent(&self) -> &Spent {
        &self.spent
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// A panic between lock and unlock leaves nothing half done, so a poisoned lock is fine.
    fn publisher(&self) -> MutexGuard<'_, Publisher> {
        self.publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(snapshot: &Snapshot, placements: &[Placement]) -> bool {
    let servers = snapshot.servers();
    servers.len() == placements.len()
        && servers.iter().zip(placements).all(|(old, new)| {
            Arc::ptr_eq(&old.live, &new.live)
                && old.address == new.address
                && old.weight == new.weight
                && old.backup == new.backup
                && old.state == new.state
        })
}
