//! Beginning anew after a panic.

use std::net::SocketAddr;
use std::time::Instant;

use roundel_gossip::{Member, Status};

use super::Task;
use crate::guard::guarded;

/// Most members who are asked at once for what was missed.
const FIRST: usize = 3;

impl Task {
    /// Has the node begin anew as the same member, on the same sockets. Returns whether it could.
    pub(super) fn restart(&mut self) -> bool {
        let (node, now) = (&mut self.node, Instant::now());
        let restarted = guarded(|| node.restart(now));
        if !matches!(restarted, Some(Ok(()))) {
            tracing::error!("the gossip's driver panicked, and its node cannot begin anew");
            return false;
        }
        self.seeding.answered.clear();
        if let Some(next) = &mut self.seeding.next {
            *next = tokio::time::Instant::now();
        }
        let living = |m: &&Member| m.status == Status::Alive && m.name != self.node.name();
        let living = self.node.members().filter(living);
        let first: Vec<SocketAddr> = living.map(|m| m.address).take(FIRST).collect();
        if !self.paused && !first.is_empty() {
            self.node.join(now, &first);
        }
        true
    }
}
