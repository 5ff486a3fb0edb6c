//! One worker: a thread, its runtime, and everything that only this thread touches.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use roundel_model::Name;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};

use crate::accept::{self, Gate};
use crate::blocks::Blocks;
use crate::config::Frontend;
use crate::date::imf_fixdate;
use crate::deadline::{Clock, Deadlines, SWEEP};
use crate::log::LogBuffer;
use crate::pool::Pool;
use crate::rules::{FrontendLive, FrontendSlot, Rules};
use crate::shared::{Order, PoolKey, Shared, WorkerCell};
use crate::splice::Pipes;

/// Events handled between two looks at the sockets. Tokio's own 61 suits multi-threaded work;
/// this thread has nothing but sockets.
const EVENT_INTERVAL: u32 = 61;

/// What the tasks of one worker share. Never leaves its thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadlines: Deadlines,
    pub(crate) blocks: Blocks,
    pub(crate) pipes: Rc<Pipes>,
    pub(crate) pool: Pool,
    pub(crate) log: RefCell<LogBuffer>,
    pub(crate) rng: RefCell<fastrand::Rng>,
    frontends: RefCell<HashMap<Name, Rc<FrontendSlot>>>,
    /// Those of `frontends` that are to go.
    forgotten: RefCell<HashSet<Name>>,
    listeners: RefCell<HashMap<u64, Listening>>,
    draining: Cell<bool>,
    connection_ids: Cell<u64>,
    close_idle_at: Cell<Option<Instant>>,
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

/// A listener of this worker; it closes when this is dropped.
struct Listening {
    gate: Gate,
    sockets: Vec<Arc<TcpListener>>,
    closes: Vec<oneshot::Sender<bool>>,
}

impl Listening {
    /// Starts to accept from each of its sockets.
    fn accept(&mut self, worker: &Rc<Worker>) {
        self.closes.clear();
        for socket in &self.sockets {
            let (close, closed) = oneshot::channel();
            self.closes.push(close);
            let accepting = accept::run(worker.clone(), self.gate.clone(), socket.clone(), closed);
            tokio::task::spawn_local(accepting);
        }
    }
}

/// Starts the thread of one worker.
pub(crate) fn spawn(
    index: usize,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<JoinHandle<()>> {
    let (built, result) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let runtime = match runtime(index, shared.clone()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(error)),
            };
            drop(built);
            live(runtime, Worker::new(index, shared), orders);
        })?;
    match result.recv() {
        Ok(error) => Err(error),
        Err(_) => Ok(thread),
    }
}

/// Runs a worker until it is told to stop, and those that follow it when it panics.
fn live(mut runtime: LocalRuntime, worker: Worker, orders: mpsc::UnboundedReceiver<Order>) {
    let orders = Rc::new(RefCell::new(orders));
    let mut worker = Rc::new(worker);
    loop {
        let main = runtime.spawn_local(run(worker.clone(), orders.clone()));
        // The panic hook has told of a panic in it.
        if runtime.block_on(main).is_ok() {
            return;
        }
        // Everything that the worker had under way ends here, and is counted.
        drop(runtime);
        if !worker.shared.note_end(worker.index, Instant::now()) {
            return;
        }
        runtime = match self::runtime(worker.index, worker.shared.clone()) {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "worker {} cannot begin anew", worker.index);
                return worker.shared.ends.send_modify(|ends| ends.is_lost = true);
            }
        };
        worker = Rc::new(worker.successor());
    }
}

/// The runtime of a worker, which stays on the thread that makes it.
fn runtime(index: usize, shared: Arc<Shared>) -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .on_thread_unpark(move || shared.turn(index, Instant::now()))
        .build_local(LocalOptions::default())
}

async fn run(worker: Rc<Worker>, orders: Rc<RefCell<mpsc::UnboundedReceiver<Order>>>) {
    worker.listen_again();
    let next = || poll_fn(|cx| orders.borrow_mut().poll_recv(cx));
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = next() => match order {
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
            pipes: Rc::new(Pipes::new(index, shared.clone())),
            pool: Pool::new(index, shared.clone()),
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
    fn successor(&self) -> Self {
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

    /// Accepts from everything that a predecessor accepted from.
    fn listen_again(self: &Rc<Self>) {
        for listening in self.listeners.borrow_mut().values_mut() {
            listening.accept(self);
        }
        for name in self.forgotten.take() {
            self.forget(name);
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
        self.shared.sweep(self.index, now);
        let second = self.unix_second();
        self.wall.set((now, unix_now()));
        if self.unix_second() != second {
            self.blocks.sweep();
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

    fn carry_out(self: &Rc<Self>, order: Order) {
        match order {
            Order::Frontend { frontend, live } => self.install(frontend, live),
            Order::Forget(name) => self.forget(name),
            Order::Open {
                id,
                frontend,
                door,
                listeners,
            } => {
                let Some(slot) = self.frontend(&frontend) else {
                    return;
                };
                let mut listening = Listening {
                    gate: Gate::new(RefCell::new((slot, door))),
                    sockets: listeners,
                    closes: Vec::new(),
                };
                listening.accept(self);
                self.listeners.borrow_mut().insert(id, listening);
            }
            Order::Move { id, frontend, door } => {
                if let Some(slot) = self.frontend(&frontend)
                    && let Some(listening) = self.listeners.borrow().get(&id)
                {
                    *listening.gate.borrow_mut() = (slot, door);
                }
            }
            Order::Close { id, own } => {
                if let Some(listening) = self.listeners.borrow_mut().remove(&id) {
                    for close in listening.closes {
                        let _ = close.send(own);
                    }
                }
            }
            Order::Take {
                frontend,
                door,
                stream,
                peer,
                places,
            } => match self.frontend(&frontend) {
                Some(slot) => accept::serve(self, &slot, door, stream, peer, places),
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
            Order::Cut => {
                self.draining.set(true);
                self.listeners.borrow_mut().clear();
                self.deadlines.stop();
            }
            // Nothing to do but to be here: what it holds goes.
            Order::Pass { .. } => {}
            // Handled by the loop.
            Order::Stop => {}
            #[cfg(debug_assertions)]
            Order::Panic => panic!("a panic that was asked for"),
        }
    }

    fn install(&self, frontend: Arc<Frontend>, live: FrontendLive) {
        let name = frontend.name.clone();
        self.forgotten.borrow_mut().remove(&name);
        let rules = Rules::new(frontend);
        let mut frontends = self.frontends.borrow_mut();
        match frontends.get(&name) {
            Some(slot) => slot.replace(rules),
            None => {
                let slot = FrontendSlot::new(rules, live);
                frontends.insert(name, Rc::new(slot));
            }
        }
    }

    /// Forgets a frontend once those connections have come that another worker has accepted for
    /// it and gives to this one.
    fn forget(self: &Rc<Self>, name: Name) {
        self.forgotten.borrow_mut().insert(name.clone());
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(2 * accept::GRACE).await;
            if worker.forgotten.borrow_mut().remove(&name) {
                worker.frontends.borrow_mut().remove(&name);
            }
        });
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
