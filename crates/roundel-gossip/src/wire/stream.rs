//! TCP exchanges: one message per direction, decoded as its bytes come in.

use super::Reason;
use super::Rejected;
use super::envelope::{Envelope, Unlabelled};
use super::keyring::OpenError;
use super::limits;
use super::lzw::{self, UnpackError};
use super::message::{ACK, Ack, COMPRESS, ENCRYPT, ERR, PING, PUSH_PULL, Ping, USER};
use super::msgpack::{ReadError, Reader, Writer, read_map};
use super::record::NodeState;

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

/// Encodes a push/pull straight from borrowed records.
pub fn encode_push_pull<'a>(
    join: bool,
    nodes: impl ExactSizeIterator<Item = &'a NodeState>,
    user_state: &[u8],
) -> Vec<u8> {
    let mut out = vec![PUSH_PULL];
    let mut w = Writer::new(&mut out);
    w.map(3);
    w.key("Join");
    w.bool(join);
    w.key("Nodes");
    w.uint(nodes.len() as u64);
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
}

/// Decodes what one peer sends on one connection.
///
/// Shape: [`feed`](Self::feed) what was read until a message or an error comes out. The work is
/// linear in the bytes fed, however small the pieces are.
/// Memory: at most the limit given, and [`limits::STREAM_UNPACKED`] while unpacking.
#[derive(Debug)]
pub struct StreamDecoder {
    limit: usize,
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
            buffer: Vec::new(),
            stage: Stage::Layers,
        }
    }

    /// Says whether nothing has been fed.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
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
        if self.buffer.len() + bytes.len() > self.limit {
            return Err(StreamError::TooLong);
        }
        self.buffer.extend_from_slice(bytes);
        if matches!(self.stage, Stage::Layers) {
            match self.open_layers(envelope)? {
                Layers::NeedMore => return Ok(Progress::NeedMore),
                Layers::Plain { from } => self.stage = Stage::Plain(PlainDecoder::new(from)),
                Layers::Whole(plain) => return decode_whole(&plain),
            }
        }
        match &mut self.stage {
            Stage::Plain(decoder) => decoder.advance(&self.buffer),
            Stage::Layers | Stage::Done => Ok(Progress::NeedMore),
        }
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
            [ENCRYPT, rest @ ..] => {
                open_frame(&bytes[..bytes.len().min(5)], rest, envelope, self.limit)
            }
            _ if !envelope.keyring.is_empty() => Err(StreamError::NotEncrypted),
            [COMPRESS, body @ ..] => unpack(body).map_or_else(
                |error| match error {
                    UnpackError::Malformed(ReadError::Truncated) => Ok(Layers::NeedMore),
                    other => Err(other.into()),
                },
                |plain| Ok(Layers::Whole(plain)),
            ),
            _ => Ok(Layers::Plain {
                from: self.buffer.len() - bytes.len(),
            }),
        }
    }
}

/// How far the layers could be taken off.
enum Layers {
    NeedMore,
    /// There are none beyond the label; the message starts here and may be incomplete.
    Plain {
        from: usize,
    },
    /// The message, complete.
    Whole(Vec<u8>),
}

