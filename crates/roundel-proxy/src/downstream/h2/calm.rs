//! What one HTTP/2 connection costs beyond what it is answered, until it is ended.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::bounds::{FRAMES, LARGE_HEAD, LARGE_HEADS, REAPED, RESETS, SHUT, SMALL_FRAMES};
use super::hold::Windows;
use super::toll::{Toll, price};
use crate::counters::Http2Excess;

/// How much may be owed, and how much of it is forgotten in a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) most: u64,
    pub(super) forgotten: u64,
}

/// What is owed of one kind.
#[derive(Debug)]
struct Debt {
    bound: Bound,
    owed: Cell<u64>,
    /// Up to when it was forgotten.
    at: Cell<Instant>,
}

impl Debt {
    fn new(bound: Bound, now: Instant) -> Self {
        let (owed, at) = (Cell::new(0), Cell::new(now));
        Self { bound, owed, at }
    }

    fn add(&self, cost: u64, now: Instant) {
        let past = now.saturating_duration_since(self.at.get()).as_nanos();
        let rate = u128::from(self.bound.forgotten);
        let second = Duration::from_secs(1).as_nanos();
        let forgotten = u64::try_from(past * rate / second).unwrap_or(u64::MAX);
        if forgotten >= self.owed.get() {
            self.owed.set(0);
            self.at.set(now);
        } else {
            self.owed.update(|owed| owed - forgotten);
            // A part of one is not lost.
            let each = Duration::from_nanos(1_000_000_000 / self.bound.forgotten);
            let whole = each * u32::try_from(forgotten).unwrap_or(u32::MAX);
            self.at.update(|at| at + whole);
        }
        self.owed.update(|owed| owed.saturating_add(cost));
    }

    fn pay(&self, much: u64) {
        self.owed.update(|owed| owed.saturating_sub(much));
    }

    fn is_over(&self) -> bool {
        self.owed.get() > self.bound.most
    }
}

/// What the streams of one connection tell the connection's task.
#[derive(Debug)]
pub(super) struct Calm {
    resets: Debt,
    frames: Debt,
    small_frames: Debt,
    large_heads: Debt,
    shut_for: Duration,
    /// Streams ended since too many waited for a window.
    reaped: Cell<usize>,
    /// Since when too many wait, and what had been sent by then.
    shut: Cell<Option<(Instant, u64)>>,
}

impl Calm {
    /// With how long streams may wait for a window that are too many.
    pub(super) fn new(shut_for: Duration, now: Instant) -> Self {
        Self {
            shut_for,
            resets: Debt::new(RESETS, now),
            frames: Debt::new(FRAMES, now),
            small_frames: Debt::new(SMALL_FRAMES, now),
            large_heads: Debt::new(LARGE_HEADS, now),
            reaped: Cell::new(0),
            shut: Cell::new(None),
        }
    }

    /// Notes how a stream ended whose head had so many bytes.
    pub(super) fn note(&self, given_up: bool, head: usize, now: Instant) {
        match given_up {
            true => self.resets.add(1, now),
            false => {
                self.resets.pay(1);
                self.frames.pay(price(head));
            }
        }
    }

    /// Notes a head of so many bytes.
    pub(super) fn note_head(&self, bytes: usize, now: Instant) {
        let large = bytes.saturating_sub(LARGE_HEAD);
        if large > 0 {
            self.large_heads.add(large as u64, now);
        }
    }

    /// Notes what came in and what was sent for it.
    pub(super) fn settle(&self, toll: &Toll, windows: &Windows, now: Instant) {
        let (frames, small) = toll.take();
        let (frames, small) = windows.unpaid(frames, small);
        if frames > 0 {
            self.frames.add(frames, now);
        }
        if small > 0 {
            self.small_frames.add(small, now);
        }
    }

    /// Looks at the streams that wait for a window. Gives after how long to look again; `None` when
    /// few wait.
    pub(super) fn watch(&self, windows: &Windows, now: Instant) -> Option<Duration> {
        let waiting = windows.shut();
        if waiting <= SHUT {
            windows.reap(0);
            self.shut.set(None);
            return None;
        }
        let moved = windows.moved();
        let since = match self.shut.get() {
            Some((since, then)) if then == moved => since,
            _ => {
                self.shut.set(Some((now, moved)));
                now
            }
        };
        let past = now.saturating_duration_since(since);
        if past < self.shut_for {
            return Some(self.shut_for - past);
        }
        windows.reap(waiting - SHUT);
        self.reaped.update(|reaped| reaped + waiting - SHUT);
        self.shut.set(None);
        Some(self.shut_for)
    }

