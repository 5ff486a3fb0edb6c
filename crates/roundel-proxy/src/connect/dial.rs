//! One connection to one server, made for one exchange or for all that wait for a stream.

use std::cell::Cell;
use std::io;
use std::io::ErrorKind::{InvalidData, UnexpectedEof, Unsupported};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_balance::Pick;
use roundel_tls::Back;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::proxy_header;
use super::secure::secure;
use crate::config::Proto;
use crate::pool::ANYONE;
use crate::pool::dials::{Known, Waiting};
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::search::Search;
use crate::shared::{PoolKey, Shared};
use crate::shortage::{self, is_shortage};
use crate::transport::Io;
use crate::upstream::{Carrier, Multiplexed, h2};
use crate::vacancies::Vacancy;
use crate::worker::Worker;

/// Connections of one worker to one server that carry exchanges of several clients each.
const CONNECTIONS: usize = 256;
/// HTTP/1.1 as ALPN names it (RFC 7301 6).
const HTTP1: &[u8] = b"http/1.1";

/// After how long one who waits for a place looks without having been told of one: a server may come to
/// take more streams.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where a connection is to lead, and what comes first on it.
#[derive(Clone)]
pub(super) struct Target {
    key: PoolKey,
    owner: u64,
    address: SocketAddr,
    proto: Proto,
    tls: Option<Arc<Back>>,
    /// The one protocol that is offered; `None` for those of `tls`.
    only: Option<&'static [u8]>,
    /// It is for a socket.
    is_socket: bool,
    /// A header of the PROXY protocol, where it goes out before all else.
    before: Vec<u8>,
    pub(super) begun: Instant,
    /// For how long the connection may take.
    limit: Duration,
    /// For how long it may be idle then.
    idle: Duration,
}

/// What an exchange goes out on.
pub(super) struct Made {
    pub(super) carrier: Carrier,
    /// Another one had it made, or has used it.
    pub(super) reused: bool,
}

impl Target {
    pub(super) fn new(scene: Scene<'_>, slot: &BackendSlot, search: &Search, pick: &Pick) -> Self {
        let backend = &slot.backend;
        let before = match (backend.proto, &backend.tls) {
            // With the head of its request.
            (Proto::H1 | Proto::Auto, None) => None,
            _ => proxy_header(scene.peer, slot, pick),
        };
        let target = Self {
            key: (slot.key(), pick.id().0),
            owner: search.owner(slot, pick),
            address: pick.address(),
            proto: backend.proto,
            tls: backend.tls.clone(),
            only: None,
            is_socket: search.is_socket,
            before: before.unwrap_or_default(),
            begun: scene.worker.clock().now(),
            limit: backend.timeouts.connect,
            idle: backend.timeouts.upstream_idle,
        };
        let known = scene.worker.pool.dials.known(target.key);
        match known.is_some_and(|known| !known.sockets) && target.may_be_alone() {
            true => target.alone(),
            false => target,
        }
    }

    /// Whether HTTP/1.1 is a choice for a socket that has no place in HTTP/2.
    fn may_be_alone(&self) -> bool {
        self.is_socket && self.proto == Proto::Auto && self.tls.is_some()
    }

    /// The same for HTTP/1.1, on a connection of its own; what HAProxy's `ws auto` asks for.
    fn alone(self) -> Self {
        Self {
            proto: Proto::H1,
            only: Some(HTTP1),
            ..self
        }
    }

    /// Whether what is made may be for others too.
    fn is_shared(&self, worker: &Worker) -> bool {
        match self.proto {
            Proto::H1 => false,
            Proto::H2 => true,
            Proto::Auto => {
                let known = worker.pool.dials.known(self.key);
                self.tls.is_some() && known.is_none_or(|known| known.streams > 0)
            }
        }
    }
}

/// Makes a connection. While descriptors are short it waits for one, and says so by `short`.
///
/// Errors: as the operating system says; of kind `InvalidData` or `UnexpectedEof` where a handshake came
/// to nothing; `Unsupported` where that says only that the server has no place for a socket.
pub(super) fn dial(
    worker: &Rc<Worker>,
    target: Target,
    short: Rc<Cell<bool>>,
) -> Pin<Box<dyn Future<Output = io::Result<Made>>>> {
    let worker = worker.clone();
    Box::pin(async move {
        let may_be_alone = target.may_be_alone();
        let made = match target.is_shared(&worker) {
            true => share(&worker, &target, short.clone()).await?,
            false => make(&worker, &target, short.clone()).await?,
        };
        match may_be_alone && !made.carrier.takes_sockets() {
            // The connection is there for others.
            true => make(&worker, &target.alone(), short).await,
            false => Ok(made),
        }
    })
}

/// Makes a connection for this exchange, which may turn out to be for others too.
async fn make(worker: &Worker, target: &Target, short: Rc<Cell<bool>>) -> io::Result<Made> {
    let carrier = match establish(worker, target, short).await? {
        Established::Single(io) => Carrier::Connection(io),
        Established::Shared(connection) => keep(worker, target, connection)?,
    };
    Ok(Made {
        carrier,
        reused: false,
    })
}

