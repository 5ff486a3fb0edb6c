//! Whole sets from the sources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use roundel_model::{BackendSet, Name, Presence, Server};

use super::newcomers::Place;
use super::record::{Departure, Record, Totals};
use super::relief::{Instead, StandIn};
use super::{Director, EventKind, Span};

impl Director {
    /// Takes the whole set of servers as the sources see it.
    ///
    /// A server that is missing leaves as if it had announced it: no new requests, gone when
    /// idle or at the deadline; but not before one of those that are left serves, if there is
    /// one whose first check is still to come. One first seen while it leaves or has failed is
    /// not taken in.
    ///
    /// Of those that sources find, at most [`super::DirectorConfig::max_servers`] of each kind are
    /// taken in, and those never checked by turns; the others wait.
    pub fn handle_set(&mut self, now: Instant, set: &BackendSet) {
        debug_assert_eq!(set.backend, *self.balancer.name());
        let mut known = Known::new(std::mem::take(&mut self.records));
        let mut notes = Vec::new();
        let mut places: Vec<Place<'_>> = Vec::with_capacity(set.servers.len());
        for server in &set.servers {
            let mut record = known.take(&server.name);
            if let Some(record) = &mut record {
                self.update(now, record, server, &mut notes);
            } else if !self.is_welcome(server) {
                continue;
            }
            places.push((server, record));
        }
        let chosen = self.choose(now, &mut places);
        for (server, record) in places {
            match record {
                Some(record) => self.records.push(record),
                None if chosen.has(server) => {
                    let record = self.admit(now, server, &mut notes);
                    self.records.push(record);
                }
                None => {}
            }
        }
        for mut record in known.rest() {
            let why = format!("no longer in source {}", record.server.source);
            if record.state.takes_new() {
                self.stand_in(now, &mut record, Instead::Gone(why));
            } else {
                self.depart(now, &mut record, why, &mut notes);
            }
            self.records.push(record);
        }
        self.reindex();
        self.dirty = true;
        self.reweigh = true;
        for (name, kind, text) in notes {
            self.tell(kind, Some(name), text, None);
        }
        self.judge_claims();
        for i in 0..self.records.len() {
            self.settle(now, i);
        }
        self.finish(now);
    }

    /// Whether a server that is not there is taken in: one that the process before this one had
    /// as well while gossip holds it for failed.
    fn is_welcome(&self, server: &Server) -> bool {
        match server.presence {
            Presence::Present | Presence::Suspect => true,
            Presence::Failed | Presence::Claimed => self.heritage.contains_key(&server.name),
            Presence::Leaving => false,
        }
    }

    /// A server seen for the first time, or again after it left.
    pub(super) fn admit(&mut self, now: Instant, server: &Server, notes: &mut Notes) -> Record {
        let back = self.left.take(&server.name);
        let totals = back.as_ref().map_or_else(Totals::default, |row| row.totals);
        let live = self.balancer.live(&server.name);
        let word = if back.is_some() { "back" } else { "joined" };
        let text = format!(
            "{word} through {} at {}, weight {}",
            server.source, server.address, server.weight
        );
        if !self.is_crowded() {
            notes.push((server.name.clone(), EventKind::Join, text));
        }
        let mut record = Record::new(now, server, live, &self.config, totals);
        if let Some(heritage) = self.heritage.remove(&server.name) {
            record.inherit(now, &heritage, self.config.check.is_on());
        }
        if let Some(text) = self.enlist(&mut record) {
            notes.push((server.name.clone(), EventKind::Admin, text));
        }
        record
    }

    /// A server that is known: what is different about it?
    fn update(&mut self, now: Instant, record: &mut Record, server: &Server, notes: &mut Notes) {
        let old = std::mem::replace(&mut record.server, server.clone());
        if matches!(
            record.stand_in,
            Some(StandIn {
                instead: Instead::Gone(_),
                ..
            })
        ) {
            record.stand_in = None;
        }
        record.announce(now, server.weight);
        let mut note = |kind, text| notes.push((server.name.clone(), kind, text));
        if old.weight != server.weight {
            let text = format!(
                "weight {} → {} by {}",
                old.weight, server.weight, server.source
            );
            note(EventKind::Weight, text);
        }
        if server.presence == Presence::Leaving {
            return self.depart(now, record, "leave announced".into(), notes);
        }
        let was_leaving = record.departure.is_some();
        if was_leaving && matches!(server.presence, Presence::Failed | Presence::Claimed) {
            // It stopped before its requests in flight ended: the departure goes on.
            return;
        }
        if was_leaving {
            let text = format!("stays after all, at {}", server.address);
            note(EventKind::Join, text);
            record.restart(now, &self.config);
        } else if old.address != server.address {
            let text = format!("address {} → {}", old.address, server.address);
            note(EventKind::Join, text);
            let served_at = record.served_at().unwrap_or(old.address);
            let served = record.state.takes_new();
            record.restart(now, &self.config);
            if served && self.config.check.is_on() {
                self.stand_in(now, record, Instead::Moved(served_at));
            }
        }
        if was_leaving || old.presence != server.presence {
            self.update_presence(now, record, old.presence, notes);
        }
    }

