//! Both directions of an exchange, polled by one function each for head and body.

use std::task::{Context, Poll};
use std::time::Duration;

use roundel_http1::{Edits, Method};

use super::replay::{Body, Replay};
use crate::deadline::Deadline;
use crate::rules::BackendSlot;
use crate::sides::{Downstream, Relay, RelayError, SourceError, Waits};
use crate::story::Scene;
use crate::upstream::{H1Server, HeadError};

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// How waiting for the head of an answer ended.
#[derive(Debug)]
pub(super) enum HeadEnd {
    /// A final head is there.
    Head,
    /// The server gave none.
    Failed(HeadError),
    /// The client's body broke off or is malformed.
    Client(SourceError),
    /// The client is gone.
    ClientGone,
    /// Somebody was silent for too long.
    TimedOut(Side),
}

/// How moving the bodies ended.
#[derive(Debug)]
pub(super) enum BodyEnd {
    /// The answer was passed on whole.
    Done,
    /// The client is gone or broke its body off.
    ClientGone,
    /// The answer broke off or is malformed.
    Server(SourceError),
    /// Somebody was silent for too long.
    TimedOut(Side),
}

/// The state of both directions.
pub(super) struct Pump<'x, D> {
    client: &'x mut D,
    server: &'x mut H1Server,
    replay: &'x mut Replay,
    scene: Scene<'x>,
    method: Method,
    sending: Relay,
    receiving: Relay,
    /// The request was sent whole.
    sent: bool,
    /// The server takes no more of the request; it may still answer.
    deaf: bool,
    /// Something interim waits to be flushed to the client.
    interim: bool,
    silence: Silence<'x>,
}

impl<'x, D: Downstream> Pump<'x, D> {
    pub(super) fn new(
        scene: Scene<'x>,
        slot: &BackendSlot,
        client: &'x mut D,
        server: &'x mut H1Server,
        replay: &'x mut Replay,
        deadline: &'x Deadline,
    ) -> Self {
        Self {
            method: client.head().method(),
            silence: Silence {
                deadline,
                client: scene.rules.frontend.timeouts.client,
                server: slot.backend.timeouts.server,
                since: None,
            },
            client,
            server,
            replay,
            scene,
            sending: Relay::new(),
            receiving: Relay::new(),
            sent: false,
            deaf: false,
            interim: false,
        }
    }

    /// Goes on where another pump stopped.
    pub(super) fn resume(&mut self, sent: bool, request_bytes: u64) {
        self.sent = sent;
        self.sending.moved = request_bytes;
    }

    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }

    pub(super) fn request_bytes(&self) -> u64 {
        self.sending.moved
    }

    pub(super) fn client_head_size(&self) -> u64 {
        self.client.head().size() as u64
    }

    pub(super) fn response_bytes(&self) -> u64 {
        self.receiving.moved
    }

    /// Sends the request and reads until a final head is there; passes interim ones on.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<HeadEnd> {
        if let Some(error) = self.poll_request(cx) {
            return Poll::Ready(HeadEnd::Client(error));
        }
        loop {
            match self.server.poll_head(self.method, cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(HeadEnd::Failed(error)),
                Poll::Ready(Ok(())) if self.server.head.is_interim() => self.pass_interim(),
                Poll::Ready(Ok(())) => return Poll::Ready(HeadEnd::Head),
                Poll::Pending => break,
            }
        }
        if self.interim {
            match self.client.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.interim = false,
                Poll::Ready(Err(_)) => return Poll::Ready(HeadEnd::ClientGone),
                Poll::Pending => {}
            }
        }
        if self.is_request_over() && self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(HeadEnd::ClientGone);
        }
        let side = match self.is_request_over() {
            true => Side::Server,
            false => self.request_waits_for(),
        };
        match self.silence.is_broken(side, self.progress(), cx) {
            true => Poll::Ready(HeadEnd::TimedOut(side)),
            false => Poll::Pending,
        }
    }

    /// Moves what is left of both bodies until the answer has ended.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        if self.poll_request(cx).is_some() {
            return Poll::Ready(BodyEnd::ClientGone);
        }
        match self.receiving.poll(self.server, self.client, cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(BodyEnd::Done),
            Poll::Ready(Err(RelayError::Sink)) => return Poll::Ready(BodyEnd::ClientGone),
            Poll::Ready(Err(RelayError::Source(error))) => {
                return Poll::Ready(BodyEnd::Server(error));
            }
            Poll::Pending => {}
        }
        if self.is_request_over() && self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(BodyEnd::ClientGone);
        }
        let side = match self.receiving.waits {
            Waits::ForSink => Side::Client,
            Waits::ForSource if self.is_request_over() => Side::Server,
            Waits::ForSource => self.request_waits_for(),
        };
        match self.silence.is_broken(side, self.progress(), cx) {
            true => Poll::Ready(BodyEnd::TimedOut(side)),
            false => Poll::Pending,
        }
    }

    /// Moves the request on; an error is the client's.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Option<SourceError> {
        if self.is_request_over() {
            return None;
        }
        let mut body = Body {
            client: self.client,
            replay: self.replay,
        };
        match self.sending.poll(&mut body, self.server, cx) {
            Poll::Ready(Ok(())) => self.sent = true,
            // A server may answer and close before it has read everything (RFC 9112 9.5).
            Poll::Ready(Err(RelayError::Sink)) => self.deaf = true,
            Poll::Ready(Err(RelayError::Source(error))) => return Some(error),
            Poll::Pending => {}
        }
        None
    }

    fn is_request_over(&self) -> bool {
        self.sent || self.deaf
    }

    fn request_waits_for(&self) -> Side {
        match self.sending.waits {
            Waits::ForSource => Side::Client,
            Waits::ForSink => Side::Server,
        }
    }

    fn pass_interim(&mut self) {
        let mut edits: Edits = self.scene.worker.blocks.take_edits();
        if self.server.head.connection().names_fields {
            edits.remove_connection_named(self.server.head.fields());
        }
        self.client.interim(&self.server.head, &edits);
        self.scene.worker.blocks.give_edits(edits);
        self.server.head.reset();
        self.interim = true;
    }

    /// A number that grows with every byte that moves anywhere.
    fn progress(&self) -> u64 {
        self.sending.moved + self.receiving.moved + self.server.read + self.server.writer.written
    }
}

/// Measures how long nothing has moved.
struct Silence<'x> {
    deadline: &'x Deadline,
    client: Duration,
    server: Duration,
    /// Who was waited for, and the progress then.
    since: Option<(Side, u64)>,
}

impl Silence<'_> {
    /// Whether `side` was waited for too long without progress.
    fn is_broken(&mut self, side: Side, progress: u64, cx: &Context<'_>) -> bool {
        if self.since != Some((side, progress)) {
            self.since = Some((side, progress));
            self.deadline.set(match side {
                Side::Client => self.client,
                Side::Server => self.server,
            });
        }
        self.deadline.poll_fired(cx)
    }
}
