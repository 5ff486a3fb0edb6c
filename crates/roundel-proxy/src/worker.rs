//! One worker: a thread, its runtime, and everything that only this thread touches.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use roundel_model::Name;
use roundel_stats::PerWorker;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::FrontendCounters;
use crate::accept::{self, Gate};
use crate::blocks::Blocks;
use crate::config::Frontend;
use crate::date::imf_fixdate;
use crate::deadline::{Clock, Deadlines, SWEEP};
use crate::log::LogBuffer;
use crate::pool::Pool;
use crate::rules::{FrontendSlot, Rules};
use crate::shared::{Order, PoolKey, Shared, WorkerCell};

/// Events handled between two looks at the sockets. Tokio's own 61 suits multi-threaded work;
/// this thread has nothing but sockets.
const EVENT_INTERVAL: u32 = 61;

/// What the tasks of one worker share. Never leaves its thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadlines: Deadlines,
    pub(crate) blocks: Blocks,
    pub(crate) pool: Pool,
    pub(crate) log: RefCell<LogBuffer>,
    pub(crate) rng: RefCell<fastrand::Rng>,
    frontends: RefCell<HashMap<Name, Rc<FrontendSlot>>>,
    listeners: RefCell<HashMap<u64, Listening>>,
    draining: Cell<bool>,
    close_idle_at: Cell<Option<Instant>>,
    /// The wall clock at `anchor`, renewed with each sweep.
    wall: Cell<(Instant, Duration)>,
    date: RefCell<(u64, String)>,
}

/// One request being answered.
pub(crate) struct InFlight(Rc<Worker>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.cell().in_flight.fetch_sub(1, Relaxed);
    }
}

/// A listener of this worker; it closes when this is dropped.
struct Listening {
    gate: Gate,
    _close: Vec<oneshot::Sender<()>>,
}

/// Starts the thread of one worker.
pub(crate) fn spawn(
    index: usize,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .on_thread_unpark({
            let shared = shared.clone();
            move || shared.turn(index, Instant::now())
        })
        .build()?;
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let tasks = LocalSet::new();
            let worker = Rc::new(Worker::new(index, shared));
            // As a task of its own, so that a turn for a connection does not poll it too.
            let main = tasks.spawn_local(run(worker, orders));
            // It ends by itself; a panic in it was reported by the panic hook.
            let _ = tasks.block_on(&runtime, main);
        })
}

async fn run(worker: Rc<Worker>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None | Some(Order::Stop) => return,
                Some(order) => worker.carry_out(order),
            },
            _ = sweep.tick() => worker.sweep(),
        }
    }
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            index,
            deadlines: Deadlines::new(now),
            blocks: Blocks::default(),
            pool: Pool::new(index, shared.clone()),
            log: RefCell::new(LogBuffer::new(shared.log.clone())),
            rng: RefCell::new(fastrand::Rng::new()),
            frontends: RefCell::default(),
            listeners: RefCell::default(),
            draining: Cell::new(false),
            close_idle_at: Cell::new(None),
            wall: Cell::new((now, unix_now())),
            date: RefCell::default(),
            shared,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.deadlines.clock()
    }

    /// Counts a request as being answered until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> InFlight {
        self.cell().in_flight.fetch_add(1, Relaxed);
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

    fn sweep(&self) {
        let now = self.clock().now();
        self.wall.set((now, unix_now()));
        self.deadlines.sweep();
        self.blocks.sweep();
        if self.closes_idle() {
            self.deadlines.wake_all();
        }
        if !self.pool.is_empty() {
            let servers = self.servers();
            self.pool.sweep(now, |key| servers.contains(key));
        }
        self.log.borrow_mut().hand_over();
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

    fn carry_out(self: &Rc<Self>, order: Order) {
        match order {
            Order::Frontend { frontend, counters } => self.install(frontend, counters),
            Order::Forget(name) => {
                self.frontends.borrow_mut().remove(&name);
            }
            Order::Open {
                id,
                frontend,
                door,
                listeners,
            } => {
                let Some(slot) = self.frontend(&frontend) else {
                    return;
                };
                let gate = Gate::new(RefCell::new((slot, door)));
                let mut closes = Vec::with_capacity(listeners.len());
                for listener in listeners {
                    let (close, closed) = oneshot::channel();
                    closes.push(close);
                    let accepting = accept::run(self.clone(), gate.clone(), listener, closed);
                    tokio::task::spawn_local(accepting);
                }
                let listening = Listening {
                    gate,
                    _close: closes,
                };
                self.listeners.borrow_mut().insert(id, listening);
            }
            Order::Move { id, frontend, door } => {
                if let Some(slot) = self.frontend(&frontend)
                    && let Some(listening) = self.listeners.borrow().get(&id)
                {
                    *listening.gate.borrow_mut() = (slot, door);
                }
            }
            Order::Close { id } => {
                self.listeners.borrow_mut().remove(&id);
            }
            Order::Take {
                frontend,
                door,
                stream,
                peer,
            } => match self.frontend(&frontend) {
                Some(slot) => accept::serve(self, &slot, door, stream, peer),
                None => {
                    self.cell().connections.fetch_sub(1, Relaxed);
                }
            },
            Order::Drain { close_idle_at } => {
                self.draining.set(true);
                self.close_idle_at.set(Some(close_idle_at));
                self.listeners.borrow_mut().clear();
                self.deadlines.wake_all();
            }
            // Handled by the loop.
            Order::Stop => {}
        }
    }

    fn install(&self, frontend: Arc<Frontend>, counters: Arc<PerWorker<FrontendCounters>>) {
        let name = frontend.name.clone();
        let rules = Rules::new(frontend);
        let mut frontends = self.frontends.borrow_mut();
        match frontends.get(&name) {
            Some(slot) => slot.replace(rules),
            None => {
                let slot = FrontendSlot::new(rules, counters);
                frontends.insert(name, Rc::new(slot));
            }
        }
    }

    fn frontend(&self, name: &Name) -> Option<Rc<FrontendSlot>> {
        self.frontends.borrow().get(name).cloned()
    }
}

fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