    fn update_presence(
        &mut self,
        now: Instant,
        record: &mut Record,
        before: Presence,
        notes: &mut Notes,
    ) {
        let lasted = Span(now.saturating_duration_since(record.presence_since));
        let (kind, text) = match (before, record.server.presence) {
            (Presence::Suspect, Presence::Present) => (
                EventKind::Refuted,
                format!("gossip heard again after {lasted}"),
            ),
            (Presence::Failed | Presence::Claimed, Presence::Present) => (
                EventKind::Refuted,
                format!("alive again after {lasted} failed"),
            ),
            (_, Presence::Suspect) => (EventKind::Suspect, "gossip silent; checking".into()),
            (_, Presence::Failed) => (EventKind::Failed, self.failed_text()),
            (_, Presence::Claimed) => (EventKind::Failed, "another member has its address".into()),
            _ => {
                record.presence_since = now;
                return;
            }
        };
        record.presence_since = now;
        notes.push((record.server.name.clone(), kind, text));
        if before == Presence::Claimed {
            record.gossip_down = false;
            record.distrust.begin();
        }
        if record.server.presence == Presence::Present {
            record.gossip_down = false;
            return;
        }
        record.probe.hasten(now, &self.config.check);
    }

    fn failed_text(&self) -> String {
        match self.config.check.is_on() {
            true => "failed by gossip; its check decides".into(),
            false => "failed by gossip; without checks it serves for another minute".into(),
        }
    }

    /// Starts the way out, once.
    pub(super) fn depart(
        &mut self,
        now: Instant,
        record: &mut Record,
        why: String,
        notes: &mut Notes,
    ) {
        if record.departure.is_some() {
            return;
        }
        let in_flight = record.live.in_flight();
        let text = format!("{why}; {in_flight} in flight");
        notes.push((record.server.name.clone(), EventKind::Leave, text));
        record.departure = Some(Departure {
            since: now,
            deadline: now + self.config.drain_timeout,
            why,
        });
    }

    /// Finds those that are suspect or failed and whose address another has: a check would be
    /// answered by that other one.
    pub(super) fn judge_claims(&mut self) {
        let is_doubted =
            |r: &Record| matches!(r.server.presence, Presence::Suspect | Presence::Failed);
        for record in &mut self.records {
            record.claim.clear();
            if record.server.presence == Presence::Claimed {
                record.claim = "another member has its address".into();
            }
        }
        if !self.records.iter().any(is_doubted) {
            return;
        }
        let present: BTreeMap<SocketAddr, Name> = self
            .records
            .iter()
            .filter(|r| r.departure.is_none() && r.server.presence == Presence::Present)
            .map(|r| (r.server.address, r.server.name.clone()))
            .collect();
        for record in &mut self.records {
            if let Some(by) = present.get(&record.server.address)
                && is_doubted(record)
            {
                let at = record.server.address;
                record.claim = format!("address {at} taken over by {by}");
            }
        }
    }
}

/// The records of before while a set is gone through: most come in the order of the set, and only
/// the others are searched.
struct Known {
    records: Vec<Option<Record>>,
    /// Where the next one is expected.
    next: usize,
    /// The records in order of the bytes of their names; made when the first is not where it is expected.
    by_name: Option<Vec<(Name, usize)>>,
}

impl Known {
    fn new(records: Vec<Record>) -> Self {
        Self {
            records: records.into_iter().map(Some).collect(),
            next: 0,
            by_name: None,
        }
    }

    fn take(&mut self, name: &Name) -> Option<Record> {
        let expected = self.records.get_mut(self.next);
        let found = expected.and_then(|r| r.take_if(|r| r.server.name == *name));
        if found.is_some() {
            self.next += 1;
            return found;
        }
        let by_name = self.by_name.get_or_insert_with(|| {
            let name =
                |(i, r): (usize, &Option<Record>)| Some((r.as_ref()?.server.name.clone(), i));
            let mut list: Vec<_> = self.records.iter().enumerate().filter_map(name).collect();
            list.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
            list
        });
        let at = by_name
            .binary_search_by(|(known, _)| known.as_str().cmp(name.as_str()))
            .ok()?;
        self.next = by_name[at].1 + 1;
        self.records[by_name[at].1].take()
    }

    /// Those that were not taken.
    fn rest(self) -> impl Iterator<Item = Record> {
        self.records.into_iter().flatten()
    }
}

/// What to tell once every record is in its place.
pub(super) type Notes = Vec<(Name, EventKind, String)>;
