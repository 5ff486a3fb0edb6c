//! From a picked server to a connection: used ones first, else new ones, raced when slow.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use roundel_balance::{Evidence, EvidenceKind, Pick, PickError};
use smallvec::SmallVec;
use tokio::net::TcpSocket;
use tokio::time::Sleep;

use crate::rules::BackendSlot;
use crate::search::Search;
use crate::shared::Shared;
use crate::shortage::{self, is_shortage};
use crate::transport::Io;
use crate::upstream::Carrier;
use crate::worker::Worker;

/// Silence after which the next server is tried beside one that has not taken a connection yet.
const NEXT_AFTER: Duration = Duration::from_millis(200);

/// Silence of which the control side is told, so that it asks the server by other ways while
/// there is still time.
const TELL_AFTER: Duration = Duration::from_millis(80);

/// A connection to a picked server.
pub(crate) struct Link {
    pub(crate) pick: Pick,
    pub(crate) carrier: Carrier,
    pub(crate) reused: bool,
    /// It carries the client's login.
    pub(crate) bound: bool,
    /// Zero for a used connection.
    pub(crate) took: Duration,
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
    /// Our own descriptors ran out.
    Short,
}

/// Picks the server to ask next. Errors: as [`Search::pick`].
pub(crate) fn pick(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
) -> Result<Pick, PickError> {
    let mut rng = worker.rng.borrow_mut();
    search.pick(slot, worker.index, worker.clock().recent(), &mut rng)
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
    let first = match fresh {
        true => first,
        false => match used(worker, slot, search, first, careful) {
            Ok(link) => return Ok(link),
            Err(first) => first,
        },
    };
    Box::pin(race(worker, slot, search, first)).await
}

/// Takes a used connection to a picked server. Errors: the pick, when there is none.
///
/// One that carries the client's login is taken or ends here: its server was asked for first.
///
/// Inlined by force: what it returns is large, and would be copied once more.
#[inline(always)]
pub(crate) fn used(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    pick: Pick,
    careful: bool,
) -> Result<Link, Pick> {
    if let Some(bond) = search.bond.take()
        && bond.server == pick.id()
    {
        return Ok(Link {
            pick,
            carrier: Carrier::Connection(bond.io),
            reused: true,
            bound: true,
            took: Duration::ZERO,
        });
    }
    let key = (slot.key(), pick.id().0);
    let owner = search.owner(slot, &pick);
    let now = worker.clock().recent();
    let taken = worker.pool.take(key, owner, pick.address(), now, careful);
    match taken {
        Some(carrier) => Ok(Link {
            pick,
            carrier,
            reused: true,
            bound: false,
            took: Duration::ZERO,
        }),
        None => Err(pick),
    }
}

/// One connection being opened.
struct Opening {
    pick: Pick,
    begun: Instant,
    connecting: Pin<Box<dyn Future<Output = io::Result<Io>>>>,
    limit: Pin<Box<Sleep>>,
    /// It waits for a descriptor of ours, not for the server.
    short: Rc<Cell<bool>>,
}

