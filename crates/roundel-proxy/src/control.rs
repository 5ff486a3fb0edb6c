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

/// A listener that is bound and that no worker has yet.
struct Fresh {
    bound: Bound,
    sockets: Vec<std::net::TcpListener>,
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
        for frontend in &routes.frontends {
            plan.push(self.bind_missing(&mut state, frontend)?);
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
    fn bind_missing(
        &self,
        state: &mut State,
        frontend: &Frontend,
    ) -> Result<Vec<Result<Bound, Fresh>>, StartError> {
        let running = state.frontends.iter().find(|f| f.name == frontend.name);
        let known: Vec<Bound> = running.map_or_else(Vec::new, |f| f.listeners.clone());
        let mut listeners = Vec::with_capacity(frontend.listen.len());
        for listen in &frontend.listen {
            if let Some(bound) = known.iter().find(|b| b.asked == *listen) {
                listeners.push(Ok(*bound));
                continue;
            }
            // Another frontend, or this one with another setting, may hold the address until
            // the reload is through; the port is shared meanwhile.
            let ours = state
                .frontends
                .iter()
                .flat_map(|f| &f.listeners)
                .any(|b| b.local == listen.address);
            let (local, sockets) = listener::bind_all(listen.address, self.workers(), ours)?;
            state.next_listener += 1;
            let bound = Bound {
                asked: *listen,
                local,
                id: state.next_listener,
            };
            listeners.push(Err(Fresh { bound, sockets }));
        }
        Ok(listeners)
    }

    /// Gives a frontend and its fresh listeners to every worker.
    fn install(
        &self,
        state: &mut State,
        frontend: Frontend,
        listeners: Vec<Result<Bound, Fresh>>,
    ) -> Running {
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
            match listener {
                Ok(bound) => bounds.push(bound),
                Err(fresh) => {
                    bounds.push(fresh.bound);
                    self.open(&name, fresh);
                }
            }
        }
        Running {
            name,
            listeners: bounds,
            counters,
        }
    }

    fn open(&self, frontend: &Name, fresh: Fresh) {
        for (worker, listener) in fresh.sockets.into_iter().enumerate() {
            self.shared.order(
                worker,
                Order::Open {
                    id: fresh.bound.id,
                    frontend: frontend.clone(),
                    door: Door {
                        port: fresh.bound.local.port(),
                        h2c: fresh.bound.asked.h2c,
                    },
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
