//! What is used again and again: taken while somebody needs it, given back when nobody does.
//!
//! What was not needed between two sweeps, a second apart, is let go by halves, so that a burst
//! costs no memory for long and steady load no allocation.

use std::cell::{Cell, RefCell};

/// Free ones kept of each kind at most.
const KEPT: usize = 1024;

/// Free ones of one kind; whoever finds none makes one.
#[derive(Debug)]
pub(crate) struct Store<T> {
    free: RefCell<Vec<T>>,
    /// The fewest that were free since the last sweep.
    fewest: Cell<usize>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            free: RefCell::default(),
            fewest: Cell::new(0),
        }
    }
}

impl<T> Store<T> {
    pub(crate) fn take(&self) -> Option<T> {
        let mut free = self.free.borrow_mut();
        let one = free.pop();
        self.fewest.set(self.fewest.get().min(free.len()));
        one
    }

    pub(crate) fn give(&self, one: T) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(one);
        }
    }

    /// Lets half of what was not needed since the last sweep go.
    pub(crate) fn sweep(&self) {
        let mut free = self.free.borrow_mut();
        let keep = free.len() - self.fewest.get().div_ceil(2);
        free.truncate(keep);
        self.fewest.set(free.len());
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.free.borrow().len()
    }

    /// Lets all go.
    pub(crate) fn clear(&self) {
        self.free.borrow_mut().clear();
        self.fewest.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_goes_by_halves_and_what_is_needed_stays() {
        let store = Store::default();
        let take = || store.take().unwrap_or_default();
        let taken: Vec<u8> = (0..16).map(|_| take()).collect();
        taken.into_iter().for_each(|one| store.give(one));
        let free = || store.free.borrow().len();
        // Just used: the fewest since the last sweep were none.
        store.sweep();
        assert_eq!(free(), 16);
        let twelve: Vec<u8> = (0..12).map(|_| take()).collect();
        twelve.into_iter().for_each(|one| store.give(one));
        store.sweep();
        assert_eq!(free(), 14);
        for expected in [7, 3, 1, 0, 0] {
            store.sweep();
            assert_eq!(free(), expected);
        }
    }
}
