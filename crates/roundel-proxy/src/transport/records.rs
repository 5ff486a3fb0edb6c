//! A transport that packs plaintext into records, as TLS does, without the secrets: for tests.
//!
//! A record is its kind, the length in two bytes, and so many bytes. Several may arrive at once, so
//! that plaintext waits above the socket; one may arrive in pieces; and one may hold no plaintext.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Plaintext.
pub(crate) const DATA: u8 = 0;
/// Something between the two ends, as a session ticket is.
pub(crate) const TICKET: u8 = 1;
/// The end; without one the connection was cut.
pub(crate) const END: u8 = 2;

/// One record.
pub(crate) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], payload].concat()
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Records<S> {
    socket: S,
    /// Read, and not a whole record yet.
    wire: BytesMut,
    /// Taken out of records and not read yet.
    plain: BytesMut,
    /// The end has come.
    ended: bool,
    /// Records that wait for the socket.
    out: BytesMut,
    /// The end was said.
    closing: bool,
    /// Records without plaintext so far: the session's state.
    pub(crate) tickets: usize,
}

impl<S> Records<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            wire: BytesMut::new(),
            plain: BytesMut::new(),
            ended: false,
            out: BytesMut::new(),
            closing: false,
            tickets: 0,
        }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    fn with<T>(self, other: impl FnOnce(S) -> io::Result<T>) -> io::Result<Records<T>> {
        Ok(Records {
            socket: other(self.socket)?,
            wire: self.wire,
            plain: self.plain,
            ended: self.ended,
            out: self.out,
            closing: self.closing,
            tickets: self.tickets,
        })
    }
}

impl Records<std::net::TcpStream> {
    pub(super) fn attach(self) -> io::Result<Records<TcpStream>> {
        self.with(TcpStream::from_std)
    }
}

impl Records<TcpStream> {
    pub(super) fn detach(self) -> io::Result<Records<std::net::TcpStream>> {
        self.with(TcpStream::into_std)
    }

    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.plain.is_empty() && !self.ended {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.take_in() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                taken => taken?,
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        loop {
            if !self.plain.is_empty() || self.ended {
                return false;
            }
            if let Err(error) = self.take_in() {
                return error.kind() == ErrorKind::WouldBlock;
            }
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_readable(cx))?;
        let n = self.plain.len().min(room.remaining());
        room.put_slice(&self.plain[..n]);
        self.plain.advance(n);
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket. Errors: it has nothing, or was cut.
    fn take_in(&mut self) -> io::Result<()> {
        let mut room = [0; 4096];
        let n = self.socket.try_read(&mut room)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.wire.extend_from_slice(&room[..n]);
        while let Some(&[kind, high, low]) = self.wire.get(..3) {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if self.wire.len() < 3 + length {
                break;
            }
            self.wire.advance(3);
            let payload = self.wire.split_to(length);
            match kind {
                DATA => self.plain.extend_from_slice(&payload),
                TICKET => self.tickets += 1,
                _ => self.ended = true,
            }
        }
        Ok(())
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let n = bytes.len().min(16 * 1024);
        self.out.extend_from_slice(&record(DATA, &bytes[..n]));
        Poll::Ready(Ok(n))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
            self.out.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.out.extend_from_slice(&record(END, b""));
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
