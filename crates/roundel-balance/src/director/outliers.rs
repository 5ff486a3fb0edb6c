//! Passive health: what the answers to ordinary requests say against a server.

use std::time::{Duration, Instant};

use roundel_model::ServerState;

use super::record::Record;
use super::{Director, EventKind, Span};
use crate::{EjectionCause, OutlierSpec, ServerLive};

/// How often the workers' counts are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The same per server: a look at thousands must not fill a core.
const LOOK_EACH: Duration = Duration::from_micros(25);
/// No ejection lasts longer. Source: Envoy's `max_ejection_time`.
const LONGEST: Duration = Duration::from_secs(300);

/// What passive health knows about one server.
#[derive(Debug)]
pub(super) struct Outlier {
    pub(super) ejection: Option<Ejection>,
    /// Ejections that good service has not made up for yet.
    level: u32,
    /// When the last ejection ended, or the last one that was made up for.
    good_since: Instant,
    /// The counts when the window began.
    begin: Attempts,
    /// Found guilty and kept, since too many are out.
    pub(super) spared: Option<EjectionCause>,
}

/// The verdict of passive health; only time ends it.
#[derive(Debug)]
pub(super) struct Ejection {
    pub(super) until: Instant,
    pub(super) text: String,
}

/// Attempts that ended, and how many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Attempts {
    all: u64,
    failed: u64,
}

impl Outlier {
    pub(super) fn new(now: Instant, live: &ServerLive) -> Self {
        Self {
            ejection: None,
            level: 0,
            good_since: now,
            begin: Attempts::of(live),
            spared: None,
        }
    }

    /// How long an ejection of this moment lasts.
    fn sentence(&mut self, now: Instant, spec: &OutlierSpec) -> Duration {
        let good = now.saturating_duration_since(self.good_since);
        let made_up = good.as_micros() / spec.interval.as_micros().max(1);
        let made_up = u32::try_from(made_up).unwrap_or(u32::MAX);
        self.level = self.level.saturating_sub(made_up).saturating_add(1);
        let longest = LONGEST.max(spec.base_ejection);
        spec.base_ejection.saturating_mul(self.level).min(longest)
    }
}

impl Attempts {
    fn of(live: &ServerLive) -> Self {
        let failures = live
            .workers
            .sum(|w| w.connect_errors.get() + w.response_errors.get());
        Self {
            all: live.answers() + failures,
            failed: live
                .workers
                .sum(|w| w.responses[4].get() + w.grpc_errors.get())
                + failures,
        }
    }

    fn since(self, begin: Self) -> Self {
        Self {
            all: self.all.saturating_sub(begin.all),
            failed: self.failed.saturating_sub(begin.failed),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            failed: self.failed + other.failed,
        }
    }

    /// Whether at least `percent` of at least one attempt failed.
    fn fails(self, percent: u64) -> bool {
        self.all > 0 && u128::from(self.failed) * 100 >= u128::from(self.all) * u128::from(percent)
    }
}

