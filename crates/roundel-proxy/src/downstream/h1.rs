//! An HTTP/1 client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use roundel_http1::{
    Block, Edits, Framing, Limits, Persist, RequestHead, ResponseHead, ResponsePlan, Trailers,
    Version, write_response,
};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use crate::blocks::{BLOCK, Blocks};
use crate::body::{BodyReader, Writer, poll_fill};
use crate::sides::{Downstream, End, Presence, Sink, Source, SourceError};
use crate::splice::Pipe;
use crate::transport::Io;

/// One request of an HTTP/1 client and the answer to it.
pub(crate) struct H1Client<'c> {
    pub(crate) stream: &'c mut Io,
    pub(crate) head: Box<RequestHead>,
    /// Has storage from the first head of an answer on.
    pub(crate) writer: Writer,
    blocks: &'c Blocks,
    body: BodyReader,
    /// Body bytes read from the socket since the head.
    pub(crate) read: u64,
    /// The client has finished sending.
    pub(crate) finished_sending: bool,
    /// An answer was begun.
    pub(crate) committed: bool,
    /// The answer says that the connection ends with it.
    pub(crate) last: bool,
    /// The answer was broken off.
    pub(crate) aborted: bool,
}

impl<'c> H1Client<'c> {
    pub(crate) fn new(
        stream: &'c mut Io,
        head: Box<RequestHead>,
        limits: &Limits,
        blocks: &'c Blocks,
    ) -> Self {
        Self {
            body: BodyReader::new(head.framing(), limits),
            stream,
            head,
            writer: Writer::new(Block::new()),
            blocks,
            read: 0,
            finished_sending: false,
            committed: false,
            last: false,
            aborted: false,
        }
    }

    /// Makes an end of a tunnel of a client whose connection was switched; `writer` holds what is to
    /// be flushed to it yet.
    pub(crate) fn switched(
        stream: &'c mut Io,
        head: Box<RequestHead>,
        mut writer: Writer,
        blocks: &'c Blocks,
    ) -> Self {
        writer.begin(Framing::UntilClose);
        Self {
            body: BodyReader::raw(),
            stream,
            head,
            writer,
            blocks,
            read: 0,
            finished_sending: false,
            committed: true,
            last: true,
            aborted: false,
        }
    }

    /// Whether the whole request was read, so that what follows is another one.
    pub(crate) fn is_request_done(&self) -> bool {
        self.body.is_done()
    }

    /// The buffer of what goes to the client.
    fn out(&mut self) -> &mut Block {
        let out = &mut self.writer.out;
        if out.capacity() == 0 {
            *out = self.blocks.take();
        }
        out
    }

    fn plan(&self, head: &ResponseHead, last: bool) -> ResponsePlan {
        plan(
            self.head.version(),
            self.head.keep_alive() && !last,
            head.framing(),
            head.is_switching(),
        )
    }
}

/// Decides how an answer is framed for a client, and what it is told about its connection.
///
/// Clients of HTTP/1.0 cannot read chunks: their body ends with the connection.
/// Source: RFC 9112 6.1, 9.3.
fn plan(version: Version, keep: bool, framing: Framing, switching: bool) -> ResponsePlan {
    let old = version == Version::Http10;
    let framing = match framing {
        Framing::Empty | Framing::Length(_) => framing,
        _ if old => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let persist = match keep && framing != Framing::UntilClose {
        _ if switching => Persist::Upgrade,
        false => Persist::Close,
        true if old => Persist::KeepAlive,
        true => Persist::Silent,
    };
    ResponsePlan { framing, persist }
}

impl Source for H1Client<'_> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        self.body
            .poll_data(self.stream, &mut self.head.block, &mut self.read, cx)
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

impl Sink for H1Client<'_> {
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.writer.poll_push(self.stream, data, cx)
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
        self.writer.poll_flush(self.stream, cx)
    }
}

impl End for H1Client<'_> {
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    fn take_buffers(&mut self, _: &Blocks) {
        self.out();
    }

    /// The head stays, for the log's sake, and its block with it.
    fn give_buffers(&mut self, blocks: &Blocks) {
        self.writer.rest(blocks);
    }
}

impl Downstream for H1Client<'_> {
    const MULTIPLEXED: bool = false;

    fn head(&self) -> &RequestHead {
        &self.head
    }

    fn interim(&mut self, head: &ResponseHead, edits: &Edits) {
        // RFC 9110 15.2: never to a client of HTTP/1.0.
        if self.head.version() == Version::Http11 {
            let plan = ResponsePlan {
                framing: Framing::Empty,
                persist: Persist::Silent,
            };
            write_response(head, &plan, edits, self.out());
        }
    }

    fn commit(&mut self, head: &ResponseHead, edits: &Edits, last: bool) {
        let plan = self.plan(head, last);
        let framing = write_response(head, &plan, edits, self.out());
        self.writer.begin(framing);
        self.committed = true;
        self.last = !matches!(plan.persist, Persist::Silent | Persist::KeepAlive);
    }

    fn poll_presence(&mut self, cx: &mut Context<'_>) -> Presence {
        if !self.finished_sending && self.stream.poll_readable(cx).is_pending() {
            return Presence::There;
        }
        while !self.finished_sending && self.head.block.make_room(BLOCK) {
            // What comes here belongs to this request or the next; it waits in the block.
            match poll_fill(self.stream, &mut self.head.block, BLOCK, cx) {
                Poll::Ready(Ok(0)) => self.finished_sending = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Presence::Gone,
                Poll::Pending => return Presence::There,
            }
        }
        // Reading would tell of a reset only behind what waits before it.
        match self.stream.take_error() {
            Ok(None) if !self.finished_sending => Presence::Unheard,
            Ok(None) if !self.body.is_cut(&self.head.block) => Presence::Finished,
            _ => Presence::Gone,
        }
    }

    fn abort(&mut self) {
        self.aborted = true;
        if !self.writer.is_self_delimited() {
            self.stream.break_off();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_framed_for_their_reader() {
        use Framing::{Chunked, Empty, Length, UntilClose};
        use Persist::{Close, KeepAlive, Silent};
        use Version::{Http10, Http11};
        let check = |version, keep, framing, expected| {
            let plan = plan(version, keep, framing, false);
            assert_eq!(
                (plan.framing, plan.persist),
                expected,
                "{version:?} {keep} {framing:?}"
            );
        };
        check(Http11, true, Length(5), (Length(5), Silent));
        check(Http11, true, Chunked, (Chunked, Silent));
        check(Http11, true, UntilClose, (Chunked, Silent));
        check(Http11, false, UntilClose, (Chunked, Close));
        check(Http11, true, Empty, (Empty, Silent));
        check(Http10, true, Length(5), (Length(5), KeepAlive));
        check(Http10, true, Chunked, (UntilClose, Close));
        check(Http10, true, UntilClose, (UntilClose, Close));
        check(Http10, false, Empty, (Empty, Close));
    }
}
