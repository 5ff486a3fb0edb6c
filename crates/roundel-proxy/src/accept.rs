//! Accepting: from the queue of a listener to a connection's task on the right worker.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::connection;
use crate::lent::Lent;
use crate::listener::{canonical, close_door};
use crate::listening::Gate;
use crate::maxconn::Places;
use crate::peer::{Connection, Guest, Open};
use crate::rules::FrontendSlot;
use crate::shared::{Door, Order, Taken};
use crate::shortage;
use crate::store::Store;
use crate::transport::Io;
use crate::worker::Worker;

/// Connections accepted before other work gets its turn.
const BURST: usize = 64;
/// Connections taken from a queue that is about to close: all that a queue can hold. Another
/// process may listen on the same socket, so that the queue need not end.
const LAST: usize = 4096;
/// How long a listener that closes waits for those who have begun to connect.
pub(crate) const GRACE: Duration = Duration::from_millis(250);
/// How often it looks for them.
const LOOK: Duration = Duration::from_millis(10);
/// A shortage is told of this often at most.
const TELL: Duration = Duration::from_secs(10);

/// A connection that is accepted and not served yet.
pub(crate) struct Arrival {
    pub(crate) slot: Rc<FrontendSlot>,
    pub(crate) door: Door,
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) places: Places,
}

/// Accepts until the order to close, then takes what is still queued and ends.
///
/// `closed` says whether this process is the only one that has the listener.
pub(crate) async fn run(
    worker: Rc<Worker>,
    lent: Rc<Store<Lent>>,
    gate: Gate,
    listener: Arc<TcpListener>,
    mut closed: oneshot::Receiver<bool>,
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
    let mut told: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            own = &mut closed => return close(&worker, &lent, &gate, listener.get_ref(), own == Ok(true)).await,
            ready = listener.readable() => {
                let Ok(mut ready) = ready else { return };
                match burst(&worker, &lent, &gate, listener.get_ref()) {
                    Ok(()) => tokio::task::yield_now().await,
                    Err(Stop::Empty) => ready.clear_ready(),
                    Err(Stop::Full) => {
                        let freed = worker.shared.freed.notified();
                        // A place that became free before is seen here, a later one is told.
                        if is_full(&worker, &gate) {
                            tokio::select! {
                                own = &mut closed => {
                                    return close(&worker, &lent, &gate, listener.get_ref(), own == Ok(true)).await;
                                }
                                () = freed => {}
                            }
                        }
                    }
                    Err(Stop::Short(e)) => {
                        if told.is_none_or(|at| at.elapsed() > TELL) {
                            told = Some(Instant::now());
                            tracing::warn!(error = %e, "no more clients are accepted for now; they wait in the queue");
                        }
                        tokio::select! {
                            own = &mut closed => {
                                return close(&worker, &lent, &gate, listener.get_ref(), own == Ok(true)).await;
                            }
                            () = one_free(&worker, listener.get_ref()) => {}
                        }
                    }
                }
            }
        }
    }
}

/// Waits until there is a descriptor for a client again.
async fn one_free(worker: &Worker, listener: &TcpListener) {
    loop {
        tokio::time::sleep(shortage::PAUSE).await;
        if worker.shared.descriptors.has_one_for_clients(listener) {
            return;
        }
    }
}

/// Why nothing more is accepted for now.
enum Stop {
    /// Nobody waits.
    Empty,
    /// As many connections are open as may be.
    Full,
    /// Descriptors or memory ran short.
    Short(io::Error),
}

fn is_full(worker: &Worker, gate: &Gate) -> bool {
    gate.borrow().0.room().is_full() || worker.shared.room.is_full()
}

/// Accepts up to [`BURST`] connections. Errors: what stopped it before.
fn burst(
    worker: &Rc<Worker>,
    lent: &Rc<Store<Lent>>,
    gate: &Gate,
    listener: &TcpListener,
) -> Result<(), Stop> {
    let (slot, door) = gate.borrow().clone();
    for _ in 0..BURST {
        let places = Places::take(slot.room(), &worker.shared.room).ok_or(Stop::Full)?;
        accept_one(worker, lent, &slot, door, listener, places, true)?;
    }
    Ok(())
}

/// Takes everybody who waits or has begun to connect.
async fn close(
    worker: &Rc<Worker>,
    lent: &Rc<Store<Lent>>,
    gate: &Gate,
    listener: &TcpListener,
    own: bool,
) {
    if own && close_door(listener).is_ok() {
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            empty(worker, lent, gate, listener);
            tokio::time::sleep(LOOK).await;
        }
    }
    empty(worker, lent, gate, listener);
}

/// Accepts everything that waits on a listener that is about to close, whatever the limits, and
/// keeps it here: the frontend may be about to go.
fn empty(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>, gate: &Gate, listener: &TcpListener) {
    let (slot, door) = gate.borrow().clone();
    for _ in 0..LAST {
        let places = Places::take_anyway(slot.room(), &worker.shared.room);
        if accept_one(worker, lent, &slot, door, listener, places, false).is_err() {
            return;
        }
    }
}

fn accept_one(
    worker: &Rc<Worker>,
    lent: &Rc<Store<Lent>>,
    slot: &Rc<FrontendSlot>,
    door: Door,
    listener: &TcpListener,
    places: Places,
    share: bool,
) -> Result<(), Stop> {
    match accept(listener) {
        Ok((stream, peer)) => {
            let is_last = worker.shared.descriptors.is_beyond_clients(&stream);
            let arrival = Arrival {
                slot: slot.clone(),
                door,
                stream,
                peer,
                places,
            };
            place(worker, lent, arrival, share);
            if is_last {
                return Err(Stop::Short(shortage::error()));
            }
        }
        // The client gave up while it was queued; the next one may be fine.
        Err(e) if is_of_one_connection(&e) => {}
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Stop::Empty),
        Err(e) => return Err(Stop::Short(e)),
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
fn place(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>, arrival: Arrival, share: bool) {
    let other = match share {
        true => worker.shared.better_worker(worker.index),
        false => None,
    };
    let index = other.unwrap_or(worker.index);
    worker.shared.workers[index]
        .connections
        .fetch_add(1, Relaxed);
    let Some(index) = other else {
        return serve(worker, lent, arrival);
    };
    let Arrival {
        slot,
        door,
        stream,
        peer,
        places,
    } = arrival;
    let frontend = slot.rules().frontend.name.clone();
    let taken = Taken {
        frontend,
        door,
        stream,
        peer,
        places,
    };
    worker.shared.order(index, Order::Take(taken));
}

/// Starts the task of a connection that is counted already.
pub(crate) fn serve(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>, arrival: Arrival) {
    let Arrival {
        slot,
        door,
        stream,
        peer,
        places,
    } = arrival;
    let open = Open::new(worker.clone(), slot.clone(), places);
    match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => {
            // Without an address of our own the connection has ended.
            let Ok(local) = stream.local_addr() else {
                return;
            };
            let stream = Io::Plain(stream);
            let connection = Connection::new(open, stream, peer, canonical(local), door);
            let guest = Guest {
                connection,
                deadline: worker.deadlines.register(),
            };
            tokio::task::spawn_local(connection::run(Box::new(guest), lent.clone()));
        }
        Err(error) => {
            slot.counters(worker.index).connections_rejected.add(1);
            tracing::warn!(%error, "cannot watch an accepted connection");
        }
    }
}
