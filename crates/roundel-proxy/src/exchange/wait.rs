//! Waiting: for a place on a full backend, or for a server of one that has just lost its last.
//!
//! Nothing has been sent, so every method may wait, and a body stays with its client.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use roundel_balance::{Pick, PickError, Turn};

use super::Course;
use super::attempt::{no_link, out_of_time};
use super::outcome::Failed;
use super::watch::Watch;
use crate::answer;
use crate::connect::{self, NoLink};
use crate::deadline::Deadline;
use crate::ending::{Phase, Term};
use crate::sides::Downstream;
use crate::story::Story;

/// How soon servers that refused are asked again while no check has found them down. HAProxy
/// waits for 1 s; an application that restarts is often back sooner.
const AGAIN: Duration = Duration::from_millis(200);

/// How far apart those who were held go to a server that is back: all at once they would fill the
/// queue of its listener, which is short in many applications, and a connection that finds it
/// full is tried again by the kernel after a whole second.
const APART: Duration = Duration::from_millis(1);

/// Every server has as many requests as it may.
const FULL: NoLink = NoLink::NoServer(PickError::Full);

/// How a place in the queue was given up.
enum End {
    Turn(Turn),
    /// Time to ask those that refused, or the one that is back.
    Again,
    TimedOut,
    ClientGone,
}

impl Course<'_> {
    /// Waits until a server has a place for this request, or the backend's time is up. `error`
    /// says why it did not go to one.
    ///
    /// A client that leaves meanwhile gives its place up.
    pub(super) async fn wait<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
        error: NoLink,
    ) -> Result<Pick, Failed> {
        let worker = self.scene.worker;
        let begun = worker.clock().now();
        let limit = self.slot.server_timeouts().queue;
        if !self.may_wait(begun, error, story) {
            return Err(match self.state.held && story.queue >= limit {
                // Its last try came with the end of its time.
                true => self.too_late(error, story),
                false => no_link(error),
            });
        }
        deadline.set(limit.saturating_sub(story.queue));
        story.phase = Phase::Queue;
        let picked = self.stand(client, deadline, story, error, begun).await;
        deadline.clear();
        self.note_wait(begun, story);
        if picked.is_ok() {
            story.phase = Phase::Connect;
        }
        picked
    }

    /// Stands in the queue until a server is found.
    async fn stand<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
        mut error: NoLink,
        begun: Instant,
    ) -> Result<Pick, Failed> {
        loop {
            let hold = error != FULL;
            let turn = match self.turn(client, deadline, story, hold).await {
                Ok(turn) => turn,
                Err(Some(failed)) => return Err(failed),
                Err(None) => return Err(self.too_late(error, story)),
            };
            match self.follow(turn) {
                Ok(pick) => return Ok(pick),
                // Why none took it at first says more than that none is there.
                Err(PickError::NoneUsable | PickError::AllTried) if hold => {}
                Err(next) => error = NoLink::NoServer(next),
            }
            if !self.may_wait(begun, error, story) {
                story.phase = Phase::Connect;
                return Err(no_link(error));
            }
        }
    }

    /// Whether a request waits after this error: for a place always, for a server if one may be
    /// expected, since the last one went away within the time that a request may wait. Once it
    /// waits for one, it goes on to wait; for one time in all, however often it has to.
    fn may_wait(&mut self, now: Instant, error: NoLink, story: &Story) -> bool {
        let limit = self.slot.server_timeouts().queue;
        let balancer = &self.slot.backend.balancer;
        match error {
            FULL => return true,
            NoLink::Refused => balancer.note_lost(now),
            NoLink::NoServer(_) => {}
            // It may answer yet; only what is known to be down is worth waiting for.
            NoLink::TimedOut if balancer.load().usable() == 0 => {}
            NoLink::TimedOut | NoLink::NoSocket | NoLink::Short => return false,
        }
        let lost = balancer.lost_for(now);
        self.state.held |= lost.is_some_and(|lost| lost < limit);
        self.state.held && story.queue < limit
    }

    /// Stands in the queue once. Errors: what the client is told; `None` when the time was up.
    async fn turn<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
        hold: bool,
    ) -> Result<Turn, Option<Failed>> {
        let balancer = &self.slot.backend.balancer;
        let counters = &balancer.counters()[self.scene.worker.index];
        let want = self.state.search.want(hold);
        let only = want.only;
        let Ok(mut ticket) = balancer.wait(want) else {
            counters.queue_refusals.add(1);
            let sentence =
                "Too many requests wait for an application server. Try again in a second.";
            return Err(Some(Failed::Answer(503, Term::QueueFull, sentence)));
        };
        if story.queue_place == (0, 0) {
            story.queue_place = match only {
                Some(server) => (balancer.queued_for(server), 0),
                None => (0, balancer.queued()),
            };
        }
        let mut again = pin!(tokio::time::sleep(AGAIN));
        let mut called = false;
        let watch = Watch::new(self.slot, deadline);
        let slot = self.slot;
        let end = poll_fn(|cx| {
            if !called && let Poll::Ready(turn) = Pin::new(&mut ticket).poll(cx) {
                let Turn::Called(rank @ 1..) = turn else {
                    return Poll::Ready(End::Turn(turn));
                };
                called = true;
                let at = tokio::time::Instant::now() + APART * rank;
                again.as_mut().reset(at);
            }
            if deadline.poll_fired(cx) {
                return Poll::Ready(End::TimedOut);
            }
            if hold && again.as_mut().poll(cx).is_ready() {
                if called || slot.current().usable() > 0 {
                    return Poll::Ready(End::Again);
                }
                // Those that are down are not asked; the queue tells when one is back.
                again.as_mut().reset(tokio::time::Instant::now() + AGAIN);
                let _ = again.as_mut().poll(cx);
            }
            watch.poll_left(client, cx).map(|()| End::ClientGone)
        });
        match end.await {
            End::Turn(Turn::Called(_)) | End::Again => {
                // Some have been back since, and the others may be.
                self.state.search.tried.clear();
                Ok(Turn::Again)
            }
            End::Turn(turn) => Ok(turn),
            End::TimedOut if deadline.is_stopped() || deadline.has_ended() => {
                Err(Some(out_of_time(deadline)))
            }
            End::TimedOut => Err(None),
            End::ClientGone => Err(Some(Failed::Client(Term::ClientAbort))),
        }
    }

    /// What a client is told that has waited for as long as it may.
    fn too_late(&self, error: NoLink, story: &mut Story) -> Failed {
        let counters = &self.slot.backend.balancer.counters()[self.scene.worker.index];
        counters.queue_timeouts.add(1);
        match error {
            FULL => Failed::Answer(503, Term::QueueTimeout, answer::sentence(503)),
            error => {
                story.phase = Phase::Connect;
                no_link(error)
            }
        }
    }

    /// Takes the place that was granted, or looks again at servers that changed.
    fn follow(&mut self, turn: Turn) -> Result<Pick, PickError> {
        let worker = self.scene.worker;
        if let Turn::Granted(grant) = turn {
            let sticky = self.state.search.sticky.is_some();
            let current = self.slot.current();
            self.state.search.set_version = current.generation();
            if let Ok(pick) = current.redeem(grant, worker.index, sticky) {
                self.state.search.sticky = None;
                return Ok(pick);
            }
        }
        connect::pick(worker, self.slot, &mut self.state.search)
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
