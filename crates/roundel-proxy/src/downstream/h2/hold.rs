//! What a stream can come to hold, taken from the memory of the process before it is answered.

use std::cell::{Cell, RefCell};
use std::mem::take;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use h2::RecvStream;
use http::Request;
use http::header::CONTENT_LENGTH;

use super::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::blocks::BLOCK;
use crate::memory::{Memory, Share};

/// Bytes of a stream beside its request's body: its head and state, a block of the answer, and a frame
/// that waits for the client.
const STREAM: u64 = 40 * 1024;

/// Bytes of all streams that wait for their connection: what its socket takes at once, and more.
const UNSENT: usize = 256 * 1024;

/// What the streams of one connection share: the windows of the bodies that they receive, and the place
/// for what they send.
#[derive(Debug, Default)]
pub(super) struct Windows {
    taken: Cell<u64>,
    unsent: Cell<usize>,
    /// Streams that wait until less is unsent.
    waiting: RefCell<Vec<Waker>>,
}

/// The memory of one stream; given back when nothing of its answer waits any more.
#[derive(Debug)]
pub(super) struct Hold {
    share: Share,
    windows: Rc<Windows>,
    window: u64,
}

impl Windows {
    /// Takes what this request can come to hold; `None` when there is less.
    pub(super) fn hold(
        self: &Rc<Self>,
        memory: &Arc<Memory>,
        request: &Request<RecvStream>,
    ) -> Option<Hold> {
        let left = u64::from(CONNECTION_WINDOW).saturating_sub(self.taken.get());
        let window = window(request).min(left);
        let share = Share::take(memory, STREAM + window)?;
        self.taken.update(|taken| taken + window);
        Some(Hold {
            share,
            windows: self.clone(),
            window,
        })
    }
}

/// How much of its body may come before it is taken.
fn window(request: &Request<RecvStream>) -> u64 {
    if request.body().is_end_stream() {
        return 0;
    }
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or(u64::MAX).min(u64::from(STREAM_WINDOW))
}

impl Hold {
    /// Takes what a head needs beyond a block; false when there is less.
    pub(super) fn fits(&mut self, head: usize) -> bool {
        let more = head.saturating_sub(BLOCK) as u64;
        more == 0 || self.share.grow(more)
    }
}

impl Hold {
    /// Ready when another piece may wait for the connection.
    pub(super) fn poll_place(&self, cx: &Context<'_>) -> Poll<()> {
        if self.windows.unsent.get() < UNSENT {
            return Poll::Ready(());
        }
        let mut waiting = self.windows.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Notes that so many bytes wait for the connection.
    pub(super) fn note_unsent(&self, bytes: usize) {
        self.windows.unsent.update(|unsent| unsent + bytes);
    }

    /// Notes that they do so no more. All that wait are woken for a number of pieces at once, not for
    /// each.
    pub(super) fn note_sent(&self, bytes: usize) {
        let unsent = self.windows.unsent.get() - bytes;
        self.windows.unsent.set(unsent);
        if unsent <= UNSENT / 2 {
            let waiting = take(&mut *self.windows.waiting.borrow_mut());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.windows.taken.update(|taken| taken - self.window);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn streams_wait_while_their_connection_has_much_to_send() {
        let memory = Arc::new(Memory::new(u64::MAX));
        let windows = Rc::new(Windows::default());
        let stream = || Hold {
            share: Share::take(&memory, STREAM).unwrap(),
            windows: windows.clone(),
            window: 0,
        };
        let (one, other) = (stream(), stream());
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        one.note_unsent(UNSENT - 1);
        assert!(other.poll_place(&cx).is_ready());
        other.note_unsent(1);
        for _ in 0..3 {
            assert!(one.poll_place(&cx).is_pending());
        }
        one.note_sent(UNSENT / 2 - 1);
        assert_eq!(count.0.load(Relaxed), 0, "not for each piece");
        one.note_sent(1);
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(one.poll_place(&cx).is_ready());
    }
}
