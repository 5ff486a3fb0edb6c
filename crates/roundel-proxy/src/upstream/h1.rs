//! A server of HTTP/1: the request written to a connection, and the answer read from it.

use std::io;
use std::mem::replace;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use roundel_http1::{
    Edits, Framing, Limits, Method, Persist, Progress, Reason, RequestHead, RequestPlan,
    ResponseHead, Trailers, write_request,
};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::HeadError;
use crate::blocks::Blocks;
use crate::body::{BodyReader, Writer, poll_fill};
use crate::sides::{Sink, Source, SourceError};
use crate::splice::Pipe;
use crate::transport::Io;
use crate::websocket::Key;

/// One attempt on a connection of its own.
#[derive(Debug)]
pub(crate) struct H1Server {
    stream: Io,
    pub(super) head: Box<ResponseHead>,
    writer: Writer,
    body: BodyReader,
    /// Bytes read from the connection.
    read: u64,
    /// The connection had carried a request before.
    pub(super) reused: bool,
    /// The answer was waited for once already.
    waited: bool,
    /// What a 101 has to prove to have read.
    key: Option<Box<Key>>,
}

impl H1Server {
    pub(super) fn new(stream: Io, reused: bool, blocks: &Blocks) -> Self {
        Self {
            stream,
            head: blocks.take_response(),
            writer: Writer::new(blocks.take()),
            body: BodyReader::default(),
            read: 0,
            reused,
            waited: false,
            key: None,
        }
    }

    pub(super) fn put_proxy_header(&mut self, header: &[u8]) {
        self.writer.out.put(header);
    }

    pub(super) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &Edits,
        host: Option<&[u8]>,
        address: SocketAddr,
    ) {
        let mut plan = RequestPlan::new(head);
        if head.upgrade().is_some() && head.framing().is_empty() {
            plan.persist = Persist::Upgrade;
        }
        if head.is_extended_connect() {
            self.key = Some(Box::new(Key::new(fastrand::u128(..))));
        }
        plan.websocket_key = self.key.as_deref().map(Key::as_bytes);
        plan.te_trailers = head.takes_trailers();
        plan.host = host;
        let fallback;
        if plan.host.or(head.host()).is_none() {
            fallback = address.to_string();
            plan.fallback_host = fallback.as_bytes();
            let framing = write_request(head, &plan, edits, &mut self.writer.out);
            return self.writer.begin(framing);
        }
        let framing = write_request(head, &plan, edits, &mut self.writer.out);
        self.writer.begin(framing);
    }

    pub(super) fn has_sent(&self) -> bool {
        self.writer.written > 0
    }

    pub(super) fn has_answered(&self) -> bool {
        self.read > 0
    }

    pub(super) fn progress(&self) -> u64 {
        self.writer.written + self.read
    }

    pub(super) fn head_progress(&self) -> u64 {
        let part = self.head.block.len() as u64;
        self.writer.written + self.read - part.saturating_sub(1)
    }

    pub(super) fn poll_head(
        &mut self,
        method: Method,
        limits: &Limits,
        blocks: &Blocks,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HeadError>> {
        if self.head.block.capacity() == 0 {
            // Right behind the request there is no answer; once woken there nearly always is.
            if !replace(&mut self.waited, true) {
                let _ = ready!(self.stream.poll_readable(cx));
            }
            self.head.block = blocks.take();
        }
        let read = self.poll_read_head(method, limits, cx);
        if read.is_pending() && self.read == 0 {
            blocks.give(&mut self.head.block);
        }
        read
    }

    fn poll_read_head(
        &mut self,
        method: Method,
        limits: &Limits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HeadError>> {
        loop {
            match self.head.parse(limits, method) {
                Ok(Progress::Complete) => {
                    if self.head.is_switching()
                        && let Some(key) = &self.key
                        && !key.is_proven_by(&self.head)
                    {
                        let reason = Reason::WebSocketAccept;
                        return Poll::Ready(Err(HeadError::Malformed(reason)));
                    }
                    if !self.head.is_interim() {
                        self.body = BodyReader::new(self.head.framing(), limits);
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Progress::Partial) => {}
                Err(fault) => return Poll::Ready(Err(HeadError::Malformed(fault.reason))),
            }
            // One byte more than a head may have, so that the parser sees that it is too large.
            let limit = limits.head + 1;
            let filled = ready!(poll_fill(&mut self.stream, &mut self.head.block, limit, cx));
            match filled {
                Ok(n) if n > 0 => self.read += n as u64,
                _ if self.read == 0 => return Poll::Ready(Err(HeadError::Empty)),
                _ => return Poll::Ready(Err(HeadError::Cut)),
            }
        }
    }

    pub(super) fn is_reusable(&self) -> bool {
        self.writer.is_finished()
            && self.writer.is_empty()
            && self.body.is_done()
            && self.head.keep_alive()
            && self.head.block.is_empty()
    }

    pub(super) fn rest_writer(&mut self, blocks: &Blocks) {
        self.writer.rest(blocks);
    }

    pub(super) fn spare(&mut self) {
        self.body.spare();
    }

    /// Goes on with whatever comes; lets the head go.
    pub(super) fn switch(&mut self) {
        self.head.reset();
        self.body = BodyReader::raw();
        self.writer.begin(Framing::UntilClose);
    }

    pub(super) fn break_off(&mut self) {
        self.stream.break_off();
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    pub(super) fn take_buffers(&mut self, blocks: &Blocks) {
        for block in [&mut self.head.block, &mut self.writer.out] {
            if block.capacity() == 0 {
                *block = blocks.take();
            }
        }
    }

    pub(super) fn give_buffers(&mut self, blocks: &Blocks) {
        if self.head.block.is_empty() {
            blocks.give(&mut self.head.block);
        }
        self.writer.rest(blocks);
    }

    /// Gives the buffers back and keeps the connection.
    pub(super) fn into_io(mut self, blocks: &Blocks) -> Io {
        blocks.give_response(self.head);
        blocks.give(&mut self.writer.out);
        self.stream
    }
}

impl Source for H1Server {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        self.body
            .poll_data(&mut self.stream, &mut self.head.block, &mut self.read, cx)
    }

    fn data(&self) -> &[u8] {
        self.body.data(&self.head.block)
    }

    fn consume(&mut self, n: usize) {
        self.body.consume(&mut self.head.block, n);
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.body.trailers()
    }

    fn unseen(&self) -> Option<(&TcpStream, u64)> {
        Some((self.stream.as_plain()?, self.body.unseen(&self.head.block)))
    }

    fn took(&mut self, n: usize) {
        self.body.took(n);
        self.read += n as u64;
    }
}

impl Sink for H1Server {
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.writer.poll_push(&mut self.stream, data, cx)
    }

    fn finish(&mut self, trailers: Option<&Trailers>) {
        self.writer.finish(trailers);
    }

    fn is_finished(&self) -> bool {
        self.writer.is_finished()
    }

    fn room(&self) -> u64 {
        self.stream.as_plain().map_or(0, |_| self.writer.room())
    }

    fn push_pipe(&mut self, pipe: Pipe) {
        self.writer.push_pipe(pipe);
    }

    fn held(&self) -> u64 {
        self.writer.held()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(&mut self.stream, cx)
    }
}
