//! HTTP/1 bodies on a socket: read by their framing, written by their framing.

use std::io;
use std::num::NonZero;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use roundel_http1::{
    Block, ChunkDecoder, Decoded, Framing, Limits, Reason, Remaining, Trailers, chunk,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::blocks::{BLOCK, Blocks};
use crate::sides::SourceError;
use crate::splice::Pipe;
use crate::transport::Io;

/// Bytes that wait in a writer at most, so that a head and a small body leave in one call.
const WAITING: usize = BLOCK;
/// Body pieces from this size on are written from where they were read.
const DIRECT: usize = 4096;
/// Bytes read at once of a body known to be large.
const BULK: usize = 64 * 1024;
/// Bytes that come at once from which on it is worth a pipe that more may come so.
const FLOOD: usize = BLOCK / 2;

/// Reads what is there into `block`, which has or gets room below `limit` bytes of storage.
///
/// Returns 0 at the end of the stream. Waits for ever when there is no room, so callers make
/// sure that there is some or that something else will wake them.
pub(crate) fn poll_fill(
    stream: &mut Io,
    block: &mut Block,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if !block.make_room(limit) {
        return Poll::Pending;
    }
    let mut room = ReadBuf::new(block.spare_mut());
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    let n = room.filled().len();
    block.advance(n);
    Poll::Ready(Ok(n))
}

/// Finds the bytes of one body in what is read from a connection.
#[derive(Debug, Default)]
pub(crate) struct BodyReader {
    kind: Kind,
    /// Bytes of body at the front of the block.
    ready: usize,
    /// Nothing is read into more than a block.
    sparing: bool,
}

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Done,
    Length(Remaining),
    Chunked(Box<ChunkDecoder>),
    UntilClose,
    /// Whatever comes. Pipes are worth while as long as it comes in bulk, which the small messages of
    /// most tunnels do not.
    Raw {
        bulk: bool,
    },
}

impl BodyReader {
    pub(crate) fn new(framing: Framing, limits: &Limits) -> Self {
        let kind = match framing {
            Framing::Empty | Framing::Length(0) | Framing::Frames => Kind::Done,
            Framing::Length(n) => Kind::Length(Remaining::new(n)),
            Framing::Chunked => Kind::Chunked(Box::new(ChunkDecoder::new(limits))),
            Framing::UntilClose => Kind::UntilClose,
        };
        Self {
            kind,
            ..Self::default()
        }
    }

    /// Reads whatever comes until the peer ends its side.
    pub(crate) fn raw() -> Self {
        Self {
            kind: Kind::Raw { bulk: false },
            ..Self::default()
        }
    }

    /// Reads a block at a time: what is read waits for a client among many of its connection.
    pub(crate) fn spare(&mut self) {
        self.sparing = true;
    }

    /// Whether the body has ended exactly where its framing said, so that what follows in the
    /// block is another message.
    pub(crate) fn is_done(&self) -> bool {
        match &self.kind {
            Kind::Done => true,
            Kind::Length(left) => left.is_done(),
            Kind::Chunked(decoder) => decoder.is_done(),
            Kind::UntilClose | Kind::Raw { .. } => false,
        }
    }

    /// Whether the body cannot become whole if nothing follows what is in `block`.
    pub(crate) fn is_cut(&self, block: &Block) -> bool {
        matches!(&self.kind, Kind::Length(left) if left.left() > block.len() as u64)
    }

    /// How many bytes of the body can be taken from the socket unseen: none while there are some
    /// in the block, or where its coding must be read.
    pub(crate) fn unseen(&self, block: &Block) -> u64 {
        match &self.kind {
            _ if !block.is_empty() => 0,
            Kind::Length(left) => left.left(),
            Kind::UntilClose | Kind::Raw { bulk: true } => u64::MAX,
            Kind::Chunked(_) | Kind::Done | Kind::Raw { bulk: false } => 0,
        }
    }

    /// Says that `n` bytes of [`Self::unseen`] were taken.
    pub(crate) fn took(&mut self, n: usize) {
        match &mut self.kind {
            Kind::Length(left) => left.take(n as u64),
            Kind::Raw { bulk } => *bulk = n >= FLOOD,
            Kind::Chunked(_) | Kind::Done | Kind::UntilClose => {}
        }
    }

