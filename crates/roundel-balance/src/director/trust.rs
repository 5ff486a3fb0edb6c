//! When gossip and checks disagree: whose word counts for how long.
//!
//! While the check of a failed member passes, its server serves, for ever: gossip may be cut. What
//! has failed both ways may have died, and its address may be another's by now: its check alone
//! does not bring it back at once.

use std::time::{Duration, Instant};

use roundel_model::{Presence, ServerState};

use super::record::Record;
use super::{Director, EventKind, Span};

/// How long gossip is doubted that holds a server for failed where there are no checks.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often that is thought over again while the server may not be put out.
const RETHINK: Duration = Duration::from_secs(1);
/// How long checks must pass to bring back what gossip holds for failed, where nobody else serves.
const PASSING: Duration = Duration::from_secs(30);

/// Whether the check of a server still speaks for the server that it was.
#[derive(Debug, Default)]
pub(super) struct Distrust {
    /// Its check failed while gossip held it for failed.
    on: bool,
    /// Since when its checks have passed again.
    passing: Option<Instant>,
}

impl Distrust {
    /// From here on a passing check alone is not enough.
    pub(super) fn begin(&mut self) {
        self.on = true;
    }
}

impl Record {
    /// Whether gossip holds the server for failed.
    pub(super) fn is_failed(&self) -> bool {
        matches!(self.server.presence, Presence::Failed | Presence::Claimed)
    }

    /// Whether its check passes and yet does not count.
    pub(super) fn is_distrusted(&self) -> bool {
        self.distrust.on
    }

    /// When its checks may have passed for long enough, or patience without checks may end.
    pub(super) fn trust_due(&self, now: Instant, has_checks: bool) -> Option<Instant> {
        let passing = self.distrust.passing.map(|since| since + PASSING);
        let waits = self.server.presence == Presence::Failed
            && !has_checks
            && self.departure.is_none()
            && !self.gossip_down;
        let patience = waits.then(|| self.presence_since + PATIENCE);
        let due = passing.into_iter().chain(patience).min()?;
        Some(due.max(now + RETHINK))
    }

    /// Why a server is down whose check passes.
    pub(super) fn distrust_reason(&self, now: Instant) -> Option<String> {
        let passing = Span(now.saturating_duration_since(self.distrust.passing?));
        Some(format!(
            "failed by gossip and by its check; the check passes again for {passing}, but another \
             may answer at its address: comes back when gossip hears of it, or after 30 s without \
             another usable server"
        ))
    }
}

impl Director {
    /// Puts a server down at once whose address another has; not the last usable one on hearsay,
    /// while its check passes.
    pub(super) fn weigh_claim(&mut self, i: usize) {
        let record = &self.records[i];
        if record.claim.is_empty() || record.gossip_down {
            return;
        }
        let passes = self.config.check.is_on() && record.health.is_up();
        if passes && !self.is_another_usable(i) {
            return;
        }
        let record = &mut self.records[i];
        record.gossip_down = true;
        record.cause.clone_from(&record.claim);
    }

    /// Takes the words of gossip and of the check on one server together.
    pub(super) fn weigh_trust(&mut self, now: Instant, i: usize) {
        let record = &mut self.records[i];
        if !record.is_failed() || !self.config.check.is_on() {
            if record.distrust.on && record.health.is_up() {
                record.came_back = "heard of by gossip";
            }
            record.distrust = Distrust::default();
            return;
        }
        if !record.health.is_up() {
            record.distrust = Distrust {
                on: true,
                passing: None,
            };
            return;
        }
        if !record.distrust.on {
            return;
        }
        let since = *record.distrust.passing.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= PASSING;
        let claimed = record.server.presence == Presence::Claimed || record.gossip_down;
        if long && !claimed && !self.is_another_usable(i) {
            let record = &mut self.records[i];
            record.came_back = "its check has passed for 30 s and no other server is usable, \
                                though gossip holds it for failed";
            record.distrust = Distrust::default();
        }
    }

    /// Ends the patience with a server of which only gossip tells, unless too many would be out.
    pub(super) fn lose_patience(&mut self, now: Instant, i: usize) {
        let record = &self.records[i];
        let waited = now.saturating_duration_since(record.presence_since);
        let waits = record.server.presence == Presence::Failed && !record.gossip_down;
        if !waits
            || self.config.check.is_on()
            || waited < PATIENCE
            || self.is_cut_off()
            || !self.may_go(i)
        {
            return;
        }
        let record = &mut self.records[i];
        record.gossip_down = true;
        record.cause = format!("failed by gossip for {}, checks are off", Span(waited));
    }

    /// Whether another server is usable and fewer than half are out by gossip, this one too.
    fn may_go(&self, i: usize) -> bool {
        let gone = self.records.iter().filter(|r| r.gossip_down).count() + 1;
        self.is_another_usable(i) && gone * 2 < self.records.len()
    }

    /// Whether most of the members that gossip told about are failed.
    fn is_cut_off(&self) -> bool {
        let source = roundel_model::SourceKind::Gossip;
        let told = self.records.iter().filter(|r| r.server.source == source);
        let (mut all, mut failed) = (0, 0);
        for record in told {
            all += 1;
            failed += usize::from(record.is_failed());
        }
        all > 1 && failed * 2 > all
    }

    /// Tells by what a server came back of which gossip and check said no.
    pub(super) fn tell_return(&mut self, i: usize) {
        let record = &mut self.records[i];
        let why = std::mem::take(&mut record.came_back);
        let serves = matches!(record.state, ServerState::Up | ServerState::Warming);
        if serves && !why.is_empty() {
            let name = record.server.name.clone();
            self.tell(EventKind::CheckUp, Some(name), format!("back: {why}"), None);
        }
    }
}
