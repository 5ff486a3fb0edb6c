//! Server connections that carry a login: each belongs to one client connection, and ends with it.
//!
//! NTLM and Negotiate log a connection in, so that whoever comes next on it is taken for the one who
//! did (RFC 4559 6, RFC 9110 3.3). Such a connection is never in a pool: it rests with its client,
//! whose next request to the same backend goes out on it, whatever the policy says. When the server
//! ends it, the client's connection ends too, as if there were nothing between the two.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use roundel_balance::{Current, ServerId};

use crate::rules::Rules;
use crate::sticky::StickyServer;
use crate::transport::Io;

/// One server connection of one client connection.
#[derive(Debug)]
pub(crate) struct Bond {
    /// The backend, as [`crate::rules::BackendSlot::key`] names it.
    pub(crate) backend: usize,
    pub(crate) server: ServerId,
    pub(crate) address: SocketAddr,
    pub(crate) io: Io,
    /// The server asked for a step of a login last, which can be made on this connection only.
    pub(crate) unfinished: bool,
}

impl Bond {
    /// Finds the server, if it still takes requests of clients that it knows.
    pub(crate) fn locate(&self, current: &Current) -> Option<StickyServer> {
        let servers = current.servers();
        let is_it = |e: &roundel_balance::Entry| {
            e.live.id == self.server && e.address == self.address && e.state.takes_sticky()
        };
        let index = servers.iter().position(is_it)?;
        Some(StickyServer {
            id: self.server,
            index,
            generation: current.generation(),
        })
    }

    /// Whether it can carry a request: nothing has arrived on it, not even its end.
    pub(crate) fn is_fit(&mut self) -> bool {
        self.io.is_quiet(true)
    }

    /// Whether it has ended. If not, the task of `cx` is woken when it does.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        while self.io.poll_readable(cx).is_ready() {
            if !self.io.is_quiet(false) {
                return true;
            }
        }
        false
    }
}

/// Those of one client connection: one per backend at most.
///
/// Next to none has any, so there is a list only from the first one on.
#[derive(Debug, Default)]
pub(crate) struct Bonds(OnceCell<Box<RefCell<Vec<Bond>>>>);

impl Bonds {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.get().is_none_or(|bonds| bonds.borrow().is_empty())
    }

    /// Takes the one with this backend.
    pub(crate) fn take(&self, backend: usize) -> Option<Bond> {
        let mut bonds = self.0.get()?.borrow_mut();
        let at = bonds.iter().position(|bond| bond.backend == backend)?;
        Some(bonds.swap_remove(at))
    }

    /// Keeps one; another one with the same backend ends.
    pub(crate) fn put(&self, bond: Bond) {
        let mut bonds = self.0.get_or_init(Box::default).borrow_mut();
        bonds.retain(|other| other.backend != bond.backend);
        bonds.push(bond);
    }

    /// Ends all.
    pub(crate) fn clear(&self) {
        if let Some(bonds) = self.0.get() {
            bonds.borrow_mut().clear();
        }
    }

    /// Ready when one of them has ended, or its server takes no request any more.
    ///
    /// The task is woken by an end, not by what becomes of the server.
    pub(crate) fn poll_over(&self, rules: &Rules, cx: &mut Context<'_>) -> Poll<()> {
        let serves = |bond: &Bond| {
            let mut slots = rules.backends.iter();
            let slot = slots.find(|slot| slot.key() == bond.backend);
            slot.is_some_and(|slot| bond.locate(&slot.current()).is_some())
        };
        let Some(bonds) = self.0.get() else {
            return Poll::Pending;
        };
        let mut bonds = bonds.borrow_mut();
        match bonds.iter_mut().any(|b| b.poll_ended(cx) || !serves(b)) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
