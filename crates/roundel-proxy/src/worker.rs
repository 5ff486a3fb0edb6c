//! What the tasks of one worker share.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use roundel_model::Name;
use tokio::sync::Semaphore;

use crate::blocks::Blocks;
use crate::date::imf_fixdate;
use crate::deadline::{Clock, Deadlines};
use crate::exchange::state::State;
use crate::listening::Listening;
use crate::log::LogBuffer;
use crate::pool::Pool;
use crate::rules::{FrontendSlot, Rules};
use crate::shared::{PoolKey, Shared, WorkerCell};
use crate::splice::Pipes;
use crate::store::Store;

/// Steps of handshakes between two looks at the sockets: each takes as long as ten requests.
const HANDSHAKES: usize = 4;

/// The tools of one worker. Never leaves its thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadlines: Deadlines,
    pub(crate) blocks: Blocks,
    /// Those of exchanges that are over, cleared.
    pub(crate) states: Store<Box<State>>,
    pub(crate) pipes: Rc<Pipes>,
    pub(crate) pool: Pool,
    /// Taken in turns by those who have the sums of a handshake to do.
    pub(crate) handshakes: Semaphore,
    pub(crate) log: RefCell<LogBuffer>,
    pub(crate) rng: RefCell<fastrand::Rng>,
    pub(crate) frontends: RefCell<HashMap<Name, Rc<FrontendSlot>>>,
    /// Those of `frontends` that are to go.
    pub(crate) forgotten: RefCell<HashSet<Name>>,
    pub(crate) listeners: RefCell<HashMap<u64, Listening>>,
    pub(crate) draining: Cell<bool>,
    connection_ids: Cell<u64>,
    pub(crate) close_idle_at: Cell<Option<Instant>>,
    /// The wall clock at `anchor`, renewed with each sweep.
    wall: Cell<(Instant, Duration)>,
    date: RefCell<(u64, String)>,
    /// How many servers were found silent so far: requests that wait for one may leave it.
    silences: Cell<u64>,
}

/// One request being answered.
pub(crate) struct InFlight(Rc<Worker>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.cell().request_ends();
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            index,
            deadlines: Deadlines::new(now),
            blocks: Blocks::default(),
            states: Store::default(),
            pipes: Rc::new(Pipes::new(index, shared.clone())),
            pool: Pool::new(shared.clone()),
            handshakes: Semaphore::new(HANDSHAKES),
            log: RefCell::new(LogBuffer::new(shared.log.clone())),
            rng: RefCell::new(fastrand::Rng::new()),
            frontends: RefCell::default(),
            forgotten: RefCell::default(),
            listeners: RefCell::default(),
            draining: Cell::new(false),
            connection_ids: Cell::new(0),
            close_idle_at: Cell::new(None),
            wall: Cell::new((now, unix_now())),
            date: RefCell::default(),
            silences: Cell::new(0),
            shared,
        }
    }

    /// The worker that takes over from this one, which has panicked: what it was told goes on.
    pub(crate) fn successor(&self) -> Self {
        let new = Self::new(self.index, self.shared.clone());
        self.frontends.swap(&new.frontends);
        self.forgotten.swap(&new.forgotten);
        self.listeners.swap(&new.listeners);
        Self {
            draining: self.draining.clone(),
            close_idle_at: self.close_idle_at.clone(),
            connection_ids: self.connection_ids.clone(),
            ..new
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.deadlines.clock()
    }

    /// A number for a new client connection, counted from 1.
    pub(crate) fn next_id(&self) -> u64 {
        self.connection_ids.update(|id| id + 1);
        self.connection_ids.get()
    }

    /// Counts a request as being answered until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> InFlight {
        self.cell().request_begins();
        InFlight(self.clone())
    }

    /// Lends the value of a Date field for the present second.
    pub(crate) fn with_date<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        let second = self.unix_second();
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, imf_fixdate(Duration::from_secs(second)));
        }
        read(&date.1)
    }

    /// Open client connections of this worker.
    pub(crate) fn connections(&self) -> u32 {
        self.cell().connections.load(Relaxed)
    }

    pub(crate) fn cell(&self) -> &WorkerCell {
        &self.shared.workers[self.index]
    }

    /// The time since the Unix epoch at `at`.
    pub(crate) fn unix(&self, at: Instant) -> Duration {
        let (anchor, unix) = self.wall.get();
        if at >= anchor {
            unix + (at - anchor)
        } else {
            unix.saturating_sub(anchor - at)
        }
    }

    /// Seconds since the Unix epoch as of the last sweep: at most one sweep late.
    pub(crate) fn unix_second(&self) -> u64 {
        self.wall.get().1.as_secs()
    }

    /// Whether each connection is to end after its next answer.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether idle connections are to end at once.
    pub(crate) fn closes_idle(&self) -> bool {
        self.close_idle_at
            .get()
            .is_some_and(|at| self.clock().recent() >= at)
    }

    /// What is to be done now and then. Returns whether a second has begun.
    pub(crate) fn sweep(&self) -> bool {
        let now = self.clock().now();
        self.shared.sweep(self.index, now);
        let second = self.unix_second();
        self.wall.set((now, unix_now()));
        let new_second = self.unix_second() != second;
        if new_second {
            self.blocks.sweep();
            self.states.sweep();
        }
        self.deadlines.sweep();
        self.pipes.sweep(self.shared.is_short(now));
        let silences = self.silences();
        if self.closes_idle() || self.silences.replace(silences) != silences {
            self.deadlines.wake_all();
        }
        if !self.pool.is_empty() {
            let servers = self.servers();
            self.pool.sweep(now, |key| servers.contains(key));
        }
        self.log.borrow_mut().hand_over();
        new_second
    }

    fn silences(&self) -> u64 {
        let frontends = self.frontends.borrow();
        let rules = frontends.values().map(|slot| slot.rules());
        let each = |rules: Rc<Rules>| {
            let backends = rules.backends.iter();
            backends.map(|b| b.backend.balancer.silences()).sum::<u64>()
        };
        rules.map(each).sum()
    }

    /// Every server that a request may go to by now, as the pool names it.
    fn servers(&self) -> HashSet<PoolKey> {
        let mut servers = HashSet::new();
        for slot in self.frontends.borrow().values() {
            for backend in &slot.rules().backends {
                let current = backend.current();
                let usable = current.servers().iter().filter(|s| s.state.takes_sticky());
                servers.extend(usable.map(|server| (backend.key(), server.live.id.0)));
            }
        }
        servers
    }

    pub(crate) fn frontend(&self, name: &Name) -> Option<Rc<FrontendSlot>> {
        self.frontends.borrow().get(name).cloned()
    }
}

fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
