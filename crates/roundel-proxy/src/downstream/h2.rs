//! HTTP/2 clients: one task per stream, each an exchange of its own.

use std::future::poll_fn;
use std::io;
use std::mem::replace;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use roundel_http1::{Edits, Framing, Limits, RequestHead, ResponseHead, Trailers, login};

use crate::blocks::Blocks;
use crate::deadline::Deadline;
use crate::ending::Term;
use crate::exchange::{Outcome, decline, exchange};
use crate::linger::linger as lingering_close;
use crate::peer::{Connection, Peer};
use crate::scene::Scene;
use crate::sides::{Downstream, End, Presence, Sink, Source, SourceError};
use crate::story::{Story, conclude};
use crate::tunnel;

mod ahead;
mod calm;
mod inbound;

use ahead::Ahead;
use calm::Calm;
use inbound::{Given, Inbound};

/// Streams that one connection may have open at once.
const STREAMS: u32 = 128;
/// Exchanges of one connection at once: a stream that its client gives up is none of those open, but
/// takes a moment to end. More wait.
const LIVE: usize = 2 * STREAMS as usize;
/// What the overhead of small DATA frames that wait may come to, as `h2` counts it: 256 bytes each,
/// less their payload. Most are taken as soon as they are there; those of an answered stream are not.
const FRAMES: usize = 4 * 1024 * 1024;
/// Bytes of body that a stream may have sent before they are taken.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same over all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes that wait to be sent per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a stream whose answer is sent may go on with its request. It gets no window meanwhile.
const LINGER: Duration = Duration::from_secs(1);
/// How long a finished connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves a connection that began with HTTP/2's preface, which is in the head's block.
pub(crate) async fn run(connection: Connection, deadline: Deadline, head: Box<RequestHead>) {
    let Connection { peer, stream, .. } = connection;
    let peer = Rc::new(peer);
    let rules = peer.slot.rules();
    peer.slot.counters(peer.worker.index).connections_h2.add(1);
    let io = Inbound::new(stream, head.block.filled());
    let (given, rest) = (io.given(), io.rest());
    peer.worker.blocks.give_request(head);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(STREAMS as usize)
        .data_frame_budget(FRAMES)
        .max_header_list_size(u32::try_from(rules.limits.head).unwrap_or(u32::MAX));
    deadline.start(rules.frontend.timeouts.http_request);
    let handshake = builder.handshake::<_, Bytes>(io);
    tokio::pin!(handshake);
    let shaken = poll_fn(|cx| {
        given.set(0);
        match handshake.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.ok()),
            Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if let Some(shaken) = shaken {
        serve(&peer, shaken, given, &deadline).await;
    }
    if let Some(stream) = rest.take() {
        // What the client still sends would reset the connection, and take the last frame from it.
        lingering_close(&peer.worker, stream, &deadline).await;
    }
}

async fn serve(
    peer: &Rc<Peer>,
    mut connection: h2::server::Connection<Inbound, Bytes>,
    given: Given,
    deadline: &Deadline,
) {
    let worker = peer.worker.clone();
    let streams = Rc::new(Calm::new(worker.clock().now()));
    let live = || Rc::strong_count(&streams) - 1;
    let mut leaving = false;
    // As with HTTP/1, the first request has less time than the others.
    let mut idle = peer.slot.rules().frontend.timeouts.http_request;
    let mut was_idle = false;
    loop {
        let mut was_polled = false;
        let next = poll_fn(|cx| {
            // Not for the first time: the streams have had their turn.
            if replace(&mut was_polled, true) {
                given.set(0);
            }
            if streams.is_over(cx) {
                return Poll::Ready(None);
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
            let is_idle = live() == 0;
            if is_idle != was_idle {
                was_idle = is_idle;
                deadline.start(if leaving { GOODBYE } else { idle });
            }
            if is_idle && (deadline.poll_fired(cx) || worker.closes_idle()) {
                return Poll::Ready(None);
            }
            // Streams that end wake this task through the connection, so idleness is noticed.
            let _ = deadline.poll_fired(cx);
            Poll::Pending
        })
        .await;
        let (request, respond) = match next {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) && error.is_library() {
                    note_calmed(peer);
                }
                return;
            }
            None => break,
        };
        idle = peer.slot.rules().frontend.timeouts.http_keep_alive;
        let (peer, streams) = (peer.clone(), streams.clone());
        tokio::task::spawn_local(async move {
            let given_up = stream(&peer, request, respond).await;
            streams.note(given_up, peer.worker.clock().recent());
        });
    }
    let is_over = poll_fn(|cx| Poll::Ready(streams.is_over(cx))).await;
    if is_over {
        note_calmed(peer);
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    } else if live() == 0 {
        connection.graceful_shutdown();
    } else {
        return;
    }
    deadline.start(GOODBYE);
    poll_fn(|cx| {
        given.set(0);
        match connection.poll_closed(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// Counts and tells of a connection that is ended for what it costs.
#[cold]
fn note_calmed(peer: &Peer) {
    let worker = &peer.worker;
    peer.slot.counters(worker.index).http2_calmed.add(1);
    if let Some(more) = peer.slot.complaints.calmed.due(worker.clock().now()) {
        tracing::warn!(
            "frontend {}: the HTTP/2 connection from {} was ended (ENHANCE_YOUR_CALM): its client \
             gives up far more streams than it lets be answered{more}",
            peer.slot.rules().frontend.name,
            peer.address,
        );
    }
}

/// Answers the request of one stream; says whether the client gave it up.
async fn stream(peer: &Peer, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> bool {
    let worker = &peer.worker;
    let rules = peer.slot.rules();
    let scene = Scene {
        worker,
        rules: &rules,
        peer,
    };
    let started = worker.clock().now();
    let in_flight = worker.enter();
    let deadline = worker.deadlines.register();
    let (parts, body) = request.into_parts();
    let mut head = worker.blocks.take_request();
    let translated = translate(&parts, &body, &mut head, &rules.limits);
    if translated.is_err() {
        // Nothing in it is to be believed.
        *head = RequestHead::new();
    }
    let mut client = H2Client {
        head,
        body,
        chunk: Bytes::new(),
        ahead: Ahead::default(),
        trailers: None,
        ended: false,
        respond,
        send: None,
        held: BytesMut::new(),
        end: None,
        finished: false,
        has_body: false,
    };
    let mut story = Story::new(started, started);
    match translated {
        Ok(()) if login::in_request(client.head.fields()) => {
            refuse_login(scene, &mut client, &mut story);
        }
        Ok(()) => {
            let outcome = exchange(scene, &mut client, &deadline, &mut story).await;
            if let Outcome::Tunnel(tunnelled) = outcome {
                let tunnel = tunnel::run(scene, &deadline, &mut client, *tunnelled, &mut story);
                Box::pin(tunnel).await;
            }
        }
        Err(status) => decline(scene, &mut client, &deadline, &mut story, status).await,
    }
    drop(in_flight);
    if client.finished && !client.ended {
        linger(&mut client, &deadline).await;
    }
    worker.blocks.give_request(client.head);
    story.term == Term::ClientAbort
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

/// Builds a head from HTTP/2's fields. Errors: the status to answer with.
fn translate(
    parts: &http::request::Parts,
    body: &RecvStream,
    head: &mut RequestHead,
    limits: &Limits,
) -> Result<(), u16> {
    let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
    let target = match parts.uri.path_and_query() {
        Some(path) => path.as_str(),
        None => "/",
    };
    let target = match (parts.method == http::Method::CONNECT, authority) {
        (true, Some(authority)) => authority,
        _ => target.as_bytes(),
    };
    let method = parts.method.as_str().as_bytes();
    head.begin(method, target, authority, limits)
        .map_err(|r| r.status())?;
    let mut cookie = Vec::new();
    for (name, value) in &parts.headers {
        if name == http::header::COOKIE {
            // RFC 9113 8.2.3: crumbs are joined before they reach a server of HTTP/1.
            if !cookie.is_empty() {
                cookie.extend_from_slice(b"; ");
            }
            cookie.extend_from_slice(value.as_bytes());
            continue;
        }
        head.push(name.as_str().as_bytes(), value.as_bytes(), limits)
            .map_err(|r| r.status())?;
    }
    if !cookie.is_empty() {
        head.push(b"cookie", &cookie, limits)
            .map_err(|r| r.status())?;
    }
    head.finish(!body.is_end_stream(), limits)
        .map_err(|r| r.status())
}

/// The largest frame of a body: what every client takes. Source: RFC 9113 6.5.2.
const FRAME: usize = 16 * 1024;

/// One stream of an HTTP/2 client.
struct H2Client {
    head: Box<RequestHead>,
    body: RecvStream,
    chunk: Bytes,
    /// What follows it and was read already.
    ahead: Ahead,
    trailers: Option<Trailers>,
    ended: bool,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    /// Body bytes that wait for more: pieces of a chunked answer may be tiny, and clients break
    /// connections that bring many tiny frames.
    held: BytesMut,
    /// The trailers with which the stream ends once nothing is held any more.
    end: Option<HeaderMap>,
    finished: bool,
    /// The answer has a body or may have trailers: its head did not end the stream.
    has_body: bool,
}

impl Source for H2Client {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(true));
            }
            let more = self.poll_ahead(cx)?;
            match self.ahead.pop() {
                Some(chunk) => self.chunk = chunk,
                None => return more.map(|()| Ok(false)),
            }
        }
    }

    fn data(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        bytes::Buf::advance(&mut self.chunk, n);
        // The window is given back when the bytes have been taken, not when they came.
        let _ = self.body.flow_control().release_capacity(n);
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_ref()
    }
}

impl H2Client {
    /// Reads what has come of the body; ready when it has ended. The window is not given back, so
    /// this ends.
    ///
    /// Small frames are not to wait one by one: `h2` bounds what they come to over a connection.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        while !self.ended {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) => self.ahead.push(piece),
                Some(Err(_)) => return Poll::Ready(Err(SourceError::Gone)),
                None => {
                    let trailers = ready!(self.body.poll_trailers(cx));
                    self.trailers = trailers
                        .map_err(|_| SourceError::Gone)?
                        .map(|map| from_map(&map));
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is held, as far as the client's window reaches.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        while !self.held.is_empty() {
            send.reserve_capacity(self.held.len());
            let room = match send.capacity() {
                0 => match ready!(send.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    }
                },
                room => room,
            };
            let n = room.min(self.held.len());
            if n == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = self.held.split_to(n).freeze();
            send.send_data(piece, false)
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Sink for H2Client {
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.held.len() >= FRAME || self.send.is_none() {
            ready!(self.poll_held(cx))?;
        }
        let n = data.len().min(FRAME - self.held.len());
        self.held.extend_from_slice(&data[..n]);
        Poll::Ready(Ok(n))
    }

    fn finish(&mut self, trailers: Option<&Trailers>) {
        self.finished = true;
        if self.has_body && self.send.is_some() {
            self.end = Some(trailers.map(to_map).unwrap_or_default());
        }
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    /// Hands what is held to the connection's task, which sends it; what that holds per stream is
    /// bounded by the stream's window.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            ready!(self.poll_held(cx))?;
        }
        if let Some((send, end)) = self.send.as_mut().zip(self.end.take()) {
            // A client that is gone by now is noticed elsewhere.
            let _ = match end.is_empty() {
                true => send.send_data(Bytes::new(), true),
                false => send.send_trailers(end),
            };
        }
        Poll::Ready(Ok(()))
    }
}

impl End for H2Client {
    /// The last frame of what was sent has closed the side.
    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn take_buffers(&mut self, _: &Blocks) {}

    fn give_buffers(&mut self, _: &Blocks) {}
}

impl Downstream for H2Client {
    const MULTIPLEXED: bool = true;

    fn head(&self) -> &RequestHead {
        &self.head
    }

    fn interim(&mut self, head: &ResponseHead, edits: &Edits) {
        // RFC 9113 8.6: there is no switching of protocols in HTTP/2.
        if head.status() != 101 {
            let _ = self.respond.send_informational(response(head, edits));
        }
    }

    fn commit(&mut self, head: &ResponseHead, edits: &Edits, _last: bool) {
        let mut answer = response(head, edits);
        if let Some(length) = head.content_length()
            && head.status() != 204
        {
            answer
                .headers_mut()
                .insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.has_body = !matches!(head.framing(), Framing::Empty | Framing::Length(0));
        self.send = self.respond.send_response(answer, !self.has_body).ok();
    }

    fn poll_presence(&mut self, cx: &mut Context<'_>) -> Presence {
        if matches!(self.poll_ahead(cx), Poll::Ready(Err(_))) {
            return Presence::Gone;
        }
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        match reset {
            Poll::Ready(_) => Presence::Gone,
            Poll::Pending => Presence::There,
        }
    }

    fn abort(&mut self) {
        match &mut self.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

/// The head of an answer in HTTP/2's terms: no connection fields, lower-case names.
fn response(head: &ResponseHead, edits: &Edits) -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(head.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in edits.apply(head.fields()) {
        insert(answer.headers_mut(), name, value);
    }
    answer
}

fn insert(map: &mut HeaderMap, name: &[u8], value: &[u8]) {
    let name = HeaderName::from_bytes(name);
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
        map.append(name, value);
    }
}

fn to_map(trailers: &Trailers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in trailers.fields().iter() {
        insert(&mut map, line.name, line.value);
    }
    map
}

fn from_map(map: &HeaderMap) -> Trailers {
    let mut trailers = Trailers::default();
    for (name, value) in map {
        trailers.push(name.as_str().as_bytes(), value.as_bytes());
    }
    trailers
}
