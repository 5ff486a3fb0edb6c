//! Single-writer counters, shared gauges, one padded cell per worker.

use std::ops::Index;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::counted::{Counted, Totals, add_up, set};

/// A number that only grows, written by one thread and read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this: two writers would lose counts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Raises the value to `n` if it is lower; same rule of one writer.
    pub fn raise(&self, n: u64) {
        if n > self.0.load(Relaxed) {
            self.0.store(n, Relaxed);
        }
    }

    /// Sets the value; same rule of one writer.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, written by any thread.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n` (negative to subtract) and returns the value after it.
    pub fn add(&self, n: i64) -> i64 {
        self.0.fetch_add(n, Relaxed) + n
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One `T` per worker thread, each on cache lines of its own.
///
/// Shape: as many cells as workers, fixed when made; indexed by worker number from 0. What a former
/// process counted is a cell more, which only [`Self::inherit`] makes and writes.
#[derive(Debug)]
pub struct PerWorker<T> {
    cells: Box<[CachePadded<T>]>,
    former: OnceLock<Box<T>>,
}

impl<T: Default> PerWorker<T> {
    /// Makes `workers` cells.
    pub fn new(workers: usize) -> Self {
        Self {
            cells: (0..workers)
                .map(|_| CachePadded::new(T::default()))
                .collect(),
            former: OnceLock::new(),
        }
    }
}

impl<T: Counted + Default> PerWorker<T> {
    /// Every counter over all cells, by name.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::new();
        self.iter().for_each(|cell| add_up(cell, &mut totals));
        totals
    }

    /// Goes on from what a former process counted; called again, the later totals count.
    ///
    /// Only one thread may call this.
    pub fn inherit(&self, totals: &Totals) {
        set(&**self.former.get_or_init(Box::default), totals);
    }
}

impl<T> PerWorker<T> {
    /// The cells in order of worker; that of a former process, if any, is the last.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let former = self.former.get().map(|cell| &**cell);
        self.cells.iter().map(|cell| &**cell).chain(former)
    }

    /// Sums one number over all workers.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(of).sum()
    }
}

impl<T> Index<usize> for PerWorker<T> {
    type Output = T;
    fn index(&self, worker: usize) -> &T {
        &self.cells[worker]
    }
}
