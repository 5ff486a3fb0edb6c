//! What a stream can come to hold, taken from the memory of the process before it is answered.

use std::cell::{Cell, RefCell};
use std::mem::take;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use h2::RecvStream;
use http::header::CONTENT_LENGTH;
use http::{Method, Request};
use slab::Slab;

use super::bounds::{CONNECTION_WINDOW, OPEN_HEADS, SHUT, STREAM_WINDOW};
use super::outbound::Offer;
use crate::blocks::BLOCK;
use crate::memory::{Memory, Share};

/// Bytes of a stream beside its request's body: its head and state, a block of the answer, and a frame
/// that waits for the client.
const STREAM: u64 = 40 * 1024;

/// Bytes of all streams that wait for their connection: what its socket takes at once, and more.
const UNSENT: usize = 256 * 1024;

/// A piece of an answer that is worth two frames in return: updates of both windows, as some clients
/// send for each. Windows that are opened by less are no bargain.
const PIECE: usize = 256;
/// Frames that may come to be free for what was sent.
const CREDIT: u64 = 16 * 1024;

/// What the streams of one connection share: the windows of the bodies that they receive, and the place
/// for what they send.
#[derive(Debug, Default)]
pub(super) struct Windows {
    taken: Cell<u64>,
    /// Streams that are tunnels, or ask to be.
    tunnels: Cell<u32>,
    /// Bytes of open heads, beyond a block each.
    heads: Cell<u64>,
    unsent: Cell<usize>,
    /// Streams that wait until less is unsent.
    waiting: RefCell<Vec<Waker>>,
    /// Bytes of answers so far.
    moved: Cell<u64>,
    /// Frames, and small ones, that are free for what was sent.
    free: Cell<u64>,
    free_small: Cell<u64>,
    /// Streams that wait for a window.
    shut: RefCell<Slab<Waker>>,
    /// How many of them are to end.
    reaped: Cell<usize>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
    pub(super) offer: Offer,
}

/// The memory of one stream; given back when nothing of its answer waits any more.
#[derive(Debug)]
pub(super) struct Hold {
    share: Share,
    windows: Rc<Windows>,
    window: u64,
    head: u64,
    /// The place in [`Windows::shut`].
    shut: Cell<Option<usize>>,
    is_tunnel: bool,
}

impl Windows {
    /// Takes what this request can come to hold; `None` when there is less.
    pub(super) fn hold(
        self: &Rc<Self>,
        memory: &Arc<Memory>,
        request: &Request<RecvStream>,
    ) -> Option<Hold> {
        let is_tunnel = request.method() == Method::CONNECT;
        let left = match is_tunnel {
            true => u64::from(STREAM_WINDOW),
            false => u64::from(CONNECTION_WINDOW).saturating_sub(self.taken.get()),
        };
        let window = window(request).min(left);
        let share = Share::take(memory, STREAM + window)?;
        match is_tunnel {
            true => self.tunnels.update(|n| n + 1),
            false => self.taken.update(|taken| taken + window),
        }
        Some(Hold {
            share,
            windows: self.clone(),
            window,
            is_tunnel,
            head: 0,
            shut: Cell::new(None),
        })
    }

    /// The window that the connection should have.
    pub(super) fn wanted(&self) -> u32 {
        CONNECTION_WINDOW + STREAM_WINDOW * self.tunnels.get()
    }

    /// Has the task of `cx` woken by [`Self::wake`], and when too many streams wait for a window.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// How many streams wait for a window.
    pub(super) fn shut(&self) -> usize {
        self.shut.borrow().len()
    }

    /// Bytes of answers for which there was a window so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Has so many of those end that wait for a window.
    pub(super) fn reap(&self, count: usize) {
        self.reaped.set(count);
        if count > 0 {
            self.shut.borrow().iter().for_each(|(_, w)| w.wake_by_ref());
        }
    }

