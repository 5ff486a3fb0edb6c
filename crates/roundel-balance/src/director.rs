//! Who decides that a server serves: one state machine per backend, owned by one task.
//!
//! Inputs are whole sets from the sources, reports of checks, evidence from the workers and
//! orders of operators. Gossip says who exists, checks say who serves; each detector clears only its own
//! verdict. `record` derives the state, `sets` and `verdicts` carry the inputs into it.

mod command;
mod config;
mod health;
mod heritage;
mod input;
mod left;
mod newcomers;
mod orders;
mod outliers;
mod output;
mod probe;
mod proof;
mod record;
mod relief;
mod sets;
mod silence;
mod status;
#[cfg(test)]
mod tests;
mod timers;
mod trust;
mod verdicts;
mod waiting;
mod weights;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_model::{EventKind, Name, Presence, ServerState, SourceKind};
use roundel_stats::{Histogram, HistogramSnapshot};

use crate::{Balancer, CheckSpec, ServerId, ServerLive};
use left::{LeftRow, LeftRows};
use newcomers::Newcomers;
use orders::Kept;
use record::Record;
use weights::Weights;
use words::Span;

pub use config::DirectorConfig;
pub use heritage::Heritage;
pub use input::{CommandError, Evidence, EvidenceKind, ServerAct, ServerCommand};
pub use newcomers::Crowd;
pub use orders::ServerOrders;
pub use output::{CheckTicket, DirectorEvent, DirectorOutput, StartCheck};
pub use status::{CheckState, ServerStatus};

/// Turns sets, check reports, evidence and orders into states, and publishes them.
///
/// Call order: any `handle_*`, then [`Self::poll_output`] until it is empty, then sleep until
/// [`Self::poll_timeout`] and call [`Self::handle_timeout`]. Whatever a `handle_*` changed is
/// published to the balancer before it returns.
/// Shape: `records` are in table order and hold one server per name; `index` finds them by id.
/// Time: `now` never goes backwards.
#[derive(Debug)]
pub struct Director {
    balancer: Arc<Balancer>,
    config: DirectorConfig,
    spec: Arc<CheckSpec>,
    records: Vec<Record>,
    index: BTreeMap<ServerId, usize>,
    timers: BTreeSet<(Instant, ServerId)>,
    left: LeftRows,
    output: VecDeque<DirectorOutput>,
    rng: fastrand::Rng,
    /// When the workers' counts are looked at next; `None` without servers.
    look_at: Option<Instant>,
    /// When the window of error ratios began; `None` before the first look.
    window_since: Option<Instant>,
    /// Whether something that a snapshot shows has changed since the last one.
    dirty: bool,
    /// What another director knew about servers that are still to be seen.
    heritage: BTreeMap<Name, Heritage>,
    /// Orders for servers that are not there.
    kept: Kept,
    /// Some server stands in for others.
    standing_in: bool,
    rounded: bool,
    check_delay: Histogram,
    newcomers: Newcomers,
    /// What counts of announced weights may have changed.
    reweigh: bool,
}

impl Director {
    /// Makes the director of a backend without servers. `seed` feeds the jitter of checks.
    pub fn new(balancer: Arc<Balancer>, config: DirectorConfig, seed: u64) -> Self {
        Self {
            balancer,
            spec: Arc::new(config.check.clone()),
            config,
            records: Vec::new(),
            index: BTreeMap::new(),
            timers: BTreeSet::new(),
            left: LeftRows::default(),
            output: VecDeque::new(),
            rng: fastrand::Rng::with_seed(seed),
            look_at: None,
            window_since: None,
            dirty: false,
            heritage: BTreeMap::new(),
            kept: Kept::default(),
            standing_in: false,
            rounded: false,
            check_delay: Histogram::default(),
            newcomers: Newcomers::new(),
            reweigh: false,
        }
    }

    /// How late checks started, measured from the moment when each was due.
    pub fn check_delay(&self) -> HistogramSnapshot {
        self.check_delay.snapshot()
    }

    /// The balancer it publishes to.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// The configuration in force.
    pub fn config(&self) -> &DirectorConfig {
        &self.config
    }

