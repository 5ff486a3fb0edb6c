//! A worker's way to read a balancer without touching shared counts.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Balancer, Pick, PickContext, PickError, Snapshot};

/// One worker's view of one balancer: reloads only after something was published.
///
/// Costs per attempt: one atomic read and one thread-local count.
#[derive(Debug)]
pub struct View {
    balancer: Arc<Balancer>,
    current: Current,
}

impl View {
    /// Makes the view of one worker.
    pub fn new(balancer: Arc<Balancer>) -> Self {
        let current = Current(Rc::new(balancer.load()));
        Self { balancer, current }
    }

    /// The newest snapshot.
    pub fn current(&mut self) -> &Current {
        if self.balancer.generation() != self.current.generation() {
            self.current = Current(Rc::new(self.balancer.load()));
        }
        &self.current
    }

    /// The balancer it looks at.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }
}

/// A snapshot held by one thread; cloning counts on that thread only.
#[derive(Debug, Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is local to the thread; cloning the inner one would be a shared write"
)]
pub struct Current(Rc<Arc<Snapshot>>);

impl Current {
    /// Picks a server by the backend's policy and counts it as chosen by balancing.
    ///
    /// Errors: see [`PickError`]; nothing is counted then.
    pub fn pick(
        &self,
        context: &PickContext<'_>,
        rng: &mut fastrand::Rng,
    ) -> Result<Pick, PickError> {
        let index = self.choose(context, rng)?;
        let pick = Pick::new(self.clone(), index, context.worker);
        pick.counters().lb_total.add(1);
        Ok(pick)
    }

    /// Takes the server at `index`, as a sticky verdict names it.
    ///
    /// Panics: when `index` is not below the number of servers of this snapshot.
    pub fn take(&self, index: usize, worker: usize) -> Pick {
        Pick::new(self.clone(), index, worker)
    }
}

impl Deref for Current {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.0
    }
}
