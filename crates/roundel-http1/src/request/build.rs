//! Request heads that were not read from HTTP/1: built from HTTP/2's fields.

use super::{RequestHead, WEBSOCKET};
use crate::fields::{Field, Span};
use crate::framing::Framing;
use crate::host;
use crate::known::Known;
use crate::limits::Limits;
use crate::method::{Method, Version};
use crate::reason::{Reason, Refusal};
use crate::scan::check_target;
use crate::syntax;
use crate::target;

impl RequestHead {
    /// Begins a head from parts; [`Self::push`] and [`Self::finish`] follow.
    ///
    /// Shape: the head was reset and its block is empty. `target` is HTTP/2's `:path`, or the
    /// authority for CONNECT. `authority` wins over a Host that is pushed later.
    ///
    /// Errors: method, target or authority are not what HTTP/1 could carry.
    pub fn begin(
        &mut self,
        method: &[u8],
        target: &[u8],
        authority: Option<&[u8]>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.reset();
        self.block.clear();
        if !syntax::is_token(method) {
            return Err(Reason::Method.into());
        }
        if method.len() > syntax::MOST_METHOD {
            return Err(Reason::MethodTooLong.into());
        }
        check_target(target, limits)?;
        self.version = Version::Http2;
        self.method = Method::of(method);
        let parts = target::analyse(target, self.method)?;
        self.form = parts.form;
        self.is_https = parts.is_https;
        self.method_name = self.keep(method);
        self.target = self.keep(target);
        self.path = Span::new(self.target.start() + parts.path, self.target.end());
        self.has_host = authority.is_some();
        self.host = Span::default();
        if let Some(authority) = authority {
            if authority.is_empty() || !host::is_valid_host(authority) {
                return Err(Reason::HostInvalid.into());
            }
            self.host = self.keep(authority);
        }
        Ok(())
    }

    /// Begins the head of an extended CONNECT, as [`Self::begin`] does: for WebSocket as the GET that it
    /// is in HTTP/1, for any other `protocol` as the CONNECT that it is.
    ///
    /// Source: RFC 8441, 4 and 5.
    pub fn begin_extended_connect(
        &mut self,
        protocol: &[u8],
        path: &[u8],
        authority: Option<&[u8]>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.begin(b"GET", path, authority, limits)?;
        self.is_extended_connect = protocol.eq_ignore_ascii_case(WEBSOCKET);
        if !self.is_extended_connect {
            self.method = Method::Connect;
            self.method_name = self.keep(b"CONNECT");
        }
        Ok(())
    }

    /// Appends a field; crumbs of Cookie are to be joined by the caller with `"; "` (RFC 9113, 8.2.3).
    ///
    /// Errors: a name or value that HTTP/1 could not carry, a connection field (RFC 9113, 8.2.2),
    /// too many fields, too large a head.
    pub fn push(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if !syntax::is_token(name) {
            return Err(Reason::FieldName.into());
        }
        let known = Known::of(name);
        let is_connection = match known {
            Known::ContentLength => false,
            Known::Te => !value.eq_ignore_ascii_case(b"trailers"),
            known => known.is_hop_by_hop(),
        };
        if !syntax::is_value(value) || value.trim_ascii() != value || is_connection {
            return Err(Reason::FieldValue.into());
        }
        if self.fields.list.len() >= limits.fields.min(Limits::MOST_FIELDS) {
            return Err(Reason::TooManyFields.into());
        }
        if self.block.len() + name.len() + value.len() > limits.head {
            return Err(Reason::HeadTooLarge.into());
        }
        let name = self.keep(name);
        let value = self.keep(value);
        self.fields.push(Field { known, name, value });
        Ok(())
    }

    /// Ends the head. `has_body` says whether frames of data may follow.
    ///
    /// A body-less POST, PUT or PATCH gets the length 0, because HTTP/1 servers ask for one (RFC 9110, 8.6).
    /// The frames of an extended CONNECT are no body: it has none.
    ///
    /// Errors: Host or Content-Length wrong, as for a parsed head; Host other than the authority
    /// (RFC 9113, 8.3.1); a length without a body, or of an extended CONNECT.
    pub fn finish(&mut self, has_body: bool, limits: &Limits) -> Result<(), Refusal> {
        let (host, has_host) = (self.host, self.has_host);
        let authority = if has_host {
            (host.start(), host.end())
        } else {
            (0, 0)
        };
        let limits = Limits {
            refuse_host_mismatch: true,
            ..limits.clone()
        };
        self.settle_host(0, authority, &limits)?;
        self.settle_body()?;
        self.framing = match self.framing {
            Framing::Length(_) if self.is_extended_connect => {
                return Err(Reason::LengthInvalid.into());
            }
            _ if self.is_extended_connect => Framing::Empty,
            Framing::Length(length) if has_body || length == 0 => Framing::Length(length),
            Framing::Length(_) => return Err(Reason::Truncated.into()),
            _ if has_body => Framing::Frames,
            _ if matches!(self.method, Method::Post | Method::Put | Method::Patch) => {
                Framing::Length(0)
            }
            _ => Framing::Empty,
        };
        self.size = self.block.len();
        self.block.pin(self.size);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.block.len();
        self.block.put(bytes);
        Span::new(start, start + bytes.len())
    }
}
