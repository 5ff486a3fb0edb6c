//! What readers may make this side keep: renderings, however many readers hold each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a rendering waits for the memory of others.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts the bytes of all renderings that somebody holds.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
    /// The largest rendering so far: the next may be as large.
    largest: AtomicUsize,
    freed: Notify,
    refused: AtomicU64,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            largest: AtomicUsize::new(0),
            freed: Notify::new(),
            refused: AtomicU64::new(0),
        })
    }

    /// Whether one more rendering may be made; one alone always may. `free` is called when there is
    /// no room, to have readers give back what they hold.
    pub(crate) async fn room(&self, free: impl FnOnce()) -> bool {
        if self.has_room() {
            return true;
        }
        free();
        let waited = timeout(PATIENCE, async {
            loop {
                let freed = self.freed.notified();
                if self.has_room() {
                    return;
                }
                freed.await;
            }
        });
        let has_room = waited.await.is_ok();
        if !has_room {
            self.refused.fetch_add(1, Relaxed);
        }
        has_room
    }

    fn has_room(&self) -> bool {
        let used = self.used.load(Relaxed);
        used == 0 || used + self.largest.load(Relaxed) <= self.limit
    }

    /// Counts so many bytes until the value is dropped.
    pub(crate) fn lease(self: &Arc<Self>, len: usize) -> Lease {
        self.largest.fetch_max(len, Relaxed);
        self.used.fetch_add(len, Relaxed);
        let memory = Arc::clone(self);
        Lease { memory, len }
    }

    /// Counts a rendering until the last reader has let go of it.
    pub(crate) fn hold(self: &Arc<Self>, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        let _lease = self.lease(bytes.len());
        Bytes::from_owner(Held { bytes, _lease })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// How often a rendering was refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// Bytes that are counted.
#[derive(Debug)]
pub(crate) struct Lease {
    memory: Arc<Memory>,
    len: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.len, Relaxed);
        self.memory.freed.notify_waiters();
    }
}

struct Held {
    bytes: Bytes,
    _lease: Lease,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_room_until_readers_hold_too_much() {
        let memory = Memory::new(100);
        assert!(memory.room(|| panic!("nothing is held")).await);
        let first = memory.hold(vec![0; 60]);
        let second = first.clone();
        drop(first);
        assert_eq!(memory.used(), 60, "somebody still holds it");
        assert!(!memory.room(|| ()).await);
        assert_eq!(memory.refused(), 1);
        assert!(memory.room(|| drop(second)).await);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn one_rendering_is_made_however_large() {
        let memory = Memory::new(10);
        drop(memory.hold(vec![0; 1000]));
        assert!(memory.room(|| ()).await);
    }
}
