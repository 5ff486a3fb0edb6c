//! HTTP/2 clients: one task per stream, each an exchange of its own.

use std::future::poll_fn;
use std::io;
use std::mem::replace;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use roundel_http1::{RequestHead, login};

use crate::counters::Http2Excess;
use crate::deadline::Deadline;
use crate::ending::Term;
use crate::exchange::{Outcome, decline, exchange};
use crate::linger::linger as lingering_close;
use crate::peer::{Connection, Peer};
use crate::rules::Rules;
use crate::scene::Scene;
use crate::sides::{Downstream, Presence};
use crate::status::MemoryStatus;
use crate::story::{Story, conclude};
use crate::tunnel;

mod bounds;
mod calm;
mod client;
mod hold;
mod inbound;
mod line;
mod outbound;
mod toll;
mod trailers;

use bounds::{CONNECTION_WINDOW, GOODBYE, LINGER, LIVE, shut_for};
use calm::Calm;
use client::{H2Client, Piece, translate};
use hold::{Hold, Windows};
use inbound::Inbound;
use line::Line;
use toll::Toll;

/// Serves a connection that began with HTTP/2's preface, which is in the head's block.
pub(crate) async fn run(connection: Connection, deadline: Deadline, head: Box<RequestHead>) {
    let Connection { peer, stream, .. } = connection;
    let peer = Rc::new(peer);
    let rules = peer.slot.rules();
    peer.slot.counters(peer.worker.index).connections_h2.add(1);
    let windows = Rc::new(Windows::default());
    let line = Rc::new(Line::new(stream, windows.clone()));
    let toll = Rc::new(Toll::default());
    let shaken = {
        let io = Inbound::new(line.clone(), toll.clone(), head.block.filled());
        peer.worker.blocks.give_request(head);
        deadline.start(rules.frontend.timeouts.http_request);
        // In a box as the connection is, or each idle one would have a place for both.
        let mut handshake = Box::pin(bounds::builder(&rules.limits).handshake::<_, Piece>(io));
        drop(rules);
        poll_fn(|cx| {
            toll.next_turn();
            match handshake.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(result.ok().map(Box::new)),
                Poll::Pending if has_failed(line.poll_send(cx)) => Poll::Ready(None),
                Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    };
    if let Some(shaken) = shaken {
        let side = Side {
            line: &line,
            windows: &windows,
            toll: &toll,
        };
        serve(&peer, shaken, &side, &deadline).await;
    }
    if let Some(stream) = line.rest() {
        // What the client still sends would reset the connection, and take the last frame from it.
        Box::pin(lingering_close(&peer.worker, stream, &deadline)).await;
    }
}

/// What the connection's task has of it beside `h2`.
struct Side<'a> {
    line: &'a Line,
    windows: &'a Rc<Windows>,
    toll: &'a Toll,
}

fn has_failed(sent: Poll<io::Result<()>>) -> bool {
    matches!(sent, Poll::Ready(Err(_)))
}

async fn serve(
    peer: &Rc<Peer>,
    mut connection: Box<h2::server::Connection<Inbound, Piece>>,
    side: &Side<'_>,
    deadline: &Deadline,
) {
    let (line, windows, toll) = (side.line, side.windows, side.toll);
    let worker = peer.worker.clone();
    let shut_for = shut_for(peer.slot.rules().frontend.timeouts.client);
    let streams = Rc::new(Calm::new(shut_for, worker.clock().now()));
    let live = || Rc::strong_count(&streams) - 1;
    let mut excess = None;
    let mut leaving = false;
    // As with HTTP/1, the first request has less time than the others.
    let mut idle = peer.slot.rules().frontend.timeouts.http_request;
    let mut was_idle = false;
    let mut window = CONNECTION_WINDOW;
    loop {
        let mut was_polled = false;
        let next = poll_fn(|cx| {
            // Not for the first time: the streams have had their turn.
            if replace(&mut was_polled, true) {
                toll.next_turn();
            }
            windows.register(cx);
            let now = worker.clock().recent();
            streams.settle(toll, windows, now);
            let watch = streams.watch(windows, now);
            excess = streams.excess();
            if excess.is_some() {
                return Poll::Ready(None);
            }
            if window != windows.wanted() {
                window = windows.wanted();
                connection.set_target_window_size(window);
            }
            if worker.is_draining() && !leaving {
                leaving = true;
                connection.graceful_shutdown();
            }
            let accepted = match live() < LIVE {
                true => connection.poll_accept(cx),
                false => connection.poll_closed(cx).map(|end| end.err().map(Err)),
            };
            if accepted.is_ready() {
                return accepted;
            }
            if has_failed(line.poll_send(cx)) {
                return Poll::Ready(None);
            }
            let is_idle = live() == 0;
            if is_idle != was_idle {
                was_idle = is_idle;
                deadline.start(if leaving { GOODBYE } else { idle });
            }
            if is_idle && (deadline.poll_fired(cx) || worker.closes_idle()) {
                return Poll::Ready(None);
            }
            if let Some(after) = watch {
                deadline.start(after);
            }
            // Streams that end wake this task through the connection, so idleness is noticed.
            let _ = deadline.poll_fired(cx);
            Poll::Pending
        })
        .await;
        let (request, mut respond) = match next {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) && error.is_library() {
                    note_calmed(peer, toll.excess());
                }
                return;
            }
            None => break,
        };
        idle = peer.slot.rules().frontend.timeouts.http_keep_alive;
        let Some(mut hold) = windows.hold(&worker.shared.http2_memory, &request) else {
            refuse(peer, &mut respond);
            continue;
        };
        let asked = Asked::new(peer, request);
        let size = asked.size();
        streams.note_head(size, worker.clock().recent());
        // Before its task has its turn: a hundred heads would be held until then.
        if !hold.fits(asked.head.block.capacity()) {
            refuse(peer, &mut respond);
            worker.blocks.give_translated(asked.head);
            continue;
        }
        let (peer, streams, windows) = (peer.clone(), streams.clone(), windows.clone());
        tokio::task::spawn_local(async move {
            // In a box, for the runtime moves a task three times before it is polled.
            let answered = Box::pin(stream(&peer, asked, respond, hold));
            let given_up = answered.await;
            streams.note(given_up, size, peer.worker.clock().recent());
            windows.wake();
        });
    }
    if let Some(excess) = excess {
        note_calmed(peer, excess);
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    } else if live() == 0 {
        connection.graceful_shutdown();
    } else {
        return;
    }
    deadline.start(GOODBYE);
    poll_fn(|cx| {
        toll.next_turn();
        match connection.poll_closed(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if has_failed(line.poll_send(cx)) => Poll::Ready(()),
            Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// Counts and tells of a connection that is ended for what it costs.
#[cold]
fn note_calmed(peer: &Peer, excess: Http2Excess) {
    let worker = &peer.worker;
    peer.slot.counters(worker.index).http2_calmed[excess as usize].add(1);
    if let Some(more) = peer.slot.complaints.calmed.due(worker.clock().now()) {
        tracing::warn!(
            "frontend {}: the HTTP/2 connection from {} was ended (ENHANCE_YOUR_CALM, {}): its \
             client {}{more}",
            peer.slot.rules().frontend.name,
            peer.address,
            excess.as_str(),
            excess.sentence(),
        );
    }
}

/// Refuses a stream of which nothing was done, so that it may be sent again (RFC 9113 8.7).
#[cold]
fn refuse(peer: &Peer, respond: &mut SendResponse<Piece>) {
    respond.send_reset(Reason::REFUSED_STREAM);
    let worker = &peer.worker;
    if let Some(more) = peer.slot.complaints.refused.due(worker.clock().now()) {
        let MemoryStatus { used, limit, .. } = worker.shared.http2_memory.status();
        tracing::warn!(
            "frontend {}: a stream of HTTP/2 from {} was refused: the open ones may hold {used} of \
             {limit} bytes (global.http2_memory), the heads of one connection 1 MiB of them{more}",
            peer.slot.rules().frontend.name,
            peer.address,
        );
    }
}

/// A request as the exchange takes it.
struct Asked {
    rules: Rc<Rules>,
    started: Instant,
    head: Box<RequestHead>,
    /// The status to answer with otherwise.
    translated: Result<(), u16>,
    body: RecvStream,
}

impl Asked {
    /// Translates at once, by the connection's task: the fields that `h2` has decoded take far more
    /// than a head, and many streams may begin before the first has its turn.
    fn new(peer: &Peer, request: Request<RecvStream>) -> Self {
        let worker = &peer.worker;
        let rules = peer.slot.rules();
        let started = worker.clock().now();
        let (parts, body) = request.into_parts();
        let mut head = worker.blocks.take_translated();
        let translated = translate(&parts, &body, &mut head, &rules.limits);
        Self {
            rules,
            started,
            head,
            translated,
            body,
        }
    }

    /// Bytes of the head; 0 when it is none.
    fn size(&self) -> usize {
        self.translated.map_or(0, |()| self.head.size())
    }
}

/// Answers the request of one stream; says whether the client gave it up before it was answered.
async fn stream(peer: &Peer, asked: Asked, respond: SendResponse<Piece>, hold: Hold) -> bool {
    let worker = &peer.worker;
    let Asked {
        rules,
        started,
        mut head,
        translated,
        body,
    } = asked;
    let scene = Scene {
        worker,
        rules: &rules,
        peer,
    };
    let in_flight = worker.enter();
    let deadline = worker.deadlines.register();
    if translated.is_err() {
        // Nothing in it is to be believed.
        *head = RequestHead::new();
    }
    let mut client = H2Client::new(rules.clone(), hold, head, body, respond);
    let mut story = Story::new(started, started);
    let mut tunnelled = false;
    match translated {
        Ok(()) if login::in_request(client.head.fields()) => {
            refuse_login(scene, &mut client, &mut story);
        }
        Ok(()) => {
            let outcome = exchange(scene, &mut client, &deadline, &mut story).await;
            if let Outcome::Tunnel(server) = outcome {
                tunnelled = true;
                let tunnel = tunnel::run(scene, &deadline, &mut client, *server, &mut story);
                Box::pin(tunnel).await;
            }
        }
        Err(status) => decline(scene, &mut client, &deadline, &mut story, status).await,
    }
    drop(in_flight);
    if client.finished && !client.ended && !tunnelled {
        linger(&mut client, &deadline).await;
    }
    worker.blocks.give_translated(client.head);
    story.term == Term::ClientAbort && !tunnelled
}

/// Lets a client that still sends read its answer, before the stream is reset with NO_ERROR by being
/// dropped: curl up to 7.88, at least, loses an answer that the reset comes with.
async fn linger(client: &mut H2Client, deadline: &Deadline) {
    deadline.start(LINGER);
    poll_fn(|cx| {
        let is_over = client.poll_presence(cx) == Presence::Gone || client.ended;
        match is_over || deadline.poll_fired(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Sends a client that logs its connection in to HTTP/1.1, where a connection carries one exchange at
/// a time and so can be bound to one of a server. Browsers and curl come again by themselves.
///
/// Source: RFC 9113 9.2.2 and 7, HTTP_1_1_REQUIRED.
#[cold]
fn refuse_login(scene: Scene<'_>, client: &mut H2Client, story: &mut Story) {
    client.respond.send_reset(Reason::HTTP_1_1_REQUIRED);
    story.end(Term::Http11Required);
    let peer = scene.peer;
    if let Some(more) = peer.slot.complaints.logins.due(scene.worker.clock().now()) {
        tracing::warn!(
            "frontend {}: {} logs in by NTLM or Negotiate over HTTP/2; such a login belongs to a \
             connection, so the client was told to use HTTP/1.1{more}",
            scene.rules.frontend.name,
            peer.address,
        );
    }
    conclude(scene, None, None, &client.head, story);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the future of such a function.
    fn size<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_has_no_place_for_what_is_over() {
        let held = size_of::<h2::server::Connection<Inbound, Piece>>();
        let task = size(run);
        assert!(task <= 1024 && task < held, "{task}, {held}");
    }
}
