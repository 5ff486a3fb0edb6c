//! What a node leaves to another one that goes on as the same member.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use roundel_gossip::{Acquaintance, Clocks, Member, Status};

use crate::advertise::OwnAddress;
use crate::socket::Sockets;

/// Most addresses of members in an estate: enough to find the cluster again.
const MEMBERS: usize = 64;

/// What a node leaves to another one that goes on as the same member.
///
/// Shape: made by [`Handle::pause`](crate::Handle::pause); the parts may pass to another process.
/// The default leaves nothing.
#[derive(Debug, Default)]
pub struct Estate {
    /// The name that the configuration gave it, and the one that it has. Whoever is given the same
    /// goes on under the other.
    pub names: [String; 2],
    /// The bound sockets, UDP and TCP.
    pub sockets: Option<[OwnedFd; 2]>,
    /// The last incarnation; whoever goes on has a higher one.
    pub incarnation: u32,
    /// Where others know it.
    pub address: Option<OwnAddress>,
    /// The newest Lamport times. That of queries is learned anew.
    pub clocks: Clocks,
    /// Where living members are, at most 64.
    pub members: Vec<SocketAddr>,
    /// Every other member as it was known, those that failed or left too.
    pub acquaintances: Vec<Acquaintance>,
}

impl Estate {
    /// What the node leaves as of now; nothing if it leaves or the sockets cannot be copied.
    pub(crate) fn of(
        node: &roundel_gossip::Node,
        asked: &str,
        sockets: &Sockets,
        address: OwnAddress,
    ) -> Option<Self> {
        let own = node.member(node.name())?;
        if own.status != Status::Alive {
            return None;
        }
        let others = |m: &&Member| m.status == Status::Alive && m.name != own.name;
        let members = node.members().filter(others).map(|m| m.address);
        Some(Self {
            names: [asked.to_owned(), own.name.clone()],
            sockets: Some(sockets.copies().ok()?),
            incarnation: own.incarnation,
            address: Some(address),
            // Direct queries make our time run ahead of the others'; they would seem old.
            clocks: Clocks {
                query: 0,
                ..node.clocks()
            },
            members: members.take(MEMBERS).collect(),
            acquaintances: node.acquaintances(),
        })
    }
}
