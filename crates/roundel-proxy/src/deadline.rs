//! Coarse deadlines: a cell per connection and one sweep per worker, never a timer per request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use roundel_balance::ServerLive;
use slab::Slab;

/// How often the sweep looks; a deadline fires at most this much late.
pub(crate) const SWEEP: Duration = Duration::from_millis(100);

/// Every deadline of one worker.
#[derive(Debug)]
pub(crate) struct Deadlines(Rc<All>);

#[derive(Debug)]
struct All {
    clock: Clock,
    entries: RefCell<Slab<Rc<Entry>>>,
}

/// The worker's time: exact when read, else as of the last reading, at most one sweep old.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Cell<Instant>,
    /// Every deadline has fired: the process ends.
    stopped: Cell<bool>,
}

#[derive(Debug)]
struct Entry {
    at: Cell<Option<Instant>>,
    /// It fires then at the latest, whatever it is set to.
    last: Cell<Option<Instant>>,
    /// The address of the server that is asked in its time; 0 for none.
    asked: Cell<usize>,
    /// It fired since the requests at its server are cut.
    cut: Cell<bool>,
    /// The task wants to be woken by the next sweep in any case.
    look_again: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Clock {
    /// Reads the system's clock.
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        self.last.set(now);
        now
    }

    /// Whether all time is up.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// The time of the last reading.
    pub(crate) fn recent(&self) -> Instant {
        self.last.get()
    }
}

impl Deadlines {
    pub(crate) fn new(start: Instant) -> Self {
        let last = Cell::new(start);
        Self(Rc::new(All {
            clock: Clock {
                last,
                stopped: Cell::new(false),
            },
            entries: RefCell::default(),
        }))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Makes a deadline that is not set. It wakes the task that polled it last.
    pub(crate) fn register(&self) -> Deadline {
        let entry = Rc::new(Entry {
            at: Cell::new(None),
            last: Cell::new(None),
            asked: Cell::new(0),
            cut: Cell::new(false),
            look_again: Cell::new(false),
            waker: RefCell::new(None),
        });
        let key = self.0.entries.borrow_mut().insert(entry.clone());
        Deadline {
            entry,
            key,
            all: self.0.clone(),
        }
    }

    /// Wakes every task whose deadline has passed, and those that asked for it.
    pub(crate) fn sweep(&self) {
        let now = self.0.clock.now();
        for (_, entry) in self.0.entries.borrow().iter() {
            if entry.look_again.take() || entry.at.get().is_some_and(|at| at <= now) {
                entry.wake();
            }
        }
    }

    /// Has every deadline fire, those to come as well: the process ends.
    pub(crate) fn stop(&self) {
        self.0.clock.stopped.set(true);
        self.wake_all();
    }

    /// Has every deadline fire in whose time this server is asked.
    pub(crate) fn cut(&self, server: &ServerLive) {
        let (now, server) = (self.0.clock.now(), address(server));
        for (_, entry) in self.0.entries.borrow().iter() {
            if entry.asked.get() == server {
                entry.at.set(Some(now));
                entry.last.set(Some(now));
                entry.cut.set(true);
                entry.wake();
            }
        }
    }

    /// Wakes every task, so that each looks at what changed for all.
    pub(crate) fn wake_all(&self) {
        for (_, entry) in self.0.entries.borrow().iter() {
            entry.wake();
        }
    }
}

impl Entry {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// The deadline of one task; set as often as one likes, for the price of a store.
#[derive(Debug)]
pub(crate) struct Deadline {
    entry: Rc<Entry>,
    key: usize,
    all: Rc<All>,
}

impl Deadline {
    /// Fires `after` the clock's recent time; never, if that is beyond the end of time.
    ///
    /// For those who have just had the clock read: else it may fire a sweep too early.
    pub(crate) fn set(&self, after: Duration) {
        let last = self.entry.last.get();
        let at = self.all.clock.recent().checked_add(after);
        self.entry.at.set(match (at, last) {
            (Some(at), Some(last)) => Some(at.min(last)),
            _ => at.or(last),
        });
    }

