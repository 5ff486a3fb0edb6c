//! One request on a connection of HTTP/1: read, and answered or refused.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use roundel_http1::{Preface, Progress, RequestHead};

use super::switched::Switched;
use crate::answer::{self, Reply};
use crate::body::{Writer, poll_fill};
use crate::counters::RequestError;
use crate::deadline::Deadline;
use crate::downstream::h1::H1Client;
use crate::ending::{Phase, Term};
use crate::exchange::{self, Outcome, exchange};
use crate::peer::{Connection, Guest};
use crate::rules::Rules;
use crate::scene::Scene;
use crate::story::{Story, conclude};

/// How long a client whose request is refused may take to let the reason into its buffer.
const TELL: Duration = Duration::from_secs(5);

/// What follows a request on its connection.
pub(crate) enum Next {
    /// Another request; its first bytes may be there already.
    Request(Option<Box<RequestHead>>),
    /// Nothing.
    Close,
    /// Nothing, but the client may still be sending and must get to read its answer.
    Linger,
    /// Bytes both ways.
    Tunnel(Box<Switched>),
    /// HTTP/2, from these bytes on.
    Http2(Box<RequestHead>),
}

/// One byte more than a head may have, so that the parser sees that it is too large.
pub(super) fn head_limit(rules: &Rules) -> usize {
    rules.limits.head + 1
}

/// Reads one request and has it answered.
pub(crate) async fn request(guest: &mut Guest, mut head: Box<RequestHead>) -> Next {
    let Guest {
        connection,
        deadline,
    } = guest;
    let rules = connection.peer.slot.rules();
    let started = connection.peer.worker.clock().now();
    deadline.set(rules.frontend.timeouts.http_request);
    let read = read_head(connection, deadline, &rules, &mut head).await;
    match read {
        HeadRead::Whole { at_once } => {
            let head_at = if at_once {
                started
            } else {
                connection.peer.worker.clock().now()
            };
            serve(connection, deadline, &rules, head, started, head_at).await
        }
        HeadRead::Http2 => Next::Http2(head),
        HeadRead::Idle => {
            connection.peer.worker.blocks.give_request(head);
            Next::Close
        }
        HeadRead::Refused {
            status,
            term,
            error,
        } => {
            let mut story = Story::new(started, connection.peer.worker.clock().now());
            story.end(term);
            let sentence = answer::sentence(status);
            let refusal = Refusal {
                status,
                sentence,
                error,
            };
            let next = refuse(connection, deadline, &rules, &mut story, refusal).await;
            connection.peer.worker.blocks.give_request(head);
            next
        }
    }
}

/// How reading a head ended.
enum HeadRead {
    Whole {
        /// One read sufficed.
        at_once: bool,
    },
    Http2,
    /// The client ended the connection between two requests.
    Idle,
    /// It is not to be passed on; 0 means that there is nobody to tell.
    Refused {
        status: u16,
        term: Term,
        error: RequestError,
    },
}

async fn read_head(
    connection: &mut Connection,
    deadline: &Deadline,
    rules: &Rules,
    head: &mut RequestHead,
) -> HeadRead {
    let limit = head_limit(rules);
    let mut at_once = true;
    loop {
        let preface = match connection.h2c {
            true => head.preface(),
            false => Preface::Http1,
        };
        match preface {
            Preface::Http2 => return HeadRead::Http2,
            Preface::Partial => {}
            Preface::Http1 => match head.parse(&rules.limits) {
                Ok(Progress::Complete) => return HeadRead::Whole { at_once },
                Ok(Progress::Partial) => {}
                Err(_) if connection.h2c && head.is_failed_preface() => return no_preface(),
                Err(refusal) => return refused(refusal.status()),
            },
        }
        at_once = false;
        match fill(connection, deadline, head, limit).await {
            Ok(n) if n > 0 => {}
            _ if !head.has_begun() => return HeadRead::Idle,
            Err(FillError::TimedOut) if deadline.is_stopped() => {
                return HeadRead::Refused {
                    status: 503,
                    term: Term::Stopped,
                    error: RequestError::Aborted,
                };
            }
            Err(FillError::TimedOut) => {
                return HeadRead::Refused {
                    status: 408,
                    term: Term::RequestTimeout,
                    error: RequestError::Timeout,
                };
            }
            Ok(_) | Err(FillError::Gone) => {
                return HeadRead::Refused {
                    status: 0,
                    term: Term::ClientAbort,
                    error: RequestError::Aborted,
                };
            }
        }
    }
}

