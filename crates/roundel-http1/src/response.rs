//! Heads of answers.

use crate::block::Block;
use crate::connection::Connection;
use crate::fields::{Field, FieldList, Fields, Span};
use crate::framing::Framing;
use crate::heads::{self, Body};
use crate::known::Known;
use crate::limits::Limits;
use crate::method::{Method, Version};
use crate::reason::{Fault, Reason};
use crate::scan::{Kind, Progress, Scan};
use crate::syntax;
use crate::tokens;

/// Owns a read buffer and the head of an answer parsed from it.
///
/// Shape: as `RequestHead`. An interim answer is a complete head of its own: relay it, call
/// [`Self::reset`] and parse on.
#[derive(Debug)]
pub struct ResponseHead {
    /// What was read: body bytes once the head is complete. Never cleared while the head is in use.
    pub block: Block,
    scan: Scan,
    size: usize,
    fields: FieldList,
    version: Version,
    status: u16,
    phrase: Span,
    framing: Framing,
    length: Option<u64>,
    connection: Connection,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseHead {
    /// Makes a head without storage.
    pub fn new() -> Self {
        Self {
            block: Block::new(),
            scan: Scan::default(),
            size: 0,
            fields: FieldList::default(),
            version: Version::Http11,
            status: 0,
            phrase: Span::default(),
            framing: Framing::Empty,
            length: None,
            connection: Connection::default(),
        }
    }

    /// Parses the head of the answer to a request of `method` from what `block` holds.
    ///
    /// On `Complete` the head is pinned and `block.filled()` begins with the body.
    ///
    /// Errors: the answer is malformed and must not be forwarded; the connection is to be closed.
    pub fn parse(&mut self, limits: &Limits, method: Method) -> Result<Progress, Fault> {
        if self.block.is_empty() {
            return Ok(Progress::Partial);
        }
        if self.scan.is_fresh()
            && let Some(length) = self.read_head(limits)
        {
            return Ok(self.accept(length, method)?);
        }
        let found = self.scan.run(self.block.filled(), limits, Kind::Response)?;
        if found.is_none() {
            return Ok(Progress::Partial);
        }
        // The scan found no fault, so this reads the head; the reason is there for safety only.
        let length = self.read_head(limits).ok_or(Reason::StatusLine)?;
        Ok(self.accept(length, method)?)
    }

    /// Gives the head up and keeps what follows it in `block`.
    pub fn reset(&mut self) {
        self.block.unpin();
        self.scan = Scan::default();
        self.fields.clear();
        self.length = None;
        self.connection = Connection::default();
        self.framing = Framing::Empty;
    }

    /// Begins a head from parts, such as HTTP/2's; [`Self::push`] and [`Self::finish`] follow.
    pub fn begin(&mut self, status: u16) {
        self.reset();
        self.block.clear();
        self.version = Version::Http2;
        self.status = status;
        self.phrase = Span::default();
    }

    /// Appends a field.
    ///
    /// Errors: a name or value that HTTP/1 could not carry, too many fields, too large a head.
    pub fn push(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), Fault> {
        if !syntax::is_token(name) {
            return Err(Reason::FieldName.into());
        }
        if !syntax::is_value(value) || value.trim_ascii() != value {
            return Err(Reason::FieldValue.into());
        }
        if self.fields.list.len() >= limits.fields.min(Limits::MOST_FIELDS) {
            return Err(Reason::TooManyFields.into());
        }
        let start = self.block.len();
        let middle = start + name.len();
        let end = middle + value.len();
        if end > limits.head {
            return Err(Reason::HeadTooLarge.into());
        }
        self.block.put(name);
        self.block.put(value);
        self.fields.push(Field {
            known: Known::of(name),
            name: Span::new(start, middle),
            value: Span::new(middle, end),
        });
        Ok(())
    }

    /// Ends a head that was begun. `has_body` says whether frames of data may follow.
    ///
    /// Errors: the status is not one, or the framing fields are wrong, as for a parsed head.
    pub fn finish(&mut self, method: Method, has_body: bool) -> Result<(), Fault> {
        if !(100..600).contains(&self.status) {
            return Err(Reason::StatusLine.into());
        }
        self.settle(method)?;
        self.framing = match self.framing {
            Framing::UntilClose | Framing::Chunked if has_body => Framing::Frames,
            Framing::Length(length) if has_body || length == 0 => Framing::Length(length),
            Framing::Length(_) => return Err(Reason::Truncated.into()),
            // HTTP/1 has to say so, or its reader waits for the connection's end (RFC 9112 6.3).
            Framing::UntilClose | Framing::Chunked => Framing::Length(0),
            _ => Framing::Empty,
        };
        self.size = self.block.len();
        self.block.pin(self.size);
        Ok(())
    }

    /// Returns the status, 100 to 599.
    #[inline]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the reason phrase, possibly empty.
    pub fn phrase(&self) -> &[u8] {
        self.phrase.of(self.block.storage())
    }

    /// Returns the version received.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Says whether another head follows: 1xx but 101 (RFC 9110, 15.2).
    #[inline]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Says whether the server switches protocols: what follows the head is not HTTP.
    pub fn is_switching(&self) -> bool {
        self.status == 101
    }

    /// Returns how the body ends.
    #[inline]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns Content-Length as received; for HEAD and 304 it is not the length of the body.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// Returns what Connection said.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// Says whether the server leaves the connection open behind a body that ended exactly (RFC 9112, 9.3).
    #[inline]
    pub fn keep_alive(&self) -> bool {
        let wanted = match self.version {
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
            Version::Http11 => !self.connection.close,
            Version::Http2 => true,
        };
        wanted && self.framing != Framing::UntilClose && self.status != 101
    }

    /// Returns the seconds for which the server promises to keep the connection idle
    /// (`Keep-Alive: timeout=`).
    pub fn keep_alive_timeout(&self) -> Option<u64> {
        self.fields()
            .all(Known::KeepAlive)
            .flat_map(|line| crate::fields::elements(line.value))
            .find_map(|element| element.strip_prefix(b"timeout="))
            .and_then(syntax::decimal)
    }

    /// Counts the bytes of the head.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the fields, in the order received.
    #[inline]
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(self.block.storage(), &self.fields)
    }

