//! Request heads.

use crate::block::Block;
use crate::connection::Connection;
use crate::fields::{FieldList, Fields, Span};
use crate::framing::Framing;
use crate::grpc;
use crate::host;
use crate::known::Known;
use crate::limits::Limits;
use crate::method::{Method, Version};
use crate::reason::{Reason, Refusal};
use crate::scan::{Kind, Progress, Scan};
use crate::syntax;
use crate::target::{self, Form};
use crate::tokens;

mod build;

/// WebSocket's name among the protocols of Upgrade and `:protocol` (RFC 6455, 11.2; RFC 8441, 5).
const WEBSOCKET: &[u8] = b"websocket";

/// The first bytes of every HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Tells whether a connection begins with HTTP/2's preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// It does; the bytes are HTTP/2's to consume.
    Http2,
    /// It does not.
    Http1,
    /// Too few bytes to tell.
    Partial,
}

/// Owns a read buffer and the request head parsed from it.
///
/// Shape: read into `block`, call [`Self::parse`] until complete; then the head's bytes are pinned
/// and `block.filled()` is what follows: body, then pipelined requests. [`Self::reset`] gives the
/// head up and keeps those bytes. The accessors are meaningful between the two only.
#[derive(Debug)]
pub struct RequestHead {
    /// What was read: body bytes once the head is complete. Never cleared while the head is in use.
    pub block: Block,
    scan: Scan,
    size: usize,
    skipped: bool,
    fields: FieldList,
    method: Method,
    method_name: Span,
    version: Version,
    target: Span,
    form: Form,
    is_https: bool,
    has_host: bool,
    host: Span,
    path: Span,
    framing: Framing,
    connection: Connection,
    expects_continue: bool,
    /// It came as HTTP/2's extended CONNECT.
    is_extended_connect: bool,
    is_call: bool,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestHead {
    /// Makes a head without storage.
    pub fn new() -> Self {
        Self {
            block: Block::new(),
            scan: Scan::default(),
            size: 0,
            skipped: false,
            fields: FieldList::default(),
            method: Method::Other,
            method_name: Span::default(),
            version: Version::Http11,
            target: Span::default(),
            form: Form::Origin,
            is_https: false,
            has_host: false,
            host: Span::default(),
            path: Span::default(),
            framing: Framing::Empty,
            connection: Connection::default(),
            expects_continue: false,
            is_extended_connect: false,
            is_call: false,
        }
    }

    /// Looks at the start of a connection for HTTP/2's preface, before any parsing.
    pub fn preface(&self) -> Preface {
        let filled = self.block.filled();
        let length = filled.len().min(PREFACE.len());
        if filled[..length] != PREFACE[..length] {
            Preface::Http1
        } else if length == PREFACE.len() {
            Preface::Http2
        } else {
            Preface::Partial
        }
    }

    /// Says whether bytes that [`Self::parse`] refused are no request of HTTP/1 at all, but what was meant
    /// to begin HTTP/2: its line with another end, or a line that names neither a version of HTTP nor
    /// a target.
    pub fn is_failed_preface(&self) -> bool {
        let filled = self.block.filled();
        let line = filled.split(|b| matches!(b, b'\r' | b'\n')).next();
        let words: Vec<_> = line.unwrap_or_default().split(|b| *b == b' ').collect();
        let [method, target, version] = words[..] else {
            return false;
        };
        let is_target = target.first().is_some_and(|b| matches!(b, b'/' | b'*'))
            || target.contains(&b':')
            || target.is_empty();
        match version {
            b"HTTP/2.0" => method == b"PRI" && target == b"*",
            version => !is_target && !version.starts_with(b"HTTP"),
        }
    }

    /// Says whether anything of a request has come, an empty line before it not counted.
    pub fn has_begun(&self) -> bool {
        !matches!(self.block.filled(), b"" | b"\r" | b"\r\n")
    }

    /// Parses the head from what `block` holds; called again whenever more was read.
    ///
    /// One empty line before the request is skipped (RFC 9112, 2.2). On `Complete` the head is
    /// pinned and `block.filled()` begins with the body.
    ///
    /// Errors: the status to answer with before closing. The head is then not to be read.
    pub fn parse(&mut self, limits: &Limits) -> Result<Progress, Refusal> {
        if self.scan.is_fresh() {
            if !self.skipped && self.block.filled().starts_with(b"\r\n") {
                self.block.consume(2);
                self.skipped = true;
            }
            if matches!(self.block.filled(), b"" | b"\r") {
                return Ok(Progress::Partial);
            }
            if let Some(length) = self.read_head(limits) {
                return Ok(self.accept(length, limits)?);
            }
        }
        let found = self.scan.run(self.block.filled(), limits, Kind::Request)?;
        if found.is_none() {
            return Ok(Progress::Partial);
        }
        // The scan found no fault, so this reads the head; the reason is there for safety only.
        let length = self.read_head(limits).ok_or(Reason::RequestLine)?;
        Ok(self.accept(length, limits)?)
    }

    /// Gives the head up and keeps what follows it in `block`.
    pub fn reset(&mut self) {
        self.block.unpin();
        self.scan = Scan::default();
        self.skipped = false;
        self.fields.clear();
        self.connection = Connection::default();
        self.framing = Framing::Empty;
        self.is_extended_connect = false;
        self.is_call = false;
    }

    /// Returns the method.
    #[inline]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the method as received.
    pub fn method_name(&self) -> &[u8] {
        self.method_name.of(self.block.storage())
    }

    /// Returns the version received.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the target as received.
    pub fn target(&self) -> &[u8] {
        self.target.of(self.block.storage())
    }

    /// Returns the form of the target.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Says whether an absolute-form target had the scheme https.
    pub fn is_https_target(&self) -> bool {
        self.is_https
    }

    /// Returns path and query: of an absolute target, what follows the authority, which may be
    /// empty or begin with `?` (see [`Self::path`]); `*` for the asterisk form; empty for CONNECT.
    pub fn path_and_query(&self) -> &[u8] {
        self.path.of(self.block.storage())
    }

    /// Returns the path without query; `/` where an absolute target has none.
    pub fn path(&self) -> &[u8] {
        let all = self.path_and_query();
        match &all[..memchr::memchr(b'?', all).unwrap_or(all.len())] {
            b"" if self.form == Form::Absolute => b"/",
            path => path,
        }
    }

    /// Returns the query without its `?`.
    pub fn query(&self) -> Option<&[u8]> {
        let all = self.path_and_query();
        memchr::memchr(b'?', all).map(|at| &all[at + 1..])
    }

    /// Returns the authority the request is for: that of the target, else Host as received;
    /// `None` when an HTTP/1.0 request has neither.
    #[inline]
    pub fn host(&self) -> Option<&[u8]> {
        self.has_host.then(|| self.host.of(self.block.storage()))
    }

    /// Returns the host without port, and the port's digits.
    pub fn host_and_port(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.host().map(host::split)
    }

    /// Returns how the body ends; never `UntilClose`.
    #[inline]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns what Connection said.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// Says whether the client wants the connection to live on (RFC 9112, 9.3).
    #[inline]
    pub fn keep_alive(&self) -> bool {
        match self.version {
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
            Version::Http11 => !self.connection.close,
            Version::Http2 => true,
        }
    }

    /// Returns the first Upgrade value when the client asks for an upgrade (HTTP/1.1, with the
    /// Connection option); one without the option is ignored (RFC 9110, 7.8). An extended CONNECT of
    /// HTTP/2 asks for `websocket`.
    ///
    /// An offer of `h2c` counts as none: a server that took it would speak frames past the proxy, unseen
    /// (request smuggling), and RFC 9113, 3.1 has given it up.
    pub fn upgrade(&self) -> Option<&[u8]> {
        if self.is_extended_connect {
            return Some(WEBSOCKET);
        }
        if !self.connection.upgrade || self.version != Version::Http11 {
            return None;
        }
        let fields = self.fields();
        let offers_h2c = fields.has_token(Known::Upgrade, b"h2c");
        fields.first(Known::Upgrade).filter(|_| !offers_h2c)
    }

    /// Says whether this came as HTTP/2's extended CONNECT, and is written as an upgrade to WebSocket
    /// (RFC 8441).
    #[inline]
    pub fn is_extended_connect(&self) -> bool {
        self.is_extended_connect
    }

    /// Says whether this is a gRPC call.
    #[inline]
    pub fn is_call(&self) -> bool {
        self.is_call
    }

    /// Says whether the client asks for WebSocket, in whichever way.
    pub fn asks_websocket(&self) -> bool {
        self.upgrade()
            .is_some_and(|name| name.eq_ignore_ascii_case(WEBSOCKET))
    }

    /// Says whether the client waits for 100 before it sends the body (RFC 9110, 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Says whether the client takes trailers (`TE: trailers`).
    pub fn takes_trailers(&self) -> bool {
        self.fields().has_token(Known::Te, b"trailers")
    }

    /// Returns Max-Forwards when there is one valid value.
    pub fn max_forwards(&self) -> Option<u64> {
        self.fields()
            .first(Known::MaxForwards)
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

    /// Returns where the request line and Host stand in the block, if they are as they would be
    /// written: origin form, HTTP/1.1, `Host` first.
    pub(crate) fn start_as_received(&self) -> Option<(usize, usize)> {
        let bytes = self.block.storage();
        let host = self.fields.list.first()?;
        let is_as_written = self.form == Form::Origin
            && self.version == Version::Http11
            && host.name.of(bytes) == b"Host"
            && host.name.start() == self.target.end() + b" HTTP/1.1\r\n".len()
            && host.is_canonical(bytes);
        is_as_written.then(|| (self.method_name.start(), host.value.end() + 2))
    }

    /// Reads a flawless whole head into spans; anything else is `None` and for the scan to judge.
    fn read_head(&mut self, limits: &Limits) -> Option<usize> {
        let bytes = self.block.filled();
        let offset = self.block.offset();
        let line = tokens::request_line(bytes)?;
        let target = line.method_end + 1;
        let target_length = line.target_end - target;
        let is_strict =
            !limits.strict_target || syntax::is_strict_target(&bytes[target..line.target_end]);
        if target_length > limits.target || !is_strict {
            return None;
        }
        let length = tokens::fields(bytes, line.end, offset, limits.fields, &mut self.fields)?;
        if length > limits.head {
            return None;
        }
        self.method = Method::of(&bytes[..line.method_end]);
        self.method_name = Span::new(offset, offset + line.method_end);
        self.target = Span::new(offset + target, offset + line.target_end);
        self.version = line.version;
        Some(length)
    }

    /// Judges the head as a whole, then pins it.
    fn accept(&mut self, length: usize, limits: &Limits) -> Result<Progress, Reason> {
        let parts = target::analyse(self.target(), self.method)?;
        let at = self.target.start();
        self.form = parts.form;
        self.is_https = parts.is_https;
        self.path = Span::new(at + parts.path, self.target.end());
        self.settle_host(at, parts.authority, limits)?;
        self.settle_body()?;
        self.size = length;
        self.block.pin(length);
        Ok(Progress::Complete)
    }

    fn settle_host(
        &mut self,
        at: usize,
        authority: (usize, usize),
        limits: &Limits,
    ) -> Result<(), Reason> {
        let bytes = self.block.storage();
        let mut hosts = self.fields.all(Known::Host);
        let host = hosts.next().map(|field| field.value);
        if hosts.next().is_some() {
            return Err(Reason::HostRepeated);
        }
        if host.is_none() && self.version == Version::Http11 {
            return Err(Reason::HostMissing);
        }
        if host.is_some_and(|host| !host::is_valid_host(host.of(bytes))) {
            return Err(Reason::HostInvalid);
        }
        self.has_host = host.is_some() || authority.1 > 0;
        if authority.1 == 0 {
            self.host = host.unwrap_or_default();
            return Ok(());
        }
        self.host = Span::new(at + authority.0, at + authority.1);
        let default_port: &[u8] = if self.is_https { b"443" } else { b"80" };
        let differs = host
            .is_some_and(|host| !host::is_same(host.of(bytes), self.host.of(bytes), default_port));
        if differs && limits.refuse_host_mismatch {
            Err(Reason::HostMismatch)
        } else {
            Ok(())
        }
    }

    fn settle_body(&mut self) -> Result<(), Reason> {
        let fields = Fields::new(self.block.storage(), &self.fields);
        let body = crate::heads::body(fields, self.version)?;
        self.framing = match body {
            crate::heads::Body::None => Framing::Empty,
            crate::heads::Body::Length(length) => Framing::Length(length),
            crate::heads::Body::Chunked => Framing::Chunked,
        };
        self.connection = Connection::of(fields);
        self.is_call = grpc::is_call(fields);
        self.expects_continue =
            self.version == Version::Http11 && fields.has_token(Known::Expect, b"100-continue");
        Ok(())
    }
}
