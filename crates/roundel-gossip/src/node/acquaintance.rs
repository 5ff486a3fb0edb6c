//! What a node that goes on as the same member takes over of the one before.

use std::sync::Arc;
use std::time::Instant;

use super::Node;
use super::record::{Record, Swim};
use crate::member::{Member, Status};
use crate::wire::{NodeRecord, Versions, canonical, tags};

/// One other member, as known by a node that another one follows as the same member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquaintance {
    /// The member. Doubts about it are not passed on: whoever has them raises them anew.
    pub member: Member,
    /// Whether it writes its IPv4 address in 16 bytes.
    pub mapped: bool,
    /// Lamport time of the newest intent about it; 0 if there was none.
    pub intent_time: u64,
    /// Whether it ever answered itself.
    pub heard: bool,
}

impl Node {
    /// Every other member, for a node that follows.
    pub fn acquaintances(&self) -> Vec<Acquaintance> {
        let others = self.members.iter().filter(|(name, _)| **name != self.name);
        let acquaintance = |record: &Record| Acquaintance {
            member: Member {
                suspect: false,
                ..record.member.clone()
            },
            mapped: record.mapped,
            intent_time: record.status_time,
            heard: record.heard,
        };
        others.map(|(_, record)| acquaintance(record)).collect()
    }

    /// Goes on with what the node before knew: the living are probed, the failed are tried again
    /// and forgotten when they would have been. Nobody is told, and there is no event.
    ///
    /// Those known already stay as they are; what no node could have known is left out.
    pub fn remember(&mut self, now: Instant, acquaintances: Vec<Acquaintance>) {
        for acquaintance in acquaintances {
            if self.members.len() >= self.config.limits.members {
                break;
            }
            if self.members.get(&acquaintance.member.name).is_none()
                && let Some(record) = self.recall(now, acquaintance)
            {
                self.meet(record);
            }
        }
        let members = &self.members;
        self.contacts.retain(|name| members.get(name).is_some());
        self.to_probe.restart();
        self.unmet_counted(now);
        self.finish(now);
    }

    /// The record that a member had, if it is one that could be held.
    fn recall(&self, now: Instant, acquaintance: Acquaintance) -> Option<Record> {
        let mut member = acquaintance.member;
        member.address = canonical(member.address);
        member.suspect = false;
        let meta = tags::encode(&member.tags).ok()?;
        let mut record = Record::new(member, meta, now);
        record.mapped = acquaintance.mapped;
        record.status_time = acquaintance.intent_time;
        record.heard = acquaintance.heard;
        record.changed = record.member.since;
        let wire = NodeRecord::new(
            record.member.name.clone(),
            record.written_address(),
            record.meta.clone(),
            record.member.incarnation,
            Versions::from_wire(&record.member.versions).ok()?,
        );
        if self.unacceptable(now, &wire.ok()?).is_some() {
            return None;
        }
        let quiet = now.checked_sub(self.config.timings.gossip_to_the_dead);
        let is_quiet = quiet.is_some_and(|at| record.changed <= at);
        record.swim = match record.member.status {
            Status::Alive | Status::Leaving => Swim::Alive,
            Status::Failed | Status::Left if is_quiet => Swim::Gone,
            Status::Failed => Swim::Dead,
            Status::Left => Swim::Left,
        };
        Some(record)
    }

    fn meet(&mut self, record: Record) {
        let name: Arc<str> = record.member.name.as_str().into();
        if record.swim != Swim::Gone {
            self.known += 1;
            self.to_probe.append(name.clone());
        }
        if !record.heard {
            self.unmet.add(name.clone());
        }
        self.members.insert(name, record);
        self.revision += 1;
    }
}
