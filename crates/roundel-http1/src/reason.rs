//! Why a message is not acceptable, and the one mapping from reasons to status codes.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $status:literal, $word:literal;)*) => {
        /// Names what is wrong with a message; the words are stable and go into logs and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Returns the word for logs and metric labels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Returns the status with which a request of this kind is refused.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Lists every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

reasons! {
    /// A line ends in LF without CR, or a CR stands alone.
    LineEnd => 400, "bad_line_end";
    /// A control byte where none may stand, NUL included.
    ControlByte => 400, "control_byte";
    /// The request line does not have the form `method SP target SP version`.
    RequestLine => 400, "bad_request_line";
    /// The method is not a token.
    Method => 400, "bad_method";
    /// The method is longer than any that exists (RFC 9112, 3).
    MethodTooLong => 501, "method_too_long";
    /// The target has a form or a byte that it must not have.
    Target => 400, "bad_target";
    /// The target is longer than the limit.
    TargetTooLong => 414, "target_too_long";
    /// The version is not of the form `HTTP/d.d`.
    VersionSyntax => 400, "bad_version";
    /// The version is neither 1.0 nor 1.1.
    VersionUnsupported => 505, "unsupported_version";
    /// The status line is malformed.
    StatusLine => 400, "bad_status_line";
    /// A field name is empty, not a token, or followed by white space.
    FieldName => 400, "bad_field_name";
    /// A field line begins with white space (obs-fold).
    Folded => 400, "folded_field";
    /// A field value holds a forbidden byte.
    FieldValue => 400, "bad_field_value";
    /// The head is larger than the limit.
    HeadTooLarge => 431, "head_too_large";
    /// The head has more fields than the limit.
    TooManyFields => 431, "too_many_fields";
    /// An HTTP/1.1 request without Host.
    HostMissing => 400, "host_missing";
    /// More than one Host.
    HostRepeated => 400, "host_repeated";
    /// Host, or the authority of the target, is not `host[:port]`.
    HostInvalid => 400, "host_invalid";
    /// Host and the authority of the target differ, and the limits say to refuse that.
    HostMismatch => 400, "host_mismatch";
    /// Content-Length is not a decimal number below 2^63.
    LengthInvalid => 400, "content_length_invalid";
    /// More than one Content-Length, or a list in it.
    LengthRepeated => 400, "content_length_repeated";
    /// Both Content-Length and Transfer-Encoding.
    LengthAndCoding => 400, "length_and_coding";
    /// Transfer-Encoding is malformed, or chunked is not the final coding, or it is there twice.
    CodingInvalid => 400, "transfer_encoding_invalid";
    /// A transfer coding other than chunked.
    CodingUnknown => 501, "transfer_encoding_unknown";
    /// Transfer-Encoding in an HTTP/1.0 message.
    CodingInHttp10 => 400, "transfer_encoding_http10";
    /// A chunk size is malformed or too large.
    ChunkSize => 400, "bad_chunk_size";
    /// A chunk extension is malformed.
    ChunkExtension => 400, "bad_chunk_extension";
    /// Chunk extensions beyond the limit.
    ChunkExtensionTooLarge => 400, "chunk_extension_too_large";
    /// The data of a chunk is not followed by CRLF.
    ChunkEnd => 400, "bad_chunk_end";
    /// The trailer section is larger than the limit.
    TrailersTooLarge => 431, "trailers_too_large";
    /// The peer ended the message before its end.
    Truncated => 400, "truncated";
    /// An answer that nothing asked for: 101 without Upgrade in the request, or bytes before one.
    Unexpected => 400, "unexpected";
    /// A 101 that does not prove that the server speaks WebSocket (RFC 6455, 4.1).
    WebSocketAccept => 400, "websocket_accept";
    /// The whole head did not come in time.
    Timeout => 408, "request_timeout";
    /// The body is larger than the configured limit.
    BodyTooLarge => 413, "body_too_large";
    /// The method is not served (CONNECT).
    MethodRefused => 501, "method_refused";
    /// The method is known and not allowed (TRACE).
    MethodNotAllowed => 405, "method_not_allowed";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says that a request is answered with an error and its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("request refused: {reason}")]
pub struct Refusal {
    /// What was wrong.
    pub reason: Reason,
}

impl Refusal {
    /// Returns the status to answer with.
    pub fn status(self) -> u16 {
        self.reason.status()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

/// Says that a server's answer is malformed: the client gets 502, the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("answer refused: {reason}")]
pub struct Fault {
    /// What was wrong.
    pub reason: Reason,
}

impl Fault {
    /// Returns the status to answer the client with.
    pub fn status(self) -> u16 {
        502
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}
