//! How an exchange ended, in a word and in HAProxy's letters.

/// Why an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// As it should.
    Ok,
    /// The request broke the grammar, was too large or asked for what is not offered.
    BadRequest,
    /// The client took too long to send its request head.
    RequestTimeout,
    /// The client left.
    ClientAbort,
    /// The client neither sent nor took a byte for too long.
    ClientTimeout,
    /// No server was usable.
    NoServer,
    /// Every server was full for too long.
    QueueTimeout,
    /// Every server was full, and as many waited as may.
    QueueFull,
    /// No server took the connection.
    ConnectError,
    /// Servers were slow to take the connection.
    ConnectTimeout,
    /// The server closed before its answer was whole.
    ServerAbort,
    /// The server neither sent nor took a byte for too long.
    ServerTimeout,
    /// The server's answer broke the grammar.
    BadResponse,
}

/// How far an exchange had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
            Self::RequestTimeout => "request_timeout",
            Self::ClientAbort => "client_abort",
            Self::ClientTimeout => "client_timeout",
            Self::NoServer => "no_server",
            Self::QueueTimeout => "queue_timeout",
            Self::QueueFull => "queue_full",
            Self::ConnectError => "connect_error",
            Self::ConnectTimeout => "connect_timeout",
            Self::ServerAbort => "server_abort",
            Self::ServerTimeout => "server_timeout",
            Self::BadResponse => "bad_response",
        }
    }

    /// The first two letters of HAProxy's termination state.
    ///
    /// Source: HAProxy configuration manual, 8.5 "Session state at disconnection".
    pub(crate) fn letters(self, phase: Phase) -> [u8; 2] {
        let cause = match self {
            Self::Ok => return *b"--",
            Self::BadRequest => return *b"PR",
            Self::NoServer | Self::QueueFull => return *b"SC",
            Self::RequestTimeout | Self::ClientTimeout => b'c',
            Self::ClientAbort => b'C',
            Self::ConnectError | Self::ServerAbort => b'S',
            Self::QueueTimeout | Self::ConnectTimeout | Self::ServerTimeout => b's',
            Self::BadResponse => b'P',
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
        check(Term::BadRequest, Phase::Request, b"PR");
        check(Term::RequestTimeout, Phase::Request, b"cR");
        check(Term::NoServer, Phase::Connect, b"SC");
        check(Term::QueueTimeout, Phase::Queue, b"sQ");
        check(Term::ClientAbort, Phase::Queue, b"CQ");
        check(Term::ConnectTimeout, Phase::Connect, b"sC");
        check(Term::ServerTimeout, Phase::Head, b"sH");
        check(Term::ServerAbort, Phase::Data, b"SD");
        check(Term::ClientAbort, Phase::Data, b"CD");
        check(Term::BadResponse, Phase::Head, b"PH");
    }
}
