//! Who waits for a place on connections that are all full: the first who can use one that is free is woken.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::Notify;

/// Those who wait for a place on connections to one server.
#[derive(Debug, Default)]
pub(crate) struct Vacancies {
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

/// What a place has to be.
type Use = (u64, SocketAddr);

#[derive(Debug)]
struct Waiter {
    wanted: Use,
    told: Cell<bool>,
    woken: Notify,
}

/// What a connection says of its places, of which only this owner may use one, to this address.
#[derive(Debug)]
pub(crate) struct Vacancy {
    all: Rc<Vacancies>,
    offered: Use,
}

impl Vacancy {
    pub(crate) fn new(all: Rc<Vacancies>, owner: u64, address: SocketAddr) -> Self {
        let offered = (owner, address);
        Self { all, offered }
    }

    /// One place is free.
    pub(crate) fn tell(&self) {
        self.all.tell(self.offered);
    }

    /// The connection has ended: another may be made, to wherever.
    pub(crate) fn tell_all(&self) {
        self.all.tell_all();
    }
}

impl Vacancies {
    /// Waits until there may be such a place, or room for one more connection.
    pub(crate) async fn wait(&self, owner: u64, address: SocketAddr) {
        let waiter = Rc::new(Waiter {
            wanted: (owner, address),
            told: Cell::new(false),
            woken: Notify::new(),
        });
        self.waiting.borrow_mut().push_back(waiter.clone());
        let queued = Queued {
            all: self,
            waiter,
            came: Cell::new(false),
        };
        queued.waiter.woken.notified().await;
        queued.came.set(true);
    }

    fn tell(&self, offered: Use) {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.iter().position(|waiter| waiter.wanted == offered);
        if let Some(waiter) = first.and_then(|at| waiting.remove(at)) {
            waiter.wake();
        }
    }

    /// Has all look again.
    pub(crate) fn tell_all(&self) {
        for waiter in self.waiting.take() {
            waiter.wake();
        }
    }
}

impl Waiter {
    fn wake(&self) {
        self.told.set(true);
        self.woken.notify_one();
    }
}

/// A place in the queue.
struct Queued<'a> {
    all: &'a Vacancies,
    waiter: Rc<Waiter>,
    came: Cell<bool>,
}

impl Drop for Queued<'_> {
    /// One who leaves makes room, and passes on what it was told and does not use.
    fn drop(&mut self) {
        match (self.waiter.told.get(), self.came.get()) {
            (_, true) => {}
            (true, false) => self.all.tell(self.waiter.wanted),
            (false, false) => {
                let mut waiting = self.all.waiting.borrow_mut();
                waiting.retain(|other| !Rc::ptr_eq(other, &self.waiter));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn is_woken(waiting: &mut Waiting<'_>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        waiting.as_mut().poll(&mut cx).is_ready()
    }

    /// Waits begun in this order.
    fn begin<'a>(all: &'a Vacancies, uses: &[Use]) -> Vec<Waiting<'a>> {
        let begin = |(owner, address): &Use| {
            let mut waiting: Waiting<'a> = Box::pin(all.wait(*owner, *address));
            assert!(!is_woken(&mut waiting));
            waiting
        };
        uses.iter().map(begin).collect()
    }

    #[test]
    fn the_first_who_can_use_a_place_is_woken_and_no_other() {
        let all = Rc::new(Vacancies::default());
        let uses = [(1, at(1)), (0, at(2)), (0, at(1)), (0, at(1))];
        let mut waiting = begin(&all, &uses);
        Vacancy::new(all.clone(), 0, at(1)).tell();
        let woken: Vec<_> = waiting.iter_mut().map(is_woken).collect();
        assert_eq!(woken, [false, false, true, false]);
        // Nobody can use it: nobody is told of it later.
        Vacancy::new(all.clone(), 9, at(1)).tell();
        assert_eq!(all.waiting.borrow().len(), 3);
        Vacancy::new(all.clone(), 9, at(1)).tell_all();
        drop(waiting.remove(2));
        assert!(waiting.iter_mut().all(is_woken));
    }

    #[test]
    fn one_who_leaves_passes_on_what_it_was_told() {
        let all = Rc::new(Vacancies::default());
        let mut waiting = begin(&all, &[(0, at(1)); 3]);
        // The first leaves untold, the second told.
        drop(waiting.remove(0));
        all.tell((0, at(1)));
        drop(waiting.remove(0));
        assert!(is_woken(&mut waiting[0]));
        assert!(all.waiting.borrow().is_empty());
    }
}
