//! What a director knows about one server, and the state that follows from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_model::{AdminState, Presence, Server, ServerState};

use super::health::Health;
use super::outliers::Outlier;
use super::probe::Probe;
use super::proof::Proof;
use super::relief::{Instead, StandIn};
use super::silence::Silence;
use super::trust::Distrust;
use super::weights::{Weights, shown};
use super::words::{Span, result};
use super::{CheckState, DirectorConfig, ServerStatus};
use crate::{CheckStatus, CookieValue, EjectionCause, Placement, ServerLive};

/// For how long a server that has never passed is probed at the fast pace.
const BIRTH: Duration = Duration::from_secs(60);
/// The time between any two probes of servers that have never passed: where there are many, each is
/// probed the more seldom …
const CROWDED: Duration = Duration::from_millis(5);
/// … but so often in any case.
const SELDOM: Duration = Duration::from_secs(10);
/// The slow start rises in this many steps.
const STEPS: u32 = 20;

/// One server of a director.
///
/// Each detector keeps its own verdict here (`health` the checks', `gossip_down` the gossip's,
/// `admin` and a zero weight the operator's) and clears only that one. The state follows from all of them in
/// [`Self::derive`].
#[derive(Debug)]
pub(super) struct Record {
    pub(super) live: Arc<ServerLive>,
    pub(super) server: Server,
    pub(super) weights: Weights,
    pub(super) proof: Proof,
    pub(super) admin: AdminState,
    /// The limit of requests in flight that an operator ordered.
    pub(super) maxconn: Option<u32>,
    /// It came while there were orders for its name.
    pub(super) enlisted: bool,
    /// An operator has switched its checks off.
    pub(super) unchecked: bool,
    /// Another port for its checks, ordered by an operator.
    pub(super) check_port: Option<u16>,
    pub(super) health: Health,
    pub(super) probe: Probe,
    /// An attempt could not connect and no check has passed since.
    pub(super) connect_doubt: bool,
    /// Its last check timed out while requests were answered.
    pub(super) slow: bool,
    /// It went out because nothing that was sent to it is answered.
    pub(super) silent: bool,
    pub(super) gossip_down: bool,
    /// Who has its address, as gossip says; empty where nobody has.
    pub(super) claim: String,
    pub(super) distrust: Distrust,
    /// What brought it back just now, until that is told.
    pub(super) came_back: &'static str,
    pub(super) presence_since: Instant,
    pub(super) departure: Option<Departure>,
    pub(super) stand_in: Option<StandIn>,
    pub(super) outlier: Outlier,
    pub(super) silence: Silence,
    pub(super) state: ServerState,
    pub(super) since: Instant,
    pub(super) joined: Instant,
    /// It has served since it joined.
    pub(super) has_served: bool,
    pub(super) warm_until: Option<Instant>,
    /// Why it is down.
    pub(super) cause: String,
    pub(super) timer: Option<Instant>,
    totals: Totals,
}

/// A server on its way out.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    pub(super) why: String,
}

/// Numbers that go on when a server leaves and comes back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) downtime: Duration,
    pub(super) check_failures: u64,
    pub(super) check_downs: u64,
    /// In the order of [`EjectionCause::ALL`].
    pub(super) ejections: [u64; 3],
}

impl Record {
    pub(super) fn new(
        now: Instant,
        server: &Server,
        live: Arc<ServerLive>,
        config: &DirectorConfig,
        totals: Totals,
    ) -> Self {
        let mut health = Health::new(&config.check);
        if !config.check.is_on() {
            health.assume_up();
        }
        Self {
            outlier: Outlier::new(now, &live),
            silence: Silence::new(now, &live),
            live,
            weights: Weights::given(server.weight),
            proof: Proof::default(),
            server: server.clone(),
            admin: AdminState::Ready,
            maxconn: None,
            enlisted: false,
            unchecked: false,
            check_port: None,
            health,
            probe: Probe::new(now, &config.check),
            connect_doubt: false,
            slow: false,
            silent: false,
            gossip_down: false,
            claim: String::new(),
            distrust: Distrust::default(),
            came_back: "",
            presence_since: now,
            departure: None,
            stand_in: None,
            state: ServerState::Joining,
            since: now,
            joined: now,
            has_served: false,
            warm_until: None,
            cause: String::new(),
            timer: None,
            totals,
        }
    }

