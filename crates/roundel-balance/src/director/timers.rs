//! What is due when.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::record::Record;
use super::{CheckTicket, Director, DirectorOutput, EventKind, LeftRow, Span, StartCheck};
use crate::ServerId;

/// How often a leaving server is looked at for requests in flight.
const LOOK: Duration = Duration::from_millis(50);
/// A leaving server stays for at least this long, so that every worker has seen it go.
const LINGER: Duration = Duration::from_millis(100);

impl Director {
    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = self.timers.first().map(|(at, _)| *at);
        [
            first,
            self.left.expiry(),
            self.look_at,
            self.newcomers.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.standing_in {
            self.relieve(now);
        }
        let mut gone = BTreeSet::new();
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let i = self.index[&id];
            self.records[i].timer = None;
            if self.is_gone(now, i) {
                gone.insert(id);
                continue;
            }
            self.start_check(now, i);
            self.lose_patience(now, i);
            self.end_ejection(now, i);
            self.settle(now, i);
        }
        if !gone.is_empty() {
            self.remove(now, &gone);
        }
        self.admit_waiting(now);
        self.look(now);
        while let Some(row) = self.left.pop_expired(now) {
            self.balancer.forget(&row.live.name);
        }
        self.finish(now);
    }

    /// Sets the one timer of a server to the first thing due for it.
    pub(super) fn arm(&mut self, now: Instant, i: usize) {
        let record = &mut self.records[i];
        let departs = record.departure.as_ref().map(|d| {
            let look = (d.since + LINGER).max(now + LOOK);
            look.min(d.deadline.max(now))
        });
        let check = match record.departure {
            Some(_) => None,
            None if record.unchecked => None,
            None => record.probe.due(),
        };
        let trust = record.trust_due(now, self.config.check.is_on());
        let step = record.next_step(now, self.config.slow_start);
        let back = record.outlier.ejection.as_ref().map(|e| e.until);
        let relief = record.stand_in.as_ref().map(|s| s.until);
        let proof = match self.config.open_gossip {
            true => record.proof.due(),
            false => None,
        };
        let due = [departs, check, trust, step, back, relief, proof]
            .into_iter()
            .flatten()
            .min();
        let id = record.live.id;
        if record.timer == due {
            return;
        }
        if let Some(old) = record.timer.take() {
            self.timers.remove(&(old, id));
        }
        record.timer = due;
        self.timers.extend(due.map(|at| (at, id)));
    }

    fn start_check(&mut self, now: Instant, i: usize) {
        let record = &mut self.records[i];
        if record.departure.is_some() || record.unchecked {
            return;
        }
        let answers = record.live.answers();
        let port = record.check_port.unwrap_or(record.server.address.port());
        if let Some((number, late)) = record.probe.start(now, &self.config.check, answers) {
            let late = late.as_micros().try_into().unwrap_or(u64::MAX);
            self.check_delay.record_us(late);
            let start = StartCheck {
                ticket: CheckTicket {
                    server: record.live.id,
                    number,
                },
                server: record.server.name.clone(),
                address: SocketAddr::new(record.server.address.ip(), port),
                spec: self.spec.clone(),
            };
            self.output.push_back(DirectorOutput::StartCheck(start));
        }
    }

    fn is_gone(&self, now: Instant, i: usize) -> bool {
        let record = &self.records[i];
        record.departure.as_ref().is_some_and(|d| {
            let idle = record.live.in_flight() == 0 && now >= d.since + LINGER;
            idle || now >= d.deadline
        })
    }

    /// Turns servers on their way out into rows of those that left.
    fn remove(&mut self, now: Instant, gone: &BTreeSet<ServerId>) {
        let records = std::mem::take(&mut self.records);
        let (gone, kept) = records
            .into_iter()
            .partition(|record| gone.contains(&record.live.id));
        self.records = kept;
        self.reindex();
        self.dirty = true;
        self.make_room(now);
        let gone: Vec<Record> = gone;
        for record in gone {
            self.retire(now, record);
        }
    }

    fn retire(&mut self, now: Instant, record: Record) {
        let departure = record.departure.as_ref();
        let (took, why) = departure.map_or((Duration::ZERO, ""), |d| {
            (now.saturating_duration_since(d.since), d.why.as_str())
        });
        let text = match record.live.in_flight() {
            0 => format!("{why}; drained in {}", Span(took)),
            n => format!("{why}; gone after {} with {n} in flight", Span(took)),
        };
        let name = record.server.name.clone();
        self.tell(
            EventKind::Drained,
            Some(name.clone()),
            text.clone(),
            Some(took),
        );
        self.keep(name, record.orders());
        if let Some(pushed_out) = self.left.push(LeftRow::new(record, now, text)) {
            self.balancer.forget(&pushed_out.live.name);
        }
    }

    pub(super) fn reindex(&mut self) {
        let ids = self.records.iter().map(|record| record.live.id);
        self.index = ids.zip(0..).collect();
    }
}
