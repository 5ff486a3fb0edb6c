//! Where a word came from: what a member says of itself weighs more than what others say of it.

use std::net::SocketAddr;

/// Who brought a word, and by which way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) from: SocketAddr,
    pub(super) way: Way,
}

/// By which way a word came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In a datagram.
    Datagram,
    /// On a stream that the peer opened, from whatever port.
    Incoming,
    /// On a stream that we opened to that address.
    Outgoing,
    /// Likewise, to an address that we were told to join by.
    Joined,
}

impl Origin {
    pub(super) fn datagram(from: SocketAddr) -> Self {
        let way = Way::Datagram;
        Self { from, way }
    }

    /// Whether it came from whoever is at `address`.
    pub(super) fn is_at(self, address: SocketAddr) -> bool {
        match self.way {
            Way::Incoming => self.from.ip() == address.ip(),
            Way::Datagram | Way::Outgoing | Way::Joined => self.from == address,
        }
    }

    /// Whether we went to that address for it.
    pub(super) fn is_fetched(self) -> bool {
        matches!(self.way, Way::Outgoing | Way::Joined)
    }
}
