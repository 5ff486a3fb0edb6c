//! What comes in from a server, before the `h2` crate reads it.
//!
//! That crate ends a connection, with all its streams, after 100 empty DATA frames in its life or when
//! too many tiny ones wait to be read. Both are in order (RFC 9113 6.1), so empty ones beyond the first
//! few go no further than here, and tiny ones come a few at a time, between which the streams take what
//! is theirs.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Io;

/// Bytes read at once.
const READ: usize = 16 * 1024;
/// Tiny frames after which the streams get their turn.
const TURN: usize = 1024;
/// The payload from which on a frame is not tiny. Source: `h2`, which counts those below.
const TINY: usize = 256;
/// Empty frames that `h2` gets to judge by the state of their streams; it takes 100.
const JUDGED: u32 = 64;
/// Bytes of a frame's head (RFC 9113 4.1).
const HEAD: usize = 9;
const DATA: u8 = 0;

/// What is noted of a connection for whoever polls it.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Tiny frames that were given on; set to 0 with each turn.
    pub(super) tiny: Cell<usize>,
    /// Something was read since whoever asks looked last.
    pub(super) heard: Cell<bool>,
}

/// The transport of one connection.
#[derive(Debug)]
pub(super) struct Wire {
    io: Io,
    /// What was read: [`Self::ready`] bytes to give on, then the beginning of a frame's head.
    bytes: BytesMut,
    ready: usize,
    frames: Frames,
    noted: Rc<Noted>,
}

impl Wire {
    pub(super) fn new(io: Io, noted: Rc<Noted>) -> Self {
        Self {
            io,
            bytes: BytesMut::new(),
            ready: 0,
            frames: Frames::default(),
            noted,
        }
    }
}

/// Follows the frames of a connection.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes left of the frame that came in part.
    left: usize,
    /// Empty frames so far.
    empty: u32,
}

impl Frames {
    /// Takes out of `bytes`, which go on where the last ones ended, the frames that say nothing.
    ///
    /// Gives how many bytes can be given on, behind which a frame's head begins, and how many tiny
    /// frames begin in them. A padded frame is left alone: its padding counts in the windows.
    fn sift(&mut self, bytes: &mut BytesMut) -> (usize, usize) {
        let (mut at, mut kept, mut tiny) = (0, 0, 0);
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
            if kind == DATA && length < TINY {
                tiny += 1;
                if length == 0 && flags == 0 {
                    self.empty = self.empty.saturating_add(1);
                    if self.empty > JUDGED {
                        at += HEAD;
                        continue;
                    }
                }
            }
            self.left = HEAD + length;
        }
        let rest = bytes.len() - at;
        bytes.copy_within(at.., kept);
        bytes.truncate(kept + rest);
        (kept, tiny)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready == 0 {
            ready!(this.io.poll_readable(cx))?;
            let had = this.bytes.len();
            this.bytes.resize(had + READ, 0);
            let mut more = ReadBuf::new(&mut this.bytes[had..]);
            let read = Pin::new(&mut this.io).poll_read(cx, &mut more);
            let n = more.filled().len();
            this.bytes.truncate(had + n);
            ready!(read)?;
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            let (ready, tiny) = this.frames.sift(&mut this.bytes);
            this.ready = ready;
            this.noted.tiny.update(|all| all + tiny);
            this.noted.heard.set(true);
        }
        if this.noted.tiny.get() > TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let n = this.ready.min(room.remaining());
        room.put_slice(&this.bytes[..n]);
        this.bytes.advance(n);
        this.ready -= n;
        if this.bytes.is_empty() {
            this.bytes = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What is given on of these bytes when they come in pieces of `size`, and how many are tiny.
    fn sifted(bytes: &[u8], size: usize) -> (Vec<u8>, usize) {
        let mut frames = Frames::default();
        let (mut waiting, mut out, mut all) = (BytesMut::new(), Vec::new(), 0);
        for piece in bytes.chunks(size) {
            waiting.extend_from_slice(piece);
            let (ready, tiny) = frames.sift(&mut waiting);
            out.extend_from_slice(&waiting[..ready]);
            waiting.advance(ready);
            all += tiny;
        }
        out.extend_from_slice(&waiting);
        (out, all)
    }

    #[test]
    fn empty_frames_beyond_the_first_say_nothing() {
        let (mut all, mut want, mut empty, mut tiny) = (Vec::new(), Vec::new(), 0, 0);
        for n in 0..300 {
            for frame in [
                frame(4, 0, b""),
                frame(0, 0, b""),
                frame(1, 4, &[b'h'; 20]),
                frame(0, 0, &vec![b'x'; n * 7]),
                frame(0, 8, &[3, 0, 0, 0]),
                frame(0, 1, b""),
            ] {
                let is_empty = frame[..5] == [0; 5];
                empty += u32::from(is_empty);
                tiny += usize::from(frame[3] == 0 && frame.len() < HEAD + TINY);
                if !is_empty || empty <= JUDGED {
                    want.extend_from_slice(&frame);
                }
                all.extend(frame);
            }
        }
        for size in [1, 2, 7, 9, 10, 64, 1000, 16_384, all.len()] {
            assert!(sifted(&all, size) == (want.clone(), tiny), "{size}");
        }
    }
}
