//! TLS above a socket.
//!
//! Between two calls a connection keeps what is no whole record yet, plaintext that nobody has read
//! yet, and records that the socket did not take: mostly nothing. Records are read and written in
//! buffers that all connections of a thread share.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use roundel_http1::Block;
use rustix::net::SendFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

mod session;

use session::{Say, Session, Step, io_error};

/// Bytes read from the socket at once, at least: most requests are one such read.
const LEAST: usize = 4 * 1024;
/// The same at most: a few whole records.
const MOST: usize = 64 * 1024;
/// What the records of so much plaintext are longer than it, at most.
const SPARE: usize = 1024;
/// Plaintext that is made into records at once. A client that reads slowly has so much waiting.
const AHEAD: usize = 32 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers that nobody needs between two calls.
#[derive(Default)]
struct Scratch {
    incoming: Vec<u8>,
    outgoing: Block,
    gathered: Block,
}

/// Puts the first [`AHEAD`] bytes of `slices` side by side.
fn gather<'a>(slices: &[IoSlice<'_>], gathered: &'a mut Block) -> &'a [u8] {
    gathered.clear();
    for slice in slices {
        let room = AHEAD - gathered.len();
        gathered.put(&slice[..slice.len().min(room)]);
    }
    gathered.filled()
}

impl Scratch {
    fn incoming(&mut self, size: usize) -> &mut [u8] {
        if self.incoming.len() < size {
            self.incoming.resize(size, 0);
        }
        &mut self.incoming[..size]
    }
}

/// One end of a connection.
///
/// It says goodbye when it is dropped, unless it was broken off.
pub(crate) struct Tls<S: AsFd>(Option<Box<Parts<S>>>);

struct Parts<S> {
    socket: S,
    session: Session,
    /// Received, and not a whole record yet.
    wire: Vec<u8>,
    /// Taken out of records and not read yet.
    plain: Block,
    /// Records that wait for the socket.
    out: Block,
    end: End,
    /// Nothing more is to be said.
    silent: bool,
}

/// How the other end's side has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// It said so.
    Said,
    /// Its connection was cut.
    Cut,
    /// Its connection failed, and the socket says so only once.
    Failed(ErrorKind),
    /// It broke the protocol, or says that we did.
    Broken,
}

impl<S: AsFd> Tls<S> {
    fn new(socket: S, session: Session, received: &[u8]) -> Self {
        Self(Some(Box::new(Parts {
            socket,
            session,
            wire: received.to_vec(),
            plain: Block::new(),
            out: Block::new(),
            end: End::NotYet,
            silent: false,
        })))
    }

    fn parts(&mut self) -> &mut Parts<S> {
        self.0
            .as_mut()
            .expect("taken by `with` only, which ends it")
    }

    pub(super) fn socket(&self) -> &S {
        &self.0.as_ref().expect("as in `parts`").socket
    }

    /// What was agreed on.
    pub(crate) fn common(&self) -> &CommonState {
        self.0.as_ref().expect("as in `parts`").session.common()
    }

    /// Bytes of storage that it keeps.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let parts = self.0.as_ref().expect("as in `parts`");
        parts.wire.capacity() + parts.plain.capacity() + parts.out.capacity()
    }

    fn with<T: AsFd>(mut self, other: impl FnOnce(S) -> io::Result<T>) -> io::Result<Tls<T>> {
        let parts = *self.0.take().expect("as in `parts`");
        Ok(Tls(Some(Box::new(Parts {
            socket: other(parts.socket)?,
            session: parts.session,
            wire: parts.wire,
            plain: parts.plain,
            out: parts.out,
            end: parts.end,
            silent: parts.silent,
        }))))
    }
}

impl<S: AsFd> Drop for Tls<S> {
    fn drop(&mut self) {
        if let Some(parts) = &mut self.0 {
            parts.say_goodbye();
        }
    }
}

impl<S: AsFd> std::fmt::Debug for Tls<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls<std::net::TcpStream> {
    pub(super) fn attach(self) -> io::Result<Tls<TcpStream>> {
        self.with(TcpStream::from_std)
    }
}

