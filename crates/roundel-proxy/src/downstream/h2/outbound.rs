//! What goes out on an HTTP/2 connection, behind the `h2` crate.
//!
//! That crate writes each large frame by itself, which is a call to the kernel for every 16 KB. So the
//! frames of one turn of the connection's task are gathered, and sent together at its end: heads and
//! small bodies copied, large ones as the pieces that they came in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::client::Piece;
use crate::transport::Io;

/// Bytes from which on no more are gathered before the socket has taken some.
const ENOUGH: usize = 128 * 1024;
/// Bytes from which on a piece is not copied.
const LARGE: usize = 4 * 1024;
/// Parts that are sent in one call.
const PARTS: usize = 32;

/// Frames on their way to the socket, in order.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    parts: VecDeque<Part>,
    /// What was copied behind the last part.
    copied: BytesMut,
    len: usize,
}

#[derive(Debug)]
enum Part {
    Copied(Bytes),
    Piece(Piece),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Piece(piece) => piece.chunk(),
        }
    }

    fn advance(&mut self, n: usize) {
        match self {
            Self::Copied(bytes) => bytes.advance(n),
            Self::Piece(piece) => piece.advance(n),
        }
    }
}

/// The piece of which `h2` has asked for the bytes last, as it does just before it writes them.
#[derive(Debug, Default)]
pub(super) struct Offer(RefCell<Option<Piece>>);

impl Offer {
    pub(super) fn set(&self, piece: &Piece) {
        if piece.remaining() >= LARGE {
            *self.0.borrow_mut() = Some(piece.again());
        }
    }

    /// The piece, if these very bytes are the first of it: cut to their length.
    fn take(&self, bytes: &[u8]) -> Option<Piece> {
        self.0.take()?.cut(bytes)
    }

    /// Lets go of it: a piece holds, by its stream, the very `Windows` that the offer is in.
    pub(super) fn clear(&self) {
        self.0.take();
    }
}

impl Outbound {
    pub(super) fn is_full(&self) -> bool {
        self.len >= ENOUGH
    }

