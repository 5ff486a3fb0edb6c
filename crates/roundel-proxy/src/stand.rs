//! A worker with one frontend and one server, on the thread of a test: for transports that no
//! listener has yet and servers that nothing connects to yet.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use roundel_balance::{BackendConfig, Balancer, Placement, Policy, ServerLive, StickyKey};
use roundel_model::{Name, ServerState};
use roundel_stats::PerWorker;
use roundel_tls::Front;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use crate::maxconn::{Places, Room};
use crate::peer::{Connection, Guest, Open};
use crate::pool::ANYONE;
use crate::pool::dials::Known;
use crate::rules::{BackendSlot, FrontendLive, FrontendSlot, Rules};
use crate::shared::{Door, PoolKey, Shared};
use crate::transport::Io;
use crate::upstream::{Carrier, Multiplexed, memory};
use crate::worker::Worker;
use crate::{AccessLog, Backend, Config, Frontend, FrontendCounters, Listen, Reuse, connection};

/// Runs a test where tasks of a worker can run.
pub(crate) fn run(test: impl Future<Output = ()> + 'static) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, test).await.unwrap();
    });
}

/// Both ends of a connection over the loopback.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

pub(crate) struct Stand {
    pub(crate) worker: Rc<Worker>,
    slot: Rc<FrontendSlot>,
    server: SocketAddr,
}

impl Stand {
    /// A server at an address where nobody listens: it has only those connections that it is given.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// As [`Self::new`], with a frontend of which `change` changes something.
    pub(crate) fn with(change: impl FnOnce(&mut Frontend)) -> Self {
        Self::towards(([127, 0, 0, 1], 1).into(), |_| {}, change)
    }

    /// As [`Self::with`], with a server at an address, and a backend of which something is changed.
    pub(crate) fn towards(
        server: SocketAddr,
        change_backend: impl FnOnce(&mut Backend),
        change: impl FnOnce(&mut Frontend),
    ) -> Self {
        let (evidence, _) = mpsc::channel(1);
        let config = Config {
            threads: 1,
            pipes: 8,
            ..Config::default()
        };
        let (shared, _) = Shared::new(&config, evidence, AccessLog::off());
        let name = |text| Name::new(text).unwrap();
        let nodes = BackendConfig {
            name: name("nodes"),
            policy: Policy::RoundRobin,
            sticky_key: StickyKey::default(),
        };
        let balancer = Balancer::new(nodes, 1);
        balancer.publish(vec![Placement {
            live: balancer.live(&name("s1")),
            address: server,
            weight: Placement::WEIGHT_UNIT,
            backup: false,
            state: ServerState::Up,
        }]);
        let listen = vec![Listen::new(([127, 0, 0, 1], 0).into())];
        let mut backend = Backend::new(balancer);
        backend.retries = 0;
        backend.reuse = Reuse::Always;
        backend.timeouts.queue = Duration::ZERO;
        change_backend(&mut backend);
        let mut frontend = Frontend::new(name("front"), listen, Arc::new(backend));
        change(&mut frontend);
        let live = FrontendLive {
            counters: Arc::new(PerWorker::new(1)),
            room: Arc::new(Room::new(shared.freed.clone())),
        };
        Self {
            slot: Rc::new(FrontendSlot::new(Rules::new(Arc::new(frontend)), live)),
            worker: Rc::new(Worker::new(0, Arc::new(shared))),
            server,
        }
    }

    /// Serves a client that is connected by `io`.
    pub(crate) fn serve(&self, io: Io) {
        let guest = Guest {
            connection: self.connection(io),
            deadline: self.worker.deadlines.register(),
        };
        let serving = connection::run(Box::new(guest), Rc::default());
        tokio::task::spawn_local(serving);
    }

    /// What is counted of the frontend.
    pub(crate) fn counters(&self) -> &FrontendCounters {
        self.slot.counters(0)
    }

    /// The server, with what is counted of it.
    pub(crate) fn server_live(&self) -> Arc<ServerLive> {
        self.backend().current().servers()[0].live.clone()
    }

    /// Has the frontend show something else from now on.
    pub(crate) fn show(&self, front: Arc<Front>) {
        let mut frontend = (*self.rules().frontend).clone();
        frontend.tls = Some(front);
        self.slot.replace(Rules::new(Arc::new(frontend)));
    }

    fn connection(&self, io: Io) -> Connection {
        let places = Places::take_anyway(self.slot.room(), &self.worker.shared.room);
        self.worker.cell().connections.fetch_add(1, Relaxed);
        let open = Open::new(self.worker.clone(), self.slot.clone(), places);
        let door = Door {
            h2c: true,
            proxy_protocol: false,
            tls: io.as_plain().is_some() && self.slot.look(|rules| rules.frontend.tls.is_some()),
        };
        Connection::new(open, io, self.server, self.server, door)
    }

    /// Notes what a connection to the server carried.
    pub(crate) fn note_known(&self, known: Known) {
        self.worker.pool.dials.note(self.key(), known);
    }

    /// Gives the server a connection that carries one exchange at a time.
    pub(crate) fn connect(&self, io: Io) {
        let now = self.worker.clock().now();
        let (key, limit) = (self.key(), Duration::from_secs(60));
        let pool = &self.worker.pool;
        pool.put(key, ANYONE, self.server, io, now, limit);
    }

    /// Gives the server a connection that carries several exchanges at a time, until it is idle for
    /// `limit`.
    pub(crate) fn multiplex(&self, connection: memory::Connection, limit: Duration) {
        let now = self.worker.clock().now();
        let connection = Multiplexed::Memory(connection);
        let pool = &self.worker.pool;
        pool.keep_open(self.key(), ANYONE, self.server, connection, now, limit);
    }

    /// Takes one of the server's idle connections out.
    pub(crate) fn take(&self) -> Option<Carrier> {
        let now = self.worker.clock().now();
        let pool = &self.worker.pool;
        pool.take(self.key(), ANYONE, self.server, now, true)
    }

    /// Has the pool let go of what is over.
    pub(crate) fn sweep(&self) {
        let now = self.worker.clock().now();
        self.worker.pool.sweep(now, |_| true);
    }

    fn rules(&self) -> Rc<Rules> {
        self.slot.rules()
    }

    fn backend(&self) -> Rc<BackendSlot> {
        self.rules().backends[0].clone()
    }

    fn key(&self) -> PoolKey {
        let backend = self.backend();
        (backend.key(), backend.current().servers()[0].live.id.0)
    }
}
