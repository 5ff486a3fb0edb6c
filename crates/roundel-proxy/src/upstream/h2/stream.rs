//! A server of HTTP/2: one stream of a connection, as an exchange sees it.

use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use roundel_http1::{
    Edits, Framing, Known, Limits, Method, Reason, RequestHead, ResponseHead, Trailers,
};

use super::{Opened, Place, translate};
use crate::blocks::Blocks;
use crate::http2::ahead::Ahead;
use crate::http2::judged;
use crate::memory::{Memory, Share};
use crate::sides::{Sink, Source, SourceError};
use crate::upstream::HeadError;
use crate::websocket;

/// The largest frame of a body: what every server takes (RFC 9113 6.5.2).
const FRAME: usize = 16 * 1024;
/// Bytes of the server's window that are reserved at once for small pieces.
const RESERVE: usize = 4 * 1024;

/// Bytes of memory that are taken at once for what waits.
const STEP: u64 = 16 * 1024;

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

/// The body of the request on its way.
#[derive(Debug, Default)]
struct Up {
    /// `None` where the head was all.
    send: Option<SendStream<Bytes>>,
    /// Bytes that wait for more: small pieces go out together.
    held: Vec<u8>,
    /// How many may be held: so much of the window is reserved.
    room: usize,
    /// The trailers with which the stream ends once nothing is held any more.
    end: Option<HeaderMap>,
    finished: bool,
}

/// The body of the answer.
#[derive(Debug, Default)]
struct Down {
    body: Option<RecvStream>,
    chunk: Bytes,
    /// What follows it and was taken from the connection already.
    ahead: Ahead,
    trailers: Option<Trailers>,
    /// It has ended, or broken; of that follows, behind what came before.
    ended: bool,
    broken: Option<Reason>,
    gone: bool,
    /// Bytes of a body of known length that have not come.
    left: Option<u64>,
    limits: Limits,
    /// Bytes that were taken from the connection and not by the client.
    waiting: u64,
    /// What those take of the memory, where the client is one of many on its connection.
    memory: Option<Arc<Memory>>,
    share: Option<Share>,
    /// Bytes that the share is enough for.
    covered: u64,
    /// Bytes that have come, a head for one.
    received: u64,
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

impl Up {
    /// Gets room for at least one of `more` bytes, within the server's window and what may wait for
    /// the connection; sends what is held where that has to go first.
    fn poll_room(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = self.held.len();
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        // Room for some pieces at once, since each asking costs; yet not for all that may come, for
        // what is reserved is kept from the other streams.
        send.reserve_capacity((held + more.max(RESERVE)).min(FRAME));
        self.room = send.capacity().min(FRAME);
        if self.room > held {
            return Poll::Ready(Ok(()));
        }
        self.send_held(false)?;
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        send.reserve_capacity(more.min(FRAME));
        self.room = match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(Ok(room)) => room.min(FRAME),
                Some(Err(_)) | None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => room.min(FRAME),
        };
        if self.room == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands what is held to the connection's task, which sends it, and lets go of the rest of the
    /// room. With `last` the stream ends with it.
    fn send_held(&mut self, last: bool) -> io::Result<()> {
        let room = take(&mut self.room);
        if self.held.is_empty() && !last {
            return Ok(());
        }
        let Some(send) = &mut self.send else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let bytes = Bytes::from(take(&mut self.held));
        let held = bytes.len();
        send.send_data(bytes, last)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        if room > held && !last {
            send.reserve_capacity(0);
        }
        Ok(())
    }
}

impl Down {
    /// Takes what has come of the body, whether its client takes any or not: what waits in `h2` counts
    /// for the whole connection. The stream's window is not given back, so this ends.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(body) = self.body.as_mut().filter(|_| !self.ended) else {
                return Poll::Ready(());
            };
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    let n = piece.len() as u64;
                    self.received += n;
                    self.left = self.left.map(|left| left.saturating_sub(n));
                    self.ahead.push(piece);
                    self.waiting += n;
                    if !self.is_covered() {
                        // Its stream ends before others have to.
                        (self.ended, self.gone) = (true, true);
                        self.ahead = Ahead::default();
                        return Poll::Ready(());
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    // HAProxy resets with CANCEL behind an answer that is whole.
                    self.gone = match self.left {
                        Some(left) => left > 0,
                        None => !is_end(&error),
                    };
                    if error.is_library() {
                        self.broken = Some(Reason::Truncated);
                    }
                    return Poll::Ready(());
                }
                None => {
                    match ready!(body.poll_trailers(cx)) {
                        Ok(None) => {}
                        Ok(Some(map)) => match judged(&map, &self.limits) {
                            Ok(trailers) => self.trailers = Some(trailers),
                            Err(reason) => self.broken = Some(reason),
                        },
                        Err(error) => self.gone = !is_end(&error),
                    }
                    self.ended = true;
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl Down {
    /// Takes memory for what waits, if that is more than a block.
    fn is_covered(&mut self) -> bool {
        let Some(memory) = self.memory.as_ref().filter(|_| self.waiting > self.covered) else {
            return true;
        };
        // The first block is in what each stream takes at its beginning.
        let more = self.waiting.next_multiple_of(STEP) - self.covered.max(STEP);
        let taken = match (&mut self.share, more) {
            (_, 0) => true,
            (Some(share), more) => share.grow(more),
            (None, more) => {
                self.share = Share::take(memory, more);
                self.share.is_some()
            }
        };
        self.covered = self.waiting.next_multiple_of(STEP);
        taken
    }

    /// Notes that the client has taken some of what waits.
    fn took(&mut self, n: usize) {
        self.waiting -= n as u64;
        if self.waiting == 0 && self.covered > STEP {
            (self.share, self.covered) = (None, 0);
        }
    }
}

/// Whether a stream has ended well by this: a server resets it so that no more of the request comes,
/// once all of the answer has gone out (RFC 9113 8.1).
fn is_end(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::NO_ERROR)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_beyond_a_block_is_taken_from_the_memory_and_given_back() {
        let memory = Arc::new(Memory::new(3 * STEP));
        let used = || memory.status().used;
        let mut down = Down {
            memory: Some(memory.clone()),
            ..Down::default()
        };
        let wait = |down: &mut Down, n: u64| {
            down.waiting += n;
            down.is_covered()
        };
        assert!(wait(&mut down, STEP));
        assert_eq!(used(), 0);
        assert!(wait(&mut down, 1));
        assert_eq!(used(), STEP);
        assert!(wait(&mut down, 2 * STEP));
        assert_eq!(used(), 3 * STEP);
        assert!(!wait(&mut down, STEP));
        let all = usize::try_from(down.waiting).unwrap();
        down.took(all - 1);
        assert_eq!(used(), 3 * STEP);
        down.took(1);
        assert_eq!(used(), 0);
        assert!(wait(&mut down, 2 * STEP));
        assert_eq!(used(), STEP);
        down.memory = None;
        assert!(wait(&mut down, 99 * STEP));
    }
}