    /// What the connection is to be ended for.
    pub(super) fn excess(&self) -> Option<Http2Excess> {
        [
            (self.resets.is_over(), Http2Excess::Resets),
            (self.frames.is_over(), Http2Excess::Frames),
            (self.small_frames.is_over(), Http2Excess::SmallFrames),
            (self.large_heads.is_over(), Http2Excess::LargeHeads),
            (self.reaped.get() > REAPED, Http2Excess::ShutWindows),
        ]
        .into_iter()
        .find_map(|(is_over, excess)| is_over.then_some(excess))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::memory::Memory;

    const SECOND: Duration = Duration::from_secs(1);
    const SHUT_FOR: Duration = Duration::from_secs(4);

    #[test]
    fn a_debt_is_paid_or_forgotten() {
        let start = Instant::now();
        let bound = Bound {
            most: 100,
            forgotten: 10,
        };
        let debt = Debt::new(bound, start);
        debt.add(100, start);
        assert!(!debt.is_over());
        debt.add(1, start);
        assert!(debt.is_over());
        debt.pay(1);
        assert!(!debt.is_over());
        // However often it is looked at meanwhile, and no more than there is.
        for n in 1..=1_000 {
            debt.add(0, start + n * SECOND / 1_000);
        }
        assert_eq!(debt.owed.get(), 90);
        debt.add(7, start + 1_000 * SECOND);
        assert_eq!(debt.owed.get(), 7);
        debt.pay(100);
        assert_eq!(debt.owed.get(), 0);
    }

    #[test]
    fn each_kind_ends_the_connection_by_its_own_name() {
        let start = Instant::now();
        let windows = Windows::default();
        let toll = |frames, small| {
            let toll = Toll::default();
            toll.add(0, frames, small);
            toll
        };
        let check = |act: &dyn Fn(&Calm), excess| {
            let calm = Calm::new(SHUT_FOR, start);
            assert_eq!(calm.excess(), None);
            act(&calm);
            assert_eq!(calm.excess(), excess);
        };
        let given_up =
            |count| move |calm: &Calm| (0..count).for_each(|_| calm.note(true, 0, start));
        check(&given_up(RESETS.most), None);
        check(&given_up(RESETS.most + 1), Some(Http2Excess::Resets));
        let frames =
            |count| move |calm: &Calm| calm.settle(&toll(count, 0), &Windows::default(), start);
        check(&frames(FRAMES.most), None);
        check(&frames(FRAMES.most + 1), Some(Http2Excess::Frames));
        let small =
            |count| move |calm: &Calm| calm.settle(&toll(0, count), &Windows::default(), start);
        check(&small(SMALL_FRAMES.most), None);
        check(
            &small(SMALL_FRAMES.most + 1),
            Some(Http2Excess::SmallFrames),
        );
        let heads =
            |bytes| move |calm: &Calm| (0..1_000).for_each(|_| calm.note_head(bytes, start));
        check(&heads(LARGE_HEAD), None);
        check(&heads(64 * 1024), Some(Http2Excess::LargeHeads));
        // What is answered and sent makes up for them.
        let calm = Calm::new(SHUT_FOR, start);
        calm.settle(&toll(FRAMES.most, 0), &windows, start);
        calm.note(false, 640, start);
        calm.settle(&toll(price(640), 0), &windows, start);
        assert_eq!(calm.excess(), None);
        calm.settle(&toll(1, 0), &windows, start);
        assert_eq!(calm.excess(), Some(Http2Excess::Frames));
    }

    #[test]
    fn streams_that_wait_for_windows_are_few_or_something_moves() {
        let start = Instant::now();
        let memory = Arc::new(Memory::new(u64::MAX));
        let (windows, calm) = (Rc::new(Windows::default()), Calm::new(SHUT_FOR, start));
        let streams: Vec<_> = (0..2 * SHUT).map(|_| windows.stream(&memory)).collect();
        let wait = |from: usize, to: usize| {
            streams[from..to]
                .iter()
                .for_each(|stream| stream.note_shut(std::task::Waker::noop()));
        };
        wait(0, SHUT);
        assert_eq!(calm.watch(&windows, start), None);
        wait(SHUT, 2 * SHUT);
        assert_eq!(calm.watch(&windows, start), Some(SHUT_FOR));
        let later = start + SHUT_FOR - SECOND;
        assert_eq!(calm.watch(&windows, later), Some(SECOND));
        // One byte for whichever of them, and it begins anew.
        streams[0].note_unsent(1);
        streams[0].note_sent(1);
        assert_eq!(calm.watch(&windows, later), Some(SHUT_FOR));
        assert!(!streams[0].is_reaped());
        assert_eq!(calm.watch(&windows, later + SHUT_FOR), Some(SHUT_FOR));
        let reaped = streams.iter().filter(|stream| stream.is_reaped()).count();
        assert_eq!(reaped, SHUT);
        assert_eq!(calm.excess(), None);
        for n in 2..4 {
            wait(0, 2 * SHUT);
            calm.watch(&windows, later + n * SHUT_FOR);
            calm.watch(&windows, later + (n + 1) * SHUT_FOR);
        }
        assert_eq!(calm.excess(), Some(Http2Excess::ShutWindows));
    }
}
