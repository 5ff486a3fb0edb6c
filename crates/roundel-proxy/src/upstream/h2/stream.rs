//! A server of HTTP/2: one stream of a connection, as an exchange sees it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use http::HeaderMap;
use roundel_http1::{
    Edits, Framing, Known, Limits, Method, Reason, RequestHead, ResponseHead, Trailers,
};

use super::{Opened, Place, translate};
use crate::blocks::Blocks;
use crate::sides::{Sink, Source, SourceError};
use crate::upstream::HeadError;
use crate::websocket;

mod down;
mod up;

use down::Down;
use up::Up;

/// One attempt on a stream. Dropped before both sides have ended, it tells the server so.
#[derive(Debug)]
pub(crate) struct H2Server {
    connection: SendRequest<Bytes>,
    place: Place,
    pub(in crate::upstream) head: Box<ResponseHead>,
    /// The connection had carried a request before.
    pub(in crate::upstream) reused: bool,
    answer: Answer,
    up: Up,
    down: Down,
    tunnel: Tunnel,
    /// Bytes sent, a head for one.
    sent: u64,
}

/// Whether bytes go both ways.
#[derive(Debug)]
enum Tunnel {
    /// They do not.
    No,
    /// That is asked for: the end of the request is held back until the answer says whether it is
    /// granted. A client of HTTP/1 is then given this proof.
    Asked(Option<String>),
    /// They do.
    Open,
}

/// Where the head of the answer is.
#[derive(Debug)]
enum Answer {
    Awaited(ResponseFuture),
    /// There is none to wait for: it has come, or this is why it will not.
    Over(HeadError),
}

impl H2Server {
    pub(in crate::upstream) fn new(opened: Opened, reused: bool, blocks: &Blocks) -> Self {
        Self {
            connection: opened.send,
            place: opened.place,
            head: blocks.take_response(),
            reused,
            answer: Answer::Over(HeadError::Empty),
            up: Up::default(),
            down: Down::default(),
            tunnel: Tunnel::No,
            sent: 0,
        }
    }

    /// It went out before the first stream of the connection.
    pub(in crate::upstream) fn put_proxy_header(&mut self, _: &[u8]) {}

    pub(in crate::upstream) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &Edits,
        host: Option<&[u8]>,
        address: SocketAddr,
    ) {
        // Any other upgrade goes no further than here.
        let asks_tunnel = head.asks_websocket() && head.framing().is_empty();
        if asks_tunnel && !self.connection.is_extended_connect_protocol_enabled() {
            // Without the upgrade it would ask for something else.
            self.answer = Answer::Over(HeadError::NoTunnel);
            return;
        }
        let secure = self.place.0.secure;
        let Some(mut request) = translate::request(head, edits, host, address, secure) else {
            self.answer = Answer::Over(HeadError::Unfit);
            return;
        };
        if asks_tunnel {
            translate::into_connect(&mut request);
            let key = head.fields().first(Known::SecWebSocketKey);
            self.tunnel = Tunnel::Asked(key.map(websocket::accept));
        }
        let is_whole = head.framing().is_empty() && !asks_tunnel;
        match self.connection.send_request(request, is_whole) {
            Ok((answer, send)) => {
                self.answer = Answer::Awaited(answer);
                self.up.send = (!is_whole).then_some(send);
                self.sent = 1;
            }
            // The connection has ended, or is about to, since it was chosen.
            Err(_) => self.answer = Answer::Over(HeadError::Refused),
        }
    }

    pub(in crate::upstream) fn rest_writer(&mut self, _: &Blocks) {}

    pub(in crate::upstream) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    pub(in crate::upstream) fn has_answered(&self) -> bool {
        self.down.received > 0
    }

    pub(in crate::upstream) fn progress(&self) -> u64 {
        self.sent + self.down.received
    }

    pub(in crate::upstream) fn head_progress(&self) -> u64 {
        self.progress()
    }

    pub(in crate::upstream) fn poll_head(
        &mut self,
        method: Method,
        limits: &Limits,
        _: &Blocks,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HeadError>> {
        let answer = match &mut self.answer {
            Answer::Awaited(answer) => answer,
            Answer::Over(error) => return Poll::Ready(Err(*error)),
        };
        let interim = match ready!(answer.poll_informational(cx)) {
            Some(Ok(interim)) => Some(interim),
            // The same is said of the final one.
            Some(Err(_)) | None => None,
        };
        self.down.received += 1;
        if let Some(interim) = interim {
            let parts = interim.into_parts().0;
            let read = translate::answer(&parts, false, method, limits, &mut self.head);
            let read = match self.head.is_switching() {
                // RFC 9113 8.6: there is no switching of protocols in HTTP/2.
                true => Err(Reason::Unexpected),
                false => read.map_err(|fault| fault.reason),
            };
            return Poll::Ready(read.map_err(HeadError::Malformed));
        }
        let answer = match ready!(Pin::new(answer).poll(cx)) {
            Ok(answer) => answer,
            Err(error) => {
                self.down.received -= 1;
                let error = head_error(&error);
                self.answer = Answer::Over(error);
                return Poll::Ready(Err(error));
            }
        };
        let (parts, body) = answer.into_parts();
        let has_body = !body.is_end_stream();
        self.answer = Answer::Over(HeadError::Cut);
        let read = match &self.tunnel {
            Tunnel::Asked(proof) if parts.status.is_success() => {
                translate::granted(&parts, proof.as_deref(), method, limits, &mut self.head)
            }
            _ => translate::answer(&parts, has_body, method, limits, &mut self.head),
        };
        if matches!(self.tunnel, Tunnel::Asked(_)) && !self.head.is_switching() {
            self.tunnel = Tunnel::No;
            self.up.end = Some(HeaderMap::new());
            // A server that is gone by now is noticed by its answer's end.
            let _ = self.poll_flush(cx);
        }
        self.down.left = match self.head.framing() {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        self.down.body = Some(body);
        self.down.limits = limits.clone();
        Poll::Ready(read.map_err(|fault| HeadError::Malformed(fault.reason)))
    }

    /// What waits for such a client counts as its other streams do.
    pub(in crate::upstream) fn spare(&mut self) {
        self.down.memory = Some(self.place.0.memory.clone());
    }

    /// Goes on with whatever comes; lets the head go.
    pub(in crate::upstream) fn switch(&mut self) {
        self.head.reset();
        self.tunnel = Tunnel::Open;
        self.up.finished = false;
    }

    pub(in crate::upstream) fn break_off(&mut self) {
        if let Some(send) = &mut self.up.send {
            send.send_reset(h2::Reason::CANCEL);
        }
    }

    pub(in crate::upstream) fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let _ = self.down.poll_ahead(cx);
    }

    pub(in crate::upstream) fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    pub(in crate::upstream) fn take_buffers(&mut self, _: &Blocks) {}

    pub(in crate::upstream) fn give_buffers(&mut self, _: &Blocks) {}

    /// What carries the stream goes on in any case.
    pub(in crate::upstream) fn is_reusable(&self) -> bool {
        self.down.ended && self.up.finished
    }

    /// Ends the attempt.
    pub(in crate::upstream) fn end(self, blocks: &Blocks) {
        blocks.give_response(self.head);
    }
}

