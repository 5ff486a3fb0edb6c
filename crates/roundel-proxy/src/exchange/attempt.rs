//! Asking servers until one begins an answer: pick, connect, send, wait, decide what a failure means.

use std::future::poll_fn;

use roundel_balance::{Pick, PickError};
use roundel_http1::{Persist, RequestHead, RequestPlan, write_request};

use super::pump::{HeadEnd, Pump, Side};
use super::{Begun, Course, Failed};
use crate::answer;
use crate::connect::{Link, NoLink, connect};
use crate::deadline::Deadline;
use crate::retry::{self, Failure, Verdict};
use crate::sides::{Downstream, SourceError};
use crate::story::Story;
use crate::term::{Phase, Term};
use crate::upstream::{H1Server, HeadError};

/// How one attempt ended.
enum Asked {
    /// A final answer begins.
    Begun(Box<Begun>),
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
    ) -> Result<Box<Begun>, Failed> {
        deadline.clear();
        let careful = !client.head().method().is_idempotent();
        loop {
            let link = self.link(client, deadline, careful, story).await?;
            match self.ask(client, link, deadline, story).await {
                Asked::Begun(begun) => return Ok(begun),
                Asked::Failed(failed) => return Err(failed),
                Asked::Lost => deadline.clear(),
            }
        }
    }

    /// Gets a connection: to the server met on a stale one, else to one picked.
    async fn link<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        careful: bool,
        story: &mut Story,
    ) -> Result<Link, Failed> {
        story.phase = Phase::Connect;
        let worker = self.scene.worker;
        let again = self.again.take();
        let fresh = again.is_some();
        let mut picked = again.map_or_else(|| self.search.pick(worker, self.slot), Ok);
        let link = loop {
            let pick = match picked {
                Ok(pick) => pick,
                Err(PickError::Full) => Box::pin(self.wait(client, deadline, story)).await?,
                Err(error) => return Err(no_server(error)),
            };
            match connect(worker, self.slot, &mut self.search, pick, fresh, careful).await {
                Ok(link) => break link,
                // Those asked refused, and all others are full.
                Err(NoLink::NoServer(PickError::Full)) => {
                    self.search.retries += 1;
                    picked = Err(PickError::Full);
                }
                Err(error) => return Err(no_link(error)),
            }
        };
        let counters = link.pick.counters();
        counters.requests.add(1);
        story.connected_at = Some(if link.reused {
            counters.reuses.add(1);
            story.head_at
        } else {
            worker.clock().recent()
        });
        story.connect = Some(link.took);
        story.phase = Phase::Head;
        Ok(link)
    }

    /// Sends the request over one connection and waits for the head of the answer.
    async fn ask<D: Downstream>(
        &mut self,
        client: &mut D,
        link: Link,
        deadline: &Deadline,
        story: &mut Story,
    ) -> Asked {
        let scene = self.scene;
        let (blocks, limits) = (&scene.worker.blocks, &scene.rules.limits);
        let mut server = H1Server::new(link.stream, link.reused, blocks, limits);
        self.write_head(client.head(), &link.pick, &mut server);
        self.replay.rewind();
        let replay = &mut self.replay;
        let mut pump = Pump::new(scene, self.slot, client, &mut server, replay, deadline);
        let end = poll_fn(|cx| pump.poll_head(cx)).await;
        let (sent, request_bytes) = (pump.is_sent(), pump.request_bytes());
        story.request_bytes = request_bytes + client.head().size() as u64;
        match end {
            HeadEnd::Head => {
                story.answered_at = Some(scene.worker.clock().now());
                link.pick.server().note_answer(server.head.status());
                Asked::Begun(Box::new(Begun {
                    pick: link.pick,
                    server,
                    sent,
                    request_bytes,
                }))
            }
            HeadEnd::Failed(error) => self.lost(client.head(), link.pick, &server, error),
            end => {
                if matches!(end, HeadEnd::TimedOut(Side::Server)) {
                    link.pick.server().note_failure();
                }
                self.last = Some(link.pick);
                Asked::Failed(client_or_timeout(end, story))
            }
        }
    }

    /// Decides what follows on a server that gave no answer.
    fn lost(
        &mut self,
        head: &RequestHead,
        pick: Pick,
        server: &H1Server,
        error: HeadError,
    ) -> Asked {
        let attempt = retry::Attempt {
            method: head.method(),
            sent: server.has_sent(),
            replayable: self.replay.is_whole(),
            retries: self.search.retries,
            stale_seen: self.stale_seen,
        };
        let failure = failure(error, server.reused);
        let verdict = retry::decide(failure, attempt, self.slot.backend.retries);
        if verdict == Verdict::Again {
            self.stale_seen = true;
            self.again = Some(pick);
            return Asked::Lost;
        }
        pick.server().note_failure();
        if verdict == Verdict::Elsewhere && self.may_go_elsewhere(&pick) {
            return Asked::Lost;
        }
        self.last = Some(pick);
        Asked::Failed(no_answer(error))
    }

    /// Leaves a server that gave no answer, if another one can be asked.
    fn may_go_elsewhere(&mut self, failed: &Pick) -> bool {
        self.search.leave(failed);
        let current = self.slot.current();
        let is_left = |e: &roundel_balance::Entry| {
            e.state.takes_new() && !self.search.tried.contains(&e.live.id)
        };
        if !current.servers().iter().any(is_left) {
            return false;
        }
        let (balancer, worker) = (&self.slot.backend.balancer, self.scene.worker);
        if !balancer.may_retry(worker.clock().recent(), self.slot.backend.retry_budget) {
            balancer.counters()[worker.index].retries_exhausted.add(1);
            return false;
        }
        let counters = failed.counters();
        counters.response_errors.add(1);
        counters.retries.add(1);
        counters.redispatches.add(1);
        self.search.retries += 1;
        self.search.redispatched = true;
        true
    }

    fn write_head(&self, head: &RequestHead, pick: &Pick, server: &mut H1Server) {
        let mut plan = RequestPlan::new(head);
        if head.upgrade().is_some() && head.framing().is_empty() {
            plan.persist = Persist::Upgrade;
        }
        plan.te_trailers = head.takes_trailers();
        let address;
        if head.host().is_none() {
            address = pick.address().to_string();
            plan.fallback_host = address.as_bytes();
            let framing = write_request(head, &plan, &self.edits, &mut server.writer.out);
            return server.writer.begin(framing);
        }
        let framing = write_request(head, &plan, &self.edits, &mut server.writer.out);
        server.writer.begin(framing);
    }
}