impl Opening {
    fn new(worker: &Worker, pick: Pick, limit: Duration) -> Self {
        let now = worker.clock().now();
        let short = Rc::new(Cell::new(false));
        let until = now + limit.saturating_sub(2 * shortage::PAUSE);
        let (shared, address) = (worker.shared.clone(), pick.address());
        Self {
            connecting: Box::pin(open(shared, address, until, short.clone())),
            short,
            pick,
            begun: now,
            limit: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        if let Poll::Ready(done) = self.connecting.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let limit = self.limit.as_mut().poll(cx);
        limit.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Connects. While descriptors are short it waits for one until `until`, and says so.
async fn open(
    shared: Arc<Shared>,
    address: SocketAddr,
    until: Instant,
    short: Rc<Cell<bool>>,
) -> io::Result<Io> {
    let socket = loop {
        match socket(&shared, address) {
            Err(error) if is_shortage(&error) && Instant::now() < until => {
                shared.note_shortage(Instant::now());
                short.set(true);
                tokio::time::sleep(shortage::PAUSE).await;
            }
            made => break made?,
        }
    };
    short.set(false);
    socket.connect(address).await.map(Io::Plain)
}

fn socket(shared: &Shared, address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if shared.descriptors.is_beyond_servers(&socket) {
        return Err(shortage::error());
    }
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Opens connections until one stands: the next server at once after a refusal, and beside a
/// silent one after [`NEXT_AFTER`]. Nothing has been sent, so any method may go anywhere. Every
/// server is asked once before it fails; only silent ones count as retries.
async fn race(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    first: Pick,
) -> Result<Link, NoLink> {
    let limit = slot.backend.timeouts.connect;
    let mut open: SmallVec<[Opening; 2]> = SmallVec::new();
    open.push(Opening::new(worker, first, limit));
    let mut next = Box::pin(tokio::time::sleep(TELL_AFTER));
    let (mut told, mut others_left) = (false, true);
    loop {
        let event = poll_fn(|cx| {
            for (i, opening) in open.iter_mut().enumerate() {
                if let Poll::Ready(result) = opening.poll(cx) {
                    return Poll::Ready(Some((i, result)));
                }
                if opening.short.get() {
                    worker.pool.shed();
                }
            }
            next.as_mut().poll(cx).map(|()| None)
        });
        let Some((i, result)) = event.await else {
            if open.iter().any(|o| o.short.get()) {
                // It is not the servers that are silent.
                next.as_mut()
                    .reset(tokio::time::Instant::now() + TELL_AFTER);
                continue;
            }
            if leave_behind(slot, search, &mut open)
                && let Err(error) = add(worker, slot, search, &mut open, limit)
            {
                return Err(NoLink::NoServer(error));
            }
            told = !told;
            let pause = match (told, open.last()) {
                _ if !others_left => NEXT_AFTER,
                (true, Some(silent)) => {
                    tell(worker, slot, &silent.pick, EvidenceKind::Unanswered);
                    NEXT_AFTER - TELL_AFTER
                }
                (_, silent) => {
                    search.tried.extend(silent.map(|s| s.pick.id()));
                    others_left = add_beside(worker, slot, search, &mut open, limit).is_ok();
                    TELL_AFTER
                }
            };
            next.as_mut().reset(tokio::time::Instant::now() + pause);
            continue;
        };
        let done = open.swap_remove(i);
        let error = match result {
            Ok(io) => return Ok(won(worker, slot, search, done, io)),
            Err(error) if is_shortage(&error) && open.is_empty() => return Err(NoLink::Short),
            Err(error) => error,
        };
        failed(worker, slot, search, &done, &error);
        let added = match error.kind() {
            io::ErrorKind::TimedOut => add_beside(worker, slot, search, &mut open, limit),
            _ => add(worker, slot, search, &mut open, limit),
        };
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

/// Gives up connects to servers that are known by now to serve no longer. Returns whether none is
/// left.
fn leave_behind(
    slot: &BackendSlot,
    search: &mut Search,
    open: &mut SmallVec<[Opening; 2]>,
) -> bool {
    let current = slot.current();
    open.retain(|opening| {
        let id = opening.pick.id();
        let mut servers = current.servers().iter();
        let serves = servers.any(|e| e.live.id == id && e.state.takes_sticky());
        if !serves && !search.tried.contains(&id) {
            search.tried.push(id);
        }
        serves
    });
    open.is_empty()
}

/// Starts on one more server in place of one that is out of the question, if one is left.
fn add(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    open: &mut SmallVec<[Opening; 2]>,
    limit: Duration,
) -> Result<(), PickError> {
    let pick = pick(worker, slot, search)?;
    search.refusals += 1;
    open.push(Opening::new(worker, pick, limit));
    Ok(())
}

/// Starts on one more server although another may still answer, if the backend's retries allow
/// it and one is left.
fn add_beside(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    open: &mut SmallVec<[Opening; 2]>,
    limit: Duration,
) -> Result<(), PickError> {
    if search.retries >= slot.backend.retries {
        return Err(PickError::AllTried);
    }
    let pick = pick(worker, slot, search)?;
    search.retries += 1;
    open.push(Opening::new(worker, pick, limit));
    Ok(())
}

fn won(worker: &Worker, slot: &BackendSlot, search: &mut Search, opening: Opening, io: Io) -> Link {
    // Servers tried on the way may be asked again for a later attempt: only this one is spent then.
    search.redispatched |= !search.tried.is_empty() && !search.tried.contains(&opening.pick.id());
    opening.pick.counters().connects.add(1);
    slot.backend.balancer.note_served();
    let now = worker.clock().now();
    Link {
        took: now.saturating_duration_since(opening.begun),
        pick: opening.pick,
        carrier: Carrier::Connection(io),
        reused: false,
        bound: false,
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

/// Tells the control side what became of a connect. That it was refused, all other requests know
/// at once, until the control side has decided what follows.
fn tell(worker: &Worker, slot: &BackendSlot, pick: &Pick, kind: EvidenceKind) {
    let evidence = Evidence {
        backend: slot.backend.balancer.name().clone(),
        server: pick.id(),
        address: pick.address(),
        kind,
    };
    let refused = kind == EvidenceKind::Refused;
    if refused {
        pick.server().note_refused();
    }
    // A full channel means that the control side has plenty of evidence already.
    if worker.shared.evidence.try_send(evidence).is_err() && refused {
        pick.server().clear_refused();
    }
}
