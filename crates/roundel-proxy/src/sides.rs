//! The two narrow seams of the exchange: where a body comes from, and where it goes.
//!
//! Both sides of an exchange implement both: a request's body flows from the client to the
//! server, an answer's the other way, through the same relay.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use roundel_http1::{Edits, Reason, RequestHead, ResponseHead, Trailers};
use tokio::net::TcpStream;

use crate::blocks::Blocks;
use crate::splice::{Pipe, Pipes, WORTH};

/// Bytes that a relay moves at once at most; then it is the turn of the worker's other tasks.
const TURN: u64 = 1 << 20;

/// Where a body comes from.
pub(crate) trait Source {
    /// Makes bytes available: `true` means that [`Self::data`] has some, `false` that the body
    /// has ended exactly where its framing said.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>>;

    /// The bytes available.
    fn data(&self) -> &[u8];

    /// Takes the first `n` of [`Self::data`]; only then does the peer get room for more.
    fn consume(&mut self, n: usize);

    /// The trailers, once the body has ended.
    fn trailers(&self) -> Option<&Trailers>;

    /// The socket, and how many bytes of the body may be taken from it without a look at them.
    fn unseen(&self) -> Option<(&TcpStream, u64)> {
        None
    }

    /// Says that `n` bytes of [`Self::unseen`] were taken.
    fn took(&mut self, _n: usize) {}
}

/// Where a body goes. What is pushed may wait in a bounded buffer until it is flushed.
pub(crate) trait Sink {
    /// Takes some of `data`, at least one byte.
    fn poll_push(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Ends the body; called once.
    fn finish(&mut self, trailers: Option<&Trailers>);

    /// Whether the body was ended.
    fn is_finished(&self) -> bool;

    /// Whether it reads from a socket straight into what it sends.
    fn reads(&self) -> bool {
        false
    }

    /// Gets place for bytes that it reads so: for how many, at most `more`.
    fn poll_place(&mut self, _more: u64, _cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    /// Reads as many bytes once, for which there is place.
    fn read(&mut self, _socket: &TcpStream, _most: usize) -> io::Result<usize> {
        Ok(0)
    }

    /// How many bytes of the body may come in pipes.
    fn room(&self) -> u64 {
        0
    }

    /// Takes what is in a pipe, at most [`Self::room`]; everything before has been flushed.
    fn push_pipe(&mut self, _pipe: Pipe) {}

    /// Bytes that wait in a pipe.
    fn held(&self) -> u64 {
        0
    }

    /// Hands everything that was pushed to the peer's connection.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// One end of a tunnel: its body is whatever comes, until it closes its sending side.
pub(crate) trait End: Source + Sink {
    /// Closes the sending side, once everything was flushed.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes buffers, where it has none.
    fn take_buffers(&mut self, blocks: &Blocks);

    /// Gives those buffers back in which there is nothing: most tunnels rest most of the time.
    fn give_buffers(&mut self, blocks: &Blocks);
}

/// The client's side of one exchange.
pub(crate) trait Downstream: Source + Sink {
    /// The client's connection carries several exchanges at a time, and has a task of its own that
    /// hears the client.
    const MULTIPLEXED: bool;

    /// The request.
    fn head(&self) -> &RequestHead;

    /// Passes an interim answer on, if this client understands it.
    fn interim(&mut self, head: &ResponseHead, edits: &Edits);

    /// Begins the final answer; its body follows through [`Sink`].
    ///
    /// `last` says that nothing may follow this exchange on its connection.
    fn commit(&mut self, head: &ResponseHead, edits: &Edits, last: bool);

    /// Looks whether the client still waits for its answer.
    fn poll_presence(&mut self, cx: &mut Context<'_>) -> Presence;

    /// Breaks the answer off so that it cannot look whole.
    fn abort(&mut self);
}

/// What is known of a client that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is there; the task is woken when that changes.
    There,
    /// It is there, and has sent so much ahead that nothing tells when it leaves.
    Unheard,
    /// It has ended its side. Most wait for the answer all the same; nothing tells when it leaves.
    Finished,
    /// It is gone.
    Gone,
}

/// Why a body cannot be read to its end.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The peer closed or reset the connection too early.
    Gone,
    /// The coding of the body is broken, or the body is larger than allowed.
    Malformed(Reason),
}

/// Which side of a relay failed.
#[derive(Debug)]
pub(crate) enum RelayError {
    /// The body cannot be read.
    Source(SourceError),
    /// The peer takes no more; `TimedOut` when it had time enough.
    Sink(io::ErrorKind),
}

/// Whom a relay waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The source has nothing.
    ForSource,
    /// The sink takes nothing.
    ForSink,
}

/// What a relay has done so far.
#[derive(Debug)]
pub(crate) struct Relay<'p> {
    pipes: &'p Rc<Pipes>,
    /// The body goes through pipes.
    splices: bool,
    /// Body bytes moved.
    pub(crate) moved: u64,
    /// Whom it waited for when it was polled last.
    pub(crate) waits: Waits,
}

