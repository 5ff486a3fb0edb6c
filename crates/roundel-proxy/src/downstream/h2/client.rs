//! One stream of an HTTP/2 client, as an exchange sees it.

use std::io::{self, IoSlice};
use std::mem::take;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes};
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use roundel_http1::{Edits, Framing, Limits, RequestHead, ResponseHead, Trailers};
use tokio::net::TcpStream;

use super::bounds;
use super::hold::Hold;
use super::trailers;
use crate::blocks::Blocks;
use crate::http2::ahead::Ahead;
use crate::rules::Rules;
use crate::sides::{Downstream, End, Presence, Sink, Source, SourceError};

/// Bytes of an answer on their way, with the memory of their stream.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    size: usize,
    hold: Rc<Hold>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, hold: &Rc<Hold>) -> Self {
        let (size, hold) = (bytes.len(), hold.clone());
        hold.note_unsent(size);
        Self { bytes, size, hold }
    }

    /// The same bytes once more.
    pub(super) fn again(&self) -> Self {
        let (bytes, hold) = (self.bytes.clone(), self.hold.clone());
        let size = bytes.len();
        hold.note_again(size);
        Self { bytes, size, hold }
    }

    /// Goes no further than `bytes`, if those are the first of it.
    pub(super) fn cut(mut self, bytes: &[u8]) -> Option<Self> {
        let begins = self.bytes.as_ptr() == bytes.as_ptr() && self.bytes.len() >= bytes.len();
        self.bytes.truncate(bytes.len());
        begins.then_some(self)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.hold.note_sent(self.size);
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    /// Whoever writes these bytes may have them without a copy.
    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.hold.offer().set(self);
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }
}

/// Bytes of an answer that are handed on at once.
const PIECE: usize = bounds::SEND_BUFFER;

/// Bytes of the client's window that are reserved at once for small pieces.
const RESERVE: usize = 4 * 1024;

/// One stream of an HTTP/2 client.
pub(super) struct H2Client {
    rules: Rc<Rules>,
    hold: Rc<Hold>,
    pub(super) head: Box<RequestHead>,
    body: RecvStream,
    chunk: Bytes,
    /// What follows it and was read already.
    ahead: Ahead,
    /// Those of the request, or what is wrong with them.
    trailers: Option<Result<Trailers, roundel_http1::Reason>>,
    /// The request has ended.
    pub(super) ended: bool,
    pub(super) respond: SendResponse<Piece>,
    send: Option<SendStream<Piece>>,
    /// Body bytes that wait for more: pieces of a chunked answer may be tiny, and clients break
    /// connections that bring many tiny frames.
    held: Vec<u8>,
    /// How many bytes may be held: so much of the window is reserved.
    room: usize,
    /// The trailers with which the stream ends once nothing is held any more.
    end: Option<HeaderMap>,
    pub(super) finished: bool,
    /// The answer has a body or may have trailers: its head did not end the stream.
    has_body: bool,
    /// What an extended CONNECT asked for was granted: the stream carries bytes both ways.
    switched: bool,
}

impl Source for H2Client {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        if self.head.is_extended_connect() && !self.switched {
            // What has come already belongs to the tunnel, if there will be one.
            return Poll::Ready(Ok(false));
        }
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(true));
            }
            let more = self.poll_ahead(cx)?;
            match self.ahead.pop() {
                Some(chunk) => self.chunk = chunk,
                None => {
                    ready!(more);
                    return Poll::Ready(match self.trailers {
                        // RFC 9113 8.5: nothing but DATA belongs there.
                        Some(_) if self.switched => {
                            self.reset(Reason::PROTOCOL_ERROR);
                            Err(SourceError::Gone)
                        }
                        Some(Err(reason)) => Err(SourceError::Malformed(reason)),
                        _ => Ok(false),
                    });
                }
            }
        }
    }

    fn data(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        // The window is given back when the bytes have been taken, not when they came.
        let _ = self.body.flow_control().release_capacity(n);
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_ref()?.as_ref().ok()
    }
}

