//! Upstream connections that may carry a request.
//!
//! Those that carry one exchange at a time are here while they are idle: a few per worker and server,
//! the rest where any worker finds them. One comes here only after request and answer both ended
//! exactly where their framing said, and leaves for the next request only if nothing arrived on it
//! meanwhile. Those that carry several stay here, and give streams out for as long as they have room.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shared::{PoolKey, Shared, Spare};
use crate::transport::Io;
use crate::upstream::{Carrier, Multiplexed};

pub(crate) mod dials;

use dials::Dials;

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

thread_local! {
    /// When the loop of this worker's thread last looked at its sockets.
    static TURNED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Notes that the loop of this thread looked at its sockets.
pub(crate) fn note_turn(now: Instant) {
    TURNED.set(Some(now));
}

/// Whether that was lately enough.
fn has_turned(now: Instant) -> bool {
    TURNED.get().is_some_and(|at| now < at + SEEN)
}

/// The owner of connections that serve any client.
pub(crate) const ANYONE: u64 = 0;

/// One worker's connections.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    idle: RefCell<ByServer<VecDeque<Idle>>>,
    multiplexed: RefCell<ByServer<Vec<Multiple>>>,
    /// Connections that will carry several exchanges, and are being made.
    pub(crate) dials: Dials,
}

type ByServer<L> = HashMap<PoolKey, L, BuildHasherDefault<Mix>>;

/// A connection that carries one exchange at a time, and none now.
struct Idle {
    /// The client connection that alone may use it, or [`ANYONE`].
    owner: u64,
    io: Io,
    address: SocketAddr,
    since: Instant,
    until: Instant,
}

