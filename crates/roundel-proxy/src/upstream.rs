//! The server's side of an attempt, whatever the server speaks.
//!
//! HTTP/1 on a connection of its own, or a stream of HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use roundel_http1::{Edits, Limits, Method, Reason, RequestHead, ResponseHead, Trailers};
use tokio::net::TcpStream;

use crate::blocks::Blocks;
use crate::sides::{End, Sink, Source, SourceError};
use crate::splice::Pipe;
use crate::transport::Io;

mod h1;
pub(crate) mod h2;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use h1::H1Server;
use h2::H2Server;

/// What an attempt goes out on.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A connection for this exchange alone.
    Connection(Io),
    /// One stream of a connection that carries several exchanges at a time.
    H2(h2::Opened),
    #[cfg(test)]
    Stream(memory::Stream),
}

impl Carrier {
    /// Whether a server may be asked for WebSocket on it.
    pub(crate) fn takes_sockets(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::H2(opened) => opened.takes_sockets(),
            #[cfg(test)]
            Self::Stream(_) => true,
        }
    }
}

/// A connection that carries several exchanges at a time. It stays with the worker whose task
/// drives it, and with the streams on it.
#[derive(Debug)]
pub(crate) enum Multiplexed {
    H2(h2::Connection),
    #[cfg(test)]
    Memory(memory::Connection),
}

impl Multiplexed {
    /// Opens one more stream; `None` where every place is taken.
    pub(crate) fn open(&self) -> Option<Carrier> {
        match *self {
            Self::H2(ref connection) => connection.open().map(Carrier::H2),
            #[cfg(test)]
            Self::Memory(ref connection) => connection.open().map(Carrier::Stream),
        }
    }

    /// Whether it takes further streams, now or when one ends.
    pub(crate) fn is_open(&self) -> bool {
        match *self {
            Self::H2(ref connection) => connection.is_open(),
            #[cfg(test)]
            Self::Memory(ref connection) => connection.is_open(),
        }
    }

    /// Whether it is closed, whoever still holds a stream of it.
    pub(crate) fn has_ended(&self) -> bool {
        match *self {
            Self::H2(ref connection) => connection.has_ended(),
            #[cfg(test)]
            Self::Memory(ref connection) => !connection.is_open() && connection.is_idle(),
        }
    }

    /// Whether there is no stream on it.
    pub(crate) fn is_idle(&self) -> bool {
        match *self {
            Self::H2(ref connection) => connection.is_idle(),
            #[cfg(test)]
            Self::Memory(ref connection) => connection.is_idle(),
        }
    }
}

/// One attempt on a server. What an exchange may ask of it stands here; the bodies go by
/// [`Source`] and [`Sink`].
#[derive(Debug)]
pub(crate) enum Server {
    H1(H1Server),
    /// It takes more than twice as much, which those of HTTP/1 are not to carry along.
    H2(Box<H2Server>),
    #[cfg(test)]
    Memory(memory::Stream),
}

/// Why no head of an answer can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// The connection ended before the first byte.
    Empty,
    /// The connection ended in the middle of a head.
    Cut,
    /// The server has said that it did nothing with the request.
    Refused,
    /// The server ended the attempt before the first byte; the connection goes on.
    Reset,
    /// The request cannot be said in what the server speaks.
    Unfit,
    /// The client asks for WebSocket, for which the server's connection has no place.
    NoTunnel,
    /// The head is malformed.
    Malformed(Reason),
}

/// Has the same asked of whichever it is.
macro_rules! each {
    ($of:expr, $server:ident => $ask:expr) => {
        match $of {
            Server::H1($server) => $ask,
            Server::H2($server) => $ask,
            #[cfg(test)]
            Server::Memory($server) => $ask,
        }
    };
}

impl Server {
    /// Begins an attempt. `reused` says that the connection had carried a request before.
    #[inline]
    pub(crate) fn new(carrier: Carrier, reused: bool, blocks: &Blocks) -> Self {
        match carrier {
            Carrier::Connection(io) => Self::H1(H1Server::new(io, reused, blocks)),
            Carrier::H2(opened) => Self::H2(Box::new(H2Server::new(opened, reused, blocks))),
            #[cfg(test)]
            Carrier::Stream(stream) => Self::Memory(stream),
        }
    }

    /// Puts a header of the PROXY protocol before everything else on a new connection.
    pub(crate) fn put_proxy_header(&mut self, header: &[u8]) {
        each!(self, server => server.put_proxy_header(header));
    }