/// Whoever began HTTP/2 and went wrong is answered by closing (RFC 9113 3.4): an answer of HTTP/1
/// would be no frame to it.
fn no_preface() -> HeadRead {
    HeadRead::Refused {
        status: 0,
        term: Term::BadRequest,
        error: RequestError::BadRequest,
    }
}

fn refused(status: u16) -> HeadRead {
    HeadRead::Refused {
        status,
        term: Term::BadRequest,
        error: RequestError::of(status),
    }
}

enum FillError {
    Gone,
    TimedOut,
}

async fn fill(
    connection: &mut Connection,
    deadline: &Deadline,
    head: &mut RequestHead,
    limit: usize,
) -> Result<usize, FillError> {
    let stream = &mut connection.stream;
    poll_fn(|cx| match poll_fill(stream, &mut head.block, limit, cx) {
        Poll::Ready(filled) => Poll::Ready(filled.map_err(|_| FillError::Gone)),
        Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(Err(FillError::TimedOut)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Has a request answered that can be passed on.
async fn serve(
    connection: &mut Connection,
    deadline: &Deadline,
    rules: &Rules,
    head: Box<RequestHead>,
    started: Instant,
    head_at: Instant,
) -> Next {
    let Connection { peer, stream, .. } = connection;
    let worker = &peer.worker;
    let scene = Scene {
        worker,
        rules,
        peer,
    };
    let in_flight = worker.enter();
    let mut story = Story::new(started, head_at);
    let mut client = H1Client::new(stream, head, &rules.limits, &worker.blocks);
    let outcome = exchange(scene, &mut client, deadline, &mut story).await;
    let done = client.is_request_done();
    let H1Client {
        mut head,
        mut writer,
        last,
        finished_sending,
        ..
    } = client;
    if let Outcome::Tunnel(tunnelled) = outcome {
        return Next::Tunnel(Box::new(Switched {
            tunnelled: *tunnelled,
            head,
            writer,
            story,
            in_flight,
        }));
    }
    worker.blocks.give(&mut writer.out);
    let broken = matches!(outcome, Outcome::Broken);
    let wanted_close = !head.keep_alive();
    head.reset();
    let pipelined = !head.block.is_empty();
    if !broken && !last && done && pipelined {
        return Next::Request(Some(head));
    }
    worker.blocks.give_request(head);
    if broken {
        Next::Close
    } else if !last && done && !finished_sending {
        Next::Request(None)
    } else if finished_sending || (wanted_close && done && !pipelined) {
        Next::Close
    } else {
        Next::Linger
    }
}

/// Why a request is not passed on; a status of 0 means that there is nobody to tell.
struct Refusal {
    status: u16,
    sentence: &'static str,
    error: RequestError,
}

/// Tells a client that begins a request of HTTP/1 where TLS is spoken.
pub(super) async fn refuse_plain(mut connection: Connection, deadline: Deadline, started: Instant) {
    let rules = connection.peer.slot.rules();
    let mut story = Story::new(started, connection.peer.worker.clock().now());
    story.end(Term::BadRequest);
    let refusal = Refusal {
        status: 400,
        sentence: "This port speaks HTTPS: the address has to begin with https://.",
        error: RequestError::BadRequest,
    };
    let refused = refuse(&mut connection, &deadline, &rules, &mut story, refusal);
    if let Next::Linger = refused.await {
        let guest = Guest {
            connection,
            deadline,
        };
        super::linger_close(Box::new(guest)).await;
    }
}

/// Tells the client why its request is not passed on. Nothing after it can be understood, so the
/// connection ends.
async fn refuse(
    connection: &mut Connection,
    deadline: &Deadline,
    rules: &Rules,
    story: &mut Story,
    refusal: Refusal,
) -> Next {
    let Refusal {
        status,
        sentence,
        error,
    } = refusal;
    let scene = Scene {
        worker: &connection.peer.worker,
        rules,
        peer: &connection.peer,
    };
    let counters = scene.peer.slot.counters(scene.worker.index);
    counters.request_error(error);
    story.status = status;
    story.intercepted = status != 0;
    story.phase = Phase::Request;
    story.headless = true;
    let mut writer = Writer::new(scene.worker.blocks.take());
    if status != 0 {
        let reply = Reply::new(status, sentence);
        exchange::refuse(scene, &reply, story, &mut writer.out);
    }
    story.response_bytes = writer.out.len() as u64;
    conclude(scene, None, None, &RequestHead::new(), story);
    let stream = &mut connection.stream;
    deadline.set(TELL);
    let sent = poll_fn(|cx| match writer.poll_flush(stream, cx) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    })
    .await;
    connection.peer.worker.blocks.give(&mut writer.out);
    match sent && status != 0 {
        true => Next::Linger,
        false => Next::Close,
    }
}
