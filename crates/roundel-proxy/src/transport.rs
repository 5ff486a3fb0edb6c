//! What carries the bytes of a connection, to a client or to a server.
//!
//! Plain TCP, or TLS above it. Everybody above speaks of *plaintext*: a connection is readable when
//! there is plaintext to read or the peer has ended, whatever waits at the socket or above it. What
//! only a plain socket can do (several buffers in one call, pipes inside the kernel) is asked for
//! and done without where it is not to be had.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[cfg(test)]
mod tests;
pub(crate) mod tls;

use tls::Tls;

/// The transport of one connection. An enum rather than a parameter, so that the exchange, which has
/// one on either side, is compiled once and not for every pair.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Tls<TcpStream>),
}

/// A transport that no worker watches, on its way from one to another.
///
/// It takes its session along: keys, and what was received and not read yet. So any worker can go on
/// with an idle connection to a server.
#[derive(Debug)]
pub(crate) enum Detached {
    Plain(std::net::TcpStream),
    Tls(Tls<std::net::TcpStream>),
}

impl Io {
    /// The socket, where nothing stands between it and the plaintext.
    #[inline]
    pub(crate) fn as_plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// The socket, whatever stands above it.
    #[inline]
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.socket(),
        }
    }

    /// Ready when there may be plaintext to read, or the end.
    ///
    /// A transport that keeps records looks into those that have come, for they may hold none.
    #[inline]
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_readable(cx),
        }
    }

    /// Sends what the socket takes of `bytes` at once, without asking the reactor. A transport that
    /// keeps records may take more than the socket: see [`AsyncWrite::poll_flush`].
    ///
    /// Errors: nothing was sent; the same is found again, and may be waited for, by a write.
    #[inline]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?),
            Self::Tls(tls) => tls.send(&[IoSlice::new(bytes)]),
        }
    }

    /// As [`Self::send`], two buffers in one call, and in one record where they fit.
    #[inline]
    pub(crate) fn send_both(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let parts = [IoSlice::new(first), IoSlice::new(second)];
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => return tls.send(&parts),
        };
        let mut control = SendAncillaryBuffer::default();
        let flags = SendFlags::NOSIGNAL;
        Ok(rustix::net::sendmsg(socket, &parts, &mut control, flags)?)
    }

    /// Whether a connection at rest is fit for use: neither plaintext has arrived nor an end.
    /// `look` asks the kernel even if the last turn of the event loop knew of nothing.
    ///
    /// A transport that keeps records takes in those that have come first: servers of TLS send
    /// their session tickets when they like, and those spoil nothing.
    pub(crate) fn is_quiet(&mut self, look: bool) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => return tls.is_quiet(look),
        };
        if !stream.try_read(&mut [0]).is_err_and(|e| is_empty(&e)) {
            return false;
        }
        let peeked = |()| {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            rustix::net::recv(stream, &mut [0u8], flags)
        };
        !look || peeked(()).is_err_and(|e| e == rustix::io::Errno::AGAIN)
    }

    /// What both sides have chosen to speak, where they have chosen.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.common().alpn_protocol(),
        }
    }

    /// What has gone wrong with the connection, although nobody reads from it.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// Has the connection end in a way that cannot be taken for the end of a body: by a reset.
    pub(crate) fn break_off(&mut self) {
        if let Self::Tls(tls) = self {
            tls.break_off();
        }
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// Lets go of the worker that watches it.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Plain(stream) => Detached::Plain(stream.into_std()?),
            Self::Tls(tls) => Detached::Tls(tls.detach()?),
        })
    }
}

impl Detached {
    /// Has this worker watch it.
    pub(crate) fn attach(self) -> io::Result<Io> {
        Ok(match self {
            Self::Plain(stream) => Io::Plain(TcpStream::from_std(stream)?),
            Self::Tls(tls) => Io::Tls(tls.attach()?),
        })
    }
}

impl AsyncRead for Io {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, room),
            Self::Tls(tls) => tls.poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Io {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(tls) => tls.poll_write(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready when everything written has been handed to the socket.
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Ends the sending side, in the transport's own way first.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}

fn is_empty(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
