//! Reports of checks and evidence from the workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_model::ServerState;

use super::record::Record;
use super::words::{self, result};
use super::{CheckTicket, Director, EventKind, Evidence, EvidenceKind};
use crate::{CheckReport, CheckSpec, CheckStatus};

/// The most servers that are probed at the fast pace while none serves.
const HURRIED: usize = 100;

/// For so long after the last server went away, and while requests wait for one, probes hurry.
const MISSED: Duration = Duration::from_secs(5);
/// The time between two probes of a server then.
const HASTE: Duration = Duration::from_millis(50);
/// The same between any two probes of a backend.
const HASTE_ALL: Duration = Duration::from_millis(10);

impl Director {
    /// Takes the result of a probe asked for by [`super::StartCheck`]; ignores an outdated one.
    pub fn handle_check(&mut self, now: Instant, ticket: CheckTicket, report: CheckReport) {
        let Some(i) = self.index.get(&ticket.server).copied() else {
            return;
        };
        let another = self.is_another_usable(i);
        let record = &mut self.records[i];
        let status = report.status;
        let Some(answered_before) = record.probe.finish(ticket.number, report) else {
            return;
        };
        let was_fresh = record.health.is_fresh();
        if status.passed() {
            record.connect_doubt = false;
            record.slow = false;
            // Where nobody serves, one who can is enough; and who was only silent, is not any more.
            match another && !record.silence.decided {
                true => record.health.pass(),
                false => record.health.assume_up(),
            }
        } else {
            record.count_check_failure();
            let answered = record.live.answers() > answered_before;
            record.slow = status == CheckStatus::L7Tout && answered && record.health.is_up();
            if !record.slow {
                fail(now, record, &self.config.check);
            }
        }
        if !record.probe.is_hastened() {
            // Where nobody serves, the first who can is found soon; thousands are not hurried.
            let few = self.records.len() <= HURRIED;
            let record = &mut self.records[i];
            let urgent = !another && few && !record.health.is_up();
            let failing = match record.health.is_fresh() {
                true => self.failing_at_birth(),
                false => 0,
            };
            let record = &mut self.records[i];
            let mut interval = record.interval(now, &self.config, urgent, failing);
            if urgent {
                interval = interval.min(self.haste(now));
            }
            let record = &mut self.records[i];
            record.probe.schedule(now, interval, &mut self.rng);
        }
        self.settle(now, i);
        match (was_fresh, status.passed()) {
            (true, true) => self.return_turn(now),
            (true, false) => self.make_room(now),
            _ => {}
        }
        self.finish(now);
    }

    /// How many servers have been checked and have never passed.
    fn failing_at_birth(&self) -> usize {
        let failing = self.records.iter().filter(|r| r.has_failed_at_birth());
        failing.count()
    }

    /// Takes what a worker saw.
    ///
    /// A refused connection puts the server down at once when checks are on and another server
    /// is usable, and so does a host of which nothing is heard in any way; whatever else could not connect leads to a check at once, and one failure
    /// then decides. A connect that is still unanswered leads to a check at once that counts
    /// like any other: a server whose queue is full looks the same, and needs no push.
    pub fn handle_evidence(&mut self, now: Instant, evidence: &Evidence) {
        let Some(i) = self.index.get(&evidence.server).copied() else {
            return;
        };
        let live = Arc::clone(&self.records[i].live);
        self.weigh(now, i, evidence);
        if evidence.kind == EvidenceKind::Refused {
            // From here on the snapshot says whether it is picked.
            live.clear_refused();
        }
    }

    fn weigh(&mut self, now: Instant, i: usize, evidence: &Evidence) {
        let record = &self.records[i];
        let serves = record.state.takes_sticky();
        if !serves || record.server.address != evidence.address || !self.config.check.is_on() {
            return;
        }
        let unheard = evidence.kind == EvidenceKind::Unheard;
        let certain = unheard || evidence.kind == EvidenceKind::Refused;
        if certain && self.is_another_usable(i) {
            let record = &mut self.records[i];
            record.health.sink();
            record.silent |= unheard;
            record.cause = evidence.kind.to_string();
        } else if !record.connect_doubt && evidence.kind != EvidenceKind::Unanswered {
            let text = format!("{}; checking", evidence.kind);
            let name = record.server.name.clone();
            self.tell(EventKind::Suspect, Some(name), text, None);
        }
        let record = &mut self.records[i];
        record.connect_doubt |= evidence.kind != EvidenceKind::Unanswered;
        record.probe.hasten(now, &self.config.check);
        self.settle(now, i);
        self.finish(now);
    }

    /// The longest time between two probes of a server while none serves.
    fn haste(&self, now: Instant) -> Duration {
        let lost = self.balancer.lost_for(now);
        match self.balancer.queued() > 0 || lost.is_some_and(|lost| lost < MISSED) {
            true => HASTE.max(HASTE_ALL * self.records.len() as u32),
            false => Duration::MAX,
        }
    }

    pub(super) fn is_another_usable(&self, i: usize) -> bool {
        let others = self.records.iter().enumerate().filter(|(j, _)| *j != i);
        others
            .into_iter()
            .any(|(_, record)| record.state.takes_new())
    }
}

/// Counts a failed check; one is enough when something else speaks against the server.
fn fail(now: Instant, record: &mut Record, spec: &CheckSpec) {
    let was_up = record.health.is_up();
    if record.is_doubted() {
        record.health.sink();
    } else if !record.health.is_fresh() {
        record.health.fail();
    } else if counts_at_birth(now, record, spec) {
        record.fail_at_birth();
    }
    if record.health.is_up() {
        return;
    }
    if record.health.is_fresh() {
        if record.health.was_never_up() && !record.gossip_down {
            record.cause = format!("never up: {}", words::diagnosis(spec, &record.probe.last));
        }
        return;
    }
    let result = result(&record.probe.last);
    if was_up {
        let status = record.probe.last.status;
        record.silent = matches!(status, CheckStatus::L4Tout | CheckStatus::L7Tout);
        record.cause = match record.is_doubted() {
            true => format!("{} and check fails: {result}", doubt(record)),
            false => format!("check failed {} times: {result}", record.health.fall()),
        };
    } else if record.state == ServerState::Down && !record.gossip_down {
        record.cause = format!("check fails: {result}");
    }
}

/// Whether a failure counts: a server that has just joined is asked more often than its app
/// takes to start, so its last failure counts only once an up server would be down, too.
fn counts_at_birth(now: Instant, record: &Record, spec: &CheckSpec) -> bool {
    let age = now.saturating_duration_since(record.joined);
    let last = record.health.stillborn() + 1 >= record.health.fall();
    !last || age >= spec.fast() * record.health.fall()
}

fn doubt(record: &Record) -> &'static str {
    use roundel_model::Presence::{Claimed, Failed, Leaving, Present, Suspect};
    match record.server.presence {
        Suspect => "gossip silent",
        Failed | Claimed => "failed by gossip",
        Present | Leaving => "could not connect",
    }
}
