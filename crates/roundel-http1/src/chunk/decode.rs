//! Reading chunks, strictly and in any cut.

use crate::limits::Limits;
use crate::reason::Reason;
use crate::scan::{Kind, Scan};
use crate::syntax;
use crate::trailers::Trailers;

/// Digits of the largest size accepted.
const MOST_DIGITS: u8 = 16;

/// Decodes one chunked body.
///
/// Shape: call [`Self::decode`] with everything filled, consume `skip` bytes, use up to `len` bytes
/// of data, consume those and tell [`Self::took`]. Bytes of an unfinished trailer section are left
/// in place until it is whole, so the buffer must be able to grow to `Limits::trailers` bytes.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    extensions: usize,
    scan: Scan,
    trailers: Option<Box<Trailers>>,
    limits: Limits,
}

/// Tells what the decoder found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// Consume `skip` bytes; more input is needed.
    More {
        /// Bytes of framing at the front.
        skip: usize,
    },
    /// Consume `skip` bytes, then there are `len > 0` bytes of data.
    Data {
        /// Bytes of framing at the front.
        skip: usize,
        /// Bytes of data behind them.
        len: usize,
    },
    /// Consume `skip` bytes; the body has ended exactly there.
    End {
        /// Bytes of framing at the front.
        skip: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a size, with that many digits read.
    Size { digits: u8, value: u64 },
    /// In the extensions of a chunk of `size` bytes.
    Extension { size: u64, at: Ext },
    /// Behind the CR of a size line.
    SizeEnd { size: u64 },
    /// In data.
    Data { left: u64 },
    /// Behind data, before its CR.
    DataCr,
    /// Behind the CR of data.
    DataLf,
    /// In the trailer section.
    Trailers,
    /// Behind the body.
    Done,
    /// Something was wrong. Nothing behind it can be told apart, so this state is the last.
    Broken(Reason),
}

/// Where in `*( BWS ";" BWS name [ BWS "=" BWS value ] )` the decoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ext {
    /// White space before `;`, none of it allowed before CRLF.
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    AfterQuoted,
}