    /// As [`Self::set`], for a task that rests: what [`Self::look_again`] asked for is over.
    pub(crate) fn rest(&self, after: Duration) {
        self.entry.look_again.set(false);
        self.set(after);
    }

    /// Fires `after` the present time.
    pub(crate) fn start(&self, after: Duration) {
        self.all.clock.now();
        self.set(after);
    }

    /// Fires only at what [`Self::end_at`] set.
    pub(crate) fn clear(&self) {
        self.entry.at.set(self.entry.last.get());
    }

    /// Fires at `last` at the latest, from the next setting or clearing on. No server is asked.
    pub(crate) fn end_at(&self, last: Option<Instant>) {
        self.entry.last.set(last);
        self.entry.asked.set(0);
        self.entry.cut.set(false);
    }

    /// Says which server is asked, so that [`Deadlines::cut`] finds this one.
    pub(crate) fn ask(&self, server: &ServerLive) {
        self.entry.asked.set(address(server));
    }

    /// Says that no server is asked any more.
    pub(crate) fn ask_none(&self) {
        self.entry.asked.set(0);
    }

    /// Whether it fired since the requests at its server are cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.entry.cut.get()
    }

    /// Whether what [`Self::end_at`] set has passed.
    pub(crate) fn has_ended(&self) -> bool {
        let last = self.entry.last.get();
        last.is_some_and(|at| at <= self.all.clock.recent())
    }

    /// What is left until what [`Self::end_at`] set, by the clock's recent time.
    pub(crate) fn left(&self) -> Option<Duration> {
        let last = self.entry.last.get()?;
        Some(last.saturating_duration_since(self.all.clock.recent()))
    }

    /// Whether it fired because the process ends, see [`Deadlines::stop`].
    pub(crate) fn is_stopped(&self) -> bool {
        self.all.clock.is_stopped()
    }

    /// Has the next sweep wake the task that polled it last, once.
    pub(crate) fn look_again(&self) {
        self.entry.look_again.set(true);
    }

    /// Whether it has fired; if not, the task of `cx` is woken when it does.
    pub(crate) fn poll_fired(&self, cx: &Context<'_>) -> bool {
        self.is_stopped() || self.poll_due(cx)
    }

    /// As [`Self::poll_fired`] for what may go on until the process has ended.
    pub(crate) fn poll_due(&self, cx: &Context<'_>) -> bool {
        let now = self.all.clock.recent();
        if self.entry.at.get().is_some_and(|at| at <= now) {
            return true;
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }
}

/// What tells servers apart: each has its place for as long as it is asked.
fn address(server: &ServerLive) -> usize {
    std::ptr::from_ref(server).addr()
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.all.entries.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_sweep_wakes_what_is_due_and_nothing_else() {
        let deadlines = Deadlines::new(Instant::now());
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        let (due, later) = (deadlines.register(), deadlines.register());
        assert!(!due.poll_fired(&cx) && !later.poll_fired(&cx));
        due.set(Duration::ZERO);
        later.set(Duration::from_secs(3600));
        deadlines.sweep();
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(due.poll_fired(&cx) && !later.poll_fired(&cx));
        due.clear();
        assert!(!due.poll_fired(&cx));
        later.look_again();
        deadlines.sweep();
        deadlines.sweep();
        assert_eq!(count.0.load(Relaxed), 2);
        let end = Instant::now() + Duration::from_secs(60);
        later.end_at(Some(end));
        later.set(Duration::from_secs(3600));
        assert_eq!(later.entry.at.get(), Some(end));
        later.set(Duration::from_secs(1));
        assert!(later.entry.at.get() < Some(end));
        later.clear();
        assert_eq!(later.entry.at.get(), Some(end));
        assert!(!later.has_ended());
        drop(due);
        deadlines.stop();
        assert_eq!(count.0.load(Relaxed), 3);
        assert!(later.poll_fired(&cx) && !later.poll_due(&cx));
        assert!(deadlines.register().is_stopped());
    }
}
