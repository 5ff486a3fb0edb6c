//! The control side of the proxy: what is bound, who runs, orders to the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roundel_balance::{Evidence, ServerLive};
use roundel_model::Name;
use roundel_stats::PerWorker;
use tokio::sync::{mpsc, watch};

use crate::config::{Frontend, Listen};
use crate::ends::WorkerEnds;
use crate::listener::{self, Opened, covers};
use crate::maxconn::Room;
use crate::rules::FrontendLive;
use crate::shared::{Door, Order, Shared};
use crate::status::{FrontendStatus, MemoryStatus, PipeStatus};
use crate::turns;
use crate::{AccessLog, Config, Routes, StartError};

/// How long idle connections may still send a request once draining began.
const IDLE_GRACE: Duration = Duration::from_secs(1);
/// How often the drain looks whether all is done.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// Owns the threads; the one place that opens and closes listeners.
#[derive(Debug)]
pub(crate) struct Control {
    shared: Arc<Shared>,
    bound: Mutex<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    frontends: Vec<Running>,
    /// Those of every frontend ever configured: one that comes back goes on counting.
    lives: BTreeMap<Name, FrontendLive>,
    next_listener: u64,
    draining: bool,
    /// Nothing is accepted yet: another process does.
    held: bool,
    /// What another process opened and no frontend has asked for yet.
    inherited: Vec<TcpListener>,
    /// The sockets of each listener, for a process that follows. They go before the workers are
    /// told to close theirs, so that the last one to close has emptied the queue.
    sockets: BTreeMap<u64, Vec<Arc<TcpListener>>>,
}

#[derive(Debug)]
struct Running {
    name: Name,
    rules: Arc<Frontend>,
    listeners: Vec<Bound>,
    live: FrontendLive,
}

impl Running {
    /// The listeners that its configuration names.
    fn asked(&self) -> impl Iterator<Item = &Bound> {
        self.listeners.iter().filter(|bound| !bound.covered)
    }
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    asked: Listen,
    local: SocketAddr,
    id: u64,
    /// No other process opened it.
    own: bool,
    /// No configuration asks for it: it goes on as a part of a wider address on the same port,
    /// so that no connection is lost on the way from the one to the other.
    covered: bool,
}

impl Bound {
    fn door(&self) -> Door {
        Door {
            h2c: self.asked.h2c,
            proxy_protocol: self.asked.proxy_protocol,
            tls: self.asked.tls,
        }
    }
}

/// How a frontend of a new configuration comes by one of its listeners.
enum Found {
    /// It has it already.
    Kept(Bound),
    /// It runs with another frontend or another setting. The sockets stay, so that no
    /// connection that is being made is lost.
    Moved(Bound),
    /// It was bound just now, and no worker has it yet.
    Fresh(Bound, Vec<Arc<TcpListener>>),
}

impl Found {
    fn bound(&self) -> &Bound {
        match self {
            Self::Kept(bound) | Self::Moved(bound) | Self::Fresh(bound, _) => bound,
        }
    }
}

/// The listeners of each frontend of a new configuration, in its order.
type Plan = Vec<Vec<Found>>;

/// The bound of the plan.
fn planned(plan: &Plan) -> impl Iterator<Item = &Bound> {
    plan.iter().flatten().map(Found::bound)
}

impl Control {
    pub(crate) fn start(
        config: Config,
        routes: Routes,
        evidence: mpsc::Sender<Evidence>,
        log: AccessLog,
        inherited: Vec<TcpListener>,
    ) -> Result<Self, StartError> {
        let workers = config.workers();
        let (shared, receivers) = Shared::new(&config, evidence, log);
        let mut control = Self {
            shared: Arc::new(shared),
            bound: Mutex::new(State {
                held: true,
                inherited,
                ..State::default()
            }),
            threads: Vec::with_capacity(workers),
        };
        for (index, orders) in receivers.into_iter().enumerate() {
            let thread =
                turns::spawn(index, control.shared.clone(), orders).map_err(StartError::Worker)?;
            control.threads.push(thread);
        }
        control.reload(routes)?;
        Ok(control)
    }