    /// Begins the request; its body follows through [`Sink`].
    ///
    /// The server is told `host` where there is one, else the client's word, else `address`.
    #[inline]
    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &Edits,
        host: Option<&[u8]>,
        address: SocketAddr,
    ) {
        each!(self, server => server.send_head(head, edits, host, address));
    }

    /// Gives the buffer back from which the request went out, once it is sent.
    #[inline]
    pub(crate) fn rest_writer(&mut self, blocks: &Blocks) {
        each!(self, server => server.rest_writer(blocks));
    }

    /// Whether any byte of the request may have left.
    #[inline]
    pub(crate) fn has_sent(&self) -> bool {
        each!(self, server => server.has_sent())
    }

    /// Whether any byte of an answer has come.
    #[inline]
    pub(crate) fn has_answered(&self) -> bool {
        each!(self, server => server.has_answered())
    }

    /// A number that grows with every byte that this server takes or sends.
    #[inline]
    pub(crate) fn progress(&self) -> u64 {
        each!(self, server => server.progress())
    }

    /// As [`Self::progress`] while a head is awaited, of which only the first byte and the last
    /// count: it may not come in drips for ever.
    #[inline]
    pub(crate) fn head_progress(&self) -> u64 {
        each!(self, server => server.head_progress())
    }

    /// Reads until a head is complete, interim or final; after a final one the body may be read.
    #[inline]
    pub(crate) fn poll_head(
        &mut self,
        method: Method,
        limits: &Limits,
        blocks: &Blocks,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HeadError>> {
        each!(self, server => server.poll_head(method, limits, blocks, cx))
    }

    /// The head that was read last.
    #[inline]
    pub(crate) fn head(&self) -> &ResponseHead {
        each!(self, server => &server.head)
    }

    /// Lets an interim head go, so that the next one may be read.
    pub(crate) fn next_head(&mut self) {
        each!(self, server => server.head.reset());
    }

    /// Has the body of the answer read a block at a time, however long it is.
    pub(crate) fn spare(&mut self) {
        each!(self, server => server.spare());
    }

    /// Takes what has come of the answer's body off a connection that others share, although its
    /// client takes nothing.
    #[inline]
    pub(crate) fn read_ahead(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::H2(server) => server.read_ahead(cx),
            Self::H1(_) => {}
            #[cfg(test)]
            Self::Memory(_) => {}
        }
    }

    /// Has bytes go both ways from here on, after a head that says so; lets that head go.
    pub(crate) fn switch(&mut self) {
        each!(self, server => server.switch());
    }

    /// Has the server's side of a tunnel end in a way that cannot be taken for its end.
    pub(crate) fn break_off(&mut self) {
        each!(self, server => server.break_off());
    }

    /// The connection had carried a request before this one.
    #[inline]
    pub(crate) fn is_reused(&self) -> bool {
        each!(self, server => server.reused)
    }

    /// Whether request and answer both ended exactly, and the server keeps the connection.
    #[inline]
    pub(crate) fn is_reusable(&self) -> bool {
        each!(self, server => server.is_reusable())
    }

    /// Ends the attempt: gives the buffers back and, if this exchange alone had it, the connection. A
    /// stream ends here; what carries it goes on.
    #[inline]
    pub(crate) fn into_connection(self, blocks: &Blocks) -> Option<Io> {
        match self {
            Self::H1(server) => Some(server.into_io(blocks)),
            Self::H2(server) => {
                server.end(blocks);
                None
            }
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }
}

impl End for Server {
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, server => server.poll_close(cx))
    }

    fn take_buffers(&mut self, blocks: &Blocks) {
        each!(self, server => server.take_buffers(blocks));
    }

    fn give_buffers(&mut self, blocks: &Blocks) {
        each!(self, server => server.give_buffers(blocks));
    }
}

impl Source for Server {
    #[inline]
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        each!(self, server => server.poll_data(cx))
    }

    #[inline]
    fn data(&self) -> &[u8] {
        each!(self, server => server.data())
    }

    #[inline]
    fn consume(&mut self, n: usize) {
        each!(self, server => server.consume(n));
    }

    #[inline]
    fn trailers(&self) -> Option<&Trailers> {
        each!(self, server => server.trailers())
    }

    #[inline]
    fn unseen(&self) -> Option<(&TcpStream, u64)> {
        each!(self, server => server.unseen())
    }

    #[inline]
    fn took(&mut self, n: usize) {
        each!(self, server => server.took(n));
    }
}

impl Sink for Server {
    #[inline]
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        each!(self, server => server.poll_push(data, cx))
    }

    #[inline]
    fn finish(&mut self, trailers: Option<&Trailers>) {
        each!(self, server => server.finish(trailers));
    }

    #[inline]
    fn is_finished(&self) -> bool {
        each!(self, server => server.is_finished())
    }

    #[inline]
    fn room(&self) -> u64 {
        each!(self, server => server.room())
    }

    #[inline]
    fn push_pipe(&mut self, pipe: Pipe) {
        each!(self, server => server.push_pipe(pipe));
    }

    #[inline]
    fn held(&self) -> u64 {
        each!(self, server => server.held())
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, server => server.poll_flush(cx))
    }
}
