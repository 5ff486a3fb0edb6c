//! How many pipes there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The pipes of all workers.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) most: u64,
    open: AtomicU64,
}

impl Budget {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            open: AtomicU64::new(0),
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }
}

/// The right to one pipe; given up when dropped.
#[derive(Debug)]
pub(crate) struct Share(Arc<Budget>);

impl Share {
    pub(crate) fn take(budget: &Arc<Budget>) -> Option<Self> {
        let step = |n: u64| (n < budget.most).then_some(n + 1);
        budget.open.fetch_update(Relaxed, Relaxed, step).ok()?;
        Some(Self(Arc::clone(budget)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