    /// Starts over as a server of which nothing is known: another address, or back from leaving.
    pub(super) fn restart(&mut self, now: Instant, config: &DirectorConfig) {
        self.health = Health::new(&config.check);
        if !config.check.is_on() || self.unchecked {
            self.health.assume_up();
        }
        self.probe.restart(now, &config.check);
        self.connect_doubt = false;
        self.slow = false;
        self.silent = false;
        self.gossip_down = false;
        self.claim.clear();
        self.distrust = Distrust::default();
        self.departure = None;
        self.stand_in = None;
        self.outlier = Outlier::new(now, &self.live);
        self.silence = Silence::new(now, &self.live);
        self.live.clear_streaks();
        self.joined = now;
        self.has_served = false;
        self.proof = Proof::default();
    }

    /// The state that follows from every verdict.
    pub(super) fn derive(&self) -> ServerState {
        let trusted = self.health.is_up() && !self.is_distrusted();
        let answers = self.served_at().is_some() || trusted;
        let awaited = self.health.is_fresh() && !self.health.was_never_up();
        if self.departure.is_some() {
            ServerState::Leaving
        } else if self.admin == AdminState::Maint {
            ServerState::Maint
        } else if self.gossip_down || !(answers || awaited) {
            ServerState::Down
        } else if !answers {
            ServerState::Joining
        } else if self.outlier.ejection.is_some() {
            ServerState::Ejected
        } else if self.admin == AdminState::Drain || self.weights.fine() == 0 {
            ServerState::Draining
        } else if self.warm_until.is_some() {
            ServerState::Warming
        } else {
            ServerState::Up
        }
    }

    /// The address at which it serves while the new one has not been checked.
    pub(super) fn served_at(&self) -> Option<SocketAddr> {
        match self.stand_in {
            Some(StandIn {
                instead: Instead::Moved(address),
                ..
            }) => Some(address),
            _ => None,
        }
    }

    /// Whether its first check is still to end.
    pub(super) fn awaits_first_verdict(&self) -> bool {
        self.departure.is_none()
            && self.admin != AdminState::Maint
            && self.health.is_fresh()
            && !self.gossip_down
            && self.probe.last.status == CheckStatus::Ini
    }

    /// Enters `state` and returns how long the one before lasted.
    pub(super) fn enter(&mut self, now: Instant, state: ServerState) -> Duration {
        let lasted = now.saturating_duration_since(self.since);
        if self.state == ServerState::Down {
            self.totals.downtime += lasted;
        }
        if state == ServerState::Down {
            self.totals.check_downs += 1;
        }
        self.has_served |= state.takes_sticky();
        self.state = state;
        self.since = now;
        lasted
    }