impl Tls<TcpStream> {
    /// The server's end of a session whose client has sent `received` already.
    pub(crate) fn server(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        received: &[u8],
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(socket, Session::server(config)?, received))
    }

    /// The client's end of a session with the server of this name.
    pub(crate) fn client(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(socket, Session::client(config, name)?, &[]))
    }

    /// Takes one step of the handshake with what has come, and sends what follows from it. This is
    /// where the hard sums are done.
    ///
    /// What ends the handshake on this side waits, so that it goes out with the first words.
    /// Errors: the handshake has failed, of kind `InvalidData` with what rustls says of it.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        let parts = self.parts();
        let mut wire = std::mem::take(&mut parts.wire);
        parts.read_records(&mut wire, &mut ReadBuf::new(&mut []))?;
        if self.is_handshaking() {
            self.parts().send_out();
        }
        Ok(())
    }

    /// The socket of a session that is over; nothing more is said.
    pub(crate) fn into_socket(mut self) -> TcpStream {
        self.0.take().expect("as in `parts`").socket
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Ready when there is more for [`Self::advance`]. Errors: the connection has ended.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = self.parts();
        ready!(parts.poll_send(cx))?;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut room = ReadBuf::new(scratch.incoming(LEAST));
            ready!(Pin::new(&mut parts.socket).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            parts.wire.extend_from_slice(room.filled());
            Poll::Ready(Ok(()))
        })
    }

    pub(super) fn detach(self) -> io::Result<Tls<std::net::TcpStream>> {
        self.with(TcpStream::into_std)
    }

    /// As [`super::Io::poll_readable`].
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = self.parts();
        while parts.plain.is_empty() && parts.end == End::NotYet {
            ready!(parts.poll_take_in(cx, &mut ReadBuf::new(&mut [])))?;
        }
        Poll::Ready(Ok(()))
    }

    /// As [`super::Io::is_quiet`].
    pub(super) fn is_quiet(&mut self, look: bool) -> bool {
        let parts = self.parts();
        loop {
            if !parts.plain.is_empty() || parts.end != End::NotYet {
                return false;
            }
            let mut nowhere = ReadBuf::new(&mut []);
            let taken = parts.take_in(&mut nowhere, |socket, bytes| {
                Poll::Ready(match look {
                    true => Ok(rustix::io::read(&*socket, bytes)?),
                    false => socket.try_read(bytes),
                })
            });
            match taken {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return error.kind() == ErrorKind::WouldBlock,
                Poll::Pending => return true,
            }
        }
    }

    /// Has the connection end without a goodbye.
    pub(super) fn break_off(&mut self) {
        self.parts().silent = true;
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let parts = self.parts();
        let before = room.filled().len();
        loop {
            if !parts.plain.is_empty() {
                let n = parts.plain.len().min(room.remaining());
                room.put_slice(&parts.plain.filled()[..n]);
                parts.plain.consume(n);
                if parts.plain.is_empty() {
                    parts.plain = Block::new();
                }
            }
            if room.filled().len() > before || room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match parts.end {
                End::NotYet => ready!(parts.poll_take_in(cx, room))?,
                End::Said => return Poll::Ready(Ok(())),
                End::Cut => return Poll::Ready(parts.session.judge_cut()),
                End::Failed(kind) => return Poll::Ready(Err(kind.into())),
                End::Broken => return Poll::Ready(Err(ErrorKind::InvalidData.into())),
            }
        }
    }

    /// Makes records of `slices`, as few as can be, and sends what the socket takes of them. Says how
    /// many bytes of all were taken.
    ///
    /// Errors: none were; too much waits for the socket, or the session is over.
    pub(super) fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let parts = self.parts();
        if parts.out.len() >= AHEAD {
            return Err(ErrorKind::WouldBlock.into());
        }
        parts.write(slices)
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let parts = self.parts();
        if parts.out.len() >= AHEAD {
            ready!(parts.poll_send(cx))?;
        }
        Poll::Ready(parts.write(slices))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.parts().poll_send(cx)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = self.parts();
        if !std::mem::replace(&mut parts.silent, true) {
            let Parts {
                session, wire, out, ..
            } = parts;
            // Where it cannot be said, the end of the connection has to do.
            let _ = say(session, wire, Say::Goodbye, out);
        }
        ready!(parts.poll_send(cx))?;
        Pin::new(&mut parts.socket).poll_shutdown(cx)
    }
}

