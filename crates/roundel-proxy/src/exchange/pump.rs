//! Both directions of an exchange, polled by one function each for head and body.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use roundel_balance::ServerLive;
use roundel_http1::{Edits, Method, Reason};

use super::outcome::Begun;
use super::replay::{Body, Replay};
use super::watch::Watch;
use crate::config::ClientTimeouts;
use crate::deadline::Deadline;
use crate::ending::Term;
use crate::retry;
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::sides::{Downstream, Relay, RelayError, SourceError, Waits};
use crate::upstream::{HeadError, Server};

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The client, for more of its body.
    Body,
    /// The client, to take its answer.
    Reader,
    Server,
}

/// How waiting for the head of an answer ended.
#[derive(Debug)]
pub(super) enum HeadEnd {
    /// A final head is there.
    Head,
    /// The server gave none.
    Failed(HeadError),
    /// The server is found to answer nothing, and the request may be sent to another one.
    Silent,
    /// The client's body broke off or is malformed.
    Client(SourceError),
    /// The client is gone.
    ClientGone,
    /// Somebody was silent for too long, or all took too long.
    TimedOut(Term),
}

/// How moving the bodies ended.
#[derive(Debug)]
pub(super) enum BodyEnd {
    /// The answer was passed on whole.
    Done,
    /// The client is gone, or broke its body off, or sent too much.
    Client(Term),
    /// The answer broke off or is malformed.
    Server(SourceError),
    /// Somebody was silent for too long, or all took too long.
    TimedOut(Term),
}

/// The state of both directions.
pub(super) struct Pump<'x, D> {
    client: &'x mut D,
    server: &'x mut Server,
    replay: &'x mut Replay,
    scene: Scene<'x>,
    method: Method,
    /// Doing the request twice is doing it once.
    idempotent: bool,
    sending: Relay<'x>,
    receiving: Relay<'x>,
    /// The request was sent whole.
    sent: bool,
    /// The server takes no more of the request; it may still answer.
    deaf: bool,
    /// Something interim waits to be flushed to the client.
    interim: bool,
    silence: Silence<'x>,
    watch: Watch<'x>,
    /// The answer was waited for once already.
    waited: bool,
}

impl<'x, D: Downstream> Pump<'x, D> {
    pub(super) fn new(
        scene: Scene<'x>,
        slot: &'x BackendSlot,
        client: &'x mut D,
        server: &'x mut Server,
        replay: &'x mut Replay,
        deadline: &'x Deadline,
    ) -> Self {
        Self {
            method: client.head().method(),
            idempotent: retry::is_idempotent(client.head()),
            silence: Silence {
                deadline,
                client: slot.client_timeouts(),
                server: (slot.server_timeouts().first_byte, Term::FirstByteTimeout),
                since: None,
            },
            watch: Watch::new(slot, deadline),
            client,
            server,
            replay,
            sending: Relay::new(&scene.worker.pipes),
            receiving: Relay::new(&scene.worker.pipes),
            scene,
            sent: false,
            deaf: false,
            interim: false,
            waited: false,
        }
    }