/// Decrypts the frame once all of it is there.
fn open_frame(
    header: &[u8],
    rest: &[u8],
    envelope: &Envelope,
    limit: usize,
) -> Result<Layers, StreamError> {
    let Some((length, rest)) = rest.split_first_chunk() else {
        return Ok(Layers::NeedMore);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > limit.min(limits::STREAM_WIRE) {
        return Err(StreamError::TooLong);
    }
    let Some(sealed) = rest.get(..length) else {
        return Ok(Layers::NeedMore);
    };
    let aad = [header, envelope.label.as_str().as_bytes()].concat();
    let plain = envelope.keyring.open(&aad, sealed)?;
    match plain.as_slice() {
        [COMPRESS, body @ ..] => Ok(Layers::Whole(unpack(body)?)),
        _ => Ok(Layers::Whole(plain)),
    }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, UnpackError> {
    lzw::unpack_message(body, limits::STREAM_MAP_VALUES, limits::STREAM_UNPACKED)
}

/// Decodes a message of which nothing more can come.
fn decode_whole(plain: &[u8]) -> Result<Progress, StreamError> {
    match PlainDecoder::new(0).advance(plain)? {
        Progress::NeedMore => Err(ReadError::Truncated.into()),
        done => Ok(done),
    }
}

/// Decodes a bare message, remembering how far it came.
#[derive(Debug)]
struct PlainDecoder {
    /// Where the next undecoded value starts in the buffer.
    at: usize,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Type,
    Header(u8),
    Nodes {
        left: usize,
        state_len: usize,
        state: PushPull,
    },
    UserState {
        len: usize,
        state: PushPull,
    },
    UserMessage {
        len: usize,
    },
    Done,
}

impl PlainDecoder {
    fn new(at: usize) -> Self {
        Self {
            at,
            part: Part::Type,
        }
    }

    fn advance(&mut self, buffer: &[u8]) -> Result<Progress, StreamError> {
        loop {
            let bytes = &buffer[self.at..];
            let part = std::mem::replace(&mut self.part, Part::Done);
            match part.step(bytes)? {
                Step::NeedMore(part) => {
                    self.part = part;
                    return Ok(Progress::NeedMore);
                }
                Step::Next { used, part } => {
                    self.at += used;
                    self.part = part;
                }
                Step::Message(message) => return Ok(Progress::Message(message)),
            }
        }
    }
}

enum Step {
    NeedMore(Part),
    Next { used: usize, part: Part },
    Message(StreamMessage),
}

impl Part {
    fn step(self, bytes: &[u8]) -> Result<Step, StreamError> {
        match self {
            Self::Type => match bytes.first() {
                None => Ok(Step::NeedMore(self)),
                Some(&kind) => Ok(Step::Next {
                    used: 1,
                    part: Self::Header(kind),
                }),
            },
            Self::Header(kind) => read_header(kind, bytes),
            Self::Nodes {
                left: 0,
                state_len,
                state,
            } => Ok(Step::Next {
                used: 0,
                part: Self::UserState {
                    len: state_len,
                    state,
                },
            }),
            Self::Nodes {
                left,
                state_len,
                state,
            } => read_node(left, state_len, state, bytes),
            Self::UserState { len, mut state } => match bytes.get(..len) {
                None => Ok(Step::NeedMore(Self::UserState { len, state })),
                Some(bytes) => {
                    state.user_state = bytes.to_vec();
                    Ok(Step::Message(StreamMessage::PushPull(state)))
                }
            },
            Self::UserMessage { len } => Ok(match bytes.get(..len) {
                None => Step::NeedMore(self),
                Some(bytes) => Step::Message(StreamMessage::User(bytes.to_vec())),
            }),
            Self::Done => Ok(Step::NeedMore(self)),
        }
    }
}

fn read_header(kind: u8, bytes: &[u8]) -> Result<Step, StreamError> {
    let mut r = Reader::with_values(bytes, limits::STREAM_MAP_VALUES);
    let r = &mut r;
    let message = match kind {
        PING => Ping::read(r).map(StreamMessage::Ping).map_err(read_error),
        ACK => Ack::read(r).map(StreamMessage::Ack).map_err(read_error),
        ERR => read_error_text(r).map(StreamMessage::Error),
        PUSH_PULL => return read_push_pull_header(r, bytes),
        USER => return read_user_header(r, bytes),
        other => return Err(StreamError::UnknownType(other)),
    };
    match message {
        Ok(message) => Ok(Step::Message(message)),
        Err(ReadError::Truncated) => Ok(Step::NeedMore(Part::Header(kind))),
        Err(error) => Err(error.into()),
    }
}

/// Pings and acks can fail only as maps.
fn read_error(reason: Reason) -> ReadError {
    match reason {
        Reason::Malformed(error) => error,
        Reason::Record(_) | Reason::UnknownType(_) | Reason::Empty => ReadError::Range,
    }
}

fn read_error_text(r: &mut Reader<'_>) -> Result<String, ReadError> {
    let mut text = String::new();
    read_map(r, |key, r| {
        match key {
            b"Error" => {
                let bytes = r.raw()?.unwrap_or_default();
                let shown = &bytes[..bytes.len().min(limits::ERROR_TEXT)];
                text = String::from_utf8_lossy(shown).into_owned();
            }
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(text)
}

fn read_push_pull_header(r: &mut Reader<'_>, bytes: &[u8]) -> Result<Step, StreamError> {
    let (mut join, mut left, mut state_len) = (false, 0, 0);
    let result = read_map(r, |key, r| {
        match key {
            b"Join" => join = r.bool()?,
            b"Nodes" => left = r.uint()?,
            b"UserStateLen" => state_len = r.uint()?,
            _ => r.skip()?,
        }
        Ok(())
    });
    match result {
        Err(ReadError::Truncated) => return Ok(Step::NeedMore(Part::Header(PUSH_PULL))),
        other => other?,
    }
    if left > limits::PUSH_PULL_NODES || state_len > limits::USER_STATE {
        return Err(StreamError::TooLarge);
    }
    let state = PushPull {
        join,
        ..PushPull::default()
    };
    Ok(Step::Next {
        used: bytes.len() - r.rest().len(),
        part: Part::Nodes {
            left,
            state_len,
            state,
        },
    })
}

fn read_user_header(r: &mut Reader<'_>, bytes: &[u8]) -> Result<Step, StreamError> {
    let mut len = 0;
    let result = read_map(r, |key, r| {
        match key {
            b"UserMsgLen" => len = r.uint()?,
            _ => r.skip()?,
        }
        Ok(())
    });
    match result {
        Err(ReadError::Truncated) => return Ok(Step::NeedMore(Part::Header(USER))),
        other => other?,
    }
    if len > limits::USER_STATE {
        return Err(StreamError::TooLarge);
    }
    Ok(Step::Next {
        used: bytes.len() - r.rest().len(),
        part: Part::UserMessage { len },
    })
}

/// Reads one record; a bad one is noted and stepped over.
fn read_node(
    left: usize,
    state_len: usize,
    mut state: PushPull,
    bytes: &[u8],
) -> Result<Step, StreamError> {
    let value = Reader::with_values(bytes, limits::STREAM_MAP_VALUES).value();
    let value = match value {
        Err(ReadError::Truncated) => {
            return Ok(Step::NeedMore(Part::Nodes {
                left,
                state_len,
                state,
            }));
        }
        other => other?,
    };
    match NodeState::read(&mut Reader::new(value)) {
        Ok(node) => state.nodes.push(node),
        Err(rejected) => {
            state.rejected_count += 1;
            if state.rejected.len() < limits::REJECTED {
                state.rejected.push(rejected);
            }
        }
    }
    Ok(Step::Next {
        used: value.len(),
        part: Part::Nodes {
            left: left - 1,
            state_len,
            state,
        },
    })
}