    /// What is left of the cost of frames, and of small ones, when what was sent has made up for it.
    pub(super) fn unpaid(&self, frames: u64, small: u64) -> (u64, u64) {
        let pay = |free: &Cell<u64>, cost: u64| {
            let paid = free.get().min(cost);
            free.set(free.get() - paid);
            cost - paid
        };
        (pay(&self.free, frames), pay(&self.free_small, small))
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
    /// Takes what a head needs beyond a block; false when the process or the connection has less.
    pub(super) fn fits(&mut self, head: usize) -> bool {
        let more = head.saturating_sub(BLOCK) as u64;
        let heads = &self.windows.heads;
        if more == 0 {
            return true;
        }
        if heads.get() + more > OPEN_HEADS || !self.share.grow(more) {
            return false;
        }
        heads.set(heads.get() + more);
        self.head = more;
        true
    }
}

impl Hold {
    pub(super) fn offer(&self) -> &Offer {
        &self.windows.offer
    }

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

    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.windows.unsent.get()
    }

    /// Notes that so many bytes wait for the connection.
    pub(super) fn note_unsent(&self, bytes: usize) {
        let windows = &self.windows;
        windows.unsent.update(|unsent| unsent + bytes);
        windows.moved.update(|moved| moved + bytes as u64);
        windows.free_small.update(|free| (free + 1).min(CREDIT));
        if bytes >= PIECE {
            windows.free.update(|free| (free + 2).min(CREDIT));
        }
    }

    /// Notes that so many bytes wait in a second place as well.
    pub(super) fn note_again(&self, bytes: usize) {
        self.windows.unsent.update(|unsent| unsent + bytes);
    }

    /// Notes that the stream waits for a window, with what wakes it.
    pub(super) fn note_shut(&self, waker: &Waker) {
        if self.shut.get().is_some() {
            return;
        }
        let mut shut = self.windows.shut.borrow_mut();
        self.shut.set(Some(shut.insert(waker.clone())));
        if shut.len() == SHUT + 1 {
            self.windows.wake();
        }
    }

    /// Notes that it does not.
    pub(super) fn note_open(&self) {
        if let Some(key) = self.shut.take() {
            self.windows.shut.borrow_mut().remove(key);
        }
    }

    /// Whether it is to end since too many wait.
    pub(super) fn is_reaped(&self) -> bool {
        let left = self.windows.reaped.get();
        let is_reaped = left > 0 && self.shut.get().is_some();
        if is_reaped {
            self.windows.reaped.set(left - 1);
            self.note_open();
        }
        is_reaped
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
        self.note_open();
        let Windows {
            taken,
            tunnels,
            heads,
            ..
        } = &*self.windows;
        heads.update(|heads| heads - self.head);
        match self.is_tunnel {
            true => tunnels.update(|n| n - 1),
            false => taken.update(|taken| taken - self.window),
        }
    }
}

#[cfg(test)]
impl Windows {
    /// A stream without a body.
    pub(super) fn stream(self: &Rc<Self>, memory: &Arc<Memory>) -> Hold {
        Hold {
            share: Share::take(memory, STREAM).unwrap(),
            windows: self.clone(),
            window: 0,
            is_tunnel: false,
            head: 0,
            shut: Cell::new(None),
        }
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
        let (one, other) = (windows.stream(&memory), windows.stream(&memory));
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

    #[test]
    fn open_heads_have_a_bound() {
        const LARGE: usize = 64 * 1024;
        let memory = Arc::new(Memory::new(u64::MAX));
        let windows = Rc::new(Windows::default());
        let each = (LARGE - BLOCK) as u64;
        let mut open = Vec::new();
        for _ in 0..OPEN_HEADS / each {
            let mut stream = windows.stream(&memory);
            assert!(stream.fits(LARGE));
            open.push(stream);
        }
        let mut stream = windows.stream(&memory);
        assert!(!stream.fits(LARGE));
        assert!(stream.fits(BLOCK));
        open.pop();
        assert!(stream.fits(LARGE));
    }

    #[test]
    fn what_is_sent_makes_frames_free_up_to_a_bound() {
        let memory = Arc::new(Memory::new(u64::MAX));
        let windows = Rc::new(Windows::default());
        let stream = windows.stream(&memory);
        let send = |bytes| {
            stream.note_unsent(bytes);
            stream.note_sent(bytes);
        };
        send(PIECE);
        // Updates for less than a piece cost what they do.
        send(PIECE - 1);
        assert_eq!(windows.unpaid(1, 1), (0, 0));
        assert_eq!(windows.unpaid(5, 5), (4, 4));
        (0..CREDIT).for_each(|_| send(PIECE));
        assert_eq!(windows.unpaid(CREDIT + 1, CREDIT + 2), (1, 2));
    }
}
