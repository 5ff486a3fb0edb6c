//! What workers and the control side share: orders one way, a few numbers the other way.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roundel_balance::Evidence;
use roundel_model::Name;
use roundel_stats::PerWorker;
use tokio::sync::mpsc;

use crate::config::Frontend;
use crate::{AccessLog, FrontendCounters};

/// What a worker is told. Orders arrive in the order in which they were given.
#[derive(Debug)]
pub(crate) enum Order {
    /// A frontend is there, or has new rules.
    Frontend {
        frontend: Arc<Frontend>,
        counters: Arc<PerWorker<FrontendCounters>>,
    },
    /// No listener leads to this frontend any more.
    Forget(Name),
    /// Accept from these sockets of a listener for a frontend announced before.
    Open {
        id: u64,
        frontend: Name,
        door: Door,
        listeners: Vec<Arc<std::net::TcpListener>>,
    },
    /// Connections of this listener belong to another frontend, or come in another way.
    Move { id: u64, frontend: Name, door: Door },
    /// Accept what waits on this listener, then close it.
    Close { id: u64 },
    /// Another worker holds clearly more connections and gives this one away.
    Take {
        frontend: Name,
        door: Door,
        stream: TcpStream,
        peer: SocketAddr,
    },
    /// Accept nothing more; end each connection after its next answer.
    Drain { close_idle_at: Instant },
    /// End the thread.
    Stop,
}

/// What a connection knows of the listener through which it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    pub(crate) port: u16,
    /// HTTP/2 by prior knowledge is answered.
    pub(crate) h2c: bool,
}

/// One idle upstream connection that any worker may take.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) idle_until: Instant,
}

/// The address of a balancer and the number of a server in it.
pub(crate) type PoolKey = (usize, u32);

/// The numbers one worker shows.
#[derive(Debug, Default)]
pub(crate) struct WorkerCell {
    /// Open client connections, counted when accepted or handed over.
    pub(crate) connections: AtomicU32,
    /// Requests being answered.
    pub(crate) in_flight: AtomicU32,
    /// Microseconds since the start when the loop last looked at its sockets.
    turned: AtomicU64,
}

/// Shared by the control side and all workers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) workers: PerWorker<WorkerCell>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    pub(crate) evidence: mpsc::Sender<Evidence>,
    pub(crate) log: AccessLog,
    /// Idle upstream connections beyond what each worker keeps for itself.
    pub(crate) spares: Mutex<HashMap<PoolKey, Vec<Spare>>>,
    /// How many `spares` holds, so that looking costs no lock while it is empty.
    pub(crate) spare_count: AtomicU32,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(
        workers: usize,
        evidence: mpsc::Sender<Evidence>,
        log: AccessLog,
    ) -> (Self, Vec<mpsc::UnboundedReceiver<Order>>) {
        let (orders, receivers) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let shared = Self {
            workers: PerWorker::new(workers),
            orders,
            evidence,
            log,
            spares: Mutex::default(),
            spare_count: AtomicU32::new(0),
            started: Instant::now(),
        };
        (shared, receivers)
    }

    /// How many workers there are.
    pub(crate) fn worker_count(&self) -> usize {
        self.orders.len()
    }

    /// Gives an order to one worker; one that has ended needs none.
    pub(crate) fn order(&self, worker: usize, order: Order) {
        let _ = self.orders[worker].send(order);
    }

    pub(crate) fn order_all(&self, order: impl Fn(usize) -> Order) {
        for worker in 0..self.orders.len() {
            self.order(worker, order(worker));
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.workers
            .sum(|cell| u64::from(cell.connections.load(Relaxed)))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.workers
            .sum(|cell| u64::from(cell.in_flight.load(Relaxed)))
    }

    /// Notes that a worker's loop looked at its sockets.
    pub(crate) fn turn(&self, worker: usize, now: Instant) {
        self.workers[worker].turned.store(self.micros(now), Relaxed);
    }

    /// How long before `now` a worker's loop last looked at its sockets.
    pub(crate) fn since_turn(&self, worker: usize, now: Instant) -> Duration {
        let turned = self.workers[worker].turned.load(Relaxed);
        Duration::from_micros(self.micros(now).saturating_sub(turned))
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_micros() as u64
    }

    /// How long ago the slowest worker turned.
    pub(crate) fn stalled_for(&self, now: Instant) -> Duration {
        (0..self.orders.len())
            .map(|worker| self.since_turn(worker, now))
            .max()
            .unwrap_or_default()
    }

    /// The worker to which `worker` should give a new connection, if it holds clearly more than
    /// the least loaded: a quarter more, and at least four.
    pub(crate) fn better_worker(&self, worker: usize) -> Option<usize> {
        let count = |cell: &WorkerCell| cell.connections.load(Relaxed);
        let mine = count(&self.workers[worker]);
        if mine < 4 || self.orders.len() == 1 {
            return None;
        }
        let (least, fewest) = self
            .workers
            .iter()
            .map(count)
            .enumerate()
            .min_by_key(|(_, n)| *n)?;
        (mine > fewest + (fewest / 4).max(3)).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(connections: &[u32]) -> Shared {
        let (evidence, _) = mpsc::channel(1);
        let (shared, _) = Shared::new(connections.len(), evidence, AccessLog::off());
        for (cell, n) in shared.workers.iter().zip(connections) {
            cell.connections.store(*n, Relaxed);
        }
        shared
    }

    #[test]
    fn connections_move_only_when_clearly_uneven() {
        let check = |connections: &[u32], expected| {
            assert_eq!(
                shared(connections).better_worker(0),
                expected,
                "{connections:?}"
            );
        };
        check(&[100], None);
        check(&[3, 0], None);
        check(&[4, 0], Some(1));
        check(&[5, 3], None);
        check(&[110, 100], None);
        check(&[126, 100], Some(1));
        check(&[9, 5, 2], Some(2));
    }
}