    /// As [`crate::sides::Source::poll_data`]; `read` grows by what came from the socket.
    pub(crate) fn poll_data(
        &mut self,
        stream: &mut Io,
        block: &mut Block,
        read: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, SourceError>> {
        loop {
            if self.ready > 0 {
                return Poll::Ready(Ok(true));
            }
            match self.step(block).map_err(SourceError::Malformed)? {
                Step::Data(n) => self.ready = n,
                Step::End => return Poll::Ready(Ok(false)),
                Step::More => {
                    self.prepare(block);
                    if !block.make_room(BULK) {
                        // A large head is pinned before it, or trailers are awaited whole; both
                        // are limited, so this is too.
                        block.reserve(DIRECT);
                    }
                    let filled = ready!(poll_fill(stream, block, usize::MAX, cx));
                    let n = filled.map_err(|_| SourceError::Gone)?;
                    *read += n as u64;
                    if n == 0 {
                        return Poll::Ready(self.at_end());
                    }
                    if let Kind::Raw { bulk } = &mut self.kind {
                        *bulk = n >= FLOOD;
                    }
                }
            }
        }
    }

    /// Takes `n` bytes from the front of the block.
    pub(crate) fn consume(&mut self, block: &mut Block, n: usize) {
        block.consume(n);
        self.ready -= n;
        match &mut self.kind {
            Kind::Length(left) => left.take(n as u64),
            Kind::Chunked(decoder) => decoder.took(n),
            Kind::Done | Kind::UntilClose | Kind::Raw { .. } => {}
        }
    }

    /// The bytes of body at the front of the block.
    pub(crate) fn data<'b>(&self, block: &'b Block) -> &'b [u8] {
        &block.filled()[..self.ready]
    }

    pub(crate) fn trailers(&self) -> Option<&Trailers> {
        match &self.kind {
            Kind::Chunked(decoder) => decoder.trailers(),
            _ => None,
        }
    }

    fn step(&mut self, block: &mut Block) -> Result<Step, Reason> {
        match &mut self.kind {
            Kind::Done => Ok(Step::End),
            Kind::Length(left) if left.is_done() => Ok(Step::End),
            Kind::Length(left) => Ok(Step::of(left.clip(block.len()))),
            Kind::UntilClose | Kind::Raw { .. } => Ok(Step::of(block.len())),
            Kind::Chunked(decoder) => {
                let (skip, step) = match decoder.decode(block.filled())? {
                    Decoded::More { skip } => (skip, Step::More),
                    Decoded::Data { skip, len } => (skip, Step::Data(len)),
                    Decoded::End { skip } => (skip, Step::End),
                };
                block.consume(skip);
                Ok(step)
            }
        }
    }

    /// Makes room for a large read when more than a block is known to come.
    fn prepare(&self, block: &mut Block) {
        if let Kind::Length(left) = self.kind
            && left.left() > BULK as u64
            && block.capacity() < BULK
            && block.is_empty()
            && !self.sparing
        {
            block.reserve(BULK);
        }
    }

    /// Judges the end of the stream.
    fn at_end(&mut self) -> Result<bool, SourceError> {
        if matches!(self.kind, Kind::UntilClose | Kind::Raw { .. }) {
            self.kind = Kind::Done;
            return Ok(false);
        }
        Err(SourceError::Gone)
    }
}

enum Step {
    Data(usize),
    More,
    End,
}

impl Step {
    fn of(available: usize) -> Self {
        match available {
            0 => Self::More,
            n => Self::Data(n),
        }
    }
}

/// Writes heads and one body to a connection.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What waits to be written.
    pub(crate) out: Block,
    /// What follows it.
    pipe: Option<Pipe>,
    coding: Coding,
    finished: bool,
    /// Bytes written to the socket.
    pub(crate) written: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Exactly this many bytes are still to come.
    Plain(u64),
    Chunked,
    UntilClose,
}

impl Writer {
    pub(crate) fn new(out: Block) -> Self {
        Self {
            out,
            pipe: None,
            coding: Coding::Plain(0),
            finished: false,
            written: 0,
        }
    }

    /// Sets how the body is written that follows the head in `out`.
    pub(crate) fn begin(&mut self, framing: Framing) {
        self.finished = false;
        self.coding = match framing {
            Framing::Empty => Coding::Plain(0),
            Framing::Length(n) => Coding::Plain(n),
            Framing::Chunked | Framing::Frames => Coding::Chunked,
            Framing::UntilClose => Coding::UntilClose,
        };
    }

