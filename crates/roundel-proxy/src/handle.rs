//! What the rest of the program holds of a running proxy.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_balance::{Evidence, ServerLive};

use crate::control::Control;
use crate::status::{FrontendStatus, MemoryStatus, PipeStatus};
use crate::{AccessLog, Config, Routes, StartError, WorkerEnds};

/// A running proxy. Dropping it stops the workers at once; see [`Proxy::drain`] for the kind way.
#[derive(Debug)]
pub struct Proxy {
    control: Control,
}

/// Binds every listener and starts the workers.
///
/// Shape: threads named `worker-N`, one runtime each. `evidence` gets what the exchange learns
/// about servers; when the channel is full the news is dropped, for the workers never wait.
/// Every balancer in `routes` was made for [`Config::workers`] workers.
/// Errors: an address that cannot be bound (nothing is left open then), a thread that cannot start.
pub fn start(
    config: Config,
    routes: Routes,
    evidence: tokio::sync::mpsc::Sender<Evidence>,
    log: AccessLog,
) -> Result<Proxy, StartError> {
    let proxy = start_held(config, routes, evidence, log, Vec::new())?;
    proxy.open();
    Ok(proxy)
}

/// As [`start`], with listening sockets that another process opened, and accepting nothing until
/// [`Proxy::open`].
///
/// Shape: any number of sockets per address; an address of `routes` that is among them is not
/// bound again, one that is not is bound. Those that nothing asks for close with the opening.
pub fn start_held(
    config: Config,
    routes: Routes,
    evidence: tokio::sync::mpsc::Sender<Evidence>,
    log: AccessLog,
    inherited: Vec<TcpListener>,
) -> Result<Proxy, StartError> {
    Control::start(config, routes, evidence, log, inherited).map(|control| Proxy { control })
}

impl Proxy {
    /// The frontends in the order of the configuration.
    pub fn frontends(&self) -> Vec<FrontendStatus> {
        self.control.frontends()
    }

    /// Begins to accept connections. A second call does nothing.
    pub fn open(&self) {
        self.control.open_all();
    }

    /// Every listening socket, for a process that is to follow this one. They close when they
    /// are dropped here and the proxy has drained.
    pub fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.control.sockets()
    }

    /// Swaps the routes, keeping every connection.
    ///
    /// New addresses are bound before anything changes; addresses that are gone answer what is
    /// queued on them, then close. Open connections get the new rules with their next request, a
    /// moment after this returns: the workers are told, not waited for.
    /// Errors: an address that cannot be bound; nothing has changed then.
    pub fn reload(&self, routes: Routes) -> Result<(), StartError> {
        self.control.reload(routes)
    }

    /// How many workers run.
    pub fn workers(&self) -> usize {
        self.control.workers()
    }

    /// The most client connections in all; 0 for any number.
    pub fn maxconn(&self) -> u64 {
        self.control.maxconn()
    }

    /// Open client connections.
    pub fn connections(&self) -> u64 {
        self.control.connections()
    }

    /// Client connections whose last answer is sent and that are read on for a moment, since the
    /// client still sends; they count as open.
    pub fn lingering(&self) -> u64 {
        self.control.lingering()
    }

    /// What the streams of HTTP/2 may hold, and do.
    pub fn http2_memory(&self) -> MemoryStatus {
        self.control.http2_memory()
    }

    /// Requests being answered, tunnels included.
    pub fn in_flight(&self) -> u64 {
        self.control.in_flight()
    }

    /// The pipes through which large bodies go.
    pub fn pipes(&self) -> PipeStatus {
        self.control.pipes()
    }

    /// Ends when every worker has been between two turns of its tasks: whatever was picked from a
    /// snapshot that was replaced before this call is counted as in flight by then, and nothing
    /// more is picked from it.
    ///
    /// Shape: the wait begins with the call, not with the first poll.
    pub fn passed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.control.passed()
    }

    /// Workers that ended by a panic: told of anew with each. Another one follows in the same thread,
    /// with the same listeners and counters; connections of the one that ended are broken off.
    pub fn worker_ends(&self) -> tokio::sync::watch::Receiver<WorkerEnds> {
        self.control.worker_ends()
    }

    /// Has a worker panic, to see what follows.
    #[cfg(debug_assertions)]
    pub fn panic_worker(&self, worker: usize) {
        self.control.panic_worker(worker);
    }

    /// The worker that turned its loop the longest ago, and how long ago that was; more than a
    /// second means that it hangs.
    pub fn slowest_worker(&self) -> (usize, Duration) {
        self.control.slowest_worker()
    }

    /// Stops accepting, closes each connection after its next answer, and waits until none is
    /// left or until `deadline`. Returns the number of connections that were still open.
    ///
    /// Idle connections get a second to send one more request, so that none is cut off while a
    /// request is on its way.
    pub async fn drain(&self, deadline: Instant) -> u64 {
        self.control.drain(deadline).await
    }

    /// Ends every exchange that is under way: what has no answer yet gets 503, an answer that has
    /// begun breaks off. Waits until the clients have read it, until `deadline` at most.
    pub async fn cut(&self, deadline: Instant) {
        self.control.cut(deadline).await;
    }

    /// Closes every idle connection to a server: for when they may lead nowhere any more, since an
    /// address of this machine is gone.
    pub fn close_idle(&self) {
        self.control.close_idle();
    }

    /// Ends every exchange that asks this server, tunnels too: what has no answer yet gets 502, an
    /// answer that has begun breaks off. Those that wait for a server or connect to one go on.
    ///
    /// Shape: it begins with the call; the future ends when each of them has been told.
    pub fn cut_server(&self, server: Arc<ServerLive>) -> impl Future<Output = ()> + Send + 'static {
        self.control.cut_server(server)
    }
}
