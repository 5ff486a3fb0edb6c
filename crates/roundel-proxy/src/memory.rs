//! What the streams of HTTP/2 may hold in all workers together.
//!
//! Each stream takes its share before it is answered, of what it can come to hold: nothing has to be
//! waited for, or taken back, once it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::status::MemoryStatus;

/// Bytes for the streams of all connections.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: AtomicU64,
    used: AtomicU64,
    refused: AtomicU64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Sets how much there is. What was taken stays taken.
    pub(crate) fn limit(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    pub(crate) fn status(&self) -> MemoryStatus {
        MemoryStatus {
            used: self.used.load(Relaxed),
            limit: self.limit.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let limit = self.limit.load(Relaxed);
        let step = |used: u64| used.checked_add(bytes).filter(|all| *all <= limit);
        let taken = self.used.fetch_update(Relaxed, Relaxed, step).is_ok();
        if !taken {
            self.refused.fetch_add(1, Relaxed);
        }
        taken
    }
}

/// A part of the memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Share {
    /// Takes so many bytes; `None`, which is counted, when there are fewer.
    pub(crate) fn take(memory: &Arc<Memory>, bytes: u64) -> Option<Self> {
        memory.take(bytes).then(|| Self {
            memory: Arc::clone(memory),
            bytes,
        })
    }

    /// Takes more; false, which is counted, when there are fewer.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.memory.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_limit_and_come_back() {
        let memory = Arc::new(Memory::new(100));
        let mut first = Share::take(&memory, 60).unwrap();
        assert!(Share::take(&memory, 41).is_none());
        assert!(!first.grow(u64::MAX) && first.grow(20));
        let second = Share::take(&memory, 20).unwrap();
        let status = |used, limit, refused| MemoryStatus {
            used,
            limit,
            refused,
        };
        assert_eq!(memory.status(), status(100, 100, 2));
        memory.limit(50);
        drop(first);
        assert!(Share::take(&memory, 31).is_none());
        drop(second);
        assert!(Share::take(&memory, 50).is_some());
        assert_eq!(memory.status(), status(0, 50, 3));
    }
}
