//! Places for connections that linger.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Connections of the whole process that are closed like this at a time; those beyond are closed
/// at once.
const MOST: u32 = 1024;

/// Connections that linger, in all workers.
#[derive(Debug, Default)]
pub(crate) struct Lingering(AtomicU32);

impl Lingering {
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.0.load(Relaxed))
    }

    /// Takes a place until it is dropped; `None` when all are taken.
    pub(crate) fn enter(&self) -> Option<Place<'_>> {
        let next = |n| (n < MOST).then_some(n + 1);
        let entered = self.0.fetch_update(Relaxed, Relaxed, next);
        entered.ok().map(|_| Place(self))
    }
}

/// A place among those that linger.
pub(crate) struct Place<'l>(&'l Lingering);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let lingering = Lingering::default();
        let mut places: Vec<_> = (0..MOST).map(|_| lingering.enter().unwrap()).collect();
        assert!(lingering.enter().is_none());
        places.pop();
        assert_eq!(lingering.count(), u64::from(MOST) - 1);
        assert!(lingering.enter().is_some());
        drop(places);
        assert_eq!(lingering.count(), 0);
    }
}
