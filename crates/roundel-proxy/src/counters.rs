//! What the workers count per frontend.

use roundel_http1::grpc::Code;
use roundel_stats::{Counter, Histogram, counted};

/// The methods that have a label of their own; everything else is `other`.
pub const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other",
];

/// The codes with which gRPC calls end, by number; everything else is `other`.
pub const GRPC_CODES: [&str; 18] = Code::LABELS;

/// Why a request was refused or lost before it was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// It broke the grammar or was ambiguous.
    BadRequest,
    /// It was not whole in time.
    Timeout,
    /// The client left in the middle of it.
    Aborted,
    /// Its head, target or body was too large.
    TooLarge,
    /// It asked for something that is not offered: CONNECT, TRACE, an unknown version or coding.
    Refused,
}

impl RequestError {
    /// Every reason, in the order of [`FrontendCounters::request_errors`].
    pub const ALL: [Self; 5] = [
        Self::BadRequest,
        Self::Timeout,
        Self::Aborted,
        Self::TooLarge,
        Self::Refused,
    ];

    /// The reason behind a status that refuses a head.
    pub(crate) fn of(status: u16) -> Self {
        match status {
            414 | 431 => Self::TooLarge,
            501 | 505 => Self::Refused,
            _ => Self::BadRequest,
        }
    }

    /// The word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
        }
    }
}

/// The versions of TLS that are counted.
pub const TLS_VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// Why a handshake came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// It was not over in time.
    Timeout,
    /// The client left in the middle of it.
    Closed,
    /// The client does not speak TLS.
    NotTls,
    /// No certificate stands for the name that the client asked for.
    UnrecognizedName,
    /// There is no version, cipher, group, signature or protocol that both sides take.
    Incompatible,
    /// The client's certificate is missing, or not to be believed.
    ClientCertificate,
    /// The client refused by an alert; most often since it does not believe the certificate.
    Alert,
    /// The client broke the protocol.
    Protocol,
}

impl HandshakeError {
    /// Every reason, in the order of [`FrontendCounters::tls_failures`].
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::UnrecognizedName,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::Alert,
        Self::Protocol,
    ];

    /// The word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::UnrecognizedName => "unrecognized_name",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
        }
    }
}

/// Why a connection of HTTP/2 was ended: what its client had it do beyond what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2Excess {
    /// Streams given up.
    Resets,
    /// Frames that do nothing for an exchange, and heads that were refused.
    Frames,
    /// DATA frames of a few bytes.
    SmallFrames,
    /// Heads far larger than usual, or without an end.
    LargeHeads,
    /// Streams that wait for a window while nothing moves.
    ShutWindows,
}

impl Http2Excess {
    /// Every reason, in the order of [`FrontendCounters::http2_calmed`].
    pub const ALL: [Self; 5] = [
        Self::Resets,
        Self::Frames,
        Self::SmallFrames,
        Self::LargeHeads,
        Self::ShutWindows,
    ];

    /// The word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resets => "http2_resets",
            Self::Frames => "http2_frames",
            Self::SmallFrames => "http2_small_frames",
            Self::LargeHeads => "http2_large_heads",
            Self::ShutWindows => "http2_shut_windows",
        }
    }

    /// What the log says of the client.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Resets => "gives up far more streams than it lets be answered",
            Self::Frames => "sends far more frames and heads than requests that can be answered",
            Self::SmallFrames => "sends its bodies in a flood of frames of a few bytes",
            Self::LargeHeads => "sends a flood of large heads, or one without an end",
            Self::ShutWindows => "asks for much at once and takes none of it",
        }
    }
}

/// One worker's counts of one frontend.
#[derive(Debug, Default)]
pub struct FrontendCounters {
    /// Connections that began.
    pub connections: Counter,
    /// Connections that ended; the difference to `connections` are open.
    pub connections_closed: Counter,
    /// The greatest number open at once on this worker.
    pub connections_max: Counter,
    /// Connections that spoke HTTP/2.
    pub connections_h2: Counter,
    /// Connections refused for want of descriptors or memory.
    pub connections_rejected: Counter,
    /// Connections refused for the PROXY protocol header that they lacked or were not to send.
    pub proxy_protocol_errors: Counter,
    /// Connections of HTTP/2 ended for what they cost, by reason (the order of [`Http2Excess::ALL`]).
    pub http2_calmed: [Counter; Http2Excess::ALL.len()],
    /// Handshakes that succeeded, by version (the order of [`TLS_VERSIONS`]); of each the full ones,
    /// then those that resumed a session.
    pub tls_handshakes: [[Counter; 2]; TLS_VERSIONS.len()],
    /// Connections over TLS that ended; those of `tls_handshakes` beyond it are open.
    pub tls_closed: Counter,
    /// Handshakes that failed, by reason (the order of [`HandshakeError::ALL`]).
    pub tls_failures: [Counter; HandshakeError::ALL.len()],
    /// Requests whose head was accepted.
    pub requests: Counter,
    /// Answers by method (the order of [`METHODS`]) and class (index 0 other, 1 to 5 for 1xx to 5xx).
    pub responses: [[Counter; 6]; METHODS.len()],
    /// gRPC calls by how they ended (the order of [`GRPC_CODES`]).
    pub grpc: [Counter; GRPC_CODES.len()],
    /// Those of them that ended with an error, other than by an answer of 5xx.
    pub grpc_errors: Counter,
    /// Requests that never became whole, by reason (the order of [`RequestError::ALL`]).
    pub request_errors: [Counter; RequestError::ALL.len()],
    /// Requests denied by a rule.
    pub denied: Counter,
    /// Answers that Roundel made itself.
    pub intercepted: Counter,
    /// Bytes received from clients, heads included.
    pub bytes_in: Counter,
    /// Bytes sent to clients, heads included.
    pub bytes_out: Counter,
    /// From the first byte of a request to the last of its answer.
    pub duration: Histogram,
    /// Connection tasks that panicked: always a defect of Roundel.
    pub panics: Counter,
}

counted!(
    FrontendCounters,
    sums: [
        connections, connections_closed, connections_h2, connections_rejected,
        proxy_protocol_errors, http2_calmed, tls_handshakes, tls_closed, tls_failures, requests, responses,
        grpc, grpc_errors, request_errors, denied, intercepted, bytes_in,
        bytes_out, duration, panics,
    ],
    most: [connections_max]
);

impl FrontendCounters {
    /// Counts one answer.
    pub(crate) fn response(&self, method: usize, status: u16) {
        let class = usize::from(status / 100);
        self.responses[method][if class <= 5 { class } else { 0 }].add(1);
    }

    /// Counts one request that never became whole.
    pub(crate) fn request_error(&self, why: RequestError) {
        self.request_errors[why as usize].add(1);
    }
}

/// The index of a method in [`METHODS`].
pub(crate) fn method_index(method: &[u8]) -> usize {
    METHODS[..METHODS.len() - 1]
        .iter()
        .position(|known| known.as_bytes() == method)
        .unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_matched_exactly() {
        assert_eq!(METHODS[method_index(b"PATCH")], "PATCH");
        assert_eq!(METHODS[method_index(b"get")], "other");
        assert_eq!(METHODS[method_index(b"other")], "other");
    }

    #[test]
    fn classes_outside_the_table_count_as_other() {
        let counters = FrontendCounters::default();
        counters.response(0, 204);
        counters.response(0, 999);
        assert_eq!(counters.responses[0][2].get(), 1);
        assert_eq!(counters.responses[0][0].get(), 1);
    }
}
