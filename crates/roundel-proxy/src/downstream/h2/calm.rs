//! What one HTTP/2 connection may cost before it is ended.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Streams given up by their client that a connection may owe. A page that is left gives up a hundred
/// at once, which is in order.
const RESETS: u32 = 512;
/// How long it takes until one of them is forgotten; one is forgotten as well for each stream that
/// gets its answer.
const FORGOTTEN_AFTER: Duration = Duration::from_millis(100);

/// What the streams of one connection tell the connection's task.
#[derive(Debug)]
pub(super) struct Calm {
    /// Streams given up, and not forgotten yet at [`Self::at`].
    resets: Cell<u32>,
    at: Cell<Instant>,
    waker: RefCell<Option<Waker>>,
}

impl Calm {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            resets: Cell::new(0),
            at: Cell::new(now),
            waker: RefCell::default(),
        }
    }

    /// Notes how a stream ended.
    pub(super) fn note(&self, given_up: bool, now: Instant) {
        if given_up {
            let past = now.saturating_duration_since(self.at.replace(now));
            let forgotten = past.as_millis() / FORGOTTEN_AFTER.as_millis();
            let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
            self.resets.update(|n| n.saturating_sub(forgotten) + 1);
        } else {
            self.resets.update(|n| n.saturating_sub(1));
        }
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether the connection has cost enough. If not, the task of `cx` is woken with each stream
    /// that ends.
    pub(super) fn is_over(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.resets.get() > RESETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_add_up_unless_answers_or_time_make_up_for_them() {
        let cx = Context::from_waker(Waker::noop());
        let start = Instant::now();
        let calm = Calm::new(start);
        for _ in 0..RESETS {
            calm.note(true, start);
            assert!(!calm.is_over(&cx));
        }
        calm.note(true, start);
        assert!(calm.is_over(&cx));
        calm.note(false, start);
        assert!(!calm.is_over(&cx));
        let calm = Calm::new(start);
        for n in 0..10 * RESETS {
            calm.note(true, start + n * FORGOTTEN_AFTER);
        }
        assert!(!calm.is_over(&cx));
    }
}
