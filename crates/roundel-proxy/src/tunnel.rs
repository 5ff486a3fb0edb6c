//! A switched connection: bytes both ways, each end closing when it likes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use roundel_balance::Pick;
use roundel_http1::{Block, RequestHead};
use tokio::io::AsyncWrite;

use crate::blocks::BLOCK;
use crate::body::{Writer, poll_fill};
use crate::deadline::Deadline;
use crate::ending::Term;
use crate::exchange::Tunnelled;
use crate::peer::Connection;
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::splice::{Pipe, Pipes};
use crate::story::{Story, conclude};
use crate::transport::Io;
use crate::upstream::H1Server;
use crate::worker::InFlight;

/// Everything that a switched connection takes over from its exchange.
pub(crate) struct Tunnel {
    slot: Rc<BackendSlot>,
    server: H1Server,
    pick: Pick,
    head: Box<RequestHead>,
    /// Holds the head of the 101, not flushed yet.
    writer: Writer,
    story: Story,
    _in_flight: InFlight,
}

impl Tunnel {
    pub(crate) fn new(
        tunnelled: Tunnelled,
        head: Box<RequestHead>,
        writer: Writer,
        story: Story,
        in_flight: InFlight,
    ) -> Self {
        let Tunnelled {
            slot,
            server,
            mut pick,
        } = tunnelled;
        pick.begin_tunnel();
        Self {
            slot,
            server,
            pick,
            head,
            writer,
            story,
            _in_flight: in_flight,
        }
    }
}

/// Bytes at once that make a pipe worth while; the small messages of most tunnels are not.
const BULK: usize = BLOCK / 2;

/// One direction: a block, or a pipe for what comes in bulk, between two sockets.
#[derive(Debug)]
struct Direction<'p> {
    pipes: &'p Rc<Pipes>,
    /// What was taken last and has not gone on yet.
    pipe: Option<Pipe>,
    /// As much came at once as is worth a pipe.
    bulk: bool,
    ended: bool,
    closed: bool,
    taken: u64,
}

/// Moves bytes until both ends have closed, one breaks, or nothing moves for too long.
pub(crate) async fn run(connection: Connection, deadline: &Deadline, tunnel: Box<Tunnel>) {
    let Connection {
        peer, mut stream, ..
    } = connection;
    let rules = peer.slot.rules();
    let limit = rules.frontend.timeouts.tunnel;
    deadline.start(limit);
    deadline.ask(tunnel.pick.server());
    let pipes = &peer.worker.pipes;
    let (mut up, mut down) = (Direction::new(pipes), Direction::new(pipes));
    let mut told = Told {
        scene: Scene {
            worker: &peer.worker,
            rules: &rules,
            peer: &peer,
        },
        tunnel: *tunnel,
        ended: false,
    };
    let mut progress = 0;
    let term = poll_fn(|cx| {
        let tunnel = &mut told.tunnel;
        let server = &mut tunnel.server;
        // The 101 goes first; what the server sent behind it follows in the same order.
        let flushed = tunnel.writer.poll_flush(&mut stream, cx);
        if flushed.is_pending() {
            return poll_end(deadline, cx);
        }
        let sent = up.poll(&mut stream, &mut tunnel.head.block, &mut server.stream, cx);
        let got = down.poll(&mut server.stream, &mut server.head.block, &mut stream, cx);
        match (&flushed, &sent, &got) {
            (Poll::Ready(Err(_)), ..) => return Poll::Ready(Term::ClientAbort),
            (_, Poll::Ready(Err(end)), _) | (_, _, Poll::Ready(Err(end))) => {
                return Poll::Ready(*end);
            }
            (_, Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Term::Ok),
            _ => {}
        }
        let moved = up.moved() + down.moved();
        if moved != progress {
            progress = moved;
            deadline.start(limit);
        }
        poll_end(deadline, cx)
    })
    .await;
    told.ended = true;
    told.tunnel.story.end(term);
    told.tunnel.story.request_bytes += up.moved();
    told.tunnel.story.response_bytes += down.moved();
}

/// Whether nothing has moved for too long, the server's requests are cut, or the process ends.
fn poll_end(deadline: &Deadline, cx: &Context<'_>) -> Poll<Term> {
    match deadline.poll_fired(cx) {
        true if deadline.is_stopped() => Poll::Ready(Term::Stopped),
        true if deadline.is_cut() => Poll::Ready(Term::Cut),
        true => Poll::Ready(Term::TunnelTimeout),
        false => Poll::Pending,
    }
}

/// A tunnel that is counted and logged when this is dropped, however that comes about.
struct Told<'x> {
    scene: Scene<'x>,
    tunnel: Tunnel,
    ended: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Tunnel {
            slot,
            pick,
            head,
            story,
            ..
        } = &mut self.tunnel;
        if !self.ended {
            story.cut_short();
        }
        conclude(self.scene, Some(slot), Some(pick), head, story);
    }
}

impl<'p> Direction<'p> {
    fn new(pipes: &'p Rc<Pipes>) -> Self {
        Self {
            pipes,
            pipe: None,
            bulk: false,
            ended: false,
            closed: false,
            taken: 0,
        }
    }

    /// Bytes that have gone on.
    fn moved(&self) -> u64 {
        let held = self.pipe.as_ref().map_or(0, Pipe::held);
        self.taken - held as u64
    }

    /// Moves what there is from one socket to the other; ready when it has ended on both.
    ///
    /// Errors: a socket broke; the term names neither side for sure, for a tunnel has no framing.
    fn poll(
        &mut self,
        from: &mut Io,
        block: &mut Block,
        to: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Term>> {
        self.poll_io(from, block, to, cx)
            .map_err(|_| Term::ClientAbort)
    }

    fn poll_io(
        &mut self,
        from: &mut Io,
        block: &mut Block,
        to: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while !block.is_empty() {
                let n = ready!(Pin::new(&mut *to).poll_write(cx, block.filled()))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                block.consume(n);
                self.taken += n as u64;
            }
            if let Some(pipe) = &mut self.pipe {
                let socket = to.as_plain().ok_or(io::ErrorKind::Unsupported)?;
                ready!(pipe.poll_drain(socket, cx))?;
                self.pipe = None;
            }
            ready!(Pin::new(&mut *to).poll_flush(cx))?;
            if self.ended {
                if !self.closed {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            if self.bulk
                && to.as_plain().is_some()
                && let Some(socket) = from.as_plain()
                && let Some(mut pipe) = self.pipes.take()
                && let Some(n @ 1..) = ready!(pipe.poll_fill(socket, u64::MAX, cx))?
            {
                self.bulk = n >= BULK;
                self.taken += n as u64;
                self.pipe = Some(pipe);
                continue;
            }
            // The block holds the head of its side, which is at most as large as the limit on heads.
            let limit = block.capacity().max(2 * BLOCK);
            let n = ready!(poll_fill(from, block, limit, cx))?;
            self.bulk = n >= BULK;
            self.ended = n == 0;
        }
    }
}