fn client_or_timeout(end: HeadEnd, story: &mut Story) -> Failed {
    match end {
        HeadEnd::Client(SourceError::Malformed(reason)) => {
            story.phase = Phase::Request;
            Failed::Answer(
                reason.status(),
                Term::BadRequest,
                answer::sentence(reason.status()),
            )
        }
        HeadEnd::TimedOut(Side::Client) => {
            Failed::Answer(408, Term::ClientTimeout, answer::sentence(408))
        }
        HeadEnd::TimedOut(Side::Server) => {
            Failed::Answer(504, Term::ServerTimeout, answer::sentence(504))
        }
        _ => Failed::Client(Term::ClientAbort),
    }
}

fn failure(error: HeadError, reused: bool) -> Failure {
    match error {
        HeadError::Empty => Failure::Empty { reused },
        HeadError::Cut | HeadError::Malformed(_) => Failure::Late,
    }
}

fn no_answer(error: HeadError) -> Failed {
    match error {
        HeadError::Malformed(_) => Failed::Answer(502, Term::BadResponse, answer::sentence(502)),
        HeadError::Empty | HeadError::Cut => Failed::Answer(
            502,
            Term::ServerAbort,
            "The application server closed the connection before it answered.",
        ),
    }
}

pub(super) fn no_server(error: PickError) -> Failed {
    no_link(NoLink::NoServer(error))
}

fn no_link(error: NoLink) -> Failed {
    match error {
        NoLink::NoServer(PickError::Empty) => Failed::Answer(
            503,
            Term::NoServer,
            "No application server has joined yet. Try again in a second.",
        ),
        NoLink::NoServer(_) => Failed::Answer(503, Term::NoServer, answer::sentence(503)),
        NoLink::Refused => Failed::Answer(503, Term::ConnectError, answer::sentence(503)),
        NoLink::TimedOut => Failed::Answer(504, Term::ConnectTimeout, answer::sentence(504)),
    }
}
