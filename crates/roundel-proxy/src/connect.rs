//! From a picked server to a connection: used ones first, else new ones, raced when slow.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use roundel_balance::{
    Current, Evidence, EvidenceKind, Pick, PickContext, PickError, ServerId, Want,
};
use smallvec::SmallVec;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;

use crate::rules::BackendSlot;
use crate::worker::Worker;

/// Silence after which the next server is tried beside one that has not taken a connection yet.
const NEXT_AFTER: Duration = Duration::from_millis(200);

/// A connection to a picked server.
pub(crate) struct Link {
    pub(crate) pick: Pick,
    pub(crate) stream: TcpStream,
    pub(crate) reused: bool,
    /// Zero for a used connection.
    pub(crate) took: Duration,
}

/// Which servers this request may still go to, and how often it was repeated.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The server that the sticky cookie names, until it was tried.
    pub(crate) sticky: Option<StickyServer>,
    /// The hash of the request's key, where the policy picks by key.
    pub(crate) hash: Option<u64>,
    pub(crate) tried: SmallVec<[ServerId; 4]>,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    /// The generation of the set that was read last.
    pub(crate) set_version: u64,
}

/// The server a cookie names, and where it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StickyServer {
    pub(crate) id: ServerId,
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLink {
    /// No server may be asked.
    NoServer(PickError),
    /// Every server asked refused or could not be reached.
    Refused,
    /// The last server asked did not answer in time.
    TimedOut,
}

impl Search {
    /// Picks the sticky server if it still serves, else one by the policy.
    ///
    /// Errors: [`PickError::Full`] when the request has to wait; see [`Self::want`].
    pub(crate) fn pick(&mut self, worker: &Worker, slot: &BackendSlot) -> Result<Pick, PickError> {
        let current = slot.current();
        self.set_version = current.generation();
        if let Some(sticky) = self.sticky.take()
            && let Some(index) = sticky.locate(&current)
        {
            let taken = current.take(index, worker.index);
            if taken.is_err() {
                self.sticky = Some(sticky);
            }
            return taken;
        }
        let context = PickContext {
            tried: &self.tried,
            worker: worker.index,
            now: worker.clock().recent(),
            hash: self.hash,
        };
        current.pick(&context, &mut worker.rng.borrow_mut())
    }

    /// What to wait for after [`PickError::Full`].
    pub(crate) fn want(&self) -> Want {
        Want {
            only: self.sticky.map(|s| s.id),
            tried: self.tried.to_vec(),
        }
    }

    /// Notes that `pick` failed, so that the next pick is another server.
    pub(crate) fn leave(&mut self, pick: &Pick) {
        self.tried.push(pick.id());
    }
}

impl StickyServer {
    /// Finds the server in a snapshot if it still takes sticky requests there.
    fn locate(self, current: &Current) -> Option<usize> {
        let servers = current.servers();
        let index = if current.generation() == self.generation {
            self.index
        } else {
            servers.iter().position(|entry| entry.live.id == self.id)?
        };
        servers[index].state.takes_sticky().then_some(index)
    }
}

/// Gets a connection for one attempt.
///
/// With `fresh` no used connection is taken; with `careful` used ones are looked at first.
pub(crate) async fn connect(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    first: Pick,
    fresh: bool,
    careful: bool,
) -> Result<Link, NoLink> {
    let now = worker.clock().recent();
    if !fresh && let Some(stream) = take_used(worker, slot, &first, now, careful) {
        return Ok(Link {
            pick: first,
            stream,
            reused: true,
            took: Duration::ZERO,
        });
    }
    Box::pin(race(worker, slot, search, first)).await
}

fn take_used(
    worker: &Worker,
    slot: &BackendSlot,
    pick: &Pick,
    now: Instant,
    careful: bool,
) -> Option<TcpStream> {
    let key = (slot.key(), pick.id().0);
    worker.pool.take(key, pick.address(), now, careful)
}

/// One connection being opened.
struct Opening {
    pick: Pick,
    begun: Instant,
    connecting: Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>,
    limit: Pin<Box<Sleep>>,
}