    /// Applies another configuration; servers keep their states. Policy and sticky key, changed
    /// by [`Balancer::configure`] before, are published along.
    pub fn reconfigure(&mut self, now: Instant, config: DirectorConfig) {
        let check_changed = self.config.check != config.check;
        self.config = config;
        if check_changed {
            self.spec = Arc::new(self.config.check.clone());
            for i in 0..self.records.len() {
                self.reconfigure_check(now, i);
            }
            self.judge_claims();
        }
        self.reconfigure_outliers(now);
        self.make_room(now);
        self.reweigh = true;
        self.dirty = true;
        self.finish(now);
    }

    fn reconfigure_check(&mut self, now: Instant, i: usize) {
        let record = &mut self.records[i];
        record.health.reshape(&self.config.check);
        record.probe.restart(now, &self.config.check);
        if self.config.check.is_on() && record.server.presence == Presence::Failed {
            // Its check speaks for itself from here on.
            record.gossip_down = false;
        }
        if !self.config.check.is_on() {
            record.health.assume_up();
            record.connect_doubt = false;
            record.slow = false;
        } else if !record.health.is_fresh() {
            // Spread over one interval: thousands of servers are known already.
            let delay = self.config.check.every.mul_f64(self.rng.f64());
            record
                .probe
                .schedule(now + delay, Duration::ZERO, &mut self.rng);
        }
        self.settle(now, i);
    }

    /// The next thing to do or tell.
    pub fn poll_output(&mut self) -> Option<DirectorOutput> {
        self.output.pop_front()
    }

    /// Every server in table order, then the rows of those that left, latest first.
    pub fn servers(&self, now: Instant) -> Vec<ServerStatus> {
        let snapshot = self.balancer.load();
        let status =
            |(i, record): (usize, &Record)| record.status(now, &self.config, snapshot.cookie(i));
        let here = self.records.iter().enumerate().map(status);
        here.chain(self.left.statuses()).collect()
    }

    /// The number of the server of this name, unless it has left.
    pub fn find(&self, name: &Name) -> Option<ServerId> {
        self.position(name).map(|i| self.records[i].live.id)
    }

    /// What is counted of the servers that one kind of source named, and their states.
    pub fn servers_of(
        &self,
        kind: SourceKind,
    ) -> impl Iterator<Item = (&Arc<ServerLive>, ServerState)> {
        let own = self.records.iter().filter(move |r| r.server.source == kind);
        own.map(|record| (&record.live, record.state))
    }

    fn position(&self, name: &Name) -> Option<usize> {
        self.records.iter().position(|r| r.server.name == *name)
    }

    /// Moves a server into the state that follows from its verdicts, tells about it, re-arms its
    /// timer.
    fn settle(&mut self, now: Instant, i: usize) {
        let record = &mut self.records[i];
        let before = record.state;
        let slow_start = self.config.slow_start;
        if record.warm_until.is_some_and(|until| until <= now) {
            record.warm_until = None;
        }
        self.weigh_claim(i);
        self.weigh_trust(now, i);
        let record = &mut self.records[i];
        let mut after = record.derive();
        let begins = matches!(
            before,
            ServerState::Joining | ServerState::Down | ServerState::Ejected
        );
        if after == ServerState::Up && begins {
            record.live.clear_refused();
        }
        if after == ServerState::Up && begins && !slow_start.is_zero() {
            record.warm_until = Some(now + slow_start);
            after = ServerState::Warming;
        }
        if !matches!(after, ServerState::Up | ServerState::Warming) {
            record.warm_until = None;
        }
        if after == ServerState::Warming {
            self.dirty = true;
        }
        if before != after {
            let had_served = self.records[i].has_served;
            let lasted = self.records[i].enter(now, after);
            self.dirty = true;
            self.tell_transition(now, i, (before, had_served), lasted);
        }
        self.prove(now, i);
        self.tell_return(i);
        if self.records[i].tell_silence() {
            self.balancer.note_silence();
        }
        self.arm(now, i);
    }

