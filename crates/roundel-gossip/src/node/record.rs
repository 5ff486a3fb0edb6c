//! What is held of one member, on both levels of the protocol.

use std::net::SocketAddr;
use std::time::Instant;

use super::suspicion::Suspicion;
use super::timers::TimerKey;
use crate::member::Member;
use crate::wire::{NodeRecord, RecordState, StateRef, Versions};

/// What the SWIM level (memberlist) holds of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swim {
    /// It answers.
    Alive,
    /// Somebody got no answer; a suspicion is running.
    Suspect,
    /// It was declared dead by others.
    Dead,
    /// It declared itself dead: it left.
    Left,
    /// Dropped from this level; Serf's level still remembers it. Any incarnation is believed.
    Gone,
}

/// One member.
///
/// Invariant: a suspicion runs exactly while `swim` is `Suspect`; `member.suspect` says so unless
/// the member is still asked about it, or has answered.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) member: Member,
    pub(super) swim: Swim,
    /// When `swim` last changed between living and dead.
    pub(super) changed: Instant,
    /// Whether the member writes its IPv4 address in 16 bytes. Whoever reads it in the other form
    /// takes it for another address.
    pub(super) mapped: bool,
    pub(super) meta: Vec<u8>,
    pub(super) suspicion: Option<(Suspicion, TimerKey)>,
    /// Lamport time of the newest intent about it; 0 if there was none.
    pub(super) status_time: u64,
    /// Whether `status_time` is hearsay of a state exchange, which cannot tell a member that
    /// leaves from one that joined.
    pub(super) status_hearsay: bool,
    /// Whether a leave asked for it to be erased soon.
    pub(super) prune: bool,
    /// Whether it ever answered us itself: else others only say that it is there.
    pub(super) heard: bool,
}

impl Record {
    pub(super) fn new(member: Member, meta: Vec<u8>, now: Instant) -> Self {
        Self {
            member,
            swim: Swim::Alive,
            changed: now,
            mapped: false,
            meta,
            suspicion: None,
            status_time: 0,
            status_hearsay: false,
            prune: false,
            heard: false,
        }
    }

    /// Whether the SWIM level takes it for living.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.swim, Swim::Alive | Swim::Suspect)
    }

    /// Whether it is gone and is to be erased without waiting.
    pub(super) fn is_pruned(&self) -> bool {
        self.prune && !self.is_up()
    }

    /// Highest memberlist protocol that it understands.
    pub(super) fn protocol_max(&self) -> u8 {
        self.member.versions[1]
    }

    /// The address in the form in which the member writes it.
    pub(super) fn written_address(&self) -> SocketAddr {
        match self.member.address {
            SocketAddr::V4(v4) if self.mapped => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            address => address,
        }
    }

    /// The record as an alive message carries it.
    pub(super) fn to_wire(&self) -> NodeRecord {
        let member = &self.member;
        let versions =
            Versions::from_wire(&member.versions).expect("only valid versions are stored");
        NodeRecord::new(
            member.name.clone(),
            self.written_address(),
            self.meta.clone(),
            member.incarnation,
            versions,
        )
        .expect("only records that passed the same checks are stored")
    }

    /// The record as a state exchange carries it; nothing if this level dropped it.
    pub(super) fn as_state(&self) -> Option<StateRef<'_>> {
        let state = match self.swim {
            Swim::Alive => RecordState::Alive,
            Swim::Suspect => RecordState::Suspect,
            Swim::Dead => RecordState::Dead,
            Swim::Left => RecordState::Left,
            Swim::Gone => return None,
        };
        let member = &self.member;
        Some(StateRef {
            name: &member.name,
            address: self.written_address(),
            meta: &self.meta,
            incarnation: member.incarnation,
            versions: &member.versions,
            state,
        })
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        let suspect = self.swim == Swim::Suspect;
        let name = &self.member.name;
        assert_eq!(self.suspicion.is_some(), suspect, "suspicion of {name}");
        assert!(suspect || !self.member.suspect, "suspect flag of {name}");
        let up = {
            use crate::member::Status;
            matches!(self.member.status, Status::Alive | Status::Leaving)
        };
        assert_eq!(
            up,
            self.is_up(),
            "{name}: {:?} {:?}",
            self.swim,
            self.member.status
        );
    }
}
