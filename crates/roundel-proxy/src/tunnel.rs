//! A switched connection: bytes both ways, each end closing when it likes.
//!
//! It knows two ends, and not what carries them: a connection of HTTP/1 after its 101, or a stream.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use roundel_balance::Pick;

use crate::deadline::Deadline;
use crate::ending::Term;
use crate::exchange::Tunnelled;
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::sides::{Downstream, End, Relay, RelayError, Sink, Source};
use crate::splice::Pipes;
use crate::story::{Story, conclude};
use crate::upstream::Server;

/// Moves bytes until both ends have closed, one breaks, or nothing moves for too long. Counts it and
/// writes its log line.
pub(crate) async fn run<C: Downstream + End>(
    scene: Scene<'_>,
    deadline: &Deadline,
    client: &mut C,
    tunnelled: Tunnelled,
    story: &mut Story,
) {
    let Tunnelled {
        slot,
        server,
        mut pick,
    } = tunnelled;
    pick.begin_tunnel();
    let limit = scene.rules.frontend.timeouts.tunnel;
    deadline.start(limit);
    deadline.ask(pick.server());
    let (pipes, blocks) = (&scene.worker.pipes, &scene.worker.blocks);
    let (mut up, mut down) = (Direction::new(pipes), Direction::new(pipes));
    let mut told = Told {
        scene,
        slot,
        pick,
        client,
        server,
        story,
        ended: false,
    };
    let mut progress = 0;
    let term = poll_fn(|cx| {
        let (client, server) = (&mut *told.client, &mut told.server);
        client.take_buffers(blocks);
        server.take_buffers(blocks);
        let sent = up.poll(client, server, cx);
        let got = down.poll(server, client, cx);
        // What its client does not take is not to stop the others of its server's connection.
        server.read_ahead(cx);
        client.give_buffers(blocks);
        server.give_buffers(blocks);
        match (sent, got) {
            (Poll::Ready(Err(error)), _) => {
                // RFC 8441 4: a stream that is reset is a connection that is.
                if C::MULTIPLEXED && matches!(error, RelayError::Source(_)) {
                    server.break_off();
                }
                return Poll::Ready(Term::ClientAbort);
            }
            // The term names neither side for sure, for a tunnel has no framing.
            (_, Poll::Ready(Err(_))) => return Poll::Ready(Term::ClientAbort),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Term::Ok),
            _ => {}
        }
        let moved = up.moved(server) + down.moved(client);
        if moved != progress {
            progress = moved;
            deadline.start(limit);
        }
        poll_end(deadline, cx)
    })
    .await;
    told.ended = true;
    told.story.end(term);
    told.story.request_bytes += up.moved(&told.server);
    told.story.response_bytes += down.moved(told.client);
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
struct Told<'x, C: Downstream> {
    scene: Scene<'x>,
    slot: Rc<BackendSlot>,
    /// In flight as long as it lives.
    pick: Pick,
    client: &'x mut C,
    server: Server,
    story: &'x mut Story,
    ended: bool,
}

impl<C: Downstream> Drop for Told<'_, C> {
    fn drop(&mut self) {
        if !self.ended {
            self.story.cut_short();
        }
        let (slot, pick) = (Some(&*self.slot), Some(&self.pick));
        conclude(self.scene, slot, pick, self.client.head(), self.story);
    }
}

/// One direction, from what one end sends to the other end's having closed.
#[derive(Debug)]
struct Direction<'p> {
    relay: Relay<'p>,
    closed: bool,
}

impl<'p> Direction<'p> {
    fn new(pipes: &'p Rc<Pipes>) -> Self {
        Self {
            relay: Relay::new(pipes),
            closed: false,
        }
    }

    /// Bytes that have gone on, or are about to.
    fn moved(&self, to: &impl Sink) -> u64 {
        self.relay.moved - to.held()
    }

    /// Moves what there is; ready when it has ended on both.
    ///
    /// Errors: an end broke.
    fn poll(
        &mut self,
        from: &mut impl Source,
        to: &mut impl End,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayError>> {
        if !self.closed {
            ready!(self.relay.poll(from, to, cx))?;
            let closed = ready!(to.poll_close(cx));
            closed.map_err(|error| RelayError::Sink(error.kind()))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