/// Has a connection made, or waits for one that is being made, until there is a stream.
async fn share(worker: &Rc<Worker>, target: &Target, short: Rc<Cell<bool>>) -> io::Result<Made> {
    let (pool, key) = (&worker.pool, target.key);
    let (owner, address) = (target.owner, target.address);
    let open = || pool.open_stream(key, owner, address, Instant::now());
    loop {
        let mut reused = true;
        let waiting = match pool.dials.join(key, owner, address) {
            Some(waiting) => waiting,
            // What serves one client only is bounded by the clients, as it is over HTTP/1: all places of the
            // others are none for it.
            None if owner != ANYONE
                || pool.multiplexed(key) + pool.dials.count(key) < CONNECTIONS =>
            {
                reused = false;
                begin(worker, target, short.clone())
            }
            None => {
                if let Some(carrier) = open() {
                    return Ok(Made { carrier, reused });
                }
                let vacancies = pool.dials.vacancies(key);
                let waiting = vacancies.wait(owner, address);
                let _ = tokio::time::timeout(LOOK_AGAIN, waiting).await;
                if let Some(carrier) = open() {
                    return Ok(Made { carrier, reused });
                }
                continue;
            }
        };
        if let Some(io) = waiting.wait().await? {
            let carrier = Carrier::Connection(io);
            return Ok(Made { carrier, reused });
        }
        if let Some(carrier) = open() {
            return Ok(Made { carrier, reused });
        }
        if !target.is_shared(worker) {
            // It speaks HTTP/1, and another one has the connection.
            return make(worker, target, short).await;
        }
    }
}

/// Begins a connection in a task of its own: whoever had it made may leave.
fn begin(worker: &Rc<Worker>, target: &Target, short: Rc<Cell<bool>>) -> Waiting {
    let dial = worker
        .pool
        .dials
        .begin(target.key, target.owner, target.address);
    let (worker, target, of_dial) = (worker.clone(), target.clone(), dial.clone());
    tokio::task::spawn_local(async move {
        let made = establish(&worker, &target, short);
        let made = match tokio::time::timeout(target.limit, made).await {
            Ok(made) => made,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let dials = &worker.pool.dials;
        let came = made.map(|made| match made {
            Established::Single(io) => {
                dials.note(target.key, Known::default());
                Some(io)
            }
            Established::Shared(connection) => {
                dials.note(target.key, known(&connection));
                put(&worker, &target, connection);
                None
            }
        });
        dials.end(target.key, &of_dial, came);
    });
    dial.wait()
}

/// Keeps a connection, and takes the first stream of it.
fn keep(worker: &Worker, target: &Target, connection: h2::Connection) -> io::Result<Carrier> {
    worker.pool.dials.note(target.key, known(&connection));
    put(worker, target, connection);
    let now = Instant::now();
    let stream = worker
        .pool
        .open_stream(target.key, target.owner, target.address, now);
    stream.ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
}

fn known(connection: &h2::Connection) -> Known {
    Known {
        streams: connection.places(),
        sockets: connection.takes_sockets(),
    }
}

fn put(worker: &Worker, target: &Target, connection: h2::Connection) {
    let connection = Multiplexed::H2(connection);
    let now = Instant::now();
    // The first exchange has to find it.
    let idle = target.idle.max(Duration::from_secs(1));
    worker.pool.keep_open(
        target.key,
        target.owner,
        target.address,
        connection,
        now,
        idle,
    );
}

enum Established {
    Single(Io),
    Shared(h2::Connection),
}

/// Connects, and makes the handshakes that the server wants.
async fn establish(
    worker: &Worker,
    target: &Target,
    short: Rc<Cell<bool>>,
) -> io::Result<Established> {
    let shared = &worker.shared;
    let until = target.begun + target.limit.saturating_sub(2 * shortage::PAUSE);
    let mut socket = open(shared, target.address, until, short).await?;
    let io = match &target.tls {
        Some(back) => {
            let (before, ip) = (&target.before, target.address.ip());
            let secured = secure(socket, before, back, target.only, ip).await;
            secured.map_err(|error| match error.kind() {
                // It made one of HTTP/2.
                InvalidData | UnexpectedEof if target.only.is_some() => Unsupported.into(),
                _ => error,
            })?
        }
        None => {
            if !target.before.is_empty() {
                socket.write_all(&target.before).await?;
            }
            Io::Plain(socket)
        }
    };
    Ok(match target.proto.is_h2(&io) {
        true => {
            let vacancies = worker.pool.dials.vacancies(target.key);
            let vacancy = Vacancy::new(vacancies, target.owner, target.address);
            let memory = shared.http2_memory.clone();
            Established::Shared(h2::connect(io, memory, vacancy).await?)
        }
        false => Established::Single(io),
    })
}

/// Connects. While descriptors are short it waits for one until `until`, and says so.
async fn open(
    shared: &Shared,
    address: SocketAddr,
    until: Instant,
    short: Rc<Cell<bool>>,
) -> io::Result<TcpStream> {
    let socket = loop {
        match socket(shared, address) {
            Err(error) if is_shortage(&error) && Instant::now() < until => {
                shared.note_shortage(Instant::now());
                short.set(true);
                tokio::time::sleep(shortage::PAUSE).await;
            }
            made => break made?,
        }
    };
    short.set(false);
    socket.connect(address).await
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
