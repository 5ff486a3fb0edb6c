//! TCP exchanges: one message per direction, decoded as its bytes come in.

mod plain;

use super::Rejected;
use super::envelope::{Envelope, Unlabelled};
use super::keyring::OpenError;
use super::limits;
use super::lzw::{self, UnpackError};
use super::message::{ACK, Ack, COMPRESS, ENCRYPT, ERR, PING, PUSH_PULL, Ping, USER};
use super::msgpack::{ReadError, Writer};
use super::record::{NodeState, StateRef};
use plain::PlainDecoder;

/// One message on a TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamMessage {
    /// All that a node knows; answered by the same.
    PushPull(PushPull),
    /// Answered by an ack.
    Ping(Ping),
    /// Answers a ping.
    Ack(Ack),
    /// The application's bytes; not answered.
    User(Vec<u8>),
    /// The peer could not make sense of what it got.
    Error(String),
}

/// All that a node knows about the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushPull {
    /// Whether this is a join; false for the periodic exchange. An answer repeats it.
    pub join: bool,
    /// The members, in any order.
    pub nodes: Vec<NodeState>,
    /// The first records that were dropped, at most [`limits::REJECTED`]; never written.
    pub rejected: Vec<Rejected>,
    /// How many records were dropped; never written.
    pub rejected_count: usize,
    /// What the application adds, empty or an encoded [`super::SerfMessage::PushPull`].
    pub user_state: Vec<u8>,
}

impl StreamMessage {
    /// Encodes the message, type byte first; see [`Envelope::seal_stream`] for the layers around.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::PushPull(state) => {
                return encode_push_pull(state.join, state.nodes.iter(), &state.user_state);
            }
            Self::Ping(ping) => {
                out.push(PING);
                ping.write(&mut Writer::new(&mut out));
            }
            Self::Ack(ack) => {
                out.push(ACK);
                ack.write(&mut Writer::new(&mut out));
            }
            Self::User(bytes) => {
                out.push(USER);
                let mut w = Writer::new(&mut out);
                w.map(1);
                w.key("UserMsgLen");
                w.uint(bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Error(text) => {
                out.push(ERR);
                let mut w = Writer::new(&mut out);
                w.map(1);
                w.key("Error");
                w.raw(text.as_bytes());
            }
        }
        out
    }
}

/// What a record usually takes at most.
const RECORD: usize = 160;

/// Encodes a push/pull straight from borrowed records.
pub fn encode_push_pull<'a>(
    join: bool,
    nodes: impl ExactSizeIterator<Item = &'a NodeState>,
    user_state: &[u8],
) -> Vec<u8> {
    let count = nodes.len();
    encode_push_pull_of(join, count, nodes.map(NodeState::as_ref), user_state)
}

/// Encodes a push/pull of `count` records from where their owner keeps them.
pub(crate) fn encode_push_pull_of<'a>(
    join: bool,
    count: usize,
    nodes: impl Iterator<Item = StateRef<'a>>,
    user_state: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * RECORD + user_state.len() + 64);
    out.push(PUSH_PULL);
    let mut w = Writer::new(&mut out);
    w.map(3);
    w.key("Join");
    w.bool(join);
    w.key("Nodes");
    w.uint(count as u64);
    w.key("UserStateLen");
    w.uint(user_state.len() as u64);
    nodes.for_each(|node| node.write(&mut w));
    out.extend_from_slice(user_state);
    out
}

/// What a decoder has got so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The message is not complete; feed more.
    NeedMore,
    /// The message; the decoder is done, whatever else the peer sends is ignored.
    Message(StreamMessage),
}

