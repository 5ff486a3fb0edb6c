//! Connections to servers that speak HTTP/2: each carries the exchanges of many clients.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;

use crate::memory::Memory;
use crate::transport::Io;
use crate::vacancies::Vacancy;

mod pulse;
mod stream;
#[cfg(test)]
mod tests;
mod translate;
mod wire;

use pulse::Pulse;
pub(crate) use stream::H2Server;
use wire::{Noted, Wire};

/// Streams that one connection carries at once, if the server takes that many.
pub(crate) const STREAMS: usize = 100;
/// Bytes of an answer that a stream may bring before its client takes them.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same over all streams of a connection: as much as all of them may bring, so that clients
/// that take nothing leave the others their part.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const _: () = assert!(STREAMS as u32 * STREAM_WINDOW <= CONNECTION_WINDOW);
/// What the overhead of small DATA frames that wait may come to, as `h2` counts it: 256 bytes each,
/// less their payload. [`Wire`] gives on a thousand at a time, and every stream takes its own
/// whether its client takes any or not.
const FRAMES: usize = 4 * 1024 * 1024;
/// Bytes of a request that wait for the connection, of each stream.
const SEND_BUFFER: usize = 16 * 1024;
/// The largest frame that is read: what every server may send (RFC 9113 6.5.2).
const FRAME: u32 = 16 * 1024;
/// Bytes of the table by which the server's heads are packed (RFC 7541 4.2).
const TABLE: u32 = 4 * 1024;
/// Bytes of an answer's head, as RFC 9113 6.5.2 counts them. The frontend's limits come after.
const HEAD: u32 = 64 * 1024;
/// Streams that were given up and of which frames may still come, and for how long: those of others
/// would break rules.
const RESETS: usize = 1000;
const RESETS_FOR: Duration = Duration::from_secs(10);
/// Answers over a connection's life that break rules, each of which ends its stream only.
const ERRORS: usize = 100_000;
/// What the server allows before it has said it: no number that it can say.
const UNTOLD: usize = usize::MAX - 1;

/// A connection that gives streams out.
#[derive(Debug)]
pub(crate) struct Connection {
    send: RefCell<SendRequest<Bytes>>,
    state: Rc<State>,
}

/// What a connection, its streams and its task know of one another.
#[derive(Debug)]
struct State {
    /// Streams that are open.
    open: Cell<usize>,
    /// The task is over.
    ended: Cell<bool>,
    /// A stream was opened since the server was last asked for a sign of life.
    asked: Cell<bool>,
    /// It speaks TLS.
    secure: bool,
    /// What streams of HTTP/2 may hold.
    memory: Arc<Memory>,
    /// Who is told of places that are free.
    vacancy: Vacancy,
}

/// A stream's place on a connection; free again when this is dropped.
#[derive(Debug)]
struct Place(Rc<State>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.update(|open| open - 1);
        self.0.vacancy.tell();
    }
}

/// A stream that has a place and asks nothing yet.
#[derive(Debug)]
pub(crate) struct Opened {
    send: SendRequest<Bytes>,
    place: Place,
}

/// Begins HTTP/2 on a connection, and waits until the server has said how many streams it takes.
///
/// Errors: of kind `InvalidData` where the server does not speak HTTP/2 or takes no stream; else the
/// connection has ended.
pub(crate) async fn connect(
    io: Io,
    memory: Arc<Memory>,
    vacancy: Vacancy,
) -> io::Result<Connection> {
    let secure = io.as_plain().is_none();
    let noted = Rc::new(Noted::default());
    let wire = Wire::new(io, noted.clone());
    let mut builder = h2::client::Builder::new();
    builder
        .initial_max_send_streams(UNTOLD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(FRAMES)
        .max_send_buffer_size(SEND_BUFFER)
        .max_frame_size(FRAME)
        .header_table_size(TABLE)
        .max_header_list_size(HEAD)
        .max_concurrent_reset_streams(RESETS)
        .reset_stream_duration(RESETS_FOR)
        .max_local_error_reset_streams(Some(ERRORS))
        // What a server may begin of its own accord: nothing.
        .enable_push(false)
        .max_concurrent_streams(0)
        .max_pending_accept_reset_streams(0);
    let (send, mut driven) = builder.handshake(wire).await.map_err(io_error)?;
    poll_fn(|cx| {
        noted.tiny.set(0);
        let over = Pin::new(&mut driven).poll(cx);
        match (over, send.current_max_send_streams()) {
            (_, 0) => Poll::Ready(Err(invalid("the server takes no stream of HTTP/2"))),
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(io_error(error))),
            (Poll::Ready(Ok(())), _) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            (Poll::Pending, UNTOLD) => Poll::Pending,
            (Poll::Pending, _) => Poll::Ready(Ok(())),
        }
    })
    .await?;
    let state = Rc::new(State {
        open: Cell::new(0),
        ended: Cell::new(false),
        asked: Cell::new(false),
        secure,
        memory,
        vacancy,
    });
    tokio::task::spawn_local(drive(driven, state.clone(), noted));
    let send = RefCell::new(send);
    Ok(Connection { send, state })
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn io_error(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().unwrap_or(io::ErrorKind::Other.into()),
        false => io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP/2: {error}")),
    }
}

/// Drives a connection until it ends, or the server is found to be gone without a word.
async fn drive(
    mut driven: h2::client::Connection<Wire, Bytes>,
    state: Rc<State>,
    noted: Rc<Noted>,
) {
    let mut pulse = Pulse::new(driven.ping_pong(), noted.clone());
    poll_fn(|cx| {
        // The streams have had their turn.
        noted.tiny.set(0);
        if Pin::new(&mut driven).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        pulse.poll_lost(&state, cx)
    })
    .await;
    // The socket ends first.
    drop(driven);
    state.ended.set(true);
    state.vacancy.tell_all();
}

impl Opened {
    /// Whether the server offers extended CONNECT (RFC 8441 3).
    pub(super) fn takes_sockets(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }
}

impl Connection {
    /// Whether it takes further streams, now or when one ends.
    pub(super) fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.state.ended.get()
            && matches!(
                self.send.borrow_mut().poll_ready(&mut cx),
                Poll::Ready(Ok(()))
            )
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.ended.get()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.open.get() == 0
    }

    /// How many streams it may carry at once.
    pub(crate) fn places(&self) -> usize {
        self.send.borrow().current_max_send_streams().min(STREAMS)
    }

    /// As [`Opened::takes_sockets`].
    pub(crate) fn takes_sockets(&self) -> bool {
        self.send.borrow().is_extended_connect_protocol_enabled()
    }

    pub(super) fn open(&self) -> Option<Opened> {
        if self.state.open.get() >= self.places() || !self.is_open() {
            return None;
        }
        self.state.open.update(|open| open + 1);
        self.state.asked.set(true);
        Some(Opened {
            send: self.send.borrow().clone(),
            place: Place(self.state.clone()),
        })
    }
}