    /// Takes all of `slices`, and says how many bytes that is; `offer` may have some as a piece.
    pub(super) fn put(&mut self, slices: &[IoSlice<'_>], offer: &Offer) -> usize {
        let before = self.len;
        for bytes in slices {
            self.len += bytes.len();
            let is_large = bytes.len() >= LARGE;
            match is_large.then(|| offer.take(bytes)).flatten() {
                Some(piece) => {
                    self.end_copied();
                    self.parts.push_back(Part::Piece(piece));
                }
                None => self.copied.extend_from_slice(bytes),
            }
        }
        offer.clear();
        self.len - before
    }

    fn end_copied(&mut self) {
        if !self.copied.is_empty() {
            let copied = self.copied.split().freeze();
            self.parts.push_back(Part::Copied(copied));
        }
    }

    /// Ready when the socket has taken everything.
    pub(super) fn poll_send(
        &mut self,
        stream: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let had = self.len > 0;
        while self.len > 0 {
            let sent = match self.parts.is_empty() {
                true => {
                    let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &self.copied))?;
                    self.copied.advance(sent);
                    sent
                }
                false => {
                    self.end_copied();
                    let mut slices = [IoSlice::new(&[]); PARTS];
                    let parts = slices.iter_mut().zip(&self.parts);
                    let n = parts
                        .map(|(s, part)| *s = IoSlice::new(part.bytes()))
                        .count();
                    let sent = Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..n]);
                    let sent = ready!(sent)?;
                    self.take_off(sent);
                    sent
                }
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.len -= sent;
        }
        // An idle connection keeps nothing. Capacity would not say so: what was sent to its very end has
        // none left, and its memory still.
        if had {
            *self = Self::default();
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn take_off(&mut self, mut sent: usize) {
        while let Some(part) = self.parts.front_mut() {
            let n = part.bytes().len();
            if n > sent {
                return part.advance(sent);
            }
            sent -= n;
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::sync::Arc;

    use socket2::SockRef;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::hold::{Hold, Windows};
    use super::*;
    use crate::memory::Memory;

    struct Way {
        windows: Rc<Windows>,
        hold: Rc<Hold>,
        out: Outbound,
        sent: Vec<u8>,
    }

    impl Way {
        fn new() -> Self {
            let windows = Rc::new(Windows::default());
            let memory = Arc::new(Memory::new(u64::MAX));
            let hold = Rc::new(windows.stream(&memory));
            Self {
                windows,
                hold,
                out: Outbound::default(),
                sent: Vec::new(),
            }
        }

        /// Writes a frame as `h2` does: a head and a part of a piece, which is over then.
        fn frame(&mut self, head: &[u8], payload: usize, more: usize) {
            let bytes: Vec<_> = (0..payload + more).map(|n| (n % 251) as u8).collect();
            let piece = Piece::new(bytes.into(), &self.hold);
            let mut slices = [IoSlice::new(&[]); 2];
            assert_eq!(piece.chunks_vectored(&mut slices), 1);
            let slices = [IoSlice::new(head), IoSlice::new(&slices[0][..payload])];
            let n = self.out.put(&slices, &self.windows.offer);
            assert_eq!(n, head.len() + payload);
            self.sent.extend_from_slice(head);
            self.sent.extend_from_slice(&slices[1]);
        }
    }

    async fn sockets() -> (Io, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        let near = near.unwrap();
        // The socket takes what is sent in many parts.
        SockRef::from(&near).set_send_buffer_size(4096).unwrap();
        (Io::Plain(near), far.unwrap().0)
    }

    #[tokio::test]
    async fn frames_go_out_in_order_and_whole() {
        let (mut near, mut far) = sockets().await;
        let mut way = Way::new();
        for n in 0..200 {
            way.frame(b"small", n % 7 + 1, 0);
            way.frame(b"large", LARGE + 97 * n, 13 * (n % 3));
        }
        let want = way.sent.len();
        let read = tokio::spawn(async move {
            let mut all = vec![0; want];
            far.read_exact(&mut all).await.unwrap();
            all
        });
        poll_fn(|cx| way.out.poll_send(&mut near, cx))
            .await
            .unwrap();
        assert!(read.await.unwrap() == way.sent);
        assert!(!way.out.is_full());
    }

    #[tokio::test]
    async fn large_pieces_are_not_copied_and_count_until_they_are_sent() {
        let (mut near, _far) = sockets().await;
        let mut way = Way::new();
        way.frame(b"head", LARGE - 1, 0);
        assert_eq!(way.hold.unsent(), 0, "small ones are copied");
        way.frame(b"head", LARGE, 5);
        assert_eq!(way.hold.unsent(), LARGE + 5);
        assert_eq!(way.out.copied.len(), 0);
        assert_eq!(way.out.parts.len(), 2);
        poll_fn(|cx| way.out.poll_send(&mut near, cx))
            .await
            .unwrap();
        assert_eq!(way.hold.unsent(), 0);
        assert_eq!(way.out.copied.capacity() + way.out.parts.capacity(), 0);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_what_was_sent() {
        let (mut near, _far) = sockets().await;
        let mut way = Way::new();
        // The first fills what is allocated for it; of the others some is left.
        for (head, payload) in [(&b"h"[..], 1), (b"head", 100), (b"head", LARGE)] {
            way.frame(head, payload, 0);
            poll_fn(|cx| way.out.poll_send(&mut near, cx))
                .await
                .unwrap();
            let out = &mut way.out;
            assert!(!out.copied.try_reclaim(1), "{payload}");
            assert_eq!(out.copied.capacity() + out.parts.capacity(), 0, "{payload}");
        }
    }

    #[test]
    fn other_bytes_than_those_offered_are_copied() {
        let mut way = Way::new();
        let piece = Piece::new(vec![b'x'; 2 * LARGE].into(), &way.hold);
        way.windows.offer.set(&piece);
        let other = vec![b'y'; LARGE];
        way.out.put(&[IoSlice::new(&other)], &way.windows.offer);
        assert_eq!((&way.out.copied[..], way.out.parts.len()), (&other[..], 0));
        // Nor is an offer good for the next write.
        way.windows.offer.set(&piece);
        way.out.put(&[IoSlice::new(b"z")], &way.windows.offer);
        way.out
            .put(&[IoSlice::new(piece.chunk())], &way.windows.offer);
        assert_eq!(way.out.parts.len(), 0);
    }
}