    fn tell_transition(
        &mut self,
        now: Instant,
        i: usize,
        (before, had_served): (ServerState, bool),
        lasted: Duration,
    ) {
        use ServerState::{Down, Joining, Up, Warming};
        let record = &self.records[i];
        let check = match self.config.check.is_on() {
            true => words::result(&record.probe.last),
            false => "checks are off".into(),
        };
        let before_first = before == Joining || !had_served;
        let (kind, text, duration) = match (before, record.state) {
            (Joining | Down, Up | Warming) if before_first => {
                let took = now.saturating_duration_since(record.joined);
                let text = format!("serving after {}: {check}", Span(took));
                (EventKind::Serving, text, Some(took))
            }
            (Down, Up | Warming) => {
                let text = format!("up again after {} down: {check}", Span(lasted));
                (EventKind::CheckUp, text, Some(lasted))
            }
            (_, Down) => {
                let text = format!(
                    "down: {}; {} in flight, {} {before}",
                    record.cause,
                    record.live.in_flight(),
                    Span(lasted)
                );
                let kind = match record.gossip_down {
                    true => EventKind::Failed,
                    false => EventKind::CheckDown,
                };
                (kind, text, Some(lasted))
            }
            _ => return,
        };
        let name = record.server.name.clone();
        self.tell(kind, Some(name), text, duration);
        let hopeless = |r: &Record| r.state == Down && !r.has_served;
        if before == Joining && self.records.iter().all(hopeless) {
            let text = format!("no usable server: {}", self.census());
            self.tell(EventKind::NoServer, None, text, None);
        }
    }

    fn tell(
        &mut self,
        kind: EventKind,
        server: Option<Name>,
        text: String,
        duration: Option<Duration>,
    ) {
        let event = DirectorEvent {
            kind,
            backend: self.balancer.name().clone(),
            server,
            text,
            duration,
        };
        self.output.push_back(DirectorOutput::Event(event));
    }

    /// Ends every `handle_*`: publishes what changed.
    fn finish(&mut self, now: Instant) {
        if self.standing_in {
            self.relieve(now);
        }
        if std::mem::take(&mut self.reweigh) {
            self.weigh_announced();
        }
        self.look_at = self.next_look(now);
        if std::mem::take(&mut self.dirty) {
            self.publish(now);
        }
        self.check_invariants();
    }

    fn publish(&mut self, now: Instant) {
        let usable_before = self.balancer.load().usable();
        let place = |record: &Record| record.placement(now, &self.config);
        let placements: Vec<_> = self.records.iter().map(place).collect();
        if usable_before > 0 && !placements.iter().any(|p| p.state.takes_new()) {
            // Before anybody can see it, so that nobody takes it for a backend without servers.
            self.balancer.note_lost(now);
        }
        let Some(snapshot) = self.balancer.publish(placements) else {
            return;
        };
        if snapshot.usable() > 0 && self.config.check.is_on() {
            // Where nothing is checked, only a connection that stands tells.
            self.balancer.note_served();
        }
        if usable_before > 0 && snapshot.usable() == 0 {
            let text = format!("no usable server: {}", self.census());
            self.tell(EventKind::NoServer, None, text, None);
        }
        let rounding = snapshot.rounding();
        if let Some(rounding) = rounding.filter(|_| !self.rounded) {
            let text = format!(
                "weights rounded: the exact order has {} slots, shares differ by up to {:.2} %",
                rounding.exact,
                rounding.worst * 100.0
            );
            self.tell(EventKind::Other, None, text, None);
        }
        self.rounded = rounding.is_some();
    }

    /// The states of the servers, counted: `2 down, 1 draining`.
    fn census(&self) -> String {
        let count = |state| self.records.iter().filter(|r| r.state == state).count();
        let parts: Vec<String> = ServerState::ALL
            .into_iter()
            .map(|state| (count(state), state))
            .filter(|(n, _)| *n > 0)
            .map(|(n, state)| format!("{n} {state}"))
            .collect();
        if parts.is_empty() {
            "none is known".into()
        } else {
            parts.join(", ")
        }
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let snapshot = self.balancer.load();
            assert_eq!(snapshot.servers().len(), self.records.len());
            assert_eq!(self.index.len(), self.records.len(), "one record per name");
            for (entry, record) in snapshot.servers().iter().zip(&self.records) {
                assert_eq!(entry.live.id, record.live.id, "same order as published");
                assert_eq!(entry.state, record.state, "what is decided is published");
                let due = record.timer.map(|at| (at, record.live.id));
                assert!(due.is_none_or(|timer| self.timers.contains(&timer)));
            }
        }
    }
}
