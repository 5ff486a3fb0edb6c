//! The bytes of memberlist and Serf: everything that is said to or heard from a peer.
//!
//! Owns: the old-spec msgpack flavour, the memberlist messages, the Serf messages inside them, the
//! layers of a UDP packet (compound, compress, CRC, encryption, label) and of a TCP exchange.
//! Does not own: what a message means, time, randomness (a nonce is handed in), sockets.
//!
//! Start at [`decode_packet`] and [`StreamDecoder`] for what comes in, at [`PacketWriter`] and
//! [`Envelope::seal_stream`] for what goes out; [`Message`] and [`SerfMessage`] are what they carry.
//!
//! Invariants:
//!
//! - Bytes from outside never cause a panic, and never an allocation over the figures in [`limits`].
//! - A [`NodeRecord`] that exists is one that every agent gets along with: versions in their one
//!   form, a name, a usable address.
//! - One bad part spoils only itself: the other parts of a compound, and the other records of a
//!   push/pull, are still delivered; the bad one is reported as a [`Rejected`].
//! - What is written uses only the markers of the old msgpack spec, keys in order.
//!
//! Source: hashicorp/memberlist (`net.go`, `util.go`, `security.go`, `label.go`) and hashicorp/serf
//! (`serf/messages.go`) as documented protocol; recorded bytes of real agents in `tests/vectors`.

pub mod drain;
mod envelope;
mod keyring;
pub mod limits;
mod lzw;
mod message;
pub mod msgpack;
mod packet;
mod record;
mod serf;
mod stream;
pub mod tags;

pub use envelope::{Envelope, Label, LabelError};
pub use keyring::{EncryptionVersion, Key, KeyError, Keyring, Nonce, OpenError};
pub use lzw::UnpackError;
pub use message::{Accusation, Ack, IndirectPing, Message, Nack, Ping, Source};
pub use msgpack::ReadError;
pub use packet::{Packet, PacketError, PacketWriter, decode_packet};
pub use record::{BadRecord, NodeRecord, NodeState, RecordState, Versions};
pub(crate) use record::{StateRef, canonical};
pub use serf::{
    BufferedEvent, EventGroup, Filter, JoinIntent, KeyRequest, KeyResponse, LeaveIntent,
    MemberRecord, PushPullState, Query, QueryResponse, Relay, SerfError, SerfMessage, UserEvent,
};
pub(crate) use stream::encode_push_pull_of;
pub use stream::{Progress, PushPull, StreamDecoder, StreamError, StreamMessage, encode_push_pull};

/// A part that was dropped while the rest of its packet or exchange was kept.
///
/// Shape: `name` is the node the part spoke of, as far as it could be read, shortened to
/// [`limits::NAME`] bytes and made printable text; empty if it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The node that the part spoke of, or empty.
    pub name: String,
    /// Why it was dropped.
    pub reason: Reason,
}

/// Why one part was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The part is not the map that its type byte announced.
    #[error("malformed: {0}")]
    Malformed(#[from] ReadError),
    /// The part is well-formed, but no record that agents write.
    #[error("refused: {0}")]
    Record(#[from] BadRecord),
    /// The type byte is none that may stand at this place.
    #[error("message type {0} is unknown or out of place")]
    UnknownType(u8),
    /// The part has no byte at all.
    #[error("empty message")]
    Empty,
}

impl Rejected {
    /// Describes a dropped part; `name` may be any bytes from outside.
    fn new(name: &[u8], reason: Reason) -> Self {
        let shown = &name[..name.len().min(limits::NAME)];
        Self {
            name: String::from_utf8_lossy(shown).into_owned(),
            reason,
        }
    }
}
