//! A server in memory whose connections carry several exchanges at a time: for tests, as HTTP/2 will.

use std::cell::Cell;
use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use roundel_http1::{Edits, Limits, Method, RequestHead, ResponseHead, Trailers};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::HeadError;
use crate::blocks::Blocks;
use crate::sides::{Sink, Source, SourceError};

/// What goes over a stream, either way.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The target of a request.
    Target(String),
    /// The status of an answer, and whether a body follows.
    Status(u16, bool),
    Data(Bytes),
    End,
}

/// One connection; the server's end of each stream goes to whoever made it.
#[derive(Debug)]
pub(crate) struct Connection {
    state: Rc<State>,
    accepted: UnboundedSender<Accepted>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Streams that may be open at once.
    most: usize,
    pub(crate) open: Cell<usize>,
    /// No further stream is taken.
    pub(crate) leaves: Cell<bool>,
}

/// The server's end of a stream.
#[derive(Debug)]
pub(crate) struct Accepted {
    from: UnboundedReceiver<Piece>,
    to: UnboundedSender<Piece>,
}

/// The balancer's end of a stream; its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    state: Rc<State>,
    pub(super) head: Box<ResponseHead>,
    from: UnboundedReceiver<Piece>,
    to: UnboundedSender<Piece>,
    chunk: Bytes,
    ended: bool,
    finished: bool,
    /// The request asks for a switch: its end is held back until the answer says whether it gets one.
    asks_switch: bool,
    sent: u64,
    received: u64,
    pub(super) reused: bool,
}

impl Connection {
    pub(crate) fn new(most: usize) -> (Self, Rc<State>, UnboundedReceiver<Accepted>) {
        let (accepted, streams) = mpsc::unbounded_channel();
        let state = Rc::new(State {
            most,
            open: Cell::new(0),
            leaves: Cell::new(false),
        });
        let made = Self {
            state: state.clone(),
            accepted,
        };
        (made, state, streams)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.state.leaves.get()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.open.get() == 0
    }

    pub(super) fn open(&self) -> Option<Stream> {
        if !self.is_open() || self.state.open.get() == self.state.most {
            return None;
        }
        let (to, their_from) = mpsc::unbounded_channel();
        let (their_to, from) = mpsc::unbounded_channel();
        let accepted = Accepted {
            from: their_from,
            to: their_to,
        };
        self.accepted.send(accepted).ok()?;
        self.state.open.update(|n| n + 1);
        Some(Stream {
            state: self.state.clone(),
            head: Box::default(),
            from,
            to,
            chunk: Bytes::new(),
            ended: false,
            finished: false,
            asks_switch: false,
            sent: 0,
            received: 0,
            reused: true,
        })
    }
}

impl Accepted {
    /// What came next, in a few letters.
    pub(crate) async fn next(&mut self) -> String {
        match self.from.recv().await {
            Some(Piece::Target(target)) => target,
            Some(Piece::Data(data)) => String::from_utf8(data.to_vec()).unwrap(),
            Some(Piece::End) => "end".to_owned(),
            Some(piece @ Piece::Status(..)) => panic!("{piece:?} from a client"),
            None => "gone".to_owned(),
        }
    }

    pub(crate) fn say(&self, piece: Piece) {
        let _ = self.to.send(piece);
    }

    pub(crate) fn data(&self, data: &'static str) {
        self.say(Piece::Data(Bytes::from_static(data.as_bytes())));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.open.update(|n| n - 1);
    }
}

impl Stream {
    pub(super) fn put_proxy_header(&mut self, _: &[u8]) {
        panic!("a connection of many cannot speak for one client");
    }

    pub(super) fn send_head(
        &mut self,
        head: &RequestHead,
        _: &Edits,
        _: Option<&[u8]>,
        _: SocketAddr,
    ) {
        let target = String::from_utf8_lossy(head.target()).into_owned();
        let _ = self.to.send(Piece::Target(target));
        self.asks_switch = head.upgrade().is_some();
        self.sent += 1;
    }

    pub(super) fn rest_writer(&mut self, _: &Blocks) {}

    pub(super) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    pub(super) fn has_answered(&self) -> bool {
        self.received > 0
    }

    pub(super) fn progress(&self) -> u64 {
        self.sent + self.received
    }

    pub(super) fn spare(&mut self) {}

    pub(super) fn head_progress(&self) -> u64 {
        self.progress()
    }

    pub(super) fn poll_head(
        &mut self,
        method: Method,
        _: &Limits,
        _: &Blocks,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HeadError>> {
        let Some(Piece::Status(status, has_body)) = ready!(self.from.poll_recv(cx)) else {
            return Poll::Ready(Err(match self.has_answered() {
                true => HeadError::Cut,
                false => HeadError::Empty,
            }));
        };
        self.received += 1;
        if status >= 200 && take(&mut self.asks_switch) {
            let _ = self.to.send(Piece::End);
        }
        self.head.begin(status);
        let finished = self.head.finish(method, has_body);
        Poll::Ready(finished.map_err(|fault| HeadError::Malformed(fault.reason)))
    }

    pub(super) fn switch(&mut self) {
        self.asks_switch = false;
        self.finished = false;
    }

    /// Being dropped is an end that nobody takes for another.
    pub(super) fn break_off(&mut self) {}

    /// The end of what is sent was the end of the side.
    pub(super) fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    pub(super) fn take_buffers(&mut self, _: &Blocks) {}

    pub(super) fn give_buffers(&mut self, _: &Blocks) {}

    pub(super) fn is_reusable(&self) -> bool {
        self.ended && self.finished
    }
}

impl Source for Stream {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        while self.chunk.is_empty() && !self.ended {
            match ready!(self.from.poll_recv(cx)) {
                Some(Piece::Data(data)) => self.chunk = data,
                Some(Piece::End) => self.ended = true,
                _ => return Poll::Ready(Err(SourceError::Gone)),
            }
        }
        Poll::Ready(Ok(!self.chunk.is_empty()))
    }

    fn data(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        self.received += n as u64;
    }

    fn trailers(&self) -> Option<&Trailers> {
        None
    }
}

impl Sink for Stream {
    fn poll_push(&mut self, data: &[u8], _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let piece = Piece::Data(Bytes::copy_from_slice(data));
        let sent = self.to.send(piece);
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.sent += data.len() as u64;
        Poll::Ready(Ok(data.len()))
    }

    fn finish(&mut self, _: Option<&Trailers>) {
        self.finished = true;
        if !self.asks_switch {
            let _ = self.to.send(Piece::End);
        }
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
