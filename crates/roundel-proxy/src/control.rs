//! The control side of the proxy: what is bound, who runs, orders to the workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roundel_balance::Evidence;
use roundel_model::Name;
use roundel_stats::PerWorker;
use tokio::sync::mpsc;

use crate::config::{Frontend, Listen};
use crate::handle::FrontendStatus;
use crate::listener;
use crate::shared::{Door, Order, Shared};
use crate::worker;
use crate::{AccessLog, Config, FrontendCounters, Routes, StartError};

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
    /// Counters of every frontend ever configured: one that comes back goes on counting.
    counters: BTreeMap<Name, Arc<PerWorker<FrontendCounters>>>,
    next_listener: u64,
    draining: bool,
}

#[derive(Debug)]
struct Running {
    name: Name,
    listeners: Vec<Bound>,
    counters: Arc<PerWorker<FrontendCounters>>,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    asked: Listen,
    local: SocketAddr,
    id: u64,
}

impl Bound {
    fn door(&self) -> Door {
        Door {
            port: self.local.port(),
            h2c: self.asked.h2c,
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
    Fresh(Bound, Vec<std::net::TcpListener>),
}

impl Control {
    pub(crate) fn start(
        config: Config,
        routes: Routes,
        evidence: mpsc::Sender<Evidence>,
        log: AccessLog,
    ) -> Result<Self, StartError> {
        let workers = config.workers();
        let (shared, receivers) = Shared::new(workers, evidence, log);
        let mut control = Self {
            shared: Arc::new(shared),
            bound: Mutex::default(),
            threads: Vec::with_capacity(workers),
        };
        for (index, orders) in receivers.into_iter().enumerate() {
            let thread =
                worker::spawn(index, control.shared.clone(), orders).map_err(StartError::Worker)?;
            control.threads.push(thread);
        }
        control.reload(routes)?;
        Ok(control)
    }

    pub(crate) fn frontends(&self) -> Vec<FrontendStatus> {
        let state = self.state();
        let status = |running: &Running| FrontendStatus {
            name: running.name.clone(),
            addresses: running.listeners.iter().map(|b| b.local).collect(),
            counters: running.counters.clone(),
        };
        state.frontends.iter().map(status).collect()
    }

    pub(crate) fn reload(&self, routes: Routes) -> Result<(), StartError> {
        let mut state = self.state();
        if state.draining {
            return Err(StartError::ShuttingDown);
        }
        let mut plan = Vec::with_capacity(routes.frontends.len());
        let mut taken = Vec::new();
        for frontend in &routes.frontends {
            plan.push(self.find_listeners(&mut state, frontend, &mut taken)?);
        }
        let old = std::mem::take(&mut state.frontends);
        let mut kept = Vec::new();
        for (frontend, listeners) in routes.frontends.into_iter().zip(plan) {
            let running = self.install(&mut state, frontend, listeners);
            kept.extend(running.listeners.iter().map(|b| b.id));
            state.frontends.push(running);
        }
        for gone in old.iter().flat_map(|f| &f.listeners) {
            if !kept.contains(&gone.id) {
                self.shared.order_all(|_| Order::Close { id: gone.id });
            }
        }
        for gone in old {
            if !state.frontends.iter().any(|f| f.name == gone.name) {
                self.shared.order_all(|_| Order::Forget(gone.name.clone()));
            }
        }
        Ok(())
    }

    /// Finds or binds each address of a frontend; what is bound here closes again on an error.
    ///
    /// `taken` holds the running listeners that the new configuration uses already.
    fn find_listeners(
        &self,
        state: &mut State,
        frontend: &Frontend,
        taken: &mut Vec<u64>,
    ) -> Result<Vec<Found>, StartError> {
        let mut listeners = Vec::with_capacity(frontend.listen.len());
        for listen in &frontend.listen {
            let free = |b: &&Bound| !taken.contains(&b.id);
            let own = state.frontends.iter().find(|f| f.name == frontend.name);
            let mut own = own.into_iter().flat_map(|f| &f.listeners).filter(free);
            let kept = own.find(|b| b.asked == *listen);
            let mut all = state.frontends.iter().flat_map(|f| &f.listeners);
            let moved = all.find(|b| free(b) && b.local == listen.address);
            let found = match (kept, moved) {
                (Some(bound), _) => Found::Kept(*bound),
                (None, Some(bound)) => Found::Moved(Bound {
                    asked: *listen,
                    ..*bound
                }),
                (None, None) => {
                    let (local, sockets) = listener::bind_all(listen.address, self.workers())?;
                    state.next_listener += 1;
                    let id = state.next_listener;
                    let asked = *listen;
                    Found::Fresh(Bound { asked, local, id }, sockets)
                }
            };
            if let Found::Kept(bound) | Found::Moved(bound) = &found {
                taken.push(bound.id);
            }
            listeners.push(found);
        }
        Ok(listeners)
    }

    /// Gives a frontend and its listeners to every worker.
    fn install(&self, state: &mut State, frontend: Frontend, listeners: Vec<Found>) -> Running {
        let name = frontend.name.clone();
        let counters = state
            .counters
            .entry(name.clone())
            .or_insert_with(|| Arc::new(PerWorker::new(self.workers())))
            .clone();
        let frontend = Arc::new(frontend);
        self.shared.order_all(|_| Order::Frontend {
            frontend: frontend.clone(),
            counters: counters.clone(),
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
                    self.open(&name, bound, sockets);
                    bound
                }
            };
            bounds.push(bound);
        }
        Running {
            name,
            listeners: bounds,
            counters,
        }
    }

    fn open(&self, frontend: &Name, bound: Bound, sockets: Vec<std::net::TcpListener>) {
        for (worker, listener) in sockets.into_iter().enumerate() {
            self.shared.order(
                worker,
                Order::Open {
                    id: bound.id,
                    frontend: frontend.clone(),
                    door: bound.door(),
                    listener,
                },
            );
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.shared.worker_count()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.shared.in_flight()
    }

    pub(crate) fn stalled_for(&self) -> Duration {
        self.shared.stalled_for(Instant::now())
    }

    pub(crate) async fn drain(&self, deadline: Instant) -> u64 {
        self.state().draining = true;
        self.shared.order_all(|_| Order::Drain {
            close_idle_at: (Instant::now() + IDLE_GRACE).min(deadline),
        });
        loop {
            let left = self.connections();
            if left == 0 || Instant::now() >= deadline {
                return left;
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.order_all(|_| Order::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
