//! Idle upstream connections: a few per worker and server, the rest where any worker finds them.
//!
//! A connection comes here only after request and answer both ended exactly where their framing
//! said. It leaves for the next request only if nothing arrived on it meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shared::{PoolKey, Shared, Spare};
use crate::transport::Io;

/// Connections per server that a worker keeps for itself when they rest longer than one sweep.
const OWN: usize = 2;
/// Rest after which a connection counts as not needed by this worker.
const RESTED: Duration = Duration::from_millis(100);
/// Idle time from which on a connection is looked at before use: shorter ones were just used.
const FRESH: Duration = Duration::from_millis(1);
/// The same before a request that cannot be sent twice: an end that came since would as likely
/// still be on its way, and a look is a call to the kernel.
const CAREFUL: Duration = Duration::from_micros(200);
/// How long ago the loop may have looked at all sockets for that look to count. A request that
/// can be sent twice is saved by a retry if the end came since; others are `careful`.
const SEEN: Duration = Duration::from_millis(5);

/// The owner of connections that serve any client.
pub(crate) const ANYONE: u64 = 0;

/// One worker's idle connections.
pub(crate) struct Pool {
    worker: usize,
    shared: Arc<Shared>,
    idle: RefCell<HashMap<PoolKey, Vec<Idle>, BuildHasherDefault<Mix>>>,
}

struct Idle {
    /// The client connection that alone may use it, or [`ANYONE`].
    owner: u64,
    stream: Io,
    address: SocketAddr,
    since: Instant,
    until: Instant,
}

impl Pool {
    pub(crate) fn new(worker: usize, shared: Arc<Shared>) -> Self {
        Self {
            worker,
            shared,
            idle: RefCell::default(),
        }
    }

    /// Takes the connection of this owner to `address` that was used last, if one is fit for use.
    ///
    /// With `careful` all but those used a moment ago are looked at: for requests that cannot
    /// be sent twice.
    pub(crate) fn take(
        &self,
        key: PoolKey,
        owner: u64,
        address: SocketAddr,
        now: Instant,
        careful: bool,
    ) -> Option<Io> {
        if let Some(list) = self.idle.borrow_mut().get_mut(&key) {
            while let Some(mut idle) = last_of(list, owner) {
                let rested = now.saturating_duration_since(idle.since);
                let look = match careful {
                    true => rested >= CAREFUL,
                    false => rested >= FRESH && self.shared.since_turn(self.worker, now) >= SEEN,
                };
                if idle.owner == owner
                    && idle.address == address
                    && idle.until > now
                    && idle.stream.is_quiet(look)
                {
                    return Some(idle.stream);
                }
            }
        }
        match owner {
            ANYONE => self.take_spare(key, address, now),
            _ => None,
        }
    }

    fn take_spare(&self, key: PoolKey, address: SocketAddr, now: Instant) -> Option<Io> {
        if self.shared.spare_count.load(Relaxed) == 0 {
            return None;
        }
        let mut spares = self.spares();
        let list = spares.get_mut(&key)?;
        while let Some(spare) = list.pop() {
            self.shared.spare_count.fetch_sub(1, Relaxed);
            if spare.address == address
                && spare.idle_until > now
                && let Ok(mut stream) = spare.stream.attach()
                && stream.is_quiet(true)
            {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection for at most `limit`.
    pub(crate) fn put(
        &self,
        key: PoolKey,
        owner: u64,
        address: SocketAddr,
        stream: Io,
        now: Instant,
        limit: Duration,
    ) {
        if limit.is_zero() || self.shared.is_short(now) {
            return;
        }
        let idle = Idle {
            owner,
            stream,
            address,
            since: now,
            until: now + limit,
        };
        self.idle.borrow_mut().entry(key).or_default().push(idle);
    }

    /// Closes everything, so that others may have the descriptors.
    pub(crate) fn shed(&self) {
        self.idle.borrow_mut().clear();
        let mut spares = self.spares();
        let count: usize = spares.values().map(Vec::len).sum();
        spares.clear();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.shared.spare_count.fetch_sub(count, Relaxed);
    }

    /// Closes the connections of an owner that is gone.
    pub(crate) fn forget(&self, owner: u64) {
        for list in self.idle.borrow_mut().values_mut() {
            list.retain(|idle| idle.owner != owner);
        }
    }

    /// Whether there is nothing to sweep, here or where any worker finds it.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.shared.spare_count.load(Relaxed) == 0
    }

    /// Closes what was idle for too long or leads to a server that takes no request any more;
    /// shares what this worker did not need of late.
    ///
    /// A server that leaves waits for its last connection to end: an idle one would hold it up.
    pub(crate) fn sweep(&self, now: Instant, takes_requests: impl Fn(&PoolKey) -> bool) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|key, list| {
            if !takes_requests(key) {
                return false;
            }
            list.retain(|idle| idle.until > now);
            if list.first().is_some_and(|idle| idle.owner != ANYONE) {
                return true;
            }
            // The oldest come first, for the last used is taken first.
            let rested = list
                .iter()
                .take_while(|idle| now.saturating_duration_since(idle.since) >= RESTED)
                .count();
            for idle in list.drain(..rested.min(list.len().saturating_sub(OWN))) {
                if idle.owner == ANYONE {
                    self.share(*key, idle);
                }
            }
            !list.is_empty()
        });
        drop(idle);
        if self.shared.spare_count.load(Relaxed) > 0 {
            self.sweep_spares(now, takes_requests);
        }
    }

    fn share(&self, key: PoolKey, idle: Idle) {
        let Ok(stream) = idle.stream.detach() else {
            return;
        };
        self.spares().entry(key).or_default().push(Spare {
            stream,
            address: idle.address,
            idle_until: idle.until,
        });
        self.shared.spare_count.fetch_add(1, Relaxed);
    }

    fn sweep_spares(&self, now: Instant, takes_requests: impl Fn(&PoolKey) -> bool) {
        let mut left = 0;
        let mut spares = self.spares();
        spares.retain(|key, list| {
            list.retain(|spare| spare.idle_until > now && takes_requests(key));
            left += list.len() as u32;
            !list.is_empty()
        });
        self.shared.spare_count.store(left, Relaxed);
    }

    fn spares(&self) -> MutexGuard<'_, HashMap<PoolKey, Vec<Spare>>> {
        self.shared
            .spares
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the youngest connection of this owner. With [`ANYONE`] simply the youngest: those of
/// owners stand in the same list only for a moment after a reload.
fn last_of(list: &mut Vec<Idle>, owner: u64) -> Option<Idle> {
    if owner == ANYONE {
        return list.pop();
    }
    let at = list.iter().rposition(|idle| idle.owner == owner)?;
    Some(list.remove(at))
}

/// Mixes the two small numbers of a key; nobody outside chooses them.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        // Source: Knuth's multiplicative hashing, 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
