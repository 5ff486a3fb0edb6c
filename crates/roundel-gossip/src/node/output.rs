//! What the owner of a node is to do.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::event::Event;
use crate::query::QueryId;

/// Names one stream of one node.
///
/// Shape: given by the node, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u64);

/// What the owner of a node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Datagram {
        /// The receiver.
        to: SocketAddr,
        /// At most [`MAX_PACKET`](crate::MAX_PACKET) bytes.
        bytes: Vec<u8>,
    },
    /// Connect a stream, then call [`Node::handle_stream_opened`](crate::Node::handle_stream_opened) or
    /// [`Node::handle_stream_closed`](crate::Node::handle_stream_closed).
    Open {
        /// Its name.
        id: StreamId,
        /// The peer.
        to: SocketAddr,
    },
    /// Write bytes to a stream.
    Write {
        /// Its name.
        id: StreamId,
        /// The bytes; may be many, and the same for many streams.
        bytes: Arc<[u8]>,
    },
    /// Close a stream once everything before was written. The node has forgotten it.
    Close {
        /// Its name.
        id: StreamId,
    },
    /// Save the keys, primary first, then call [`Node::handle_keys_saved`](crate::Node::handle_keys_saved): they
    /// hold from then on, or not at all if they could not be saved. Only if
    /// [`Config::keys_are_saved`](crate::Config::keys_are_saved) is set, and one at a time.
    SaveKeys {
        /// The query that asks for the change.
        query: QueryId,
        /// The keys. Secret.
        keys: Vec<Vec<u8>>,
    },
    /// Tell the application.
    Event(Event),
}
