//! Accepting: from the queue of a listener to a connection's task on the right worker.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::connection::{self, Connection};
use crate::listener::canonical;
use crate::rules::FrontendSlot;
use crate::shared::{Door, Order};
use crate::worker::Worker;

/// Connections accepted before other work gets its turn.
const BURST: usize = 64;
/// Bursts taken from a queue that is about to close: all that a queue can hold. Another process
/// may listen on the same socket, so that the queue need not end.
const LAST_BURSTS: usize = 64;
/// The pause after descriptors or memory ran out; connections wait in the kernel's queue meanwhile.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Where the connections of a listener go. An order may change it while it listens.
pub(crate) type Gate = Rc<RefCell<(Rc<FrontendSlot>, Door)>>;

/// Accepts until the order to close, then takes what is still queued and ends.
pub(crate) async fn run(
    worker: Rc<Worker>,
    gate: Gate,
    listener: Arc<TcpListener>,
    mut closed: oneshot::Receiver<()>,
) {
    // The descriptor belongs to a std listener that nothing else closes, which is what the
    // deprecation asks for; the replacement needs unsafe to say the same.
    #[expect(deprecated)]
    let listener = match AsyncFd::new(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listener cannot be watched; its share of connections is lost");
            return;
        }
    };
    let mut exhausted = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut closed => {
                for _ in 0..LAST_BURSTS {
                    if burst(&worker, &gate, listener.get_ref()).is_err() {
                        break;
                    }
                }
                return;
            }
            ready = listener.readable() => {
                let Ok(mut ready) = ready else { return };
                match burst(&worker, &gate, listener.get_ref()) {
                    Ok(()) => {
                        exhausted = false;
                        tokio::task::yield_now().await;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    Err(e) => {
                        gate.borrow().0.counters(worker.index).connections_rejected.add(1);
                        // Once per shortage, not twenty times a second.
                        if !std::mem::replace(&mut exhausted, true) {
                            tracing::warn!(error = %e, "cannot accept; connections wait in the queue");
                        }
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Accepts up to [`BURST`] connections. Errors: what stopped it before, `WouldBlock` when none waits.
fn burst(worker: &Rc<Worker>, gate: &Gate, listener: &TcpListener) -> io::Result<()> {
    let (slot, door) = gate.borrow().clone();
    for _ in 0..BURST {
        match accept(listener) {
            Ok((stream, peer)) => place(worker, &slot, door, stream, peer),
            // The client gave up while it was queued; the next one may be fine.
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
    )
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    let peer = peer
        .and_then(|p| SocketAddr::try_from(p).ok())
        .ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((stream.into(), canonical(peer)))
}

/// Serves the connection here, or gives it to a worker that holds clearly fewer.
fn place(
    worker: &Rc<Worker>,
    slot: &Rc<FrontendSlot>,
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let other = worker.shared.better_worker(worker.index);
    let index = other.unwrap_or(worker.index);
    worker.shared.workers[index]
        .connections
        .fetch_add(1, Relaxed);
    match other {
        None => serve(worker, slot, door, stream, peer),
        Some(index) => worker.shared.order(
            index,
            Order::Take {
                frontend: slot.rules().frontend.name.clone(),
                door,
                stream,
                peer,
            },
        ),
    }
}

/// Starts the task of a connection that is counted already.
pub(crate) fn serve(
    worker: &Rc<Worker>,
    slot: &Rc<FrontendSlot>,
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let open = Open::new(worker.clone(), slot.clone());
    match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => {
            let connection = Connection::new(open, stream, peer, door.port, door.h2c);
            tokio::task::spawn_local(connection::run(connection));
        }
        Err(error) => {
            slot.counters(worker.index).connections_rejected.add(1);
            tracing::warn!(%error, "cannot watch an accepted connection");
        }
    }
}

/// Counts a connection as open; counts a panic if it is dropped by one.
pub(crate) struct Open {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Rc<FrontendSlot>,
}

impl Open {
    fn new(worker: Rc<Worker>, slot: Rc<FrontendSlot>) -> Self {
        let counters = slot.counters(worker.index);
        counters.connections.add(1);
        counters
            .connections_max
            .raise(counters.connections.get() - counters.connections_closed.get());
        Self { worker, slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let counters = self.slot.counters(self.worker.index);
        counters.connections_closed.add(1);
        if std::thread::panicking() {
            counters.panics.add(1);
        }
        self.worker.cell().connections.fetch_sub(1, Relaxed);
    }
}
