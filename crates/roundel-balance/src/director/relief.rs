//! Servers that serve on although their source has replaced them, so that a new set never leaves
//! a backend without a server while its own are being checked for the first time.

use std::net::SocketAddr;
use std::time::Instant;

use super::Director;
use super::record::Record;
use super::sets::Notes;

/// A server that serves on for lack of another one.
#[derive(Debug)]
pub(super) struct StandIn {
    pub(super) until: Instant,
    pub(super) instead: Instead,
}

/// What will follow when it is relieved.
#[derive(Debug)]
pub(super) enum Instead {
    /// It leaves, for this reason.
    Gone(String),
    /// It joins at its new address; until then this one counts.
    Moved(SocketAddr),
}

impl Director {
    /// Lets a server serve on until others do; [`Self::relieve`] ends it, often at once.
    pub(super) fn stand_in(&mut self, now: Instant, record: &mut Record, instead: Instead) {
        if record.stand_in.is_none() {
            let until = now + self.config.check.timeout;
            record.stand_in = Some(StandIn { until, instead });
        }
        self.standing_in = true;
    }

    /// Relieves those that stand in: when another server serves, when none is left whose first
    /// check may still pass, or when their time is up.
    pub(super) fn relieve(&mut self, now: Instant) {
        for i in 0..self.records.len() {
            let record = &mut self.records[i];
            let moved = record.served_at().is_some();
            if moved && !record.awaits_first_verdict() {
                record.stand_in = None;
                self.dirty = true;
                self.settle(now, i);
            }
        }
        let serves = |r: &Record| r.stand_in.is_none() && r.state.takes_new();
        let relieved = self.records.iter().any(serves)
            || !self.records.iter().any(Record::awaits_first_verdict);
        let mut notes = Notes::new();
        let mut records = std::mem::take(&mut self.records);
        let mut changed = Vec::new();
        for (i, record) in records.iter_mut().enumerate() {
            let ends = |s: &mut StandIn| relieved || s.until <= now;
            let Some(ended) = record.stand_in.take_if(ends) else {
                continue;
            };
            changed.push(i);
            if let Instead::Gone(why) = ended.instead {
                self.depart(now, record, why, &mut notes);
            }
        }
        self.standing_in = records.iter().any(|r| r.stand_in.is_some());
        self.records = records;
        for (name, kind, text) in notes {
            self.tell(kind, Some(name), text, None);
        }
        for i in changed {
            self.dirty = true;
            self.settle(now, i);
        }
    }
}
