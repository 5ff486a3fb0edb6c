//! The open loop: moments at which requests are due, told to whoever is free.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::sync::{Notify, mpsc};

/// Requests that are due and not yet taken by a connection.
pub(super) struct Pace {
    due: RefCell<VecDeque<Instant>>,
    news: Notify,
    over: Cell<bool>,
}

impl Pace {
    /// Starts the clock: request `k` is due `k / rate` seconds from here on, for `time`.
    pub(super) fn start(rate: u64, time: Duration) -> Result<Rc<Self>> {
        let period = 1_000_000_000u64.checked_div(rate);
        let period = Duration::from_nanos(period.context("a rate is at least 1")?);
        let total = (time.as_nanos() / period.as_nanos()) as u64;
        let pace = Rc::new(Self {
            due: RefCell::default(),
            news: Notify::new(),
            over: Cell::new(false),
        });
        let (tell, mut told) = mpsc::unbounded_channel();
        let timer = timer(period)?;
        let begun = Instant::now();
        // Without its clock a run ends early and its report shows it.
        std::thread::spawn(move || tick(&timer, total, &tell));
        let ticking = Rc::clone(&pace);
        tokio::task::spawn_local(async move {
            let mut number = 0;
            while let Some(count) = told.recv().await {
                for _ in 0..count {
                    number += 1;
                    ticking.due.borrow_mut().push_back(begun + period * number);
                    ticking.news.notify_one();
                }
            }
            ticking.over.set(true);
            ticking.news.notify_waiters();
        });
        Ok(pace)
    }

    /// The next request's due moment; waits for it. `None` when there are no more.
    pub(super) async fn next(&self) -> Option<Instant> {
        loop {
            let news = self.news.notified();
            if let Some(due) = self.due.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.over.get() {
                return None;
            }
            news.await;
        }
    }

    /// Requests that nobody took.
    pub(super) fn waiting(&self) -> u64 {
        self.due.borrow().len() as u64
    }
}

/// Tells how many periods are over, each time some are, until `total` are.
fn tick(timer: &OwnedFd, total: u64, tell: &mpsc::UnboundedSender<u64>) -> io::Result<()> {
    let mut left = total;
    while left > 0 {
        let mut count = [0; 8];
        rustix::io::read(timer, &mut count)?;
        let count = u64::from_ne_bytes(count).min(left);
        left -= count;
        if tell.send(count).is_err() {
            break;
        }
    }
    Ok(())
}

/// A kernel timer: the runtime's own counts in milliseconds, which is too coarse, and a thread
/// that sleeps wakes up to 50 µs late.
fn timer(period: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let period = Timespec {
        tv_sec: period.as_secs() as i64,
        tv_nsec: i64::from(period.subsec_nanos()),
    };
    let times = Itimerspec {
        it_interval: period,
        it_value: period,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
    Ok(timer)
}
