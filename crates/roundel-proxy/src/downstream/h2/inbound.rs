//! What comes in on an HTTP/2 connection, before the `h2` crate reads it.
//!
//! That crate ends a connection, with all its streams, after 100 empty DATA frames in its life or when
//! too many tiny ones wait to be read. Both are in order (RFC 9113 6.1) and cost next to nothing, so
//! empty ones beyond the first few go no further than here, and tiny ones come a few at a time, between
//! which the streams take what is theirs.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

use super::line::Line;
use super::toll::Toll;
use super::trailers::{Seen, Streams};

/// Bytes read at once.
const READ: usize = 16 * 1024;
/// Bytes given on at once: so many of the smallest frames are within the budget of `h2`.
const GIVEN: usize = 8 * 1024;
/// Empty frames that `h2` gets to judge by the state of their streams; it takes 100.
const JUDGED: u32 = 64;

/// The socket of one connection, as `h2` has it.
pub(super) struct Inbound {
    line: Rc<Line>,
    /// What was read: [`Self::ready`] bytes to give on, then the beginning of a frame's head.
    bytes: BytesMut,
    ready: usize,
    frames: Frames,
    toll: Rc<Toll>,
}

impl Inbound {
    /// Goes on behind `seen`, which was read already and begins with the preface. What comes in counts
    /// in `toll`; whoever polls the connection begins a turn there with each poll of its task.
    pub(super) fn new(line: Rc<Line>, toll: Rc<Toll>, seen: &[u8]) -> Self {
        let mut bytes = BytesMut::from(seen);
        let mut frames = Frames::default();
        let ready = frames.sift(&mut bytes, &toll);
        Self {
            line,
            bytes,
            ready,
            frames,
            toll,
        }
    }
}

/// Follows the frames of a connection.
#[derive(Debug)]
struct Frames {
    /// Bytes left of the frame that came in part, or of the preface.
    left: usize,
    /// Empty frames so far.
    empty: u32,
    streams: Streams,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            left: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len(),
            empty: 0,
            streams: Streams::default(),
        }
    }
}

impl Frames {
    /// Takes out of `bytes`, which go on where the last ones ended, the frames that say nothing; marks
    /// trailers.
    ///
    /// Gives how many bytes can be given on; those behind begin a frame's head. A padded frame is left
    /// alone: its padding counts in the windows.
    fn sift(&mut self, bytes: &mut BytesMut, toll: &Toll) -> usize {
        const HEAD: usize = 9;
        const DATA: u8 = 0;
        let (mut at, mut kept) = (0, 0);
        loop {
            let n = self.left.min(bytes.len() - at);
            if kept < at {
                bytes.copy_within(at..at + n, kept);
            }
            (at, kept, self.left) = (at + n, kept + n, self.left - n);
            let Some(&[a, b, c, kind, flags, ..]) = bytes.get(at..at + HEAD) else {
                break;
            };
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind == DATA && length == 0 && flags == 0 {
                self.empty = self.empty.saturating_add(1);
                if self.empty > JUDGED {
                    toll.note(kind, flags, length);
                    at += HEAD;
                    continue;
                }
            }
            match self.streams.look(bytes, at, length) {
                Seen::Frame { grown } => self.left = HEAD + length + grown,
                Seen::Part => break,
            }
            toll.note(kind, flags, length);
        }
        let rest = bytes.len() - at;
        bytes.copy_within(at.., kept);
        bytes.truncate(kept + rest);
        kept
    }
}

