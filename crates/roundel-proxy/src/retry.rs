//! Whether a failed attempt may be tried again, and where.

use roundel_http1::RequestHead;

/// How an attempt on an open connection failed before the head of an answer.
///
/// A connect that fails sends nothing, so it always goes elsewhere: see `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection ended without a byte of an answer.
    Empty {
        /// It had carried a request before: the server may have closed it before this one came.
        reused: bool,
    },
    /// The server has said that it did nothing with the request, as REFUSED_STREAM and GOAWAY do.
    Refused,
    /// Anything later: a byte of the answer had come, or the time was up.
    Late,
}

/// What the request allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Doing it twice is doing it once (RFC 9110 9.2.2). A gRPC call never is: its server has begun
    /// it, as far as anybody knows, with the first byte.
    pub(crate) idempotent: bool,
    /// Some byte of the request was written.
    pub(crate) sent: bool,
    /// Every body byte taken from the client so far is still at hand.
    pub(crate) replayable: bool,
    /// Attempts repeated so far, those on stale connections excluded.
    pub(crate) retries: u32,
    /// A stale connection was met already.
    pub(crate) stale_seen: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer the client with an error.
    GiveUp,
    /// The same server on a fresh connection: it did not fail, an old connection did.
    Again,
    /// Another server, if one is left.
    Elsewhere,
}

/// Whether a request may be sent twice for its method: a gRPC call never, whatever its method.
pub(crate) fn is_idempotent(head: &RequestHead) -> bool {
    head.method().is_idempotent() && !head.is_call()
}

/// Decides after a failed attempt; `limit` is the backend's number of retries.
///
/// A request of which a byte was written is repeated only if it is idempotent and its body can be
/// sent again whole.
pub(crate) fn decide(failure: Failure, attempt: Attempt, limit: u32) -> Verdict {
    let safe = !attempt.sent || (attempt.idempotent && attempt.replayable);
    match failure {
        Failure::Late => Verdict::GiveUp,
        // RFC 9113 8.7: that is as if it had not been sent.
        Failure::Refused if !attempt.replayable => Verdict::GiveUp,
        Failure::Refused if !attempt.stale_seen => Verdict::Again,
        Failure::Refused if attempt.retries >= limit => Verdict::GiveUp,
        Failure::Refused => Verdict::Elsewhere,
        _ if !safe => Verdict::GiveUp,
        Failure::Empty { reused: true } if !attempt.stale_seen => Verdict::Again,
        _ if attempt.retries >= limit => Verdict::GiveUp,
        _ => Verdict::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Attempt = Attempt {
        idempotent: true,
        sent: true,
        replayable: true,
        retries: 0,
        stale_seen: false,
    };

    #[test]
    fn nothing_sent_may_always_go_elsewhere() {
        let post = Attempt {
            idempotent: false,
            sent: false,
            ..GET
        };
        let empty = Failure::Empty { reused: false };
        assert_eq!(decide(empty, post, 3), Verdict::Elsewhere);
        let spent = Attempt { retries: 3, ..post };
        assert_eq!(decide(empty, spent, 3), Verdict::GiveUp);
        assert_eq!(decide(empty, post, 0), Verdict::GiveUp);
    }

    #[test]
    fn a_sent_post_is_never_repeated() {
        let post = Attempt {
            idempotent: false,
            ..GET
        };
        for failure in [
            Failure::Empty { reused: true },
            Failure::Empty { reused: false },
            Failure::Late,
        ] {
            assert_eq!(decide(failure, post, 3), Verdict::GiveUp, "{failure:?}");
        }
    }

    #[test]
    fn a_stale_connection_costs_no_retry_but_only_once() {
        let stale = Failure::Empty { reused: true };
        assert_eq!(decide(stale, GET, 0), Verdict::Again);
        let again = Attempt {
            stale_seen: true,
            ..GET
        };
        assert_eq!(decide(stale, again, 3), Verdict::Elsewhere);
        assert_eq!(decide(stale, again, 0), Verdict::GiveUp);
    }

    #[test]
    fn what_was_refused_is_repeated_whatever_it_is_unless_its_body_is_gone() {
        let post = Attempt {
            idempotent: false,
            ..GET
        };
        assert_eq!(decide(Failure::Refused, post, 0), Verdict::Again);
        let again = Attempt {
            stale_seen: true,
            ..post
        };
        assert_eq!(decide(Failure::Refused, again, 3), Verdict::Elsewhere);
        assert_eq!(decide(Failure::Refused, again, 0), Verdict::GiveUp);
        let gone = Attempt {
            replayable: false,
            ..post
        };
        assert_eq!(decide(Failure::Refused, gone, 3), Verdict::GiveUp);
    }

    #[test]
    fn a_body_that_is_gone_cannot_be_repeated() {
        let put = Attempt {
            replayable: false,
            ..GET
        };
        assert_eq!(
            decide(Failure::Empty { reused: false }, put, 3),
            Verdict::GiveUp
        );
        assert_eq!(decide(Failure::Late, GET, 3), Verdict::GiveUp);
    }
}
