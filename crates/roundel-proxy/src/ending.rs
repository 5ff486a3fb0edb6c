//! How an exchange ended, in a word and in HAProxy's letters.

/// Why an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// As it should.
    Ok,
    /// The request broke the grammar, was too large or asked for what is not offered.
    BadRequest,
    /// The request's body was larger than allowed.
    TooLarge,
    /// The client is to come again by HTTP/1.1.
    Http11Required,
    /// The client asked more often than it may.
    RateLimited,
    /// The request had gone through this process before.
    Loop,
    /// The client was not shown a certificate for the host that it asks for.
    Misdirected,
    /// A route sent the client elsewhere.
    Redirected,
    /// A CA asked for the proof that a name is ours.
    Challenge,
    /// The client took too long to send its request head.
    RequestTimeout,
    /// The client left.
    ClientAbort,
    /// The client took too long between two pieces of its request's body.
    BodyTimeout,
    /// The client took no byte of its answer for too long.
    ClientTimeout,
    /// Nothing moved in an upgraded connection for too long.
    TunnelTimeout,
    /// No server was usable.
    NoServer,
    /// Every server was full for too long.
    QueueTimeout,
    /// Every server was full, and as many waited as may.
    QueueFull,
    /// No server took the connection.
    ConnectError,
    /// Roundel's own descriptors ran out.
    NoResources,
    /// Servers were slow to take the connection.
    ConnectTimeout,
    /// The server closed before its answer was whole.
    ServerAbort,
    /// The server neither took a byte of the request nor began an answer for too long.
    FirstByteTimeout,
    /// The server paused for too long in its answer.
    ResponseIdleTimeout,
    /// The request as a whole took too long.
    TotalTimeout,
    /// The server's answer broke the grammar.
    BadResponse,
    /// The process ended before the exchange did.
    Stopped,
    /// An operator cut the requests at its server.
    Cut,
    /// A fault of our own cut it short.
    InternalError,
}

/// How far an exchange had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Phase {
    /// Reading the request head.
    #[default]
    Request,
    /// Waiting for a place on a server.
    Queue,
    /// Connecting.
    Connect,
    /// Waiting for the head of the answer.
    Head,
    /// Moving the body of the answer.
    Data,
    /// Moving the last bytes to the client.
    Last,
}

impl Term {
    /// The word of the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Http11Required => "http_1_1_required",
            Self::RateLimited => "rate_limited",
            Self::Loop => "loop",
            Self::Misdirected => "misdirected",
            Self::Redirected => "redirected",
            Self::Challenge => "acme_challenge",
            Self::RequestTimeout => "request_timeout",
            Self::ClientAbort => "client_abort",
            Self::BodyTimeout => "body_timeout",
            Self::ClientTimeout => "client_timeout",
            Self::TunnelTimeout => "tunnel_timeout",
            Self::NoServer => "no_server",
            Self::QueueTimeout => "queue_timeout",
            Self::QueueFull => "queue_full",
            Self::ConnectError => "connect_error",
            Self::NoResources => "no_resources",
            Self::ConnectTimeout => "connect_timeout",
            Self::ServerAbort => "server_abort",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::ResponseIdleTimeout => "response_idle_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::BadResponse => "bad_response",
            Self::Stopped => "stopped",
            Self::Cut => "cut",
            Self::InternalError => "internal_error",
        }
    }

    /// Whether it was the client's doing that an exchange ended early.
    pub(crate) fn is_client_abort(self) -> bool {
        matches!(
            self,
            Self::ClientAbort | Self::BodyTimeout | Self::ClientTimeout | Self::TunnelTimeout
        )
    }

    /// The first two letters of HAProxy's termination state.
    ///
    /// Source: HAProxy configuration manual, 8.5 "Session state at disconnection".
    pub(crate) fn letters(self, phase: Phase) -> [u8; 2] {
        let cause = match self {
            Self::Ok => return *b"--",
            Self::BadRequest
            | Self::RateLimited
            | Self::Loop
            | Self::Misdirected
            | Self::Http11Required => {
                return *b"PR";
            }
            Self::Redirected | Self::Challenge => return *b"LR",
            Self::NoServer | Self::QueueFull => return *b"SC",
            Self::RequestTimeout
            | Self::BodyTimeout
            | Self::ClientTimeout
            | Self::TunnelTimeout => b'c',
            Self::ClientAbort => b'C',
            Self::ConnectError | Self::ServerAbort => b'S',
            Self::QueueTimeout
            | Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::ResponseIdleTimeout
            | Self::TotalTimeout => b's',
            Self::BadResponse | Self::TooLarge => b'P',
            Self::NoResources => b'R',
            Self::Stopped | Self::Cut => b'K',
            Self::InternalError => b'I',
        };
        [cause, phase.letter()]
    }
}

impl Phase {
    fn letter(self) -> u8 {
        match self {
            Self::Request => b'R',
            Self::Queue => b'Q',
            Self::Connect => b'C',
            Self::Head => b'H',
            Self::Data => b'D',
            Self::Last => b'L',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_as_haproxy_prints_them() {
        let check = |term: Term, phase, letters: &[u8; 2]| {
            assert_eq!(&term.letters(phase), letters, "{}", term.word());
        };
        check(Term::Ok, Phase::Last, b"--");
        check(Term::Stopped, Phase::Head, b"KH");
        check(Term::Stopped, Phase::Data, b"KD");
        check(Term::Cut, Phase::Head, b"KH");
        check(Term::InternalError, Phase::Head, b"IH");
        check(Term::BadRequest, Phase::Request, b"PR");
        check(Term::RateLimited, Phase::Request, b"PR");
        check(Term::Redirected, Phase::Request, b"LR");
        check(Term::Challenge, Phase::Request, b"LR");
        check(Term::TooLarge, Phase::Request, b"PR");
        check(Term::TooLarge, Phase::Head, b"PH");
        check(Term::RequestTimeout, Phase::Request, b"cR");
        check(Term::NoServer, Phase::Connect, b"SC");
        check(Term::QueueTimeout, Phase::Queue, b"sQ");
        check(Term::ClientAbort, Phase::Queue, b"CQ");
        check(Term::ConnectTimeout, Phase::Connect, b"sC");
        check(Term::BodyTimeout, Phase::Head, b"cH");
        check(Term::FirstByteTimeout, Phase::Head, b"sH");
        check(Term::ResponseIdleTimeout, Phase::Data, b"sD");
        check(Term::TotalTimeout, Phase::Queue, b"sQ");
        check(Term::ServerAbort, Phase::Data, b"SD");
        check(Term::ClientAbort, Phase::Data, b"CD");
        check(Term::BadResponse, Phase::Head, b"PH");
    }
}
