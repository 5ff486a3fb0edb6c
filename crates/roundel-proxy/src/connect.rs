//! From a picked server to a connection: used ones first, else new ones, raced when slow.

use std::time::Duration;

use roundel_balance::{Pick, PickError};
use roundel_http1::proxy_protocol;

use crate::config::Proto;
use crate::peer::Peer;
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::search::Search;
use crate::secured::Secured;
use crate::upstream::Carrier;
use crate::worker::Worker;

mod dial;
mod race;
pub(crate) mod secure;

use race::race;

/// A connection to a picked server.
pub(crate) struct Link {
    pub(crate) pick: Pick,
    pub(crate) carrier: Carrier,
    pub(crate) reused: bool,
    /// It carries the client's login.
    pub(crate) bound: bool,
    /// Zero for a used connection.
    pub(crate) took: Duration,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLink {
    /// No server may be asked.
    NoServer(PickError),
    /// Every server asked refused or could not be reached.
    Refused,
    /// The last server asked did not answer in time.
    TimedOut,
    /// Every server asked speaks HTTP/2 alone, without WebSocket over it.
    NoSocket,
    /// Our own descriptors ran out.
    Short,
}

/// Picks the server to ask next. Errors: as [`Search::pick`].
pub(crate) fn pick(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
) -> Result<Pick, PickError> {
    let mut rng = worker.rng.borrow_mut();
    search.pick(slot, worker.index, worker.clock().recent(), &mut rng)
}

/// Gets a connection for one attempt.
///
/// With `fresh` no used connection is taken; with `careful` used ones are looked at first.
pub(crate) async fn connect(
    scene: Scene<'_>,
    slot: &BackendSlot,
    search: &mut Search,
    first: Pick,
    fresh: bool,
    careful: bool,
) -> Result<Link, NoLink> {
    if !fresh && let Some(used) = used(scene.worker, slot, search, &first, careful) {
        return Ok(used.link(first));
    }
    Box::pin(race(scene, slot, search, first)).await
}

/// The header of the PROXY protocol with which a new connection to this server begins, if it wants
/// one.
pub(crate) fn proxy_header(peer: &Peer, slot: &BackendSlot, pick: &Pick) -> Option<Vec<u8>> {
    let version = slot.backend.send_proxy.to(&pick.server().name)?;
    let addresses = proxy_protocol::Addresses {
        source: peer.address,
        destination: peer.destination,
    };
    let tls = peer.secured.as_deref().map(Secured::told);
    let mut header = Vec::new();
    proxy_protocol::write(version, Some(addresses), tls, &mut header);
    Some(header)
}

/// Whether a socket may go on this; else, where there is a choice, HTTP/1.1 has a place for it.
fn has_place(proto: Proto, carrier: &Carrier) -> bool {
    proto != Proto::Auto || carrier.takes_sockets()
}

/// A used connection to a picked server.
pub(crate) struct Used {
    carrier: Carrier,
    bound: bool,
}

impl Used {
    #[inline]
    pub(crate) fn link(self, pick: Pick) -> Link {
        Link {
            pick,
            carrier: self.carrier,
            reused: true,
            bound: self.bound,
            took: Duration::ZERO,
        }
    }
}

/// Takes a used connection to a picked server, if there is one.
///
/// One that carries the client's login is taken or ends here: its server was asked for first.
pub(crate) fn used(
    worker: &Worker,
    slot: &BackendSlot,
    search: &mut Search,
    pick: &Pick,
    careful: bool,
) -> Option<Used> {
    if let Some(bond) = search.bond.take()
        && bond.server == pick.id()
    {
        return Some(Used {
            carrier: Carrier::Connection(bond.io),
            bound: true,
        });
    }
    let key = (slot.key(), pick.id().0);
    let (address, now) = (pick.address(), worker.clock().recent());
    let owner = search.owner(slot, pick);
    let taken = match search.is_shy(slot) {
        // The answers of streams are not mixed up.
        true => worker.pool.open_stream(key, owner, address, now),
        false => worker.pool.take(key, owner, address, now, careful),
    };
    let goes_on = |carrier: &Carrier| !search.is_socket || has_place(slot.backend.proto, carrier);
    taken.filter(goes_on).map(|carrier| Used {
        carrier,
        bound: false,
    })
}
