//! The primitives that the queue's hand-over rests on; a model checker's in builds with
//! `--cfg loom`, where `tests/loom.rs` tries every order of events.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::AtomicU32;
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(loom)]
pub(crate) use model::AtomicU32;

#[cfg(loom)]
mod model {
    use std::sync::atomic::Ordering::{self, AcqRel, SeqCst};

    /// Loom lets a sequentially consistent load read an old value, which the memory model
    /// forbids; as an addition of nothing it reads the newest. Stores likewise.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicU32(loom::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(crate) fn load(&self, order: Ordering) -> u32 {
            match order {
                SeqCst => self.0.fetch_add(0, AcqRel),
                order => self.0.load(order),
            }
        }

        pub(crate) fn store(&self, value: u32, _: Ordering) {
            self.0.swap(value, AcqRel);
        }

        pub(crate) fn fetch_add(&self, by: u32, _: Ordering) -> u32 {
            self.0.fetch_add(by, AcqRel)
        }

        pub(crate) fn fetch_sub(&self, by: u32, _: Ordering) -> u32 {
            self.0.fetch_sub(by, AcqRel)
        }

        pub(crate) fn fetch_update(
            &self,
            _: Ordering,
            _: Ordering,
            next: impl FnMut(u32) -> Option<u32>,
        ) -> Result<u32, u32> {
            self.0.fetch_update(AcqRel, SeqCst, next)
        }
    }
}