impl H2Client {
    pub(super) fn new(
        rules: Rc<Rules>,
        hold: Hold,
        head: Box<RequestHead>,
        body: RecvStream,
        respond: SendResponse<Piece>,
    ) -> Self {
        Self {
            rules,
            hold: Rc::new(hold),
            head,
            body,
            chunk: Bytes::new(),
            ahead: Ahead::default(),
            trailers: None,
            ended: false,
            respond,
            send: None,
            held: Vec::new(),
            room: 0,
            end: None,
            finished: false,
            has_body: false,
            switched: false,
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.send {
            Some(send) => send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

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
                        .map(|map| trailers::judged(&map, &self.rules.limits));
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gets room for at least one of `more` bytes, within the client's window and what may wait for
    /// its connection; sends what is held where that has to go first.
    fn poll_room(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hold.is_reaped() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(self.hold.poll_place(cx));
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let held = self.held.len();
        // Room for some pieces at once, since each asking costs; yet not for all that may come, for
        // what is reserved is kept from the other streams.
        send.reserve_capacity((held + more.max(RESERVE)).min(PIECE));
        self.room = send.capacity().min(PIECE);
        if self.room > held {
            self.hold.note_open();
            return Poll::Ready(Ok(()));
        }
        self.send_held()?;
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        send.reserve_capacity(more.min(PIECE));
        self.room = match send.capacity() {
            0 => match send.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room.min(PIECE),
                Poll::Ready(_) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Poll::Pending => {
                    self.hold.note_shut(cx.waker());
                    return Poll::Pending;
                }
            },
            room => room.min(PIECE),
        };
        if self.room == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.hold.note_open();
        Poll::Ready(Ok(()))
    }

    /// Hands what is held to the connection's task, which sends it, and lets go of the rest of the
    /// room.
    fn send_held(&mut self) -> io::Result<()> {
        let room = take(&mut self.room);
        let Some(send) = &mut self.send else {
            return match self.held.is_empty() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotConnected.into()),
            };
        };
        if self.held.is_empty() {
            if room > 0 {
                send.reserve_capacity(0);
            }
            return Ok(());
        }
        // What waits is to take no more memory than it has bytes.
        let held = self.held.len();
        let bytes = match held * 2 > self.held.capacity() {
            true => Bytes::from(take(&mut self.held)),
            false => Bytes::copy_from_slice(&self.held),
        };
        self.held.clear();
        send.send_data(Piece::new(bytes, &self.hold), false)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        if room > held {
            send.reserve_capacity(0);
        }
        Ok(())
    }
}

impl Sink for H2Client {
    /// Takes no byte for which the client has no window: it waits where it was read.
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.held.len() >= self.room {
            ready!(self.poll_room(data.len(), cx))?;
        }
        let n = data.len().min(self.room - self.held.len());
        self.held.extend_from_slice(&data[..n]);
        Poll::Ready(Ok(n))
    }

    fn reads(&self) -> bool {
        self.send.is_some()
    }

    fn poll_place(&mut self, more: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.held.len() >= self.room {
            let more = more.min(PIECE as u64) as usize;
            ready!(self.poll_room(more, cx))?;
        }
        let place = self.room - self.held.len();
        Poll::Ready(Ok(more.min(place as u64) as usize))
    }

    fn read(&mut self, socket: &TcpStream, most: usize) -> io::Result<usize> {
        self.held.reserve_exact(most);
        socket.try_read_buf(&mut (&mut self.held).limit(most))
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

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_held()?;
        if let Some((send, end)) = self.send.as_mut().zip(self.end.take()) {
            // A client that is gone by now is noticed elsewhere.
            let _ = match end.is_empty() {
                true => send.send_data(Piece::new(Bytes::new(), &self.hold), true),
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
        if head.is_switching() {
            // RFC 8441 5: the same said in HTTP/2, where there is no key that is to be proven.
            *answer.status_mut() = StatusCode::OK;
            answer
                .headers_mut()
                .remove(http::header::SEC_WEBSOCKET_ACCEPT);
            (self.switched, self.has_body) = (true, true);
        }
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
        self.reset(Reason::INTERNAL_ERROR);
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

/// Builds a head from HTTP/2's fields. Errors: the status to answer with.
pub(super) fn translate(
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
    let protocol = parts.extensions.get::<Protocol>();
    let begun = match (protocol, authority) {
        (Some(protocol), _) => {
            let protocol = protocol.as_str().as_bytes();
            head.begin_extended_connect(protocol, target.as_bytes(), authority, limits)
        }
        (None, Some(authority)) if parts.method == http::Method::CONNECT => {
            head.begin(b"CONNECT", authority, Some(authority), limits)
        }
        _ => {
            let method = parts.method.as_str().as_bytes();
            head.begin(method, target.as_bytes(), authority, limits)
        }
    };
    begun.map_err(|r| r.status())?;
    // Before crumbs are joined: each is a field to whoever decodes it.
    if parts.headers.len() > bounds::fields(limits) {
        return Err(roundel_http1::Reason::TooManyFields.status());
    }
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
        // RFC 8441 5: over HTTP/2 there is no key. The server's is made where it is asked.
        if protocol.is_some() && name == http::header::SEC_WEBSOCKET_KEY {
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
