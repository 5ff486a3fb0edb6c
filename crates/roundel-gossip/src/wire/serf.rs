//! The messages of Serf, which travel as the user messages of memberlist.

mod keys;
mod query;
mod state;

pub use keys::{KeyRequest, KeyResponse, MemberRecord};
pub use query::{Filter, Query, QueryResponse, Relay};
pub use state::{BufferedEvent, EventGroup, PushPullState};

use super::limits;
use super::message::name;
use super::msgpack::{ReadError, Reader, Writer, read_map};

const LEAVE: u8 = 0;
const JOIN: u8 = 1;
const PUSH_PULL: u8 = 2;
const USER_EVENT: u8 = 3;
const QUERY: u8 = 4;
const QUERY_RESPONSE: u8 = 5;
const CONFLICT_RESPONSE: u8 = 6;
const KEY_REQUEST: u8 = 7;
const KEY_RESPONSE: u8 = 8;
const RELAY: u8 = 9;

/// One message of Serf.
///
/// Leave, join, user event and query are gossiped; query response and relay go straight to one
/// node; the push/pull state stands inside a push/pull; the others are payloads of queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerfMessage {
    /// A node leaves, or is told to be gone.
    Leave(LeaveIntent),
    /// A node came.
    Join(JoinIntent),
    /// What a node knows beside the member list.
    PushPull(PushPullState),
    /// An event of the application.
    UserEvent(UserEvent),
    /// A question to all or some nodes.
    Query(Query),
    /// An answer or an acknowledgement.
    QueryResponse(QueryResponse),
    /// What a node knows of a name that two claim.
    ConflictResponse(Option<MemberRecord>),
    /// A key to install, use or remove.
    KeyRequest(KeyRequest),
    /// What came of it.
    KeyResponse(KeyResponse),
    /// A message to pass on to one node.
    Relay(Relay),
}

/// Why bytes are no Serf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SerfError {
    /// No byte at all.
    #[error("empty Serf message")]
    Empty,
    /// A type byte that Serf does not have.
    #[error("Serf message type {0} is unknown")]
    UnknownType(u8),
    /// The body is not what its type byte announced.
    #[error("malformed Serf message: {0}")]
    Malformed(#[from] ReadError),
    /// An address of neither 4 nor 16 bytes.
    #[error("address of {0} bytes")]
    AddressLength(usize),
}

/// Says that a node leaves; about a failed node: that it shall be taken as left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaveIntent {
    /// Lamport time of the intent.
    pub ltime: u64,
    /// Who leaves.
    pub node: String,
    /// Whether the member shall be erased at once.
    pub prune: bool,
}

/// Says that a node came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinIntent {
    /// Lamport time of the intent.
    pub ltime: u64,
    /// Who came.
    pub node: String,
}

/// Carries an event of the application to every node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserEvent {
    /// Lamport time of the event.
    pub ltime: u64,
    /// What the application calls it.
    pub name: String,
    /// What the application says; absent and empty are told apart.
    pub payload: Option<Vec<u8>>,
    /// Whether receivers may deliver only the newest of one name.
    pub coalesce: bool,
}

