//! When the probes of one server start.

use std::time::{Duration, Instant};

use crate::{CheckReport, CheckSpec, CheckStatus};

/// The least time between two probes of one server, however urgent: evidence may come by the
/// thousand.
const SHORTEST: Duration = Duration::from_millis(50);

/// A report that is this late will not come; probing goes on without it.
const LOST: Duration = Duration::from_secs(5);

/// The probes of one server: the one under way, the next one, the last result.
#[derive(Debug)]
pub(super) struct Probe {
    next: Option<Instant>,
    running: Option<Running>,
    started: Option<Instant>,
    number: u64,
    /// The last result.
    pub(super) last: CheckReport,
}

#[derive(Debug)]
struct Running {
    number: u64,
    since: Instant,
    lost_at: Instant,
    answers: u64,
}

impl Probe {
    /// The first probe starts at once.
    pub(super) fn new(now: Instant, spec: &CheckSpec) -> Self {
        let mut probe = Self {
            next: None,
            running: None,
            started: None,
            number: 0,
            last: initial(),
        };
        probe.restart(now, spec);
        probe
    }

    /// Forgets the probe under way and starts over at once.
    pub(super) fn restart(&mut self, now: Instant, spec: &CheckSpec) {
        self.running = None;
        self.last = initial();
        self.next = spec.is_on().then_some(now);
    }

    /// Lets a probe under way end without a result; the next one is due at once.
    pub(super) fn abandon(&mut self, now: Instant, spec: &CheckSpec) {
        self.running = None;
        self.next = spec.is_on().then_some(now);
    }

    /// Whether a probe is under way.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// How long the probe under way has been without a result.
    pub(super) fn running_for(&self, now: Instant) -> Option<Duration> {
        let running = self.running.as_ref()?;
        Some(now.saturating_duration_since(running.since))
    }

    /// Brings the next probe forward to this moment.
    pub(super) fn hasten(&mut self, now: Instant, spec: &CheckSpec) {
        if spec.is_on() {
            let soonest = self.started.map_or(now, |t| (t + SHORTEST).max(now));
            self.next = Some(self.next.map_or(soonest, |t| t.min(soonest)));
        }
    }

    /// Puts the next probe at `interval` ± 10 % after the last start.
    pub(super) fn schedule(&mut self, now: Instant, interval: Duration, rng: &mut fastrand::Rng) {
        let jitter = 0.9 + 0.2 * rng.f64();
        let next = self.started.unwrap_or(now) + interval.mul_f64(jitter);
        self.next = Some(next.max(now));
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.running {
            Some(running) => Some(running.lost_at),
            None => self.next,
        }
    }

    /// Starts a probe if one is due; returns its number, and how late it starts. `answers` is what
    /// the server has answered so far.
    pub(super) fn start(
        &mut self,
        now: Instant,
        spec: &CheckSpec,
        answers: u64,
    ) -> Option<(u64, Duration)> {
        if self.running.as_ref().is_some_and(|r| r.lost_at <= now) {
            self.running = None;
            self.next = Some(now);
        }
        if self.running.is_some() || !spec.is_on() {
            return None;
        }
        let due = self.next.take_if(|due| *due <= now)?;
        self.number += 1;
        self.started = Some(now);
        self.running = Some(Running {
            number: self.number,
            since: now,
            lost_at: now + spec.timeout + LOST,
            answers,
        });
        Some((self.number, now - due))
    }

    /// Takes the report of probe `number`. Returns what the server had answered when the probe
    /// started; `None` when that probe is not the one under way.
    pub(super) fn finish(&mut self, number: u64, report: CheckReport) -> Option<u64> {
        let running = self.running.take_if(|r| r.number == number)?;
        self.last = report;
        Some(running.answers)
    }

    /// Whether an urgent probe was asked for while one was under way.
    pub(super) fn is_hastened(&self) -> bool {
        self.next.is_some()
    }
}

fn initial() -> CheckReport {
    CheckReport {
        status: CheckStatus::Ini,
        http_code: None,
        duration: Duration::ZERO,
        description: "no result yet".into(),
    }
}