/// What a stream's end before its answer means for a retry.
fn head_error(error: &h2::Error) -> HeadError {
    let reason = error.reason();
    if error.is_library() {
        // The rules that it breaks are HTTP/2's, which has no words for us.
        return HeadError::Malformed(Reason::Unexpected);
    }
    match (error.is_remote(), error.is_go_away(), reason) {
        // RFC 9113 6.8 and 8.7: nothing was done with this stream.
        (true, true, _) | (true, _, Some(h2::Reason::REFUSED_STREAM)) => HeadError::Refused,
        (true, ..) => HeadError::Reset,
        _ => HeadError::Empty,
    }
}

impl Source for H2Server {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        let down = &mut self.down;
        if !down.chunk.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let over = down.poll_ahead(cx);
        if let Some(chunk) = down.ahead.pop() {
            down.chunk = chunk;
            return Poll::Ready(Ok(true));
        }
        ready!(over);
        Poll::Ready(match (down.broken, down.gone) {
            // RFC 9113 8.5: nothing but DATA belongs there.
            _ if down.trailers.is_some() && matches!(self.tunnel, Tunnel::Open) => {
                Err(SourceError::Gone)
            }
            (Some(reason), _) => Err(SourceError::Malformed(reason)),
            (None, true) => Err(SourceError::Gone),
            (None, false) => Ok(false),
        })
    }

    fn data(&self) -> &[u8] {
        &self.down.chunk
    }

    fn consume(&mut self, n: usize) {
        self.down.chunk.advance(n);
        self.down.took(n);
        if let Some(body) = &mut self.down.body {
            // The window is given back when the client has taken the bytes, not when they came.
            let _ = body.flow_control().release_capacity(n);
        }
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.down.trailers.as_ref()
    }
}

impl Sink for H2Server {
    /// Takes no byte for which the server has no window: it waits where it was read.
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let up = &mut self.up;
        if up.held.len() >= up.room {
            ready!(up.poll_room(data.len(), cx))?;
        }
        let n = data.len().min(up.room - up.held.len());
        up.held.extend_from_slice(&data[..n]);
        self.sent += n as u64;
        Poll::Ready(Ok(n))
    }

    fn finish(&mut self, trailers: Option<&Trailers>) {
        self.up.finished = true;
        if self.up.send.is_some() && !matches!(self.tunnel, Tunnel::Asked(_)) {
            self.up.end = Some(trailers.map(translate::trailers).unwrap_or_default());
        }
    }

    fn is_finished(&self) -> bool {
        self.up.finished
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = &mut self.up;
        let Some(end) = up.end.take() else {
            return Poll::Ready(up.send_held(false));
        };
        let last = end.is_empty();
        up.send_held(last)?;
        if let Some(send) = up.send.as_mut().filter(|_| !last) {
            send.send_trailers(end)
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Poll::Ready(Ok(()))
    }
}