impl Session {
    /// What a connection that was cut comes to: an end as good as any for a server, since requests
    /// say how long they are; for a client an answer that may lack its end.
    fn judge_cut(&self) -> io::Result<()> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Client(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Parts<TcpStream> {
    /// Reads once from the socket. Before it waits, what waits for the socket goes out.
    fn poll_take_in(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let taken = self.take_in(room, |socket, bytes| {
            let mut bytes = ReadBuf::new(bytes);
            ready!(Pin::new(socket).poll_read(cx, &mut bytes))?;
            Poll::Ready(Ok(bytes.filled().len()))
        });
        if taken.is_pending()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            self.end = End::Failed(error.kind());
            return Poll::Ready(Err(error));
        }
        taken
    }

    /// Has `read` read from the socket, and takes the records apart; plaintext that does not fit into
    /// `room` waits.
    fn take_in(
        &mut self,
        room: &mut ReadBuf<'_>,
        read: impl FnOnce(&mut TcpStream, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let kept = self.wire.len();
            let most = kept + room.remaining().clamp(LEAST, MOST) + SPARE;
            let bytes = scratch.incoming(most);
            bytes[..kept].copy_from_slice(&self.wire);
            match ready!(read(&mut self.socket, &mut bytes[kept..])) {
                Ok(0) => self.end = End::Cut,
                Ok(n) => return Poll::Ready(self.read_records(&mut bytes[..kept + n], room)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Err(error) => {
                    self.end = End::Failed(error.kind());
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, self.out.filled()))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => self.out.consume(n),
            }
        }
        self.out = Block::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsFd> Parts<S> {
    /// Reads every whole record; what is left of `records` is kept.
    ///
    /// Errors: the session is over; the other end was told why, if the socket took it.
    fn read_records(&mut self, records: &mut [u8], room: &mut ReadBuf<'_>) -> io::Result<()> {
        let Self {
            session,
            plain,
            out,
            end,
            ..
        } = self;
        let mut take = |bytes: &[u8]| {
            let fit = match plain.is_empty() {
                true => bytes.len().min(room.remaining()),
                false => 0,
            };
            room.put_slice(&bytes[..fit]);
            if fit < bytes.len() {
                plain.put(&bytes[fit..]);
            }
        };
        let mut at = 0;
        let error = loop {
            let (used, step) = session.step(&mut records[at..], Say::Nothing, &mut take, out);
            at += used;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Ended) => *end = End::Said,
                Ok(Step::NoMore | Step::Said) => break None,
                Err(error) => break Some(error),
            }
        };
        let Some(error) = error else {
            self.keep(&records[at..]);
            return Ok(());
        };
        // The next steps give what waits to be said, the alert last; then there is none.
        while session.common().wants_write() {
            let step = session.step(&mut records[at..], Say::Nothing, &mut take, out);
            if step.1.is_err() {
                break;
            }
        }
        *end = End::Broken;
        self.keep(&[]);
        self.send_out();
        self.silent = true;
        Err(io_error(error))
    }

    fn keep(&mut self, rest: &[u8]) {
        match rest.is_empty() {
            true => self.wire = Vec::new(),
            false => {
                self.wire.clear();
                self.wire.extend_from_slice(rest);
            }
        }
    }

    /// Sends what the socket takes of what waits. What goes wrong is found again by others.
    fn send_out(&mut self) {
        if let Ok(n) = send(&self.socket, self.out.filled()) {
            self.out.consume(n);
        }
        if self.out.is_empty() {
            self.out = Block::new();
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.silent {
            return Err(ErrorKind::BrokenPipe.into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch {
                outgoing, gathered, ..
            } = scratch;
            outgoing.clear();
            let mut filled = slices.iter().filter(|slice| !slice.is_empty());
            let all = match (filled.next(), filled.next()) {
                (first, None) => first.map_or(&[][..], |only| &only[..only.len().min(AHEAD)]),
                _ => gather(slices, gathered),
            };
            let (session, wire) = (&mut self.session, &mut self.wire);
            if !self.out.is_empty() {
                // What waits already goes out with it.
                say(session, wire, Say::Plaintext(all), &mut self.out)?;
                self.send_out();
            } else {
                say(session, wire, Say::Plaintext(all), outgoing)?;
                if let Ok(n) = send(&self.socket, outgoing.filled()) {
                    outgoing.consume(n);
                }
                if !outgoing.is_empty() {
                    self.out.put(outgoing.filled());
                }
            }
            Ok(all.len())
        })
    }

    /// Says that nothing follows, if that can be said at once.
    fn say_goodbye(&mut self) {
        if self.silent || self.is_handshaking() {
            return;
        }
        self.silent = true;
        let said = say(
            &mut self.session,
            &mut self.wire,
            Say::Goodbye,
            &mut self.out,
        );
        if said.is_ok() {
            self.send_out();
        }
    }

    fn is_handshaking(&self) -> bool {
        self.session.common().is_handshaking()
    }
}

/// Puts records that say it into `out`. `wire` holds no whole record.
fn say(
    session: &mut Session,
    wire: &mut Vec<u8>,
    what: Say<'_>,
    out: &mut Block,
) -> io::Result<()> {
    loop {
        let (used, step) = session.step(wire, what, &mut |_| {}, out);
        wire.drain(..used);
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Said) => return Ok(()),
            Ok(Step::Ended | Step::NoMore) => return Err(ErrorKind::NotConnected.into()),
            Err(error) => return Err(io_error(error)),
        }
    }
}

fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    match bytes.is_empty() {
        true => Ok(0),
        false => Ok(rustix::net::send(
            socket,
            bytes,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?),
    }
}