impl Director {
    /// When the counts are due to be looked at.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let any = !self.records.is_empty();
        any.then(|| self.look_at.unwrap_or(now + self.pause()))
    }

    /// The time between two looks.
    fn pause(&self) -> Duration {
        let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        LOOK.max(LOOK_EACH * count)
    }

    /// Judges every server by what the workers counted, if that is due.
    pub(super) fn look(&mut self, now: Instant) {
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = Some(now + self.pause());
        self.balancer.note_traffic(now);
        let spec = self.config.outlier;
        if !spec.is_on() {
            return;
        }
        if spec.consecutive > 0 {
            self.listen(now, &spec);
        }
        let total = self.window_total(&spec);
        for i in 0..self.records.len() {
            if !self.records[i].state.takes_sticky() {
                self.records[i].forgive();
                continue;
            }
            let verdict = self.records[i].judge(&spec, total);
            let may = verdict.is_some() && self.may_eject(i, &spec);
            let record = &mut self.records[i];
            record.outlier.spared = verdict.as_ref().map(|(cause, _)| *cause).filter(|_| !may);
            if let Some((cause, text)) = verdict.filter(|_| may) {
                self.eject(now, i, cause, text);
            }
        }
        let begun = *self.window_since.get_or_insert(now);
        if now.saturating_duration_since(begun) >= spec.interval {
            self.window_since = Some(now);
            for record in &mut self.records {
                record.outlier.begin = Attempts::of(&record.live);
            }
        }
    }

    /// What the whole backend did in this window; read only where a share of errors counts.
    fn window_total(&self, spec: &OutlierSpec) -> Attempts {
        if spec.error_percent == 0 {
            return Attempts::default();
        }
        let each = self.records.iter().map(Record::window);
        each.fold(Attempts::default(), Attempts::plus)
    }

    /// Whether one more may go: within the share allowed, and never the last that serves.
    pub(super) fn may_eject(&self, i: usize, spec: &OutlierSpec) -> bool {
        let is_out = |r: &&Record| r.state == ServerState::Ejected;
        let out = self.records.iter().filter(is_out).count();
        let serving = self.records.iter().filter(|r| r.state.takes_new()).count();
        let others = serving - usize::from(self.records[i].state.takes_new());
        let allowed = (out + serving) * usize::from(spec.max_ejected_percent) / 100;
        others > 0 && out < allowed
    }

    pub(super) fn eject(&mut self, now: Instant, i: usize, cause: EjectionCause, why: String) {
        let spec = self.config.outlier;
        let record = &mut self.records[i];
        let lasts = record.outlier.sentence(now, &spec);
        record.count_ejection(cause);
        record.live.clear_streaks();
        let in_flight = record.live.in_flight();
        let text = format!("out for {}: {why}; {in_flight} in flight", Span(lasts));
        record.outlier.ejection = Some(Ejection {
            until: now + lasts,
            text: why,
        });
        let name = record.server.name.clone();
        self.tell(EventKind::Ejected, Some(name), text, Some(lasts));
        self.settle(now, i);
    }

    /// Ends an ejection whose time is over.
    pub(super) fn end_ejection(&mut self, now: Instant, i: usize) {
        let record = &mut self.records[i];
        let over = |e: &mut Ejection| e.until <= now;
        if record.outlier.ejection.take_if(over).is_none() {
            return;
        }
        record.acquit(now);
        let lasted = now.saturating_duration_since(record.since);
        if record.state == ServerState::Ejected {
            let text = format!("back after {} out", Span(lasted));
            let name = record.server.name.clone();
            self.tell(EventKind::Returned, Some(name), text, Some(lasted));
        }
    }

    /// Takes back what rules say that are no longer in force.
    pub(super) fn reconfigure_outliers(&mut self, now: Instant) {
        if self.config.outlier.is_on() {
            return;
        }
        for i in 0..self.records.len() {
            self.records[i].outlier.spared = None;
            if self.records[i].outlier.ejection.take().is_some() {
                self.records[i].acquit(now);
                self.settle(now, i);
            }
        }
    }
}

impl Record {
    /// The attempts of this window.
    fn window(&self) -> Attempts {
        Attempts::of(&self.live).since(self.outlier.begin)
    }

    /// What speaks against the server, in words, if it is enough.
    fn judge(&self, spec: &OutlierSpec, total: Attempts) -> Option<(EjectionCause, String)> {
        let (unanswered, errors) = self.live.streaks();
        if spec.consecutive > 0 && unanswered >= spec.consecutive {
            let text = format!("{unanswered} attempts in a row without an answer");
            return Some((EjectionCause::NoAnswer, text));
        }
        if spec.consecutive_5xx > 0 && errors >= spec.consecutive_5xx {
            let of_grpc = self.live.workers.sum(|w| w.grpc_errors.get()) > 0;
            let kinds = if of_grpc {
                "5xx or a gRPC error"
            } else {
                "5xx"
            };
            let text = format!("{errors} answers in a row with {kinds}");
            return Some((EjectionCause::ServerErrors, text));
        }
        let percent = u64::from(spec.error_percent);
        if percent == 0 {
            return None;
        }
        let own = self.window();
        let others = total.since(own);
        // Where all fail alike, the cause lies elsewhere and putting servers out mends nothing.
        if own.all < spec.min_requests || !own.fails(percent) || others.fails(percent.div_ceil(2)) {
            return None;
        }
        let text = format!("{} of {} attempts failed", own.failed, own.all);
        Some((EjectionCause::ErrorRatio, text))
    }

    /// Forgets what happened while it served nobody.
    fn forgive(&mut self) {
        self.live.clear_streaks();
        self.outlier.begin = Attempts::of(&self.live);
        self.outlier.spared = None;
    }

    /// Starts over after an ejection.
    fn acquit(&mut self, now: Instant) {
        self.forgive();
        self.outlier.good_since = now;
    }
}