impl AsyncRead for Inbound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready == 0 {
            let mut stream = this.line.stream();
            let Some(stream) = &mut *stream else {
                return Poll::Ready(Ok(()));
            };
            ready!(stream.poll_readable(cx))?;
            this.bytes.reserve(READ);
            let n = ready!(pin!(stream.read_buf(&mut this.bytes)).poll(cx))?;
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            this.ready = this.frames.sift(&mut this.bytes, &this.toll);
        }
        if this.toll.is_turn_over() {
            // Not before sockets have been looked at: who wakes itself goes on for many turns first.
            let _ = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        let n = this.ready.min(room.remaining()).min(GIVEN);
        room.put_slice(&this.bytes[..n]);
        this.bytes.advance(n);
        this.ready -= n;
        if this.bytes.is_empty() {
            this.bytes = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Inbound {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.poll_put(&[io::IoSlice::new(bytes)], cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.poll_put(bytes, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Leaves it to whoever polls the connection: `h2` wants each large frame flushed.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Lets go of the socket: `h2` is to say at once why it ends.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.line.poll_send(cx))?;
        self.line.end();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::toll::TURN;
    use super::*;
    use crate::transport::Io;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What is given on of these bytes when they come in pieces of `size`.
    fn sifted(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut frames = Frames {
            left: 0,
            ..Frames::default()
        };
        let (mut waiting, mut out) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(size) {
            waiting.extend_from_slice(piece);
            let ready = frames.sift(&mut waiting, &Toll::default());
            out.extend_from_slice(&waiting[..ready]);
            waiting.advance(ready);
        }
        out.extend_from_slice(&waiting);
        out
    }

    #[test]
    fn empty_frames_beyond_the_first_say_nothing() {
        let (mut all, mut want, mut empty) = (Vec::new(), Vec::new(), 0);
        for n in 0..300 {
            for frame in [
                frame(0, 0, b""),
                frame(9, 4, &[b'h'; 20]),
                frame(0, 0, &vec![b'x'; n * 7]),
                frame(0, 8, &[3, 0, 0, 0]),
                frame(0, 1, b""),
                frame(4, 0, b""),
            ] {
                let is_empty = frame[..5] == [0; 5];
                empty += u32::from(is_empty);
                if !is_empty || empty <= JUDGED {
                    want.extend_from_slice(&frame);
                }
                all.extend(frame);
            }
        }
        for size in [1, 2, 7, 9, 10, 64, 1000, 16_384, all.len()] {
            assert_eq!(sifted(&all, size), want, "{size}");
        }
    }

    #[test]
    fn the_preface_is_no_frame() {
        let preface = Frames::default().left;
        let mut bytes = BytesMut::from(&vec![0; preface][..]);
        bytes.extend_from_slice(&frame(4, 0, b""));
        let before = bytes.clone();
        let toll = Toll::default();
        assert_eq!(Frames::default().sift(&mut bytes, &toll), before.len());
        assert_eq!(bytes, before);
    }

    #[tokio::test]
    async fn tiny_frames_come_a_few_at_a_time() {
        const COUNT: usize = 20_000;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        let (near, mut far) = (near.unwrap(), far.unwrap().0);
        let sender = tokio::spawn(async move {
            far.write_all(&frame(0, 0, b"x").repeat(COUNT))
                .await
                .unwrap();
            far
        });
        let line = Rc::new(Line::new(Io::Plain(near), Rc::default()));
        let toll = Rc::new(Toll::default());
        let mut inbound = Inbound::new(line, toll.clone(), &vec![0; Frames::default().left]);
        let (mut all, mut turn, mut turns) = (0, 0, 0);
        // The preface is no frame of ours.
        let total = Frames::default().left + 10 * COUNT;
        std::future::poll_fn(|cx| {
            (turn, turns) = (0, turns + 1);
            toll.next_turn();
            loop {
                let mut room = [0; 4 * GIVEN];
                let mut room = ReadBuf::new(&mut room);
                let polled = Pin::new(&mut inbound).poll_read(cx, &mut room);
                let n = room.filled().len();
                assert!(n <= GIVEN);
                (all, turn) = (all + n, turn + n);
                assert!(turn / 10 <= TURN + 2 * READ / 10, "{turn} bytes");
                match polled {
                    Poll::Ready(read) => read.unwrap(),
                    Poll::Pending if all == total => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        assert!(turns > COUNT / (TURN + 2 * READ / 10), "{turns} turns");
        drop(sender.await.unwrap());
    }
}