/// Why a connection is of no use; most are answered by [`StreamMessage::Error`] with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Over the limit of the decoder.
    #[error("the peer sends too much")]
    TooLong,
    /// Another cluster's label, or one where none is used, or none where one is.
    #[error("the label is not ours")]
    Label,
    /// Encryption is on and the peer does not encrypt.
    #[error("encryption is configured, but the remote state is not encrypted")]
    NotEncrypted,
    /// The peer encrypts and there is no key.
    #[error("the remote state is encrypted, but encryption is not configured")]
    Encrypted,
    /// No key fits.
    #[error("cannot decrypt: {0}")]
    Encryption(#[from] OpenError),
    /// The compressed part cannot be unpacked.
    #[error("cannot unpack: {0}")]
    Compression(#[from] UnpackError),
    /// The message is malformed or, inside a layer of known length, cut off.
    #[error("malformed: {0}")]
    Malformed(#[from] ReadError),
    /// A type byte that may not stand here.
    #[error("message type {0} is unknown or out of place")]
    UnknownType(u8),
    /// More node records or application bytes than one exchange may carry.
    #[error("the announced state is too large")]
    TooLarge,
    /// More than the room that is left for what peers send.
    #[error("there is no room for that much now")]
    NoRoom,
}

/// Decodes what one peer sends on one connection.
///
/// Shape: [`feed`](Self::feed) what was read until a message or an error comes out. The work is
/// linear in the bytes fed, however small the pieces are.
/// Memory: at most the room given. Records are read as they come and their bytes given back; what
/// is encrypted or compressed as one is held as one, twice while it is opened, and is refused when
/// its length is known and the room is not there.
#[derive(Debug)]
pub struct StreamDecoder {
    limit: usize,
    room: usize,
    /// Bytes fed so far.
    fed: usize,
    buffer: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Layers,
    Plain(PlainDecoder),
    Done,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new(limits::STREAM_WIRE)
    }
}

impl StreamDecoder {
    /// Starts a decoder that takes at most `limit` bytes from the peer.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            room: usize::MAX,
            fed: 0,
            buffer: Vec::new(),
            stage: Stage::Layers,
        }
    }

    /// Says how many bytes it may hold from here on. None other than what memory there is until
    /// then.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Counts the bytes that it holds.
    pub fn held(&self) -> usize {
        let read = match &self.stage {
            Stage::Plain(decoder) => decoder.held(),
            Stage::Layers | Stage::Done => 0,
        };
        self.buffer.capacity() + read
    }

    /// Says whether nothing has been fed.
    pub fn is_empty(&self) -> bool {
        self.fed == 0
    }

    /// Takes the next bytes of the peer and says what they completed.
    ///
    /// Errors: the connection is of no use any more; feeding on gives `NeedMore`.
    pub fn feed(&mut self, bytes: &[u8], envelope: &Envelope) -> Result<Progress, StreamError> {
        if matches!(self.stage, Stage::Done) {
            return Ok(Progress::NeedMore);
        }
        let result = self.advance(bytes, envelope);
        if !matches!(result, Ok(Progress::NeedMore)) {
            self.stage = Stage::Done;
            self.buffer = Vec::new();
        }
        result
    }

    fn advance(&mut self, bytes: &[u8], envelope: &Envelope) -> Result<Progress, StreamError> {
        self.fed += bytes.len();
        if self.fed > self.limit {
            return Err(StreamError::TooLong);
        }
        self.keep(bytes)?;
        if matches!(self.stage, Stage::Layers) {
            match self.open_layers(envelope)? {
                Layers::NeedMore => return Ok(Progress::NeedMore),
                Layers::Plain { from } => {
                    self.buffer.drain(..from);
                    self.stage = Stage::Plain(PlainDecoder::default());
                }
                Layers::Opened(plain) => {
                    self.buffer = Vec::new();
                    return decode_opened(plain, self.room);
                }
                Layers::Whole(plain) => {
                    self.buffer = Vec::new();
                    return decode_whole(&plain, self.room);
                }
            }
        }
        match &mut self.stage {
            Stage::Plain(decoder) => {
                let progress = decoder.advance(&self.buffer, self.room)?;
                self.buffer.drain(..decoder.take_read());
                Ok(progress)
            }
            Stage::Layers | Stage::Done => Ok(Progress::NeedMore),
        }
    }

    /// Appends to the buffer, which doubles as long as there is room.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            let read = self.held() - self.buffer.capacity();
            let most = self.room.saturating_sub(read);
            if needed > most {
                return Err(StreamError::NoRoom);
            }
            let wished = needed.max(2 * self.buffer.capacity()).min(most);
            self.buffer.reserve_exact(wished - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes label, encryption and compression off as soon as they are complete.
    fn open_layers(&self, envelope: &Envelope) -> Result<Layers, StreamError> {
        if self.buffer.is_empty() {
            return Ok(Layers::NeedMore);
        }
        let bytes = match envelope.label.strip(&self.buffer) {
            Ok(bytes) => bytes,
            Err(Unlabelled::Truncated) => return Ok(Layers::NeedMore),
            Err(Unlabelled::Mismatch) => return Err(StreamError::Label),
        };
        match bytes {
            [] => Ok(Layers::NeedMore),
            [ENCRYPT, _, ..] if envelope.keyring.is_empty() => Err(StreamError::Encrypted),
            [ENCRYPT, rest @ ..] => self.open_frame(&bytes[..bytes.len().min(5)], rest, envelope),
            _ if !envelope.keyring.is_empty() => Err(StreamError::NotEncrypted),
            [COMPRESS, body @ ..] => {
                match unpack(body, self.room.saturating_sub(self.buffer.capacity())) {
                    Err(StreamError::Compression(UnpackError::Malformed(ReadError::Truncated))) => {
                        Ok(Layers::NeedMore)
                    }
                    unpacked => unpacked.map(Layers::Whole),
                }
            }
            _ => Ok(Layers::Plain {
                from: self.buffer.len() - bytes.len(),
            }),
        }
    }

    /// Decrypts the frame once all of it is there.
    fn open_frame(
        &self,
        header: &[u8],
        rest: &[u8],
        envelope: &Envelope,
    ) -> Result<Layers, StreamError> {
        let Some((length, rest)) = rest.split_first_chunk() else {
            return Ok(Layers::NeedMore);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.limit.min(limits::STREAM_WIRE) {
            return Err(StreamError::TooLong);
        }
        // As it came, and opened.
        if 2 * length > self.room {
            return Err(StreamError::NoRoom);
        }
        let Some(sealed) = rest.get(..length) else {
            return Ok(Layers::NeedMore);
        };
        let aad = [header, envelope.label.as_str().as_bytes()].concat();
        Ok(Layers::Opened(envelope.keyring.open(&aad, sealed)?))
    }
}

/// How far the layers could be taken off.
enum Layers {
    NeedMore,
    /// There are none beyond the label; the message starts here and may be incomplete.
    Plain {
        from: usize,
    },
    /// The message, decrypted and complete; it may be compressed.
    Opened(Vec<u8>),
    /// The message, complete.
    Whole(Vec<u8>),
}

fn decode_opened(plain: Vec<u8>, room: usize) -> Result<Progress, StreamError> {
    let [COMPRESS, body @ ..] = plain.as_slice() else {
        return decode_whole(&plain, room);
    };
    let unpacked = unpack(body, room.saturating_sub(plain.len()))?;
    drop(plain);
    decode_whole(&unpacked, room)
}

fn unpack(body: &[u8], room: usize) -> Result<Vec<u8>, StreamError> {
    let limit = limits::STREAM_UNPACKED.min(room);
    match lzw::unpack_message(body, limits::STREAM_MAP_VALUES, limit) {
        Err(UnpackError::TooLarge) if limit == room => Err(StreamError::NoRoom),
        other => Ok(other?),
    }
}

/// Decodes a message of which nothing more can come.
fn decode_whole(plain: &[u8], room: usize) -> Result<Progress, StreamError> {
    match PlainDecoder::default().advance(plain, room)? {
        Progress::NeedMore => Err(ReadError::Truncated.into()),
        done => Ok(done),
    }
}

#[cfg(test)]
mod tests;
