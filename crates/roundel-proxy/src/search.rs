//! Which servers a request may still go to.

use std::time::Instant;

use roundel_balance::{Current, Pick, PickContext, PickError, ServerId, Want};
use smallvec::SmallVec;

use crate::bonds::Bond;
use crate::config::Reuse;
use crate::pool::ANYONE;
use crate::rules::BackendSlot;
use crate::sticky::StickyServer;

/// Which servers this request may still go to, and how often it was repeated.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The server that the sticky cookie names, until it was tried.
    pub(crate) sticky: Option<StickyServer>,
    /// The connection that carries the client's login; `sticky` names its server.
    pub(crate) bond: Option<Bond>,
    /// The hash of the request's key, where the policy picks by key.
    pub(crate) hash: Option<u64>,
    /// The number of the client's connection.
    pub(crate) client: u64,
    /// It is the first request on that.
    pub(crate) is_first: bool,
    /// It asks for WebSocket.
    pub(crate) is_socket: bool,
    pub(crate) tried: SmallVec<[ServerId; 4]>,
    /// What the backend's limit on retries counts.
    pub(crate) retries: u32,
    /// Connects that failed at once, for which another server was asked: no byte was sent and no
    /// time lost, so no limit counts them.
    pub(crate) refusals: u32,
    pub(crate) redispatched: bool,
    /// The generation of the set that was read last.
    pub(crate) set_version: u64,
}

impl Search {
    /// Picks the sticky server if it still serves, else one by the policy.
    ///
    /// Errors: [`PickError::Full`] when the request has to wait; see [`Self::want`].
    pub(crate) fn pick(
        &mut self,
        slot: &BackendSlot,
        worker: usize,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Result<Pick, PickError> {
        slot.look(|current| self.pick_from(current, worker, now, rng))
    }

    fn pick_from(
        &mut self,
        current: &Current,
        worker: usize,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Result<Pick, PickError> {
        self.set_version = current.generation();
        if let Some(sticky) = self.sticky.take()
            && let Some(index) = sticky.locate(current)
            && (self.bond.is_some() || !current.servers()[index].live.is_refused())
        {
            let taken = current.take(index, worker);
            if taken.is_err() {
                self.sticky = Some(sticky);
            }
            return taken;
        }
        let context = PickContext {
            tried: &self.tried,
            worker,
            now,
            hash: self.hash,
        };
        current.pick(&context, rng)
    }

    /// What to wait for: after [`PickError::Full`] a place, with `hold` a server.
    pub(crate) fn want(&self, hold: bool) -> Want {
        Want {
            only: self.sticky.map(|s| s.id),
            tried: self.tried.to_vec(),
            hold,
        }
    }

    /// Who may use connections to this server: one client, or anyone.
    pub(crate) fn owner(&self, slot: &BackendSlot, pick: &Pick) -> u64 {
        let never = slot.backend.reuse == Reuse::Never;
        if never || (slot.sends_proxy && slot.backend.send_proxy.to(&pick.server().name).is_some())
        {
            self.client
        } else {
            ANYONE
        }
    }

    /// Whether the request may go on no connection that served another client.
    #[inline]
    pub(crate) fn is_shy(&self, slot: &BackendSlot) -> bool {
        self.is_first && slot.backend.reuse == Reuse::Safe
    }

    /// Notes that `pick` failed, so that the next pick is another server.
    pub(crate) fn leave(&mut self, pick: &Pick) {
        self.tried.push(pick.id());
    }

    /// Whether no server is left that was not tried.
    pub(crate) fn is_alone(&self, slot: &BackendSlot) -> bool {
        let current = slot.current();
        let mut servers = current.servers().iter();
        !servers.any(|e| e.state.takes_new() && !self.tried.contains(&e.live.id))
    }
}
