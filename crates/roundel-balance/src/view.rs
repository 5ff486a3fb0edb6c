//! A worker's way to read a balancer without touching shared counts.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Balancer, Grant, Pick, PickContext, PickError, Snapshot};

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
        // Who could not be given a place in the queue has none to wait for there.
        if self.queue().waits_anywhere() && self.has_another(context.tried) {
            return Err(PickError::Full);
        }
        // Another worker may fill the server chosen before it is entered; a few more turns find
        // the next one, and the queue finds any that is left.
        for _ in 0..4 {
            let index = self.choose(context, rng)?;
            if let Some(pick) = Pick::new(self.clone(), index, context.worker) {
                pick.counters().lb_total.add(1);
                return Ok(pick);
            }
        }
        Err(PickError::Full)
    }

    /// Takes the server at `index`, as a sticky verdict names it.
    ///
    /// Errors: [`PickError::Full`] when it is full, or somebody waits already.
    /// Panics: when `index` is not below the number of servers of this snapshot.
    pub fn take(&self, index: usize, worker: usize) -> Result<Pick, PickError> {
        if self.servers()[index].live.limit() > 0 && self.queue().waits() {
            return Err(PickError::Full);
        }
        Pick::new(self.clone(), index, worker).ok_or(PickError::Full)
    }

    /// Turns a place that was waited for into a pick. With `sticky` a server that is drained
    /// will do.
    ///
    /// Errors: [`PickError::NoneUsable`] when the server serves no longer; the place is given
    /// back then.
    pub fn redeem(&self, grant: Grant, worker: usize, sticky: bool) -> Result<Pick, PickError> {
        let takes = |e: &crate::Entry| match sticky {
            true => e.state.takes_sticky(),
            false => e.state.takes_new(),
        };
        let found = self.servers().iter().position(|e| e.live.id == grant.id());
        let index = found.filter(|i| takes(&self.servers()[*i]));
        let index = index.ok_or(PickError::NoneUsable)?;
        let in_flight = self.servers()[index].live.in_flight();
        grant.redeem();
        let pick = Pick::entered(self.clone(), index, worker, in_flight);
        if !sticky {
            pick.counters().lb_total.add(1);
        }
        Ok(pick)
    }
}

impl Deref for Current {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.0
    }
}
