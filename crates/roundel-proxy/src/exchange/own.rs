//! Answers that Roundel gives itself, on the same way to the client as a server's.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use roundel_http1::grpc::{self, Code};
use roundel_http1::{
    Block, Edits, Known, Method, Persist, Progress, RequestHead, ResponseHead, ResponsePlan,
    Trailers, Version, write_response,
};

use super::facts::{facts, marked_id};
use super::outcome::Outcome;
use crate::answer::Reply;
use crate::counters::RequestError;
use crate::deadline::Deadline;
use crate::ending::{Phase, Term};
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::sides::{Downstream, Relay, Source, SourceError};
use crate::story::{Story, conclude};
use crate::{answer, headers, pages};

/// Body bytes of a request that are read and dropped so that its connection can go on.
const DRAINED: usize = 64 * 1024;

/// Sends an answer of our own; keeps the story's term, which says why. `slot` is the backend
/// that was asked for.
pub(super) async fn answer<D: Downstream>(
    scene: Scene<'_>,
    client: &mut D,
    deadline: &Deadline,
    story: &mut Story,
    slot: Option<&BackendSlot>,
    reply: &Reply,
) -> Outcome {
    let asked = client.head();
    let mut canned = match refusal(asked, reply) {
        Some(code) => Canned::trailers_only(scene, reply, code),
        None => {
            let accept = asked.fields().first(Known::Accept);
            Canned::new(scene, slot, reply, accept, asked.method())
        }
    };
    if asked.is_call() {
        story.grpc = Some(Code::of_refusal(reply.status));
    }
    story.status = canned.head.status();
    story.intercepted = true;
    story.response_bytes = (canned.head.size() + canned.rest.len()) as u64;
    let whole = poll_fn(|cx| Poll::Ready(drain(client, cx))).await;
    let last = !whole || scene.worker.is_draining();
    let edits = own_edits(scene, &canned.head, client.head(), story);
    client.commit(&canned.head, &edits, last);
    deadline.start(scene.rules.frontend.timeouts.client);
    let mut relay = Relay::new(&scene.worker.pipes);
    let sent = poll_fn(|cx| match relay.poll(&mut canned, client, cx) {
        Poll::Ready(done) => Poll::Ready(done.is_ok()),
        Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    })
    .await;
    scene.worker.blocks.give_response(canned.head);
    if sent {
        return Outcome::Done;
    }
    story.end(Term::ClientAbort);
    client.abort();
    Outcome::Broken
}

/// The code that a gRPC client is told in place of this answer. Where it came by HTTP/1 it gets the answer:
/// there is no gRPC over that, so whatever asks is something else.
fn refusal(asked: &RequestHead, reply: &Reply) -> Option<Code> {
    let is_call = asked.version() == Version::Http2 && asked.is_call();
    (is_call && reply.status >= 300).then(|| Code::of_refusal(reply.status))
}

/// Answers a request of HTTP/2 whose head cannot be used. Counts it and writes its log line.
pub(crate) async fn decline<D: Downstream>(
    scene: Scene<'_>,
    client: &mut D,
    deadline: &Deadline,
    story: &mut Story,
    status: u16,
) {
    let counters = scene.peer.slot.counters(scene.worker.index);
    counters.request_error(RequestError::of(status));
    story.end(Term::BadRequest);
    story.phase = Phase::Request;
    story.headless = true;
    let reply = Reply::new(status, answer::sentence(status));
    let _: Outcome = self::answer(scene, client, deadline, story, None, &reply).await;
    conclude(scene, None, None, client.head(), story);
}

/// Writes the answer to a request whose head cannot be used; the connection ends with it.
pub(crate) fn refuse(scene: Scene<'_>, reply: &Reply, story: &Story, out: &mut Block) {
    let canned = Canned::new(scene, None, reply, None, Method::Get);
    let edits = own_edits(scene, &canned.head, &RequestHead::new(), story);
    let plan = ResponsePlan {
        framing: canned.head.framing(),
        persist: Persist::Close,
    };
    write_response(&canned.head, &plan, &edits, out);
    out.put(&canned.rest);
    scene.worker.blocks.give_response(canned.head);
}

