//! Waiting for a place on a full backend.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use roundel_balance::{Pick, PickError, Turn};

use super::attempt::{no_server, total_timeout};
use super::watch::Watch;
use super::{Course, Failed};
use crate::answer;
use crate::deadline::Deadline;
use crate::sides::Downstream;
use crate::story::Story;
use crate::term::{Phase, Term};

/// How a place in the queue was given up.
enum End {
    Turn(Turn),
    TimedOut,
    ClientGone,
}

impl Course<'_> {
    /// Waits until a server has a place for this request, or the backend's time is up.
    ///
    /// A client that leaves meanwhile gives its place up.
    pub(super) async fn wait<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
    ) -> Result<Pick, Failed> {
        let worker = self.scene.worker;
        let begun = worker.clock().now();
        story.phase = Phase::Queue;
        deadline.set(self.slot.backend.timeouts.queue);
        let picked = loop {
            match self.turn(client, deadline).await {
                Ok(turn) => match self.follow(turn) {
                    Err(PickError::Full) => {}
                    Err(error) => break Err(no_server(error)),
                    Ok(pick) => break Ok(pick),
                },
                Err(failed) => break Err(failed),
            }
        };
        deadline.clear();
        self.note_wait(begun, story);
        if picked.is_ok() {
            story.phase = Phase::Connect;
        }
        picked
    }

    /// Stands in the queue once.
    async fn turn<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
    ) -> Result<Turn, Failed> {
        let balancer = &self.slot.backend.balancer;
        let counters = &balancer.counters()[self.scene.worker.index];
        let Ok(mut ticket) = balancer.wait(self.state.search.want()) else {
            counters.queue_refusals.add(1);
            let sentence =
                "Too many requests wait for an application server. Try again in a second.";
            return Err(Failed::Answer(503, Term::QueueFull, sentence));
        };
        let watch = Watch::new(self.slot, deadline);
        let end = poll_fn(|cx| {
            if let Poll::Ready(turn) = Pin::new(&mut ticket).poll(cx) {
                return Poll::Ready(End::Turn(turn));
            }
            if deadline.poll_fired(cx) {
                return Poll::Ready(End::TimedOut);
            }
            watch.poll_left(client, cx).map(|()| End::ClientGone)
        });
        match end.await {
            End::Turn(turn) => Ok(turn),
            End::TimedOut if deadline.has_ended() => Err(total_timeout()),
            End::TimedOut => {
                counters.queue_timeouts.add(1);
                Err(Failed::Answer(
                    503,
                    Term::QueueTimeout,
                    answer::sentence(503),
                ))
            }
            End::ClientGone => Err(Failed::Client(Term::ClientAbort)),
        }
    }

    /// Takes the place that was granted, or looks again at servers that changed.
    fn follow(&mut self, turn: Turn) -> Result<Pick, PickError> {
        let worker = self.scene.worker;
        if let Turn::Granted(grant) = turn {
            let sticky = self.state.search.sticky.is_some();
            let current = self.slot.current();
            if let Ok(pick) = current.redeem(grant, worker.index, sticky) {
                self.state.search.sticky = None;
                return Ok(pick);
            }
        }
        self.state.search.pick(worker, self.slot)
    }

    fn note_wait(&self, begun: Instant, story: &mut Story) {
        let worker = self.scene.worker;
        let waited = worker.clock().now().saturating_duration_since(begun);
        story.queue += waited;
        let counters = &self.slot.backend.balancer.counters()[worker.index];
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        counters.queue.record_us(us);
    }
}