    /// Goes on where another pump stopped, with the body of the answer.
    pub(super) fn resume(&mut self, begun: &Begun, idle: Duration) {
        if D::MULTIPLEXED {
            self.server.spare();
        }
        self.silence.server = (idle, Term::ResponseIdleTimeout);
        self.sent = begun.sent;
        self.sending.moved = begun.request_bytes;
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

    /// Body bytes of the answer that have left towards the client, or are about to.
    pub(super) fn response_bytes(&self) -> u64 {
        self.receiving.moved - self.client.held()
    }

    /// Whether the request could be sent again from its first byte.
    fn is_repeatable(&self) -> bool {
        !self.server.has_sent() || (self.idempotent && self.replay.is_whole())
    }

    /// Sends the request and reads until a final head is there; passes interim ones on.
    ///
    /// With `leaves` it ends as soon as the server, `live`, is known to answer nothing.
    pub(super) fn poll_head(
        &mut self,
        live: &ServerLive,
        leaves: bool,
        cx: &mut Context<'_>,
    ) -> Poll<HeadEnd> {
        if let Some(error) = self.poll_request(cx) {
            return Poll::Ready(HeadEnd::Client(error));
        }
        let blocks = &self.scene.worker.blocks;
        loop {
            match self
                .server
                .poll_head(self.method, &self.scene.rules.limits, blocks, cx)
            {
                Poll::Ready(Err(error)) => return Poll::Ready(HeadEnd::Failed(error)),
                Poll::Ready(Ok(())) if self.server.head().is_interim() => self.pass_interim(),
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
        // Most answers come long before the next sweep, and to listen to the client costs as much as
        // to read from it; so the sweep has it looked after from the second time on. One that
        // shares its connection is heard by the connection's task in any case.
        if !std::mem::replace(&mut self.waited, true) && !D::MULTIPLEXED {
            self.silence.deadline.look_again();
        } else if self.has_left(cx) {
            return Poll::Ready(HeadEnd::ClientGone);
        }
        if leaves && live.is_silent() && !self.server.has_answered() && self.is_repeatable() {
            return Poll::Ready(HeadEnd::Silent);
        }
        let side = match self.is_request_over() {
            true => Side::Server,
            false => self.request_waits_for(),
        };
        let progress = self.sending.moved + self.server.head_progress();
        let silence = self.silence.poll(side, progress, cx);
        silence.map(HeadEnd::TimedOut)
    }

    /// Moves what is left of both bodies until the answer has ended.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        if let Some(error) = self.poll_request(cx) {
            let term = match error {
                SourceError::Malformed(Reason::BodyTooLarge) => Term::TooLarge,
                _ => Term::ClientAbort,
            };
            return Poll::Ready(BodyEnd::Client(term));
        }
        match self.receiving.poll(self.server, self.client, cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(BodyEnd::Done),
            Poll::Ready(Err(RelayError::Sink(io::ErrorKind::TimedOut))) => {
                return Poll::Ready(BodyEnd::Client(Term::ClientTimeout));
            }
            Poll::Ready(Err(RelayError::Sink(_))) => {
                return Poll::Ready(BodyEnd::Client(Term::ClientAbort));
            }
            Poll::Ready(Err(RelayError::Source(error))) => {
                return Poll::Ready(BodyEnd::Server(error));
            }
            Poll::Pending => {}
        }
        if self.receiving.waits == Waits::ForSink {
            self.server.read_ahead(cx);
        }
        if self.has_left(cx) {
            return Poll::Ready(BodyEnd::Client(Term::ClientAbort));
        }
        let side = match self.receiving.waits {
            Waits::ForSink => Side::Reader,
            Waits::ForSource if self.is_request_over() => Side::Server,
            Waits::ForSource => self.request_waits_for(),
        };
        let progress = self.sending.moved + self.server.progress() + self.response_bytes();
        let silence = self.silence.poll(side, progress, cx);
        silence.map(BodyEnd::TimedOut)
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
            Poll::Ready(Ok(())) => {
                self.sent = true;
                self.server.rest_writer(&self.scene.worker.blocks);
            }
            // A server may answer and close before it has read everything (RFC 9112 9.5).
            Poll::Ready(Err(RelayError::Sink(_))) => self.deaf = true,
            Poll::Ready(Err(RelayError::Source(error))) => return Some(error),
            Poll::Pending => {}
        }
        None
    }

    /// Whether the client is gone; while it is read for the request's sake, that tells.
    fn has_left(&mut self, cx: &mut Context<'_>) -> bool {
        let is_read = !self.is_request_over() && self.sending.waits == Waits::ForSource;
        !is_read && self.watch.poll_left(self.client, cx).is_ready()
    }

    fn is_request_over(&self) -> bool {
        self.sent || self.deaf
    }

    fn request_waits_for(&self) -> Side {
        match self.sending.waits {
            Waits::ForSource => Side::Body,
            Waits::ForSink => Side::Server,
        }
    }

    fn pass_interim(&mut self) {
        let mut edits = Edits::new();
        let head = self.server.head();
        if head.connection().names_fields {
            edits.remove_connection_named(head.fields());
        }
        self.client.interim(head, &edits);
        self.server.next_head();
        self.interim = true;
    }
}

/// Measures how long nothing has moved.
struct Silence<'x> {
    deadline: &'x Deadline,
    client: &'x ClientTimeouts,
    /// How long the server may be silent, and what it is called if it is for longer.
    server: (Duration, Term),
    /// Who was waited for, and the progress then.
    since: Option<(Side, u64)>,
}

impl Silence<'_> {
    /// Ready when `side` was waited for too long without progress, or the request's time is up.
    fn poll(&mut self, side: Side, progress: u64, cx: &Context<'_>) -> Poll<Term> {
        let (limit, term) = match side {
            Side::Body => (self.client.request_body, Term::BodyTimeout),
            Side::Reader => (self.client.client, Term::ClientTimeout),
            Side::Server => self.server,
        };
        if self.since != Some((side, progress)) {
            match self.since.replace((side, progress)) {
                // The clock was read when the phase began, a moment ago.
                None => self.deadline.set(limit),
                Some(_) => self.deadline.start(limit),
            }
        }
        match self.deadline.poll_fired(cx) {
            true if self.deadline.is_stopped() => Poll::Ready(Term::Stopped),
            true if self.deadline.is_cut() => Poll::Ready(Term::Cut),
            true if self.deadline.has_ended() => Poll::Ready(Term::TotalTimeout),
            true => Poll::Ready(term),
            false => Poll::Pending,
        }
    }
}
