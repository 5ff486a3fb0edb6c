//! The body of a request on its way to a server of HTTP/2.

use std::io;
use std::mem::take;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

/// The largest frame of a body: what every server takes (RFC 9113 6.5.2).
const FRAME: usize = 16 * 1024;
/// Bytes of the server's window that are reserved at once for small pieces.
const RESERVE: usize = 4 * 1024;

/// The body of the request on its way.
#[derive(Debug, Default)]
pub(super) struct Up {
    /// `None` where the head was all.
    pub(super) send: Option<SendStream<Bytes>>,
    /// Bytes that wait for more: small pieces go out together.
    pub(super) held: Vec<u8>,
    /// How many may be held: so much of the window is reserved.
    pub(super) room: usize,
    /// The trailers with which the stream ends once nothing is held any more.
    pub(super) end: Option<HeaderMap>,
    pub(super) finished: bool,
}

impl Up {
    /// Gets room for at least one of `more` bytes, within the server's window and what may wait for
    /// the connection; sends what is held where that has to go first.
    pub(super) fn poll_room(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = self.held.len();
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        // Room for some pieces at once, since each asking costs; yet not for all that may come, for
        // what is reserved is kept from the other streams.
        send.reserve_capacity((held + more.max(RESERVE)).min(FRAME));
        self.room = send.capacity().min(FRAME);
        if self.room > held {
            return Poll::Ready(Ok(()));
        }
        self.send_held(false)?;
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        send.reserve_capacity(more.min(FRAME));
        self.room = match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(Ok(room)) => room.min(FRAME),
                Some(Err(_)) | None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => room.min(FRAME),
        };
        if self.room == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands what is held to the connection's task, which sends it, and lets go of the rest of the
    /// room. With `last` the stream ends with it.
    pub(super) fn send_held(&mut self, last: bool) -> io::Result<()> {
        let room = take(&mut self.room);
        if self.held.is_empty() && !last {
            return Ok(());
        }
        let Some(send) = &mut self.send else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let bytes = Bytes::from(take(&mut self.held));
        let held = bytes.len();
        send.send_data(bytes, last)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        if room > held && !last {
            send.reserve_capacity(0);
        }
        Ok(())
    }
}