    pub(super) fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
    }

    /// Whether one failed check is enough, because something else speaks against it too.
    pub(super) fn is_doubted(&self) -> bool {
        self.connect_doubt || self.server.presence != Presence::Present
    }

    pub(super) fn count_ejection(&mut self, cause: EjectionCause) {
        self.totals.ejections[cause as usize] += 1;
    }

    pub(super) fn count_check_failure(&mut self) {
        if self.state.takes_sticky() {
            self.totals.check_failures += 1;
        }
    }

    /// Counts a failure of a server that has never passed, if it is one of those that decide.
    pub(super) fn fail_at_birth(&mut self) {
        if !self.health.was_never_up() {
            self.health.fail();
            self.totals.check_failures += 1;
        }
    }

    /// Whether its first checks have failed so far.
    pub(super) fn has_failed_at_birth(&self) -> bool {
        let last = self.probe.last.status;
        self.health.is_fresh() && last != CheckStatus::Ini && !last.passed()
    }

    /// The time between two probes: shorter while failures count against a server that serves,
    /// much shorter for one that may come in, and with `urgent`; less so where many try to come in.
    pub(super) fn interval(
        &self,
        now: Instant,
        config: &DirectorConfig,
        urgent: bool,
        failing: usize,
    ) -> Duration {
        let every = config.check.every;
        let crowd = CROWDED * u32::try_from(failing).unwrap_or(u32::MAX);
        let crowd = crowd.min(SELDOM);
        let is_young = now.saturating_duration_since(self.joined) < BIRTH;
        let is_doubted = self.connect_doubt || self.silent || urgent;
        if self.health.is_fresh() && !is_young {
            every.max(crowd)
        } else if is_doubted || (!self.health.is_up() && self.health.is_in_transition()) {
            let short = (every / 8).max(Duration::from_millis(50));
            short.min(every).max(crowd)
        } else if self.health.is_in_transition() {
            config.check.fast()
        } else {
            every
        }
    }

    /// The part of its weight that a warming server gets, in steps of one of [`STEPS`].
    fn warmth(&self, now: Instant, slow_start: Duration) -> u32 {
        let Some(until) = self.warm_until else {
            return STEPS;
        };
        let left = until.saturating_duration_since(now).as_micros();
        let whole = slow_start.as_micros().max(1);
        let steps = STEPS - (left * u128::from(STEPS)).div_ceil(whole) as u32;
        steps.clamp(1, STEPS)
    }

    /// When the slow start takes its next step.
    pub(super) fn next_step(&self, now: Instant, slow_start: Duration) -> Option<Instant> {
        let until = self.warm_until?;
        let step = (slow_start / STEPS).max(Duration::from_millis(10));
        Some(until.min(now + step))
    }

    pub(super) fn placement(&self, now: Instant, config: &DirectorConfig) -> Placement {
        let own = config.maxconns.get(&self.server.name).copied();
        let limit = self.maxconn.or(own).unwrap_or(config.maxconn);
        self.live.set_limit(limit);
        Placement {
            live: Arc::clone(&self.live),
            address: self.served_at().unwrap_or(self.server.address),
            weight: self.fine_weight(now, config).max(1),
            backup: self.server.backup,
            state: self.state,
        }
    }

    fn fine_weight(&self, now: Instant, config: &DirectorConfig) -> u32 {
        let warmth = self.warmth(now, config.slow_start);
        let fine = self.weights.fine();
        (fine * warmth / STEPS).max(fine.min(1))
    }

    /// The totals with the downtime of this moment.
    pub(super) fn totals(&self, now: Instant) -> Totals {
        let mut totals = self.totals;
        if self.state == ServerState::Down {
            totals.downtime += now.saturating_duration_since(self.since);
        }
        totals
    }

    pub(super) fn status(
        &self,
        now: Instant,
        config: &DirectorConfig,
        cookie: CookieValue,
    ) -> ServerStatus {
        let totals = self.totals(now);
        ServerStatus {
            live: Arc::clone(&self.live),
            name: self.server.name.clone(),
            address: self.server.address,
            state: self.state,
            reason: self.reason(now),
            doubt: self.state.takes_sticky() && self.is_doubted(),
            weight: shown(self.fine_weight(now, config)),
            uweight: self.weights.shown(),
            initial_weight: self.weights.given.get(),
            throttle: self
                .warm_until
                .map(|_| (self.warmth(now, config.slow_start) * 100 / STEPS) as u8),
            backup: self.server.backup,
            source: self.server.source,
            presence: self.server.presence,
            admin: self.admin,
            since: self.since,
            downtime: totals.downtime,
            check_failures: totals.check_failures,
            check_downs: totals.check_downs,
            ejections: totals.ejections,
            check: config.check.is_on().then(|| self.check_state()),
            cookie: Some(cookie),
        }
    }

    fn check_state(&self) -> CheckState {
        let last = &self.probe.last;
        CheckState {
            status: last.status,
            running: self.probe.is_running(),
            http_code: last.http_code,
            duration: last.duration,
            description: last.description.clone(),
            health: self.health.value(),
            rise: self.health.rise(),
            fall: self.health.fall(),
            off: self.unchecked,
            port: self.check_port,
        }
    }

    fn reason(&self, now: Instant) -> String {
        match self.state {
            ServerState::Joining => format!("first check: {}", result(&self.probe.last)),
            ServerState::Down => self.why_down(now),
            ServerState::Ejected => self
                .outlier
                .ejection
                .as_ref()
                .map_or_else(String::new, |e| {
                    let left = e.until.saturating_duration_since(now);
                    format!("{}; back in {}", e.text, Span(left))
                }),
            ServerState::Maint => self.ordered(),
            ServerState::Draining
                if self.weights.ordered.is_none() && self.admin != AdminState::Drain =>
            {
                format!("weight 0 from source {}", self.server.source)
            }
            ServerState::Draining => self.ordered(),
            ServerState::Leaving => self.departure.as_ref().map_or_else(String::new, |d| {
                let left = d.deadline.saturating_duration_since(now);
                let waiting = self.live.in_flight();
                format!("{}; {waiting} in flight, {} left", d.why, Span(left))
            }),
            _ => self.doubts(now),
        }
    }

    /// Why it is down, and what is ordered besides: it may be why, or be in force when it is up.
    fn why_down(&self, now: Instant) -> String {
        let cause = match self.distrust_reason(now) {
            Some(reason) if !self.gossip_down => reason,
            _ => self.cause.clone(),
        };
        match self.orders() {
            orders if orders.is_none() => cause,
            orders => format!("{cause}; ordered by operator: {orders}"),
        }
    }

    /// What the operator ordered, and what ends it.
    fn ordered(&self) -> String {
        let when = if self.enlisted { " before it came" } else { "" };
        let ends = match self.admin {
            AdminState::Ready => "weight 100%",
            _ => "ready",
        };
        match self.weights.ordered {
            // No comma: the reason stands in the CSV, which some readers cut at every one.
            Some(weight) => format!("weight {weight} ordered by operator{when}; {ends} ends it"),
            None => format!("ordered by operator{when}; {ends} ends it"),
        }
    }

    /// What speaks against a server that serves.
    fn doubts(&self, now: Instant) -> String {
        if self.stand_in.is_some() {
            return "replaced; serves until another server does".into();
        }
        let for_how_long = Span(now.saturating_duration_since(self.presence_since));
        match self.server.presence {
            Presence::Suspect => format!("gossip silent for {for_how_long}, check passes"),
            Presence::Failed | Presence::Claimed => {
                let claim = match self.claim.as_str() {
                    "" => String::new(),
                    claim => format!("; {claim}, yet it is the last that serves"),
                };
                format!("failed by gossip for {for_how_long}, check passes{claim}")
            }
            _ if self.weights.is_capped() => self.weights.why_capped(),
            _ if self.slow => "slow: the check times out, requests are answered".into(),
            _ if self.outlier.spared.is_some() => {
                "fails requests; stays, since no more servers may be put out".into()
            }
            _ if self.health.is_in_transition() => {
                format!("check fails: {}", result(&self.probe.last))
            }
            _ if self.unchecked => "checks are off by operator".into(),
            _ if self.enlisted => format!("{} ordered before it came", self.orders()),
            _ => self.check_port.map_or_else(String::new, |port| {
                format!("checked at port {port} by operator")
            }),
        }
    }
}
