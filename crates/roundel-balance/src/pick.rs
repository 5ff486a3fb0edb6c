//! One choice of a server for one attempt.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::{Current, ServerCounters, ServerId, ServerLive};

/// What a pick depends on besides the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct PickContext<'a> {
    /// Servers that failed for this request; never picked again. By id, since a retry reads a
    /// later snapshot.
    pub tried: &'a [ServerId],
    /// The worker that picks; it alone may write the counters of that number.
    pub worker: usize,
    /// The time, for policies that weigh latency.
    pub now: Instant,
    /// The hash of the request's key, for policies that pick by key; see [`crate::hash_key`].
    /// A request without a key goes anywhere.
    pub hash: Option<u64>,
}

/// Says why no server was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// The backend has no server at all.
    #[error("no server is known")]
    Empty,
    /// There are servers and none takes new requests.
    #[error("no server is usable")]
    NoneUsable,
    /// Every usable server that is left has as many requests in flight as it may, or others
    /// wait already: join the queue by [`crate::Balancer::wait`].
    #[error("every usable server is full")]
    Full,
    /// Every usable server was tried for this request.
    #[error("every usable server was tried")]
    AllTried,
}

/// A server chosen for one attempt; in flight from its making to its drop.
///
/// Stays on the thread that picked: it holds that worker's count of the snapshot.
#[derive(Debug)]
pub struct Pick {
    current: Current,
    index: usize,
    worker: usize,
    tunnel: bool,
}

impl Pick {
    /// Enters the server at `index`; `None` when it is full.
    pub(crate) fn new(current: Current, index: usize, worker: usize) -> Option<Self> {
        let in_flight = current.servers()[index].live.try_enter()?;
        Some(Self::entered(current, index, worker, in_flight))
    }

    /// A pick of a server that was entered before.
    pub(crate) fn entered(current: Current, index: usize, worker: usize, in_flight: u32) -> Self {
        current.servers()[index].live.workers[worker]
            .in_flight_max
            .raise(u64::from(in_flight));
        current.flights()[worker].begun.add(1);
        Self {
            current,
            index,
            worker,
            tunnel: false,
        }
    }

    /// The index of the server in the snapshot it was picked from.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Notes that the connection was upgraded: what is in flight is a tunnel from here on.
    pub fn begin_tunnel(&mut self) {
        if !std::mem::replace(&mut self.tunnel, true) {
            self.server().tunnel_begins();
        }
    }

    /// The number of the server.
    pub fn id(&self) -> ServerId {
        self.server().id
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.current.servers()[self.index].address
    }

    /// The server's live state.
    pub fn server(&self) -> &ServerLive {
        &self.current.servers()[self.index].live
    }

    /// The counters of the server that this worker writes.
    pub fn counters(&self) -> &ServerCounters {
        &self.server().workers[self.worker]
    }

    /// The value of the sticky cookie that leads to this server.
    pub fn cookie_value(&self) -> &str {
        self.current.cookie_value(self.index)
    }

    /// Records the time from sending the request to the head of its answer, for the policy that
    /// weighs it. Nothing is written under the others: all workers share that line of memory.
    ///
    /// Time: `now` comes from one monotonic clock; an earlier `now` counts as no time passed.
    pub fn record_latency(&self, now: Instant, latency: Duration) {
        if self.current.weighs_latency() {
            self.server().record_latency(now, latency);
        }
    }

    /// The snapshot it was picked from.
    pub fn snapshot(&self) -> &Current {
        &self.current
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        let live = &self.current.servers()[self.index].live;
        if self.tunnel {
            live.tunnel_ends();
        }
        live.leave();
        self.current.flights()[self.worker].ended.add(1);
        self.current.queue().hand_on(live);
    }
}