impl<'p> Relay<'p> {
    pub(crate) fn new(pipes: &'p Rc<Pipes>) -> Self {
        Self {
            pipes,
            splices: false,
            moved: 0,
            waits: Waits::ForSource,
        }
    }

    /// Moves a body until it has ended and is flushed.
    ///
    /// What is small goes out together: the sink is flushed only when the source pauses or ends.
    pub(crate) fn poll(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayError>> {
        if sink.is_finished() {
            return self.poll_flush(sink, cx);
        }
        let start = self.moved;
        loop {
            if self.moved - start > TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if ready!(self.poll_splice(source, sink, cx))? {
                continue;
            }
            if sink.reads() && ready!(self.poll_read(source, sink, cx))? {
                continue;
            }
            match source.poll_data(cx) {
                Poll::Ready(Ok(true)) => {
                    self.waits = Waits::ForSink;
                    let pushed = ready!(sink.poll_push(source.data(), cx));
                    let n = pushed.map_err(|error| RelayError::Sink(error.kind()))?;
                    source.consume(n);
                    self.moved += n as u64;
                }
                Poll::Ready(Ok(false)) => {
                    sink.finish(source.trailers());
                    return self.poll_flush(sink, cx);
                }
                Poll::Ready(Err(error)) => {
                    // What came before the break goes out if it can, so that the peer sees how
                    // far it got.
                    let _ = sink.poll_flush(cx);
                    return Poll::Ready(Err(RelayError::Source(error)));
                }
                Poll::Pending => {
                    ready!(self.poll_flush(sink, cx))?;
                    self.waits = Waits::ForSource;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Moves some of a body that nobody has to look at; ready with false when it is to be copied.
    ///
    /// What remains of a body that began to go this way goes this way, however little it is.
    fn poll_splice(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, RelayError>> {
        let least = if self.splices { 1 } else { WORTH };
        let Some((socket, unseen)) = source.unseen() else {
            return Poll::Ready(Ok(false));
        };
        let most = unseen.min(sink.room());
        if most < least {
            return Poll::Ready(Ok(false));
        }
        ready!(self.poll_flush(sink, cx))?;
        let Some(mut pipe) = self.pipes.take() else {
            return Poll::Ready(Ok(false));
        };
        self.waits = Waits::ForSource;
        let filled = ready!(pipe.poll_fill(socket, most, cx));
        let filled = filled.map_err(|_| RelayError::Source(SourceError::Gone))?;
        // The end is left to the source to judge.
        let Some(n @ 1..) = filled else {
            return Poll::Ready(Ok(false));
        };
        source.took(n);
        sink.push_pipe(pipe);
        self.splices = true;
        self.moved += n as u64;
        Poll::Ready(Ok(true))
    }

    /// Has the sink read some of a body that nobody has to look at; ready with false when it is to be
    /// pushed.
    fn poll_read(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, RelayError>> {
        loop {
            let Some((socket, unseen @ 1..)) = source.unseen() else {
                return Poll::Ready(Ok(false));
            };
            match socket.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                // The source finds out what has happened.
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(false)),
                Poll::Pending => {
                    ready!(self.poll_flush(sink, cx))?;
                    self.waits = Waits::ForSource;
                    return Poll::Pending;
                }
            }
            self.waits = Waits::ForSink;
            let place = ready!(sink.poll_place(unseen, cx))
                .map_err(|error| RelayError::Sink(error.kind()))?;
            match sink.read(socket, place) {
                Ok(n @ 1..) => {
                    source.took(n);
                    self.moved += n as u64;
                    return Poll::Ready(Ok(true));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The end is left to the source to judge.
                Ok(_) => return Poll::Ready(Ok(false)),
                // A socket tells a break once, and an end from then on: the source would take that for
                // the end of the body.
                Err(_) => {
                    let _ = sink.poll_flush(cx);
                    return Poll::Ready(Err(RelayError::Source(SourceError::Gone)));
                }
            }
        }
    }

    fn poll_flush(
        &mut self,
        sink: &mut impl Sink,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayError>> {
        self.waits = Waits::ForSink;
        sink.poll_flush(cx)
            .map_err(|error| RelayError::Sink(error.kind()))
    }
}
