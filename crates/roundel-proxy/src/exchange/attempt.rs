//! Asking servers until one begins an answer: pick, connect, send, wait, decide what a failure means.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use roundel_balance::{Pick, PickError};
use roundel_http1::{Reason, RequestHead};

use super::Course;
use super::call;
use super::outcome::{Begun, Failed};
use super::pump::{HeadEnd, Pump};
use super::state::State;
use super::watch::Watch;
use crate::answer;
use crate::config::Proto;
use crate::connect::{self, Link, NoLink, connect};
use crate::deadline::Deadline;
use crate::ending::{Phase, Term};
use crate::retry::{self, Failure, Verdict};
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::search::Search;
use crate::sides::{Downstream, SourceError};
use crate::story::Story;
use crate::upstream::{HeadError, Server};

/// How one attempt ended.
enum Asked {
    /// A final answer begins.
    Begun(Begun),
    /// There will be none.
    Failed(Failed),
    /// Another attempt is due.
    Lost,
}

impl Course<'_> {
    /// Tries servers until one begins a final answer.
    pub(super) async fn attempts<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
    ) -> Result<Begun, Failed> {
        deadline.clear();
        if self.state.login_lost {
            // On another connection the server would refuse this step, and the client take that
            // for a wrong password. A connection that ends has it begin again.
            return Err(Failed::Client(Term::ServerAbort));
        }
        let careful = !retry::is_idempotent(client.head());
        loop {
            if deadline.has_ended() {
                return Err(out_of_time(deadline));
            }
            story.phase = Phase::Connect;
            let fresh = self.state.again.is_some();
            match self.used(careful) {
                Ok(link) => self.begin(client.head(), deadline, link, story),
                // Seldom, and large: it does not make the future of every request so.
                Err(picked) => {
                    let link = self.link(picked, fresh, careful, client, deadline, story);
                    let link = Box::pin(link).await?;
                    self.begin(client.head(), deadline, link, story);
                }
            }
            match self.ask(client, deadline, story).await {
                Asked::Begun(begun) => return Ok(begun),
                Asked::Failed(failed) => return Err(failed),
                Asked::Lost => {
                    self.state.server = None;
                    self.state.pick = None;
                    deadline.ask_none();
                    self.scene.worker.clock().now();
                    deadline.clear();
                }
            }
        }
    }

    /// Picks a server and takes a used connection to it.
    ///
    /// Errors: what was picked, for [`Self::link`]; there is no such connection, or none is wanted.
    fn used(&mut self, careful: bool) -> Result<Link, Result<Pick, PickError>> {
        if let Some(again) = self.state.again.take() {
            return Err(Ok(again));
        }
        let (worker, search) = (self.scene.worker, &mut self.state.search);
        let pick = connect::pick(worker, self.slot, search).map_err(Err)?;
        match connect::used(worker, self.slot, search, &pick, careful) {
            Some(used) => Ok(used.link(pick)),
            None => Err(Ok(pick)),
        }
    }

    /// Opens a connection, to the server picked or to the next ones, or waits for a place or a
    /// server. With `fresh` no used one is taken.
    async fn link<D: Downstream>(
        &mut self,
        mut picked: Result<Pick, PickError>,
        fresh: bool,
        careful: bool,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
    ) -> Result<Link, Failed> {
        // There was no used one for what is picked already.
        let mut opens = fresh || picked.is_ok();
        loop {
            let error = match picked {
                Ok(pick) => {
                    let connected = self.connect(client, deadline, pick, opens, careful).await;
                    match connected? {
                        Ok(link) => return Ok(link),
                        Err(error) => error,
                    }
                }
                Err(error) => NoLink::NoServer(error),
            };
            opens = fresh;
            picked = Ok(self.wait(client, deadline, story, error).await?);
        }
    }

    /// Connects for as long as the client waits.
    async fn connect<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        pick: Pick,
        fresh: bool,
        careful: bool,
    ) -> Result<Result<Link, NoLink>, Failed> {
        let watch = Watch::new(self.slot, deadline);
        let (scene, search) = (self.scene, &mut self.state.search);
        let mut connecting = pin!(connect(scene, self.slot, search, pick, fresh, careful));
        poll_fn(|cx| {
            // First, so that nothing is opened for a client that has left.
            if watch.poll_left(client, cx).is_ready() {
                return Poll::Ready(Err(Failed::Client(Term::ClientAbort)));
            }
            match connecting.as_mut().poll(cx) {
                Poll::Ready(connected) => Poll::Ready(Ok(connected)),
                Poll::Pending if deadline.poll_fired(cx) => Poll::Ready(Err(out_of_time(deadline))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Begins an attempt: writes the head of the request for this connection.
    fn begin(&mut self, head: &RequestHead, deadline: &Deadline, link: Link, story: &mut Story) {
        let (scene, slot) = (self.scene, self.slot);
        deadline.ask(link.pick.server());
        let counters = link.pick.counters();
        counters.requests.add(1);
        // Whoever waited, connected or lost an attempt has just read the clock.
        let is_first = story.queue.is_zero() && self.state.search.retries == 0;
        story.connected_at = Some(if link.reused && is_first {
            story.head_at
        } else {
            scene.worker.clock().recent()
        });
        if link.reused {
            counters.reuses.add(1);
        }
        story.connect = Some(link.took);
        story.phase = Phase::Head;
        let state = &mut *self.state;
        state.bound = link.bound;
        let pick = state.pick.insert(link.pick);
        let blocks = &scene.worker.blocks;
        let server = Server::new(link.carrier, link.reused, blocks);
        let server = state.server.insert(server);
        // Over TLS it was sent before the handshake, and it comes before all streams.
        if slot.sends_proxy
            && !link.reused
            && slot.backend.tls.is_none()
            && slot.backend.proto == Proto::H1
            && let Some(header) = connect::proxy_header(scene.peer, slot, pick)
        {
            server.put_proxy_header(&header);
        }
        if let Some(call) = state.call {
            call.pass_on(deadline, &mut state.edits);
        }
        let host = slot.host.as_deref();
        server.send_head(head, &state.edits, host, pick.address());
        state.replay.rewind();
    }

    /// Sends the request that was begun and waits for the head of the answer.
    async fn ask<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
    ) -> Asked {
        let (scene, slot) = (self.scene, self.slot);
        let State {
            search,
            replay,
            bound,
            pick: Some(pick),
            server: Some(server),
            ..
        } = &mut *self.state
        else {
            unreachable!("an attempt has begun on a connection to a server");
        };
        let mut pump = Pump::new(scene, slot, client, server, replay, deadline);
        let live = pick.server();
        // A login goes on where it began or nowhere.
        let leaves = !*bound;
        let mut end = poll_fn(|cx| pump.poll_head(live, leaves, cx)).await;
        if matches!(end, HeadEnd::Silent) {
            if go_elsewhere(scene, slot, search, pick) {
                live.note_failure();
                return Asked::Lost;
            }
            end = poll_fn(|cx| pump.poll_head(live, false, cx)).await;
        }
        let (sent, request_bytes) = (pump.is_sent(), pump.request_bytes());
        story.request_bytes = request_bytes + client.head().size() as u64;
        match end {
            HeadEnd::Head => {
                story.answered_at = Some(scene.worker.clock().now());
                pick.counters().answered.add(1);
                call::note_head(client.head(), server.head(), live);
                Asked::Begun(Begun {
                    sent,
                    request_bytes,
                })
            }
            HeadEnd::Failed(error) => self.lost(client.head(), error),
            end => {
                if matches!(end, HeadEnd::TimedOut(Term::FirstByteTimeout)) {
                    live.note_failure();
                }
                Asked::Failed(client_or_timeout(end, story))
            }
        }
    }

    /// Decides what follows on a server that gave no answer.
    fn lost(&mut self, head: &RequestHead, error: HeadError) -> Asked {
        let State {
            search,
            replay,
            again,
            stale_seen,
            bound,
            pick: asked,
            server: Some(server),
            ..
        } = &mut *self.state
        else {
            return Asked::Failed(no_answer(error));
        };
        let attempt = retry::Attempt {
            idempotent: retry::is_idempotent(head),
            sent: server.has_sent(),
            replayable: replay.is_whole(),
            retries: search.retries,
            stale_seen: *stale_seen,
        };
        let failure = failure(error, server.is_reused());
        if matches!(error, HeadError::Unfit | HeadError::NoTunnel) {
            // Nothing was asked of the server.
            return Asked::Failed(no_answer(error));
        }
        if *bound && matches!(failure, Failure::Empty { .. }) {
            // The server ended the connection that was logged in: so does the client's, which has
            // the client log in again.
            return Asked::Failed(Failed::Client(Term::ServerAbort));
        }
        let verdict = retry::decide(failure, attempt, self.slot.backend.retries);
        if verdict == Verdict::Again {
            *stale_seen = true;
            *again = asked.take();
            return Asked::Lost;
        }
        if let Some(pick) = asked {
            pick.server().note_failure();
            if verdict == Verdict::Elsewhere {
                if go_elsewhere(self.scene, self.slot, search, pick) {
                    return Asked::Lost;
                }
                // Who did nothing with it may take it on the next connection, as whoever limits
                // the requests of each does.
                if failure == Failure::Refused && search.is_alone(self.slot) {
                    pick.counters().retries.add(1);
                    search.retries += 1;
                    *again = asked.take();
                    return Asked::Lost;
                }
            }
        }
        Asked::Failed(no_answer(error))
    }
}

/// Leaves a server that gave no answer, if another one can be asked.
fn go_elsewhere(scene: Scene<'_>, slot: &BackendSlot, search: &mut Search, failed: &Pick) -> bool {
    search.leave(failed);
    if search.retries >= slot.backend.retries || search.is_alone(slot) {
        return false;
    }
    let (balancer, worker) = (&slot.backend.balancer, scene.worker);
    if !balancer.may_retry(worker.clock().recent(), slot.backend.retry_budget) {
        balancer.counters()[worker.index].retries_exhausted.add(1);
        return false;
    }
    let counters = failed.counters();
    counters.response_errors.add(1);
    counters.retries.add(1);
    counters.redispatches.add(1);
    search.retries += 1;
    search.redispatched = true;
    true
}

fn client_or_timeout(end: HeadEnd, story: &mut Story) -> Failed {
    match end {
        HeadEnd::Client(SourceError::Malformed(reason)) => {
            let term = match reason {
                Reason::BodyTooLarge => Term::TooLarge,
                _ => Term::BadRequest,
            };
            story.phase = Phase::Request;
            Failed::Answer(reason.status(), term, answer::sentence(reason.status()))
        }
        HeadEnd::TimedOut(term) => {
            let status = match term {
                Term::Stopped => return stopped(),
                Term::Cut => return cut(),
                Term::BodyTimeout => 408,
                _ => 504,
            };
            Failed::Answer(status, term, answer::sentence(status))
        }
        _ => Failed::Client(Term::ClientAbort),
    }
}

fn failure(error: HeadError, reused: bool) -> Failure {
    match error {
        HeadError::Empty => Failure::Empty { reused },
        // No connection was stale.
        HeadError::Reset => Failure::Empty { reused: false },
        HeadError::Refused => Failure::Refused,
        HeadError::Cut | HeadError::Malformed(_) | HeadError::Unfit | HeadError::NoTunnel => {
            Failure::Late
        }
    }
}

fn no_answer(error: HeadError) -> Failed {
    match error {
        HeadError::Malformed(_) => Failed::Answer(502, Term::BadResponse, answer::sentence(502)),
        HeadError::Unfit => Failed::Answer(400, Term::BadRequest, answer::sentence(400)),
        HeadError::NoTunnel => no_socket(),
        HeadError::Refused | HeadError::Reset => Failed::Answer(
            502,
            Term::ServerAbort,
            "The application server refused the request before it answered.",
        ),
        HeadError::Empty | HeadError::Cut => Failed::Answer(
            502,
            Term::ServerAbort,
            "The application server closed the connection before it answered.",
        ),
    }
}

fn no_socket() -> Failed {
    Failed::Answer(
        502,
        Term::BadResponse,
        "The application server speaks HTTP/2, without WebSocket over it.",
    )
}

/// No answer had begun when the time of the request as a whole was up, or that of the process.
pub(super) fn out_of_time(deadline: &Deadline) -> Failed {
    match deadline.is_stopped() {
        true => stopped(),
        false => Failed::Answer(504, Term::TotalTimeout, answer::sentence(504)),
    }
}

fn stopped() -> Failed {
    Failed::Answer(
        503,
        Term::Stopped,
        "This balancer ends before the application server has answered. Try again in a second.",
    )
}

fn cut() -> Failed {
    Failed::Answer(
        502,
        Term::Cut,
        "An operator ended the requests at this application server before it had answered.",
    )
}

pub(super) fn no_link(error: NoLink) -> Failed {
    match error {
        NoLink::NoServer(PickError::Empty) => Failed::Answer(
            503,
            Term::NoServer,
            "No application server has joined yet. Try again in a second.",
        ),
        NoLink::NoServer(_) => Failed::Answer(503, Term::NoServer, answer::sentence(503)),
        NoLink::NoSocket => no_socket(),
        NoLink::Short => Failed::Answer(503, Term::NoResources, answer::sentence(503)),
        NoLink::Refused => Failed::Answer(503, Term::ConnectError, answer::sentence(503)),
        NoLink::TimedOut => Failed::Answer(504, Term::ConnectTimeout, answer::sentence(504)),
    }
}