    /// As [`crate::sides::Sink::poll_push`]. Errors: more bytes than the head announced.
    pub(crate) fn poll_push(
        &mut self,
        stream: &mut Io,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Coding::Plain(left) = self.coding
            && left < data.len() as u64
        {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.pipe.is_some() || self.out.len() + chunk_overhead(self.coding) >= WAITING {
            ready!(self.poll_flush(stream, cx))?;
        }
        let direct = data.len() >= DIRECT && self.coding != Coding::Chunked;
        let n = if direct && self.out.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, data))
                .and_then(not_zero)
                .inspect(|n| self.written += *n as u64)?
        } else if let Some(n) = direct.then(|| self.send_with(stream, data)).flatten() {
            n.get()
        } else {
            let room = WAITING - self.out.len() - chunk_overhead(self.coding);
            let n = data.len().min(room);
            match self.coding {
                Coding::Chunked => chunk::put_data(&data[..n], &mut self.out),
                _ => self.out.put(&data[..n]),
            }
            n
        };
        if let Coding::Plain(left) = &mut self.coding {
            *left -= n as u64;
        }
        Poll::Ready(Ok(n))
    }

    /// Sends the head of a message and what is there of its body in one call, the body from where
    /// it was read. `None` when no byte of the body has left; what went wrong is found again.
    fn send_with(&mut self, stream: &mut Io, data: &[u8]) -> Option<NonZero<usize>> {
        if self.written > 0 {
            return None;
        }
        let sent = stream.send_both(self.out.filled(), data).ok()?;
        self.written += sent as u64;
        let head = sent.min(self.out.len());
        self.out.consume(head);
        NonZero::new(sent - head)
    }

    /// As [`crate::sides::Sink::room`].
    pub(crate) fn room(&self) -> u64 {
        match self.coding {
            Coding::Plain(left) => left,
            Coding::UntilClose => u64::MAX,
            Coding::Chunked => 0,
        }
    }

    /// As [`crate::sides::Sink::push_pipe`].
    pub(crate) fn push_pipe(&mut self, pipe: Pipe) {
        if let Coding::Plain(left) = &mut self.coding {
            *left -= pipe.held() as u64;
        }
        self.pipe = Some(pipe);
    }

    /// As [`crate::sides::Sink::held`].
    pub(crate) fn held(&self) -> u64 {
        self.pipe.as_ref().map_or(0, |pipe| pipe.held() as u64)
    }

    /// Gives the buffer back if nothing waits in it.
    pub(crate) fn rest(&mut self, blocks: &Blocks) {
        if self.is_empty() {
            blocks.give(&mut self.out);
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.pipe.is_none()
    }

    pub(crate) fn finish(&mut self, trailers: Option<&Trailers>) {
        self.finished = true;
        if self.coding == Coding::Chunked {
            chunk::put_end(trailers, &mut self.out);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the end of the body can be told from the connection's breaking.
    pub(crate) fn is_self_delimited(&self) -> bool {
        self.coding != Coding::UntilClose
    }

    pub(crate) fn poll_flush(
        &mut self,
        stream: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // The first bytes of a message find room, so the socket is asked rather than the reactor;
        // whatever it refuses for is found again below.
        if self.written == 0
            && !self.out.is_empty()
            && let Ok(n) = stream.send(self.out.filled())
        {
            self.out.consume(n);
            self.written += n as u64;
        }
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, self.out.filled()));
            let n = written.and_then(not_zero)?;
            self.out.consume(n);
            self.written += n as u64;
        }
        if let Some(pipe) = &mut self.pipe {
            let socket = stream.as_plain().ok_or(io::ErrorKind::Unsupported)?;
            let held = pipe.held();
            let drained = pipe.poll_drain(socket, cx);
            self.written += (held - pipe.held()) as u64;
            ready!(drained)?;
            self.pipe = None;
        }
        Pin::new(stream).poll_flush(cx)
    }
}

/// Bytes that a chunk needs beside its data: a size line of eight digits and two line ends.
fn chunk_overhead(coding: Coding) -> usize {
    match coding {
        Coding::Chunked => 12,
        _ => 0,
    }
}

fn not_zero(n: usize) -> io::Result<usize> {
    match n {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}
