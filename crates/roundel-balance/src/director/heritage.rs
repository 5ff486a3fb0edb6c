//! What a director passes on to the one of a process that follows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_model::{Name, ServerState, Weight};

use super::record::{Record, Totals};
use super::{Director, ServerOrders};

/// What is known about one server and cannot be seen from outside at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heritage {
    /// The name.
    pub name: Name,
    /// Where it was checked; at another address the verdict counts for nothing.
    pub address: SocketAddr,
    /// What an operator ordered.
    pub orders: ServerOrders,
    /// Whether the checks hold it for up; `None` before the first has passed.
    pub up: Option<bool>,
    /// Whether it failed its first checks as often as an up server may not.
    pub never_up: bool,
    /// For how long gossip has held it for failed; zero for one that it has not.
    pub failed_for: Duration,
    /// The weight with which it has served for a minute; `None` if it has not.
    pub proven: Option<Weight>,
    /// The time it was down, in sum.
    pub downtime: Duration,
    /// Failed probes while it was up.
    pub check_failures: u64,
    /// Times it went down.
    pub check_downs: u64,
    /// Times passive errors put it out, in the order of [`crate::EjectionCause::ALL`].
    pub ejections: [u64; 3],
}

impl Director {
    /// What a director that follows needs to know; servers on their way out are left out.
    pub fn bequeath(&self, now: Instant) -> Vec<Heritage> {
        let here = self.records.iter().filter(|r| r.departure.is_none());
        here.map(|record| record.bequeath(now)).collect()
    }

    /// Takes what another director knew. Each server gets its part when it is first seen, and
    /// is checked at once like any other; until then the verdict of before counts.
    pub fn inherit(&mut self, heritage: Vec<Heritage>) {
        for heritage in heritage {
            self.keep_orders([(heritage.name.clone(), heritage.orders)]);
            self.heritage.insert(heritage.name.clone(), heritage);
        }
    }
}

impl Record {
    fn bequeath(&self, now: Instant) -> Heritage {
        let totals = self.totals(now);
        Heritage {
            name: self.server.name.clone(),
            address: self.server.address,
            orders: self.orders(),
            up: (!self.health.is_fresh()).then(|| self.health.is_up() && !self.is_distrusted()),
            never_up: self.health.was_never_up(),
            failed_for: match self.is_failed() {
                true => now.saturating_duration_since(self.presence_since),
                false => Duration::ZERO,
            },
            proven: self.proof.weight(),
            downtime: totals.downtime,
            check_failures: totals.check_failures,
            check_downs: totals.check_downs,
            ejections: totals.ejections,
        }
    }

    pub(super) fn inherit(&mut self, now: Instant, heritage: &Heritage, is_checked: bool) {
        if self.is_failed() {
            let since = now.checked_sub(heritage.failed_for);
            self.presence_since = since.unwrap_or(now);
        }
        self.set_totals(Totals {
            downtime: heritage.downtime,
            check_failures: heritage.check_failures,
            check_downs: heritage.check_downs,
            ejections: heritage.ejections,
        });
        if heritage.address == self.server.address {
            let given = self.weights.given;
            self.proof
                .inherit(heritage.proven.map(|weight| weight.min(given)));
        }
        if !is_checked || heritage.address != self.server.address {
            return;
        }
        self.has_served = heritage.up.is_some();
        match heritage.up {
            Some(true) => self.health.assume_up(),
            Some(false) => {
                self.health.assume_down();
                self.stay_down("down before this process took over");
            }
            None if heritage.never_up => {
                self.health.give_up();
                self.stay_down("never up, nor before this process took over");
            }
            None => {}
        }
    }

    /// It was down and counted as such by the process before.
    fn stay_down(&mut self, cause: &str) {
        self.cause = cause.into();
        self.state = ServerState::Down;
    }
}
