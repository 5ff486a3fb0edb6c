//! How many connections there may be: `maxconn` of a frontend and of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;

/// Places for connections, taken before a connection is accepted.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicU64,
    /// 0 for any number.
    most: AtomicU64,
    /// Tells everybody who waits for a place, here or in another room.
    freed: Arc<Notify>,
}

/// One connection's place; given up when dropped.
#[derive(Debug)]
struct Place(Arc<Room>);

/// A connection's places in the room of its frontend and in that of the process.
#[derive(Debug)]
pub(crate) struct Places {
    _frontend: Place,
    _process: Place,
}

impl Room {
    /// Makes a room without a limit.
    pub(crate) fn new(freed: Arc<Notify>) -> Self {
        Self {
            taken: AtomicU64::new(0),
            most: AtomicU64::new(0),
            freed,
        }
    }

    /// Sets how many places there are, 0 for any number. Places taken stay.
    pub(crate) fn limit(&self, most: u64) {
        self.most.store(most, SeqCst);
        self.freed.notify_waiters();
    }

    /// How many places there are, 0 for any number.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(SeqCst)
    }

    /// Whether every place is taken.
    pub(crate) fn is_full(&self) -> bool {
        let most = self.most();
        most > 0 && self.taken.load(SeqCst) >= most
    }

    fn enter(self: &Arc<Self>) -> Option<Place> {
        let most = self.most();
        let step = |n: u64| (most == 0 || n < most).then_some(n + 1);
        let entered = self.taken.fetch_update(SeqCst, SeqCst, step);
        entered.ok().map(|_| Place(Arc::clone(self)))
    }

    /// Takes a place whether there is one or not.
    fn enter_anyway(self: &Arc<Self>) -> Place {
        self.taken.fetch_add(1, SeqCst);
        Place(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, SeqCst);
        let most = self.0.most();
        if most > 0 && before >= most {
            self.0.freed.notify_waiters();
        }
    }
}

impl Places {
    /// Takes a place in both rooms, if both have one.
    pub(crate) fn take(frontend: &Arc<Room>, process: &Arc<Room>) -> Option<Self> {
        Some(Self {
            _frontend: frontend.enter()?,
            _process: process.enter()?,
        })
    }

    /// Takes a place in both rooms whatever their limits.
    pub(crate) fn take_anyway(frontend: &Arc<Room>, process: &Arc<Room>) -> Self {
        Self {
            _frontend: frontend.enter_anyway(),
            _process: process.enter_anyway(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_needs_a_place_in_both_rooms() {
        let freed = Arc::new(Notify::new());
        let rooms = [(); 2].map(|()| Arc::new(Room::new(freed.clone())));
        let [frontend, process] = &rooms;
        process.limit(2);
        let first = Places::take(frontend, process);
        assert!(first.is_some() && !process.is_full());
        let second = Places::take(frontend, process);
        assert!(second.is_some() && process.is_full());
        assert!(Places::take(frontend, process).is_none());
        assert_eq!(frontend.taken.load(SeqCst), 2, "the other room's place");
        let anyway = Places::take_anyway(frontend, process);
        drop((first, anyway));
        frontend.limit(1);
        assert!(frontend.is_full() && Places::take(frontend, process).is_none());
        drop(second);
        assert!(Places::take(frontend, process).is_some());
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_a_full_room_is_left() {
        let room = Arc::new(Room::new(Arc::new(Notify::new())));
        room.limit(1);
        let place = room.enter();
        let freed = room.freed.notified();
        drop(place);
        freed.await;
    }
}
