//! The rows of servers that left.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_model::{AdminState, Name, Presence, ServerState};

use super::record::{Record, Totals};
use super::{ServerStatus, Weights};
use crate::ServerLive;

/// How long a row is kept.
const KEEP: Duration = Duration::from_secs(600);
/// How many rows are kept; the oldest goes first.
const MOST: usize = 1_024;
/// How many of them may be of servers that never served: made-up ones leave by the thousand.
const MOST_UNSERVED: usize = 64;

/// One server that left.
#[derive(Debug)]
pub(super) struct LeftRow {
    pub(super) live: Arc<ServerLive>,
    pub(super) totals: Totals,
    address: SocketAddr,
    source: roundel_model::SourceKind,
    weights: Weights,
    backup: bool,
    since: Instant,
    reason: String,
    has_served: bool,
}

impl LeftRow {
    pub(super) fn new(record: Record, now: Instant, reason: String) -> Self {
        Self {
            address: record.server.address,
            source: record.server.source,
            weights: record.weights,
            backup: record.server.backup,
            totals: record.totals(now),
            live: record.live,
            since: now,
            reason,
            has_served: record.has_served,
        }
    }

    fn status(&self) -> ServerStatus {
        ServerStatus {
            live: Arc::clone(&self.live),
            name: self.live.name.clone(),
            address: self.address,
            state: ServerState::Left,
            reason: self.reason.clone(),
            doubt: false,
            weight: self.weights.shown(),
            uweight: self.weights.shown(),
            initial_weight: self.weights.given.get(),
            throttle: None,
            backup: self.backup,
            source: self.source,
            presence: Presence::Leaving,
            admin: AdminState::Ready,
            since: self.since,
            downtime: self.totals.downtime,
            check_failures: self.totals.check_failures,
            check_downs: self.totals.check_downs,
            ejections: self.totals.ejections,
            check: None,
            cookie: None,
        }
    }
}

/// The rows, oldest first; at most one per name.
#[derive(Debug, Default)]
pub(super) struct LeftRows(VecDeque<LeftRow>);

impl LeftRows {
    /// Adds a row and returns the one that it pushes out.
    pub(super) fn push(&mut self, row: LeftRow) -> Option<LeftRow> {
        let unserved = |row: &LeftRow| !row.has_served;
        let of_crowd =
            unserved(&row) && self.0.iter().filter(|r| unserved(r)).count() >= MOST_UNSERVED;
        self.0.push_back(row);
        let goes = match of_crowd {
            true => self.0.iter().position(unserved)?,
            false if self.0.len() > MOST => 0,
            false => return None,
        };
        self.0.remove(goes)
    }

    /// Takes out the row of a server that came back.
    pub(super) fn take(&mut self, name: &Name) -> Option<LeftRow> {
        let at = self.0.iter().position(|row| row.live.name == *name)?;
        self.0.remove(at)
    }

    /// Takes out the next row whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<LeftRow> {
        self.expiry().filter(|at| *at <= now)?;
        self.0.pop_front()
    }

    /// When the oldest row goes.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.0.front().map(|row| row.since + KEEP)
    }

    /// The rows, latest first.
    pub(super) fn statuses(&self) -> impl Iterator<Item = ServerStatus> {
        self.0.iter().rev().map(LeftRow::status)
    }
}
