//! Answers that Roundel gives itself, on the same way to the client as a server's.

use std::future::poll_fn;
use std::task::{Context, Poll};

use roundel_http1::{Edits, Known, Method, Progress, ResponseHead, Trailers};

use super::Outcome;
use crate::answer;
use crate::deadline::Deadline;
use crate::sides::{Downstream, Relay, Source, SourceError};
use crate::story::{Scene, Story};
use crate::term::Term;

/// Body bytes of a request that are read and dropped so that its connection can go on.
const DRAINED: usize = 64 * 1024;

/// Sends an answer of our own; keeps the story's term, which says why.
pub(super) async fn answer<D: Downstream>(
    scene: Scene<'_>,
    client: &mut D,
    deadline: &Deadline,
    story: &mut Story,
    status: u16,
    sentence: &str,
) -> Outcome {
    let accept = client
        .head()
        .fields()
        .first(Known::Accept)
        .unwrap_or_default();
    let bytes = scene
        .worker
        .with_date(|date| answer::render(status, sentence, accept, date));
    let mut canned = Canned::new(scene, &bytes, client.head().method());
    story.status = status;
    story.intercepted = true;
    story.response_bytes = bytes.len() as u64;
    let whole = poll_fn(|cx| Poll::Ready(drain(client, cx))).await;
    let last = !whole || scene.worker.is_draining();
    let mut edits = Edits::new();
    if let Some(id) = &story.request_id {
        edits.append_known(Known::XRequestId, &[id.as_bytes()]);
    }
    client.commit(&canned.head, &edits, last);
    deadline.set(scene.rules.frontend.timeouts.client);
    let mut relay = Relay::new();
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

/// Renders the answer to a request whose head cannot be used; the connection ends with it.
pub(crate) fn refuse(scene: Scene<'_>, status: u16) -> Vec<u8> {
    let bytes = scene
        .worker
        .with_date(|date| answer::render(status, answer::sentence(status), b"", date));
    let at = bytes
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .expect("a rendered answer has a status line");
    [&bytes[..at], b"\r\nConnection: close", &bytes[at..]].concat()
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
    has_body: bool,
}

impl Canned {
    fn new(scene: Scene<'_>, bytes: &[u8], method: Method) -> Self {
        let mut head = scene.worker.blocks.take_response();
        head.block.put(bytes);
        let parsed = head.parse(&roundel_http1::Limits::default(), method);
        debug_assert_eq!(parsed, Ok(Progress::Complete));
        Self {
            has_body: !head.framing().is_empty(),
            head,
        }
    }
}

impl Source for Canned {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        Poll::Ready(Ok(self.has_body && !self.head.block.is_empty()))
    }

    fn data(&self) -> &[u8] {
        self.head.block.filled()
    }

    fn consume(&mut self, n: usize) {
        self.head.block.consume(n);
    }

    fn trailers(&self) -> Option<&Trailers> {
        None
    }
}
