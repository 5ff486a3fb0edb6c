//! The server's side of one attempt: an HTTP/1 connection and the answer read from it.

use std::io;
use std::mem::{replace, take};
use std::task::{Context, Poll, ready};

use roundel_http1::{Limits, Method, Progress, Reason, ResponseHead, Trailers};
use tokio::net::TcpStream;

use crate::blocks::Blocks;
use crate::body::{BodyReader, Writer, poll_fill};
use crate::sides::{Sink, Source, SourceError};
use crate::splice::Pipe;
use crate::transport::Io;

/// One attempt's connection to a server.
#[derive(Debug)]
pub(crate) struct H1Server {
    pub(crate) stream: Io,
    pub(crate) head: Box<ResponseHead>,
    pub(crate) writer: Writer,
    body: BodyReader,
    /// Bytes read from the socket.
    pub(crate) read: u64,
    /// The connection had carried a request before.
    pub(crate) reused: bool,
    /// The answer was waited for once already.
    waited: bool,
}

/// Why no head of an answer can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// The connection ended before the first byte.
    Empty,
    /// The connection ended in the middle of a head.
    Cut,
    /// The head is malformed.
    Malformed(Reason),
}

impl H1Server {
    pub(crate) fn new(stream: Io, reused: bool, blocks: &Blocks) -> Self {
        Self {
            stream,
            head: blocks.take_response(),
            writer: Writer::new(blocks.take()),
            body: BodyReader::default(),
            read: 0,
            reused,
            waited: false,
        }
    }

    /// Whether any byte of the request may have left.
    pub(crate) fn has_sent(&self) -> bool {
        self.writer.written > 0
    }

    /// Reads until a head is complete, interim or final; after a final one the body may be read.
    pub(crate) fn poll_head(
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
            blocks.give(take(&mut self.head.block));
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

    /// Whether request and answer both ended exactly, and the server keeps the connection.
    pub(crate) fn is_reusable(&self) -> bool {
        self.writer.is_finished()
            && self.writer.is_empty()
            && self.body.is_done()
            && self.head.keep_alive()
            && self.head.block.is_empty()
    }

    /// Gives the buffer back from which the request went out, once it is sent.
    pub(crate) fn rest_writer(&mut self, blocks: &Blocks) {
        if self.writer.is_empty() {
            blocks.give(take(&mut self.writer.out));
        }
    }

    /// Gives the buffers back and keeps the connection.
    pub(crate) fn into_stream(self, blocks: &Blocks) -> Io {
        blocks.give_response(self.head);
        blocks.give(self.writer.out);
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
