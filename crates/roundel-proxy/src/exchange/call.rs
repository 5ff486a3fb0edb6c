//! What an exchange does differently for a gRPC call: how long it may take, and how it ends.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use roundel_balance::ServerLive;
use roundel_http1::grpc::{self, Code};
use roundel_http1::{Edits, RequestHead, ResponseHead, Trailers};

use super::pump::BodyEnd;
use crate::deadline::Deadline;
use crate::ending::Term;
use crate::sides::{Downstream, Source};
use crate::story::Story;
use crate::upstream::Server;

/// The time that a call may take, as its client says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeout {
    /// From the first byte of the request, over all attempts.
    pub(super) time: Duration,
    /// The field that says so; `None` where a rule has changed it, which the server is told then.
    field: Option<usize>,
}

impl Timeout {
    /// Finds it, once `edits` is what rules have made of the head.
    pub(super) fn find(head: &RequestHead, edits: &Edits) -> Option<Self> {
        if !head.is_call() {
            return None;
        }
        // One that is malformed was refused.
        let found = grpc::timeout(head.fields()).ok().flatten()?;
        Some(Self {
            time: found.time,
            field: Some(found.index).filter(|index| !edits.is_touched(*index)),
        })
    }

    /// Has the server told what is left of it.
    pub(super) fn pass_on(self, deadline: &Deadline, edits: &mut Edits) {
        if let (Some(field), Some(left)) = (self.field, deadline.left()) {
            edits.replace(field, grpc::write_timeout(left).as_bytes());
        }
    }
}

/// Notes what the head of an answer says about its server: of a call little, unless it says all.
pub(super) fn note_head(request: &RequestHead, head: &ResponseHead, live: &ServerLive) {
    match request.is_call().then(|| code_of(head)) {
        None => live.note_answer(head.status() >= 500),
        Some(Some(code)) => live.note_answer(code.is_error()),
        Some(None) => live.note_began(),
    }
}

/// The code that is known with the head of an answer.
fn code_of(head: &ResponseHead) -> Option<Code> {
    let code = Code::find(head.fields());
    code.or_else(|| (head.status() != 200).then(|| Code::of_http(head.status())))
}

/// Notes how a call has ended whose answer had begun, in its story and for its server.
pub(super) fn note_end(end: &BodyEnd, server: &Server, live: &ServerLive, story: &mut Story) {
    let known = code_of(server.head());
    let in_trailers = || server.trailers().and_then(|t| Code::find(t.fields()));
    let (code, is_servers) = match end {
        BodyEnd::Done => (known.or_else(in_trailers).unwrap_or(Code::UNKNOWN), true),
        BodyEnd::Client(_) => return,
        BodyEnd::Server(_) => (Code::UNAVAILABLE, true),
        BodyEnd::TimedOut(term) => match early(*term) {
            Some((code, _)) => {
                let is_servers = matches!(term, Term::ResponseIdleTimeout | Term::TotalTimeout);
                (code, is_servers)
            }
            None => return,
        },
    };
    story.grpc = Some(code);
    if known.is_none() && is_servers {
        live.note_answer(code.is_error());
    }
}

/// What a client is told of a call that breaks off; `None` for one that takes nothing any more.
fn early(term: Term) -> Option<(Code, &'static str)> {
    let (status, words) = match term {
        Term::TotalTimeout => (504, "The time of this call is up."),
        Term::ResponseIdleTimeout => (504, "The application server was silent for too long."),
        Term::BodyTimeout => (408, "The client was silent for too long."),
        Term::Stopped => (503, "This balancer ends. Try again in a second."),
        Term::Cut => (
            502,
            "An operator ended the calls at this application server.",
        ),
        Term::ServerAbort => (502, "The application server broke its answer off."),
        Term::BadResponse => (502, "The application server's answer was malformed."),
        _ => return None,
    };
    Some((Code::of_refusal(status), words))
}

/// Ends the answer to a call that has begun and breaks off, where the client can be told why; says
/// whether it was.
///
/// A message that was cut stays cut, and no code says success: it cannot look whole.
pub(super) async fn end_early<D: Downstream>(client: &mut D, term: Term) -> bool {
    let is_call = D::MULTIPLEXED && client.head().is_call();
    let Some((code, words)) = early(term).filter(|_| is_call && !client.is_finished()) else {
        return false;
    };
    let mut trailers = Trailers::default();
    trailers.push(grpc::STATUS, code.number().to_string().as_bytes());
    trailers.push(grpc::MESSAGE, grpc::message(words).as_bytes());
    client.finish(Some(&trailers));
    poll_fn(|cx| Poll::Ready(matches!(client.poll_flush(cx), Poll::Ready(Ok(()))))).await
}