impl SerfMessage {
    /// Encodes the message, Serf's type byte first; it becomes a [`super::Message::User`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.type_byte()];
        let mut w = Writer::new(&mut out);
        match self {
            Self::Leave(intent) => intent.write(&mut w),
            Self::Join(intent) => intent.write(&mut w),
            Self::PushPull(state) => state.write(&mut w),
            Self::UserEvent(event) => event.write(&mut w),
            Self::Query(query) => query.write(&mut w),
            Self::QueryResponse(response) => response.write(&mut w),
            Self::ConflictResponse(Some(member)) => member.write(&mut w),
            Self::ConflictResponse(None) => w.nil(),
            Self::KeyRequest(request) => request.write(&mut w),
            Self::KeyResponse(response) => response.write(&mut w),
            Self::Relay(relay) => {
                relay.write_header(&mut w);
                out.extend_from_slice(&relay.message);
            }
        }
        out
    }

    /// Decodes a message, Serf's type byte first; bytes behind the value are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, SerfError> {
        let (&kind, body) = bytes.split_first().ok_or(SerfError::Empty)?;
        let values = match kind {
            PUSH_PULL => limits::SERF_STATE_VALUES,
            _ => limits::SERF_VALUES,
        };
        let r = &mut Reader::with_values(body, values);
        Ok(match kind {
            LEAVE => Self::Leave(LeaveIntent::read(r)?),
            JOIN => Self::Join(JoinIntent::read(r)?),
            PUSH_PULL => Self::PushPull(PushPullState::read(r)?),
            USER_EVENT => Self::UserEvent(UserEvent::read(r)?),
            QUERY => Self::Query(Query::read(r)?),
            QUERY_RESPONSE => Self::QueryResponse(QueryResponse::read(r)?),
            CONFLICT_RESPONSE if r.nil() => Self::ConflictResponse(None),
            CONFLICT_RESPONSE => Self::ConflictResponse(Some(MemberRecord::read(r)?)),
            KEY_REQUEST => Self::KeyRequest(KeyRequest::read(r)?),
            KEY_RESPONSE => Self::KeyResponse(KeyResponse::read(r)?),
            RELAY => Self::Relay(Relay::read(r)?),
            other => return Err(SerfError::UnknownType(other)),
        })
    }

    fn type_byte(&self) -> u8 {
        match self {
            Self::Leave(_) => LEAVE,
            Self::Join(_) => JOIN,
            Self::PushPull(_) => PUSH_PULL,
            Self::UserEvent(_) => USER_EVENT,
            Self::Query(_) => QUERY,
            Self::QueryResponse(_) => QUERY_RESPONSE,
            Self::ConflictResponse(_) => CONFLICT_RESPONSE,
            Self::KeyRequest(_) => KEY_REQUEST,
            Self::KeyResponse(_) => KEY_RESPONSE,
            Self::Relay(_) => RELAY,
        }
    }
}

impl LeaveIntent {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(3);
        w.key("LTime");
        w.uint(self.ltime);
        w.key("Node");
        w.raw(self.node.as_bytes());
        w.key("Prune");
        w.bool(self.prune);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut intent = Self::default();
        read_map(r, |key, r| {
            match key {
                b"LTime" => intent.ltime = r.uint()?,
                b"Node" => intent.node = name(r)?,
                b"Prune" => intent.prune = r.bool()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(intent)
    }
}

impl JoinIntent {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(2);
        w.key("LTime");
        w.uint(self.ltime);
        w.key("Node");
        w.raw(self.node.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut intent = Self::default();
        read_map(r, |key, r| {
            match key {
                b"LTime" => intent.ltime = r.uint()?,
                b"Node" => intent.node = name(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(intent)
    }
}

impl UserEvent {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(4);
        w.key("CC");
        w.bool(self.coalesce);
        w.key("LTime");
        w.uint(self.ltime);
        w.key("Name");
        w.raw(self.name.as_bytes());
        w.key("Payload");
        w.raw_or_nil(self.payload.as_deref());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut event = Self::default();
        read_map(r, |key, r| {
            match key {
                b"CC" => event.coalesce = r.bool()?,
                b"LTime" => event.ltime = r.uint()?,
                b"Name" => event.name = text(r)?,
                b"Payload" => event.payload = bytes(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(event)
    }
}

/// Reads text that is bounded by its message only.
fn text(r: &mut Reader<'_>) -> Result<String, ReadError> {
    r.text(usize::MAX).map(str::to_owned)
}

/// Reads bytes or their absence.
fn bytes(r: &mut Reader<'_>) -> Result<Option<Vec<u8>>, ReadError> {
    Ok(r.raw()?.map(<[u8]>::to_vec))
}

/// Reads a list of text or its absence.
fn text_list(r: &mut Reader<'_>) -> Result<Option<Vec<String>>, ReadError> {
    let Some(count) = r.array()? else {
        return Ok(None);
    };
    let texts: Result<_, _> = (0..count).map(|_| text(r)).collect();
    texts.map(Some)
}

#[cfg(test)]
mod tests;