impl ChunkDecoder {
    /// Starts at the first size line.
    pub fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size {
                digits: 0,
                value: 0,
            },
            extensions: 0,
            scan: Scan::default(),
            trailers: None,
            limits: limits.clone(),
        }
    }

    /// Looks at `input`, the bytes that come next.
    ///
    /// Errors: the first thing wrong, again and again; the connection is not to be used any more.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Reason> {
        let decoded = self.advance(input);
        if let Err(reason) = decoded {
            self.state = State::Broken(reason);
        }
        decoded
    }

    fn advance(&mut self, input: &[u8]) -> Result<Decoded, Reason> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data { left } => return Ok(data(left, at, input.len())),
                State::Trailers => return self.trailer_section(input, at),
                State::Done => return Ok(Decoded::End { skip: at }),
                State::Broken(reason) => return Err(reason),
                _ => {}
            }
            let Some(&byte) = input.get(at) else {
                return Ok(Decoded::More { skip: at });
            };
            self.state = self.next(byte)?;
            at += 1;
        }
    }

    /// Declares `n` bytes of data as taken.
    ///
    /// Panics: when more is taken than the last [`Decoded::Data`] offered.
    pub fn took(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let State::Data { left } = self.state else {
            panic!("data is taken only where data was offered");
        };
        let left = left
            .checked_sub(n as u64)
            .expect("no more is taken than was offered");
        self.state = if left == 0 {
            State::DataCr
        } else {
            State::Data { left }
        };
    }

    /// Says whether the body has ended exactly.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Returns the trailers once the body has ended, when there were any.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref()
    }

    /// Judges the end of the stream: fine only behind the body.
    pub fn finish(&self) -> Result<(), Reason> {
        if self.is_done() {
            Ok(())
        } else {
            Err(Reason::Truncated)
        }
    }

    fn next(&mut self, byte: u8) -> Result<State, Reason> {
        match (self.state, byte) {
            (State::Size { digits, value }, _) => self.in_size(digits, value, byte),
            (State::Extension { size, at }, _) => self.in_extension(size, at, byte),
            (State::SizeEnd { size: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeEnd { size }, b'\n') => Ok(State::Data { left: size }),
            (State::SizeEnd { .. }, _) => Err(Reason::LineEnd),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size {
                digits: 0,
                value: 0,
            }),
            _ => Err(Reason::ChunkEnd),
        }
    }

    #[inline]
    fn in_size(&mut self, digits: u8, value: u64, byte: u8) -> Result<State, Reason> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(Reason::ChunkSize),
            b'\r' => return Ok(State::SizeEnd { size: value }),
            b';' | b' ' | b'\t' => return self.in_extension(value, Ext::BeforeSemicolon, byte),
            b'\n' => return Err(Reason::LineEnd),
            _ => return Err(Reason::ChunkSize),
        };
        if digits == MOST_DIGITS {
            return Err(Reason::ChunkSize);
        }
        let value = value << 4 | u64::from(digit);
        // As with Content-Length one bit is kept free, so that sums cannot overflow.
        if value >= 1 << 63 {
            return Err(Reason::ChunkSize);
        }
        Ok(State::Size {
            digits: digits + 1,
            value,
        })
    }

    fn in_extension(&mut self, size: u64, at: Ext, byte: u8) -> Result<State, Reason> {
        if byte == b'\n' {
            return Err(Reason::LineEnd);
        }
        if byte == b'\r' {
            // White space before CRLF belongs to nothing, so only these three may end a line.
            let may_end = matches!(at, Ext::Name | Ext::Token | Ext::AfterQuoted);
            return if may_end {
                Ok(State::SizeEnd { size })
            } else {
                Err(Reason::ChunkExtension)
            };
        }
        self.extensions += 1;
        if self.extensions > self.limits.extensions {
            return Err(Reason::ChunkExtensionTooLarge);
        }
        let at = at.next(byte).ok_or(Reason::ChunkExtension)?;
        Ok(State::Extension { size, at })
    }

    fn trailer_section(&mut self, input: &[u8], at: usize) -> Result<Decoded, Reason> {
        let section = &input[at..];
        let Some(length) = self.scan.run(section, &self.limits, Kind::Trailers)? else {
            return Ok(Decoded::More { skip: at });
        };
        if length > 2 {
            let trailers = self.trailers.get_or_insert_default();
            trailers.read(&section[..length]);
        }
        self.state = State::Done;
        Ok(Decoded::End { skip: at + length })
    }
}

impl Ext {
    /// Returns the state behind `byte`, which is neither CR nor LF; `None` breaks the grammar.
    fn next(self, byte: u8) -> Option<Self> {
        let is_space = matches!(byte, b' ' | b'\t');
        let is_token = syntax::is_token_byte(byte);
        match self {
            Self::BeforeSemicolon if is_space => Some(self),
            Self::BeforeSemicolon if byte == b';' => Some(Self::BeforeName),
            Self::BeforeName | Self::BeforeValue if is_space => Some(self),
            Self::BeforeName | Self::Name if is_token => Some(Self::Name),
            Self::Name | Self::AfterName if is_space => Some(Self::AfterName),
            Self::Name | Self::AfterName if byte == b'=' => Some(Self::BeforeValue),
            Self::Name | Self::AfterName if byte == b';' => Some(Self::BeforeName),
            Self::BeforeValue if byte == b'"' => Some(Self::Quoted),
            Self::BeforeValue | Self::Token if is_token => Some(Self::Token),
            Self::Token | Self::AfterQuoted if is_space => Some(Self::BeforeSemicolon),
            Self::Token | Self::AfterQuoted if byte == b';' => Some(Self::BeforeName),
            Self::Quoted if byte == b'"' => Some(Self::AfterQuoted),
            Self::Quoted if byte == b'\\' => Some(Self::Escaped),
            Self::Quoted | Self::Escaped if byte == b'\t' || (byte >= b' ' && byte != 0x7f) => {
                Some(Self::Quoted)
            }
            _ => None,
        }
    }
}

fn data(left: u64, skip: usize, filled: usize) -> Decoded {
    let available = filled - skip;
    if available == 0 {
        return Decoded::More { skip };
    }
    let len = usize::try_from(left).map_or(available, |left| left.min(available));
    Decoded::Data { skip, len }
}