    /// Returns where the status line stands in the block, if it is as it would be written.
    pub(crate) fn line_as_received(&self) -> Option<(usize, usize)> {
        let is_as_written = self.version == Version::Http11 && !self.phrase.is_empty();
        // A phrase stands behind a space, or the line would have been refused.
        let before = b"HTTP/1.1 200 ".len();
        is_as_written.then(|| (self.phrase.start() - before, self.phrase.end() + 2))
    }

    /// Reads a flawless whole head into spans; anything else is `None` and for the scan to judge.
    fn read_head(&mut self, limits: &Limits) -> Option<usize> {
        let bytes = self.block.filled();
        let offset = self.block.offset();
        let line = tokens::status_line(bytes)?;
        let length = tokens::fields(bytes, line.end, offset, limits.fields, &mut self.fields)?;
        if length > limits.head {
            return None;
        }
        self.status = line.status;
        self.phrase = Span::new(offset + line.phrase.0, offset + line.phrase.1);
        self.version = line.version;
        Some(length)
    }

    fn accept(&mut self, length: usize, method: Method) -> Result<Progress, Reason> {
        self.settle(method)?;
        self.size = length;
        self.block.pin(length);
        Ok(Progress::Complete)
    }

    /// Decides the framing (RFC 9112, 6.3).
    fn settle(&mut self, method: Method) -> Result<(), Reason> {
        let fields = Fields::new(self.block.storage(), &self.fields);
        let body = heads::body(fields, self.version)?;
        self.connection = Connection::of(fields);
        self.length = match body {
            Body::Length(length) => Some(length),
            _ => None,
        };
        let has_none =
            self.status < 200 || matches!(self.status, 204 | 304) || method == Method::Head;
        self.framing = match body {
            _ if has_none => Framing::Empty,
            Body::Length(length) => Framing::Length(length),
            Body::Chunked => Framing::Chunked,
            Body::None => Framing::UntilClose,
        };
        Ok(())
    }
}

/// Returns the usual reason phrase of a status, empty for one without (RFC 9110, 15).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}