impl Opening {
    fn new(pick: Pick, limit: Duration, now: Instant) -> Self {
        Self {
            connecting: Box::pin(open(pick.address())),
            pick,
            begun: now,
            limit: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        if let Poll::Ready(done) = self.connecting.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let limit = self.limit.as_mut().poll(cx);
        limit.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// Opens connections until one stands: the next server at once after a refusal, and beside a
/// silent one after [`NEXT_AFTER`]. Nothing has been sent, so any method may go anywhere.
async fn race(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    first: Pick,
) -> Result<Link, NoLink> {
    let limit = slot.backend.timeouts.connect;
    let mut open: SmallVec<[Opening; 2]> = SmallVec::new();
    open.push(Opening::new(first, limit, worker.clock().now()));
    let mut next = Box::pin(tokio::time::sleep(NEXT_AFTER));
    let mut others_left = true;
    loop {
        let event = poll_fn(|cx| {
            for (i, opening) in open.iter_mut().enumerate() {
                if let Poll::Ready(result) = opening.poll(cx) {
                    return Poll::Ready(Some((i, result)));
                }
            }
            if others_left {
                return next.as_mut().poll(cx).map(|()| None);
            }
            Poll::Pending
        });
        let Some((i, result)) = event.await else {
            if let Some(silent) = open.last() {
                search.tried.push(silent.pick.id());
                tell(worker, slot, &silent.pick, EvidenceKind::Unanswered);
            }
            others_left = add(worker, slot, search, &mut open, limit).is_ok();
            next.as_mut()
                .reset(tokio::time::Instant::now() + NEXT_AFTER);
            continue;
        };
        let done = open.swap_remove(i);
        let error = match result {
            Ok(stream) => return Ok(won(worker, search, done, stream)),
            Err(error) => error,
        };
        failed(worker, slot, search, &done, &error);
        let added = add(worker, slot, search, &mut open, limit);
        if added.is_ok() {
            done.pick.counters().retries.add(1);
            done.pick.counters().redispatches.add(1);
        } else if open.is_empty() {
            return Err(match error.kind() {
                _ if added == Err(PickError::Full) => NoLink::NoServer(PickError::Full),
                io::ErrorKind::TimedOut => NoLink::TimedOut,
                _ => NoLink::Refused,
            });
        }
    }
}

/// Starts on one more server if the backend's retries allow it and one is left.
fn add(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    open: &mut SmallVec<[Opening; 2]>,
    limit: Duration,
) -> Result<(), PickError> {
    if search.retries >= slot.backend.retries {
        return Err(PickError::AllTried);
    }
    let pick = search.pick(worker, slot)?;
    search.retries += 1;
    open.push(Opening::new(pick, limit, worker.clock().now()));
    Ok(())
}

fn won(worker: &Worker, search: &mut Search, opening: Opening, stream: TcpStream) -> Link {
    // Servers tried on the way may be asked again for a later attempt: only this one is spent then.
    search.redispatched |= !search.tried.is_empty() && !search.tried.contains(&opening.pick.id());
    opening.pick.counters().connects.add(1);
    let now = worker.clock().now();
    Link {
        took: now.saturating_duration_since(opening.begun),
        pick: opening.pick,
        stream,
        reused: false,
    }
}

/// Counts a failed connect and tells the control side.
fn failed(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    opening: &Opening,
    error: &io::Error,
) {
    opening.pick.counters().connect_errors.add(1);
    if !search.tried.contains(&opening.pick.id()) {
        search.tried.push(opening.pick.id());
    }
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => EvidenceKind::Refused,
        io::ErrorKind::TimedOut => EvidenceKind::ConnectTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            EvidenceKind::Unreachable
        }
        // Descriptors or ports of our own ran out: says nothing about the server.
        _ => return,
    };
    opening.pick.server().note_failure();
    tell(worker, slot, &opening.pick, kind);
}

/// Tells the control side what became of a connect.
fn tell(worker: &Worker, slot: &BackendSlot, pick: &Pick, kind: EvidenceKind) {
    let evidence = Evidence {
        backend: slot.backend.balancer.name().clone(),
        server: pick.id(),
        address: pick.address(),
        kind,
    };
    // A full channel means that the control side has plenty of evidence already.
    let _ = worker.shared.evidence.try_send(evidence);
}
