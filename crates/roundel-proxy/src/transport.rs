//! What carries the bytes of a connection, to a client or to a server.
//!
//! Plain TCP now, TLS next. Everybody above speaks of *plaintext*: a connection is readable when
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
pub(crate) mod records;
#[cfg(test)]
mod tests;

/// The transport of one connection. An enum rather than a parameter, so that the exchange, which has
/// one on either side, is compiled once and not for every pair.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    /// Stands in for TLS: plaintext waits above the socket, and some records hold none.
    #[cfg(test)]
    Records(Box<records::Records<TcpStream>>),
}

/// A transport that no worker watches, on its way from one to another.
///
/// It takes its session along: keys, and what was received and not read yet. So any worker can go on
/// with an idle connection to a server.
#[derive(Debug)]
pub(crate) enum Detached {
    Plain(std::net::TcpStream),
    #[cfg(test)]
    Records(Box<records::Records<std::net::TcpStream>>),
}

impl Io {
    /// The socket, where nothing stands between it and the plaintext.
    #[inline]
    pub(crate) fn as_plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            #[cfg(test)]
            Self::Records(_) => None,
        }
    }

    /// The socket, whatever stands above it.
    #[inline]
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(test)]
            Self::Records(records) => records.socket(),
        }
    }

    /// Ready when there may be plaintext to read, or the end.
    ///
    /// A transport that keeps records looks into those that have come, for they may hold none.
    #[inline]
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            #[cfg(test)]
            Self::Records(records) => records.poll_readable(cx),
        }
    }

    /// Sends what the socket takes of `bytes` at once, without asking the reactor.
    ///
    /// Errors: nothing was sent; the same is found again, and may be waited for, by a write.
    #[inline]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.as_plain() {
            Some(socket) => Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// As [`Self::send`], two buffers in one call.
    #[inline]
    pub(crate) fn send_both(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let Some(socket) = self.as_plain() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let parts = [IoSlice::new(first), IoSlice::new(second)];
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
            #[cfg(test)]
            Self::Records(records) => return records.is_quiet(),
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

    /// What has gone wrong with the connection, although nobody reads from it.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// Has the connection end in a way that cannot be taken for the end of a body: by a reset.
    pub(crate) fn break_off(&mut self) {
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// Lets go of the worker that watches it.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Plain(stream) => Detached::Plain(stream.into_std()?),
            #[cfg(test)]
            Self::Records(records) => Detached::Records(Box::new(records.detach()?)),
        })
    }
}

impl Detached {
    /// Has this worker watch it.
    pub(crate) fn attach(self) -> io::Result<Io> {
        Ok(match self {
            Self::Plain(stream) => Io::Plain(TcpStream::from_std(stream)?),
            #[cfg(test)]
            Self::Records(records) => Io::Records(Box::new(records.attach()?)),
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
            #[cfg(test)]
            Self::Records(records) => records.poll_read(cx, room),
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
            #[cfg(test)]
            Self::Records(records) => records.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            #[cfg(test)]
            Self::Records(records) => {
                let first = parts.iter().find(|part| !part.is_empty());
                records.poll_write(cx, first.map_or(&[], |part| &**part))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.as_plain().is_some()
    }

    /// Ready when everything written has been handed to the socket.
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(test)]
            Self::Records(records) => records.poll_flush(cx),
        }
    }

    /// Ends the sending side, in the transport's own way first.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(test)]
            Self::Records(records) => records.poll_shutdown(cx),
        }
    }
}

fn is_empty(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
