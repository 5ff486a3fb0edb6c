//! The message itself, once no layer is left around it.

use super::super::Reason;
use super::super::limits;
use super::super::message::{ACK, Ack, ERR, PING, PUSH_PULL, Ping, USER};
use super::super::msgpack::{ReadError, Reader, read_map};
use super::super::record::NodeState;
use super::{Progress, PushPull, StreamError, StreamMessage};

/// What one record takes at most beside its bytes: its place in a list that doubles, and two
/// allocations.
const RECORD: usize = 2 * size_of::<NodeState>() + 64;

/// Decodes a bare message, remembering how far it came.
#[derive(Debug)]
pub(super) struct PlainDecoder {
    /// Where the next undecoded value starts in the buffer.
    at: usize,
    /// At most so many bytes are held by what was read.
    held: usize,
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

impl Default for PlainDecoder {
    fn default() -> Self {
        Self {
            at: 0,
            held: 0,
            part: Part::Type,
        }
    }
}

impl PlainDecoder {
    /// Goes on with the buffer, which has only grown since the last call, or lost what was read.
    ///
    /// Errors: also when more than `room` bytes would be held, the buffer included.
    pub(super) fn advance(&mut self, buffer: &[u8], room: usize) -> Result<Progress, StreamError> {
        loop {
            self.check_room(buffer.len(), room)?;
            let bytes = &buffer[self.at..];
            let part = std::mem::replace(&mut self.part, Part::Done);
            match part.step(bytes)? {
                Step::NeedMore(part) => {
                    self.part = part;
                    return Ok(Progress::NeedMore);
                }
                Step::Next { used, part } => {
                    self.at += used;
                    self.held += used + RECORD;
                    self.part = part;
                }
                Step::Message(message) => return Ok(Progress::Message(message)),
            }
        }
    }

    /// What comes in one piece is held twice, and its length is known before it comes.
    fn check_room(&self, buffer: usize, room: usize) -> Result<(), StreamError> {
        let piece = match self.part {
            Part::UserState { len, .. } | Part::UserMessage { len } => len,
            _ => 0,
        };
        let all = self.held + piece + buffer.max(self.at + piece);
        if all > room {
            return Err(StreamError::NoRoom);
        }
        Ok(())
    }

    /// At most so many bytes are held by what was read.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How much of the buffer was read since the last call and can go.
    pub(super) fn take_read(&mut self) -> usize {
        std::mem::take(&mut self.at)
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
        Err(ReadError::Truncated) => wait_for_map(bytes, Part::Header(kind)),
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
        Err(ReadError::Truncated) => return wait_for_map(bytes, Part::Header(PUSH_PULL)),
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
        Err(ReadError::Truncated) => return wait_for_map(bytes, Part::Header(USER)),
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
    let mut r = Reader::with_values(bytes, limits::STREAM_MAP_VALUES);
    match NodeState::read(&mut r) {
        Ok(node) => state.nodes.push(node),
        Err(rejected) => {
            r = Reader::with_values(bytes, limits::STREAM_MAP_VALUES);
            match r.skip() {
                Err(ReadError::Truncated) => {
                    let part = Part::Nodes {
                        left,
                        state_len,
                        state,
                    };
                    return wait_for_map(bytes, part);
                }
                other => other?,
            }
            state.rejected_count += 1;
            if state.rejected.len() < limits::REJECTED {
                state.rejected.push(rejected);
            }
        }
    }
    Ok(Step::Next {
        used: bytes.len() - r.rest().len(),
        part: Part::Nodes {
            left: left - 1,
            state_len,
            state,
        },
    })
}

/// Waits for the rest of a small map, unless it is none.
///
/// A map is read anew with each piece that comes; without the bound that work could be made
/// quadratic.
fn wait_for_map(bytes: &[u8], part: Part) -> Result<Step, StreamError> {
    if bytes.len() > limits::STREAM_MAP {
        return Err(StreamError::TooLarge);
    }
    Ok(Step::NeedMore(part))
}