/// What changes in an answer of our own: the identifier, and what the frontend's rules say.
fn own_edits(scene: Scene<'_>, head: &ResponseHead, request: &RequestHead, story: &Story) -> Edits {
    let mut edits = Edits::new();
    if let Some(id) = marked_id(scene, story) {
        edits.append_known(Known::XRequestId, &[id.as_bytes()]);
    }
    let rules = &scene.rules.frontend.response_headers;
    if !rules.is_empty() {
        let facts = facts(scene, request, story);
        headers::rules::apply(rules, head.fields(), &facts, &mut edits);
    }
    edits
}

/// Drops the body bytes that are there already; says whether the request is over then.
fn drain<D: Downstream>(client: &mut D, cx: &mut Context<'_>) -> bool {
    let mut dropped = 0;
    while dropped < DRAINED {
        match client.poll_data(cx) {
            Poll::Ready(Ok(true)) => {
                let n = client.data().len();
                client.consume(n);
                dropped += n;
            }
            Poll::Ready(Ok(false)) => return true,
            Poll::Ready(Err(_)) | Poll::Pending => return false,
        }
    }
    false
}

/// An answer in memory.
struct Canned {
    head: Box<ResponseHead>,
    /// What is left of the body.
    rest: Bytes,
}

impl Canned {
    fn new(
        scene: Scene<'_>,
        slot: Option<&BackendSlot>,
        reply: &Reply,
        accept: Option<&[u8]>,
        method: Method,
    ) -> Self {
        let of_backend = slot.and_then(|s| pages::find(&s.backend.error_pages, reply.status));
        let of_frontend = || pages::find(&scene.rules.frontend.error_pages, reply.status);
        let page = of_backend.or_else(of_frontend);
        let accept = accept.unwrap_or_default();
        let worker = scene.worker;
        let rendered = worker.with_date(|date| answer::render(reply, accept, page, date));
        let mut head = worker.blocks.take_response();
        head.block = worker.blocks.take();
        head.block.put(&rendered.head);
        let parsed = head.parse(&roundel_http1::Limits::default(), method);
        debug_assert_eq!(parsed, Ok(Progress::Complete));
        Self {
            rest: match head.framing().is_empty() {
                true => Bytes::new(),
                false => rendered.body,
            },
            head,
        }
    }
}

impl Canned {
    /// An answer that ends with its head, as gRPC has it. Source: "Trailers-Only" of gRPC over HTTP/2.
    fn trailers_only(scene: Scene<'_>, reply: &Reply, code: Code) -> Self {
        let (worker, limits) = (scene.worker, roundel_http1::Limits::default());
        let mut head = worker.blocks.take_response();
        head.block = worker.blocks.take();
        head.begin(200);
        let number = code.number().to_string();
        let message = grpc::message(reply.sentence);
        let built = worker.with_date(|date| {
            head.push(b"date", date.as_bytes(), &limits)?;
            head.push(b"content-type", grpc::MEDIA_TYPE, &limits)?;
            head.push(grpc::STATUS, number.as_bytes(), &limits)?;
            head.push(grpc::MESSAGE, message.as_bytes(), &limits)?;
            head.finish(Method::Post, false)
        });
        debug_assert_eq!(built, Ok(()));
        Self {
            rest: Bytes::new(),
            head,
        }
    }
}

impl Source for Canned {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        Poll::Ready(Ok(!self.rest.is_empty()))
    }

    fn data(&self) -> &[u8] {
        &self.rest
    }

    fn consume(&mut self, n: usize) {
        self.rest.advance(n);
    }

    fn trailers(&self) -> Option<&Trailers> {
        None
    }
}
