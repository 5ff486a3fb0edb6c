//! Who decides that a server serves: one state machine per backend, owned by one task.

mod input;
mod output;
mod status;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_model::BackendSet;

use crate::{Balancer, CheckReport, CheckSpec};

pub use input::{CommandError, Evidence, EvidenceKind, ServerAct, ServerCommand, WeightOrder};
pub use output::{CheckTicket, DirectorEvent, DirectorOutput, EventKind, StartCheck};
pub use status::{CheckState, ServerStatus};

/// What a director needs to know beyond the servers. Changes with a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorConfig {
    /// How servers are probed.
    pub check: CheckSpec,
    /// The longest a leaving server waits for its requests in flight. Default 8 s.
    pub drain_timeout: Duration,
    /// The time over which a server that begins to serve reaches its weight; zero (the default)
    /// gives it the whole weight at once.
    pub slow_start: Duration,
}

impl Default for DirectorConfig {
    fn default() -> Self {
        Self {
            check: CheckSpec::default(),
            drain_timeout: Duration::from_secs(8),
            slow_start: Duration::ZERO,
        }
    }
}

/// Turns sets, check reports, evidence and orders into states, and publishes them.
///
/// Call order: any `handle_*`, then [`Self::poll_output`] until it is empty, then sleep until
/// [`Self::poll_timeout`] and call [`Self::handle_timeout`]. Whatever a `handle_*` changed is
/// published to the balancer before it returns.
/// Time: `now` never goes backwards.
#[derive(Debug)]
pub struct Director {
    balancer: Arc<Balancer>,
    config: DirectorConfig,
    output: VecDeque<DirectorOutput>,
}

impl Director {
    /// Makes the director of a backend without servers. `seed` feeds the jitter of checks.
    pub fn new(balancer: Arc<Balancer>, config: DirectorConfig, now: Instant, seed: u64) -> Self {
        let _ = (now, seed);
        Self {
            balancer,
            config,
            output: VecDeque::new(),
        }
    }

    /// The balancer it publishes to.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// The configuration in force.
    pub fn config(&self) -> &DirectorConfig {
        &self.config
    }

    /// Takes the whole set of servers as the sources see it.
    pub fn handle_set(&mut self, now: Instant, set: &BackendSet) {
        let _ = (now, set);
    }

    /// Takes the result of a probe asked for by [`StartCheck`].
    pub fn handle_check(&mut self, now: Instant, ticket: CheckTicket, report: CheckReport) {
        let _ = (now, ticket, report);
    }

    /// Takes what a worker saw.
    pub fn handle_evidence(&mut self, now: Instant, evidence: &Evidence) {
        let _ = (now, evidence);
    }

    /// Carries out an operator's order. Errors: see [`CommandError`]; nothing changed then.
    pub fn handle_command(
        &mut self,
        now: Instant,
        command: &ServerCommand,
    ) -> Result<(), CommandError> {
        let _ = (now, command);
        Err(CommandError::NoSuchServer)
    }

    /// Applies another configuration; servers keep their states.
    pub fn reconfigure(&mut self, now: Instant, config: DirectorConfig) {
        let _ = now;
        self.config = config;
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do or tell.
    pub fn poll_output(&mut self) -> Option<DirectorOutput> {
        self.output.pop_front()
    }

    /// Every server in table order, then the rows of those that left, latest first.
    pub fn servers(&self, now: Instant) -> Vec<ServerStatus> {
        let _ = now;
        Vec::new()
    }
}
