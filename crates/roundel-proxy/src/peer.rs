//! Who is connected.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use roundel_http1::Lines;
use roundel_http1::proxy_protocol::Header;

use crate::bonds::Bonds;
use crate::deadline::Deadline;
use crate::headers::forwarding_lines;
use crate::maxconn::Places;
use crate::rules::FrontendSlot;
use crate::secured::Secured;
use crate::shared::Door;
use crate::transport::Io;
use crate::worker::Worker;

/// Who is connected, and to what.
pub(crate) struct Peer {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Rc<FrontendSlot>,
    pub(crate) address: SocketAddr,
    /// What every request of it is told about its way.
    pub(crate) forwarding: Lines,
    /// The address it connected to.
    pub(crate) destination: SocketAddr,
    /// `http` or `https`: how it came to whoever speaks for it.
    pub(crate) proto: &'static str,
    /// How it is encrypted, where it is.
    pub(crate) secured: Option<Box<Secured>>,
    /// Tells the client's connections of one worker apart; never 0.
    pub(crate) id: u64,
    /// It has sent a request.
    pub(crate) has_asked: Cell<bool>,
    /// Connections to servers that only this client may use wait in the pool.
    pub(crate) owns: Cell<bool>,
    /// Connections to servers that carry its logins.
    pub(crate) bonds: Bonds,
    _open: Open,
}

impl Peer {
    /// Takes a proxy's word for who is connected.
    pub(crate) fn believe(&mut self, header: Header) {
        if let Some(addresses) = header.addresses {
            self.address = addresses.source;
            self.destination = addresses.destination;
        }
        if header.tls {
            self.proto = "https";
        }
        self.tell_way();
    }

    /// Notes how its connection is encrypted.
    pub(crate) fn secure(&mut self, secured: Secured) {
        self.secured = Some(Box::new(secured));
        self.proto = "https";
        self.tell_way();
    }

    fn tell_way(&mut self) {
        let (ip, port) = (self.address.ip(), self.destination.port());
        self.forwarding = forwarding_lines(ip, self.proto, port);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.owns.get() {
            self.worker.pool.forget(self.id);
        }
        if self.secured.is_some() {
            self.slot.counters(self.worker.index).tls_closed.add(1);
        }
    }
}

/// A client connection before its protocol is known.
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    pub(crate) stream: Io,
    /// HTTP/2's preface is answered as such.
    pub(crate) h2c: bool,
    /// A header of the PROXY protocol is still to come.
    pub(crate) proxied: bool,
    /// A handshake is still to come.
    pub(crate) tls: bool,
}

impl Connection {
    pub(crate) fn new(
        open: Open,
        stream: Io,
        address: SocketAddr,
        destination: SocketAddr,
        door: Door,
    ) -> Self {
        let peer = Peer {
            worker: open.worker.clone(),
            slot: open.slot.clone(),
            address,
            forwarding: forwarding_lines(address.ip(), "http", destination.port()),
            destination,
            proto: "http",
            secured: None,
            id: open.worker.next_id(),
            has_asked: Cell::new(false),
            owns: Cell::new(false),
            bonds: Bonds::default(),
            _open: open,
        };
        Self {
            peer,
            stream,
            h2c: door.h2c,
            proxied: door.proxy_protocol,
            tls: door.tls,
        }
    }
}

/// A connection and its deadline, in one place: they move together with each request.
pub(crate) struct Guest {
    pub(crate) connection: Connection,
    pub(crate) deadline: Deadline,
}

/// Counts a connection as open; counts a panic if it is dropped by one.
pub(crate) struct Open {
    worker: Rc<Worker>,
    slot: Rc<FrontendSlot>,
    _places: Places,
}

impl Open {
    pub(crate) fn new(worker: Rc<Worker>, slot: Rc<FrontendSlot>, places: Places) -> Self {
        let counters = slot.counters(worker.index);
        counters.connections.add(1);
        counters
            .connections_max
            .raise(counters.connections.get() - counters.connections_closed.get());
        Self {
            worker,
            slot,
            _places: places,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let counters = self.slot.counters(self.worker.index);
        counters.connections_closed.add(1);
        if std::thread::panicking() {
            counters.panics.add(1);
        }
        self.worker.cell().connections.fetch_sub(1, Relaxed);
    }
}