    /// Has the workers accept from everything that is bound, now and later.
    pub(crate) fn open_all(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.held, false) || state.draining {
            return;
        }
        for running in &state.frontends {
            for bound in &running.listeners {
                self.open(&state, &running.name, bound);
            }
        }
        // Nobody asked for these. Closing them here is harmless: the other process has them too.
        state.inherited.clear();
    }

    pub(crate) fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.state().sockets.values().flatten().cloned().collect()
    }

    pub(crate) fn frontends(&self) -> Vec<FrontendStatus> {
        let state = self.state();
        let status = |running: &Running| FrontendStatus {
            name: running.name.clone(),
            addresses: running.asked().map(|b| b.local).collect(),
            tls: (running.asked().filter(|b| b.asked.tls))
                .map(|b| b.local)
                .collect(),
            counters: running.live.counters.clone(),
            maxconn: self.first_limit(&running.live.room),
            is_full: running.live.room.is_full() || self.shared.room.is_full(),
        };
        state.frontends.iter().map(status).collect()
    }

    pub(crate) fn reload(&self, routes: Routes) -> Result<(), StartError> {
        let mut state = self.state();
        if state.draining {
            return Err(StartError::ShuttingDown);
        }
        let mut plan = Plan::with_capacity(routes.frontends.len());
        for frontend in &routes.frontends {
            plan.push(Vec::with_capacity(frontend.listen.len()));
            for listen in &frontend.listen {
                let found = self.find_listener(&mut state, &frontend.name, *listen, &plan)?;
                plan.last_mut().expect("pushed above").push(found);
            }
        }
        self.keep_covered(&mut state, &mut plan)?;
        self.shared.room.limit(routes.maxconn);
        self.shared.http2_memory.limit(routes.http2_memory);
        let old = std::mem::take(&mut state.frontends);
        let mut kept = Vec::new();
        for (mut frontend, listeners) in routes.frontends.into_iter().zip(plan) {
            if let Some(before) = old.iter().find(|f| f.name == frontend.name) {
                frontend.keep_counts(&before.rules);
            }
            let running = self.install(&mut state, frontend, listeners);
            kept.extend(running.listeners.iter().map(|b| b.id));
            state.frontends.push(running);
        }
        for gone in old.iter().flat_map(|f| &f.listeners) {
            if !kept.contains(&gone.id) {
                state.sockets.remove(&gone.id);
                let (id, own) = (gone.id, gone.own);
                self.shared.order_all(|_| Order::Close { id, own });
            }
        }
        for gone in old {
            if !state.frontends.iter().any(|f| f.name == gone.name) {
                self.shared.order_all(|_| Order::Forget(gone.name.clone()));
            }
        }
        Ok(())
    }

    /// Finds or binds one address of a frontend; what is bound here closes again on an error.
    ///
    /// `plan` holds what the new configuration uses already.
    fn find_listener(
        &self,
        state: &mut State,
        frontend: &Name,
        listen: Listen,
        plan: &Plan,
    ) -> Result<Found, StartError> {
        let free = |b: &&Bound| planned(plan).all(|taken| taken.id != b.id);
        let own = state.frontends.iter().find(|f| f.name == *frontend);
        let mut own = own.into_iter().flat_map(|f| &f.listeners).filter(free);
        if let Some(bound) = own.find(|b| b.asked == listen) {
            return Ok(Found::Kept(Bound {
                covered: false,
                ..*bound
            }));
        }
        let mut all = state.frontends.iter().flat_map(|f| &f.listeners);
        if let Some(bound) = all.find(|b| free(b) && b.local == listen.address) {
            return Ok(Found::Moved(Bound {
                asked: listen,
                covered: false,
                ..*bound
            }));
        }
        self.open_fresh(state, listen, plan)
    }

    /// Binds an address, or takes it from what another process opened.
    fn open_fresh(
        &self,
        state: &mut State,
        asked: Listen,
        plan: &Plan,
    ) -> Result<Found, StartError> {
        let running = state.frontends.iter().flat_map(|f| &f.listeners);
        let mut mine: Vec<SocketAddr> = running.chain(planned(plan)).map(|b| b.local).collect();
        let left = state.inherited.iter();
        mine.extend(left.filter_map(|l| l.local_addr().ok()));
        let before = state.inherited.len();
        let (workers, inherited) = (self.workers(), &mut state.inherited);
        let (local, sockets): Opened =
            listener::open_all(asked.address, workers, inherited, &mine)?;
        state.next_listener += 1;
        let bound = Bound {
            asked,
            local,
            id: state.next_listener,
            own: state.inherited.len() == before,
            covered: false,
        };
        Ok(Found::Fresh(bound, sockets))
    }

    /// Keeps what nobody asks for any more and what lies within an address of the plan, which
    /// gets its connections from now on.
    ///
    /// The kernel hands a connection to the listener of the narrowest address. One that closed
    /// while a wider one opens would turn those away who are about to connect to it.
    fn keep_covered(&self, state: &mut State, plan: &mut Plan) -> Result<(), StartError> {
        let running = state.frontends.iter().flat_map(|f| &f.listeners);
        let gone: Vec<Bound> = running
            .filter(|b| planned(plan).all(|taken| taken.id != b.id))
            .copied()
            .collect();
        for bound in gone {
            if let Some((at, asked)) = covering(plan, bound.local) {
                plan[at].push(Found::Moved(Bound {
                    asked,
                    covered: true,
                    ..bound
                }));
            }
        }
        let left = state.inherited.iter().filter_map(|l| l.local_addr().ok());
        let left: BTreeSet<SocketAddr> = left.collect();
        for address in left {
            if let Some((at, asked)) = covering(plan, address) {
                let Found::Fresh(bound, sockets) = self.open_fresh(state, asked, plan)? else {
                    continue;
                };
                let covered = true;
                plan[at].push(Found::Fresh(Bound { covered, ..bound }, sockets));
            }
        }
        Ok(())
    }

    /// Gives a frontend and its listeners to every worker.
    fn install(&self, state: &mut State, frontend: Frontend, listeners: Vec<Found>) -> Running {
        let name = frontend.name.clone();
        let live = state.lives.entry(name.clone());
        let live = live.or_insert_with(|| self.new_live()).clone();
        live.room.limit(frontend.maxconn);
        let frontend = Arc::new(frontend);
        self.shared.order_all(|_| Order::Frontend {
            frontend: frontend.clone(),
            live: live.clone(),
        });
        let mut bounds = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let bound = match listener {
                Found::Kept(bound) => bound,
                Found::Moved(bound) => {
                    self.shared.order_all(|_| Order::Move {
                        id: bound.id,
                        frontend: name.clone(),
                        door: bound.door(),
                    });
                    bound
                }
                Found::Fresh(bound, sockets) => {
                    state.sockets.insert(bound.id, sockets);
                    if !state.held {
                        self.open(state, &name, &bound);
                    }
                    bound
                }
            };
            bounds.push(bound);
        }
        Running {
            name,
            rules: frontend,
            listeners: bounds,
            live,
        }
    }

    fn new_live(&self) -> FrontendLive {
        FrontendLive {
            counters: Arc::new(PerWorker::new(self.workers())),
            room: Arc::new(Room::new(self.shared.freed.clone())),
        }
    }

    /// The limit that a frontend meets first.
    fn first_limit(&self, room: &Room) -> Option<u64> {
        let limits = [room.most(), self.shared.room.most()];
        limits.into_iter().filter(|most| *most > 0).min()
    }

    /// Shares the sockets of a listener out to the workers. Each socket has a worker; workers
    /// that are left over accept from one that another has too.
    fn open(&self, state: &State, frontend: &Name, bound: &Bound) {
        let sockets = state.sockets.get(&bound.id).map_or(&[][..], Vec::as_slice);
        let (workers, count) = (self.workers(), sockets.len());
        self.shared.order_all(|worker| Order::Open {
            id: bound.id,
            frontend: frontend.clone(),
            door: bound.door(),
            listeners: match count {
                0 => Vec::new(),
                _ if count < workers => vec![sockets[worker % count].clone()],
                _ => sockets
                    .iter()
                    .skip(worker)
                    .step_by(workers)
                    .cloned()
                    .collect(),
            },
        });
    }

    pub(crate) fn workers(&self) -> usize {
        self.shared.worker_count()
    }

    /// The most client connections in all; 0 for any number.
    pub(crate) fn maxconn(&self) -> u64 {
        self.shared.room.most()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections()
    }

    pub(crate) fn pipes(&self) -> PipeStatus {
        self.shared.pipe_status()
    }

    pub(crate) fn http2_memory(&self) -> MemoryStatus {
        self.shared.http2_memory.status()
    }

    pub(crate) fn lingering(&self) -> u64 {
        self.shared.lingering.count()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.shared.in_flight()
    }

    pub(crate) fn passed(&self) -> impl Future<Output = ()> + Send + 'static {
        let (done, all) = mpsc::channel(1);
        self.shared
            .order_all(|_| Order::Pass { done: done.clone() });
        dropped(all)
    }

    pub(crate) fn worker_ends(&self) -> watch::Receiver<WorkerEnds> {
        self.shared.ends.subscribe()
    }

    #[cfg(debug_assertions)]
    pub(crate) fn panic_worker(&self, worker: usize) {
        if worker < self.workers() {
            self.shared.order(worker, Order::Panic);
        }
    }

    pub(crate) fn slowest_worker(&self) -> (usize, Duration) {
        self.shared.slowest_worker(Instant::now())
    }

    pub(crate) async fn drain(&self, deadline: Instant) -> u64 {
        {
            let mut state = self.state();
            state.draining = true;
            state.sockets.clear();
            state.inherited.clear();
        }
        self.shared.order_all(|_| Order::Drain {
            close_idle_at: (Instant::now() + IDLE_GRACE).min(deadline),
        });
        // Once all have passed, the listeners have taken their last connections: only from there on
        // is none open that is not counted.
        let _ = tokio::time::timeout_at(deadline.into(), self.passed()).await;
        loop {
            let left = self.connections();
            if left == 0 || Instant::now() >= deadline {
                return left;
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    pub(crate) async fn cut(&self, deadline: Instant) {
        self.shared.order_all(|_| Order::Cut);
        while self.connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    pub(crate) fn close_idle(&self) {
        self.shared.order_all(|_| Order::CloseIdle);
    }

    pub(crate) fn cut_server(
        &self,
        server: Arc<ServerLive>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (done, all) = mpsc::channel(1);
        self.shared.order_all(|_| Order::CutServer {
            server: server.clone(),
            done: done.clone(),
        });
        dropped(all)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when every sender is gone; nothing is ever sent.
async fn dropped(mut senders: mpsc::Receiver<()>) {
    let _ = senders.recv().await;
}

/// Which frontend of the plan listens on the narrowest address around this one, and how it would ask for it.
fn covering(plan: &Plan, address: SocketAddr) -> Option<(usize, Listen)> {
    let all = plan.iter().enumerate();
    let all = all.flat_map(|(at, list)| list.iter().map(move |found| (at, found.bound())));
    let around = all.filter(|(_, bound)| !bound.covered && covers(bound.local, address));
    let (at, bound) = around.min_by_key(|(_, bound)| bound.local.is_ipv6())?;
    let asked = Listen {
        address,
        ..bound.asked
    };
    Some((at, asked))
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.order_all(|_| Order::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