/// A connection that carries several exchanges at a time.
struct Multiple {
    /// The client connection that alone may use it, or [`ANYONE`].
    owner: u64,
    connection: Multiplexed,
    address: SocketAddr,
    /// How long it may be idle.
    limit: Duration,
    /// When it closes if nothing uses it until then.
    until: Instant,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            dials: Dials::default(),
        }
    }

    /// Takes the connection of this owner to `address` that was used last, if one is fit for use; or
    /// a stream of one that has room.
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
    ) -> Option<Carrier> {
        if let Some(list) = self.idle.borrow_mut().get_mut(&key) {
            while let Some(mut idle) = last_of(list, owner) {
                let has_rested = |least| now >= idle.since + least;
                let look = match careful {
                    true => has_rested(CAREFUL),
                    false => has_rested(FRESH) && !has_turned(now),
                };
                if idle.owner == owner
                    && idle.address == address
                    && idle.until > now
                    && idle.io.is_quiet(look)
                {
                    return Some(Carrier::Connection(idle.io));
                }
            }
        }
        if let Some(stream) = self.open_stream(key, owner, address, now) {
            return Some(stream);
        }
        match owner {
            ANYONE => self.take_spare(key, address, now),
            _ => None,
        }
    }

    /// Takes a stream of a connection that has room for one.
    pub(crate) fn open_stream(
        &self,
        key: PoolKey,
        owner: u64,
        address: SocketAddr,
        now: Instant,
    ) -> Option<Carrier> {
        let mut multiplexed = self.multiplexed.borrow_mut();
        let list = multiplexed.get_mut(&key)?;
        let fit = list
            .iter_mut()
            .filter(|one| one.owner == owner && one.address == address);
        fit.filter(|one| one.until > now).find_map(|one| {
            let stream = one.connection.open()?;
            one.until = now + one.limit;
            Some(stream)
        })
    }

    fn take_spare(&self, key: PoolKey, address: SocketAddr, now: Instant) -> Option<Carrier> {
        while let Some(spare) = self.pop_spare(key) {
            if spare.address == address
                && spare.idle_until > now
                && let Ok(mut io) = spare.io.attach()
                && io.is_quiet(true)
            {
                return Some(Carrier::Connection(io));
            }
        }
        None
    }

    fn pop_spare(&self, key: PoolKey) -> Option<Spare> {
        if self.shared.spare_count.load(Relaxed) == 0 {
            return None;
        }
        let spare = self.spares().get_mut(&key)?.pop()?;
        self.shared.spare_count.fetch_sub(1, Relaxed);
        Some(spare)
    }

    /// How many connections to a server carry several exchanges each.
    pub(crate) fn multiplexed(&self, key: PoolKey) -> usize {
        let multiplexed = self.multiplexed.borrow();
        let list = multiplexed.get(&key).into_iter().flatten();
        list.filter(|one| !one.connection.has_ended()).count()
    }

    /// Keeps a connection that carries several exchanges, until it is idle for `limit`.
    pub(crate) fn keep_open(
        &self,
        key: PoolKey,
        owner: u64,
        address: SocketAddr,
        connection: Multiplexed,
        now: Instant,
        limit: Duration,
    ) {
        let one = Multiple {
            owner,
            connection,
            address,
            limit,
            until: now + limit,
        };
        let mut multiplexed = self.multiplexed.borrow_mut();
        multiplexed.entry(key).or_default().push(one);
    }

    /// Closes the oldest connections to a server, so that with one more no more are idle than there are
    /// clients.
    pub(crate) fn make_room(&self, key: PoolKey, clients: u32) {
        if let Some(list) = self.idle.borrow_mut().get_mut(&key) {
            let surplus = (list.len() + 1).saturating_sub(clients as usize);
            list.drain(..surplus.min(list.len()));
        }
    }

    /// Keeps an idle connection for at most `limit`.
    pub(crate) fn put(
        &self,
        key: PoolKey,
        owner: u64,
        address: SocketAddr,
        io: Io,
        now: Instant,
        limit: Duration,
    ) {
        if limit.is_zero() || self.shared.is_short(now) {
            return;
        }
        let idle = Idle {
            owner,
            io,
            address,
            since: now,
            until: now + limit,
        };
        let mut all = self.idle.borrow_mut();
        match all.get_mut(&key) {
            Some(list) => list.push_back(idle),
            None => {
                all.insert(key, VecDeque::from([idle]));
            }
        }
    }

    /// Closes everything that is idle, so that others may have the descriptors.
    pub(crate) fn shed(&self) {
        self.idle.borrow_mut().clear();
        self.sweep_multiplexed(|_, one| !one.connection.is_idle());
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
        self.sweep_multiplexed(|_, one| one.owner != owner);
    }

    /// Whether there is nothing to sweep, here or where any worker finds it.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
            && self.multiplexed.borrow().is_empty()
            && self.shared.spare_count.load(Relaxed) == 0
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
            if list.front().is_some_and(|idle| idle.owner != ANYONE) {
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
        self.dials.sweep(&takes_requests);
        self.sweep_multiplexed(|key, one| {
            if !one.connection.is_idle() {
                one.until = now + one.limit;
                return true;
            }
            one.until > now && one.connection.is_open() && takes_requests(key)
        });
        if self.shared.spare_count.load(Relaxed) > 0 {
            self.sweep_spares(now, takes_requests);
        }
    }

    fn sweep_multiplexed(&self, mut stays: impl FnMut(&PoolKey, &mut Multiple) -> bool) {
        self.multiplexed.borrow_mut().retain(|key, list| {
            list.retain_mut(|one| stays(key, one));
            !list.is_empty()
        });
    }

    fn share(&self, key: PoolKey, idle: Idle) {
        let Ok(io) = idle.io.detach() else {
            return;
        };
        self.spares().entry(key).or_default().push(Spare {
            io,
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
fn last_of(list: &mut VecDeque<Idle>, owner: u64) -> Option<Idle> {
    if owner == ANYONE {
        return list.pop_back();
    }
    let at = list.iter().rposition(|idle| idle.owner == owner)?;
    list.remove(at)
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
