//! What workers and the control side share: orders one way, a few numbers the other way.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roundel_balance::{Evidence, ServerLive};
use roundel_model::Name;
use roundel_stats::PerWorker;
use tokio::sync::{Notify, mpsc, watch};

use crate::budget::Budget;
use crate::config::Frontend;
use crate::ends::WorkerEnds;
use crate::lingering::Lingering;
use crate::maxconn::{Places, Room};
use crate::memory::Memory;
use crate::rules::FrontendLive;
use crate::shortage::Descriptors;
use crate::status::PipeStatus;
use crate::transport::Detached;
use crate::{AccessLog, Config};

/// What a worker is told. Orders arrive in the order in which they were given.
#[derive(Debug)]
pub(crate) enum Order {
    /// A frontend is there, or has new rules.
    Frontend {
        frontend: Arc<Frontend>,
        live: FrontendLive,
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
    /// Accept what waits on this listener, then close it. Nobody else has it if it is `own`.
    Close { id: u64, own: bool },
    /// Another worker holds clearly more connections and gives this one away, before a byte of it
    /// was read: where there is a handshake, the worker that serves makes it.
    Take(Taken),
    /// Let go of this when all that was woken before has had its turn: nothing picked, and no
    /// connection that came before, is uncounted then.
    Pass { done: mpsc::Sender<()> },
    /// Accept nothing more; end each connection after its next answer.
    Drain { close_idle_at: Instant },
    /// Close every idle connection to a server.
    CloseIdle,
    /// End every exchange now, so that each is answered, told of and counted.
    Cut,
    /// End those that ask this server, then let go of `done`.
    CutServer {
        server: Arc<ServerLive>,
        done: mpsc::Sender<()>,
    },
    /// End the thread.
    Stop,
    /// Panic, as a fault in the loop would.
    #[cfg(debug_assertions)]
    Panic,
}

/// A connection that another worker has accepted.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) frontend: Name,
    pub(crate) door: Door,
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) places: Places,
}

/// What a connection knows of the listener through which it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    /// HTTP/2 by prior knowledge is answered.
    pub(crate) h2c: bool,
    /// Each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// Clients speak TLS.
    pub(crate) tls: bool,
}

/// One idle upstream connection that any worker may take.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) io: Detached,
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
    /// Requests being answered; only the worker itself writes it.
    in_flight: AtomicU32,
    /// Pipes on loan.
    pub(crate) pipes_used: AtomicU32,
    /// Bytes that went through pipes.
    pub(crate) spliced_bytes: AtomicU64,
    /// Microseconds since the start when its sweep ran last.
    swept: AtomicU64,
}

/// Shared by the control side and all workers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) workers: PerWorker<WorkerCell>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    pub(crate) evidence: mpsc::Sender<Evidence>,
    pub(crate) log: AccessLog,
    /// The places of all client connections.
    pub(crate) room: Arc<Room>,
    /// Whoever waits for a place waits for this.
    pub(crate) freed: Arc<Notify>,
    /// How many descriptors there may be.
    pub(crate) descriptors: Descriptors,
    /// The pipes of all workers.
    pub(crate) pipes: Arc<Budget>,
    /// Client connections that are closing, with a client that still sends.
    pub(crate) lingering: Lingering,
    /// What the streams of HTTP/2 may hold.
    pub(crate) http2_memory: Arc<Memory>,
    /// Microseconds since the start until when descriptors count as short.
    short_until: AtomicU64,
    /// Workers that ended by a panic.
    pub(crate) ends: watch::Sender<WorkerEnds>,
    /// Idle upstream connections beyond what each worker keeps for itself.
    pub(crate) spares: Mutex<HashMap<PoolKey, Vec<Spare>>>,
    /// How many `spares` holds, so that looking costs no lock while it is empty.
    pub(crate) spare_count: AtomicU32,
    started: Instant,
}

impl WorkerCell {
    pub(crate) fn request_begins(&self) {
        self.in_flight
            .store(self.in_flight.load(Relaxed) + 1, Relaxed);
    }

    pub(crate) fn request_ends(&self) {
        self.in_flight
            .store(self.in_flight.load(Relaxed) - 1, Relaxed);
    }
}

impl Shared {
    pub(crate) fn new(
        config: &Config,
        evidence: mpsc::Sender<Evidence>,
        log: AccessLog,
    ) -> (Self, Vec<mpsc::UnboundedReceiver<Order>>) {
        let workers = config.workers();
        let (orders, receivers) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let freed = Arc::new(Notify::new());
        let shared = Self {
            room: Arc::new(Room::new(freed.clone())),
            freed,
            descriptors: Descriptors::new(config.descriptors),
            pipes: Arc::new(Budget::new(config.pipes)),
            lingering: Lingering::default(),
            http2_memory: Arc::new(Memory::new(u64::MAX)),
            short_until: AtomicU64::new(0),
            workers: PerWorker::new(workers),
            orders,
            evidence,
            log,
            ends: watch::Sender::default(),
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

    pub(crate) fn pipe_status(&self) -> PipeStatus {
        let used = |cell: &WorkerCell| u64::from(cell.pipes_used.load(Relaxed));
        let used = self.workers.sum(used);
        PipeStatus {
            most: self.pipes.most,
            used,
            free: self.pipes.open().saturating_sub(used),
            bytes: self.workers.sum(|cell| cell.spliced_bytes.load(Relaxed)),
        }
    }

    /// Notes that a connection to a server cannot be had for want of descriptors.
    pub(crate) fn note_shortage(&self, now: Instant) {
        let until = self.micros(now + Duration::from_secs(1));
        self.short_until.store(until, Relaxed);
    }

    /// Whether somebody waits for a descriptor, so that none is to be kept for later.
    pub(crate) fn is_short(&self, now: Instant) -> bool {
        let until = self.short_until.load(Relaxed);
        until > 0 && self.micros(now) < until
    }

    /// Notes that a worker's sweep runs.
    pub(crate) fn sweep(&self, worker: usize, now: Instant) {
        self.workers[worker].swept.store(self.micros(now), Relaxed);
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_micros() as u64
    }

    /// The worker whose sweep ran the longest ago, and how long ago that was.
    ///
    /// One that is busy without a pause still sweeps, although its loop never rests.
    pub(crate) fn slowest_worker(&self, now: Instant) -> (usize, Duration) {
        let now = self.micros(now);
        let since = |cell: &WorkerCell| now.saturating_sub(cell.swept.load(Relaxed));
        let workers = self.workers.iter().enumerate();
        workers
            .map(|(worker, cell)| (worker, Duration::from_micros(since(cell))))
            .max_by_key(|(_, since)| *since)
            .unwrap_or_default()
    }

    /// Notes that a worker ended by a panic. Returns whether another one is to follow it.
    pub(crate) fn note_end(&self, worker: usize, now: Instant) -> bool {
        let mut follows = false;
        self.ends
            .send_modify(|ends| follows = ends.note(worker, now));
        follows
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
        let config = Config {
            threads: connections.len(),
            ..Config::default()
        };
        let (shared, _) = Shared::new(&config, evidence, AccessLog::off());
        for (cell, n) in shared.workers.iter().zip(connections) {
            cell.connections.store(*n, Relaxed);
        }
        shared
    }

    #[test]
    fn the_worker_that_stands_still_is_named() {
        let shared = shared(&[0, 0, 0]);
        let later = Instant::now() + Duration::from_secs(5);
        shared.sweep(0, later);
        shared.sweep(2, later);
        let (worker, since) = shared.slowest_worker(later);
        assert_eq!(worker, 1);
        assert!(since >= Duration::from_secs(5));
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
