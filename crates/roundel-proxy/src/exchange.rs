//! One request and its answer, whatever the client speaks.
//!
//! Reads from top to bottom: refuse, route, rewrite, attempt until an answer begins, pass it on.
//! What is decided on the way is decided by functions elsewhere that return data.

use std::future::poll_fn;
use std::rc::Rc;

use roundel_balance::{Pick, ServerId, StickyVerdict};
use roundel_http1::{Edits, Known, Method, RequestHead};

use crate::connect::{Search, StickyServer};
use crate::deadline::Deadline;
use crate::headers::identity;
use crate::rules::BackendSlot;
use crate::sides::{Downstream, SourceError};
use crate::story::{Scene, Story, conclude};
use crate::term::{Phase, Term};
use crate::upstream::H1Server;
use crate::{headers, key, route, sticky};

mod attempt;
mod own;
mod pump;
mod replay;
mod wait;

use pump::{BodyEnd, Pump, Side};
use replay::Replay;

pub(crate) use own::refuse;

/// How an exchange ended for its client.
pub(crate) enum Outcome {
    /// An answer was sent whole.
    Done,
    /// No answer, or a broken one: nothing may follow.
    Broken,
    /// The protocol was switched; bytes flow both ways from here on.
    Tunnel(Box<Tunnelled>),
}

/// The server's side of a switched connection; in flight as long as it lives.
pub(crate) struct Tunnelled {
    pub(crate) slot: Rc<BackendSlot>,
    pub(crate) server: H1Server,
    pub(crate) pick: Pick,
}

/// An answer that has begun.
struct Begun {
    pick: Pick,
    server: H1Server,
    /// The whole request was sent.
    sent: bool,
    request_bytes: u64,
}

/// Why there is no answer to pass on.
enum Failed {
    /// The client is gone, or broke its request in a way that leaves nothing to say.
    Client(Term),
    /// The client gets this status.
    Answer(u16, Term, &'static str),
}

/// Answers one request. Counts it and writes its log line, except for tunnels.
pub(crate) async fn exchange<D: Downstream>(
    scene: Scene<'_>,
    client: &mut D,
    deadline: &Deadline,
    story: &mut Story,
) -> Outcome {
    scene.peer.slot.counters(scene.worker.index).requests.add(1);
    if scene.rules.frontend.marks.request_id {
        story.request_id = Some(request_id(scene, client.head(), story));
    }
    if let Some((status, sentence)) = refused(client.head()) {
        story.end(Term::BadRequest);
        let outcome = own::answer(scene, client, deadline, story, status, sentence).await;
        conclude(scene, None, None, client.head(), story);
        return outcome;
    }
    let head = client.head();
    let host = head.host().unwrap_or_default();
    let slot = &scene.rules.backends[route::route(&scene.rules.frontend, host, head.path())];
    let mut course = Course::new(scene, slot, head, story);
    let begun = course.attempts(client, deadline, story).await;
    story.retries = course.search.retries;
    story.set_version = course.search.set_version;
    let outcome = match begun {
        Ok(begun) => course.pass_on(client, deadline, story, begun).await,
        Err(Failed::Client(term)) => {
            story.end(term);
            client.abort();
            Outcome::Broken
        }
        Err(Failed::Answer(status, term, sentence)) => {
            story.end(term);
            own::answer(scene, client, deadline, story, status, sentence).await
        }
    };
    story.redispatched = course.search.redispatched;
    if !matches!(outcome, Outcome::Tunnel(_)) {
        conclude(
            scene,
            Some(slot),
            course.last.as_ref(),
            client.head(),
            story,
        );
    }
    scene.worker.blocks.give_edits(course.edits);
    outcome
}

/// What is not passed on at all.
fn refused(head: &RequestHead) -> Option<(u16, &'static str)> {
    match head.method() {
        Method::Connect => Some((501, "CONNECT is not offered here.")),
        Method::Trace => Some((405, "TRACE is not allowed here.")),
        // RFC 9110 7.6.2: the last recipient answers; there is nothing to tell but that.
        Method::Options if head.max_forwards() == Some(0) => {
            Some((200, "This is the last recipient that Max-Forwards allows."))
        }
        _ => None,
    }
}

/// One request on its way through a backend.
struct Course<'x> {
    scene: Scene<'x>,
    slot: &'x Rc<BackendSlot>,
    search: Search,
    /// The server that the client's cookie names and that serves.
    cookie: Option<ServerId>,
    edits: Edits,
    replay: Replay,
    /// A connection of this server was stale; it is asked again on a fresh one.
    again: Option<Pick>,
    stale_seen: bool,
    /// The server that was asked last.
    last: Option<Pick>,
}

impl<'x> Course<'x> {
    fn new(
        scene: Scene<'x>,
        slot: &'x Rc<BackendSlot>,
        head: &RequestHead,
        story: &mut Story,
    ) -> Self {
        let counters = &slot.backend.balancer.counters()[scene.worker.index];
        counters.requests.add(1);
        counters.last_request.set(scene.worker.unix_second());
        let search = Search {
            sticky: find_sticky(slot, head, story),
            hash: find_hash(scene, slot, head),
            ..Search::default()
        };
        Self {
            scene,
            slot,
            cookie: search.sticky.map(|s| s.id),
            search,
            edits: request_edits(scene, slot, head, story),
            replay: Replay::new(head),
            again: None,
            stale_seen: false,
            last: None,
        }
    }

    /// Passes an answer on that has begun.
    async fn pass_on<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
        begun: Box<Begun>,
    ) -> Outcome {
        let Begun {
            pick,
            mut server,
            sent,
            request_bytes,
        } = *begun;
        let switching = server.head.is_switching();
        if switching && (client.head().upgrade().is_none() || !sent) {
            // RFC 9110 15.2.2: only what was asked for can be switched to.
            story.end(Term::BadResponse);
            self.last = Some(pick);
            let (scene, sentence) = (self.scene, crate::answer::sentence(502));
            return own::answer(scene, client, deadline, story, 502, sentence).await;
        }
        self.answer_edits(&pick, &server, story);
        let last = !sent || self.scene.worker.is_draining();
        client.commit(&server.head, &self.edits, last);
        story.status = server.head.status();
        story.phase = Phase::Data;
        story.response_bytes = server.head.size() as u64;
        if switching {
            return Outcome::Tunnel(Box::new(Tunnelled {
                slot: self.slot.clone(),
                server,
                pick,
            }));
        }
        let mut pump = Pump::new(
            self.scene,
            self.slot,
            client,
            &mut server,
            &mut self.replay,
            deadline,
        );
        pump.resume(sent, request_bytes);
        let end = poll_fn(|cx| pump.poll_body(cx)).await;
        let sent = pump.is_sent();
        story.request_bytes = pump.request_bytes() + pump.client_head_size();
        story.response_bytes += pump.response_bytes();
        let outcome = self.body_outcome(end, client, story);
        if matches!(outcome, Outcome::Done) && sent && server.is_reusable() {
            self.keep(&pick, server);
        }
        self.last = Some(pick);
        outcome
    }

    fn body_outcome<D: Downstream>(
        &self,
        end: BodyEnd,
        client: &mut D,
        story: &mut Story,
    ) -> Outcome {
        let term = match end {
            BodyEnd::Done => {
                story.phase = Phase::Last;
                return Outcome::Done;
            }
            BodyEnd::ClientGone => Term::ClientAbort,
            BodyEnd::Server(SourceError::Gone) => Term::ServerAbort,
            BodyEnd::Server(SourceError::Malformed(_)) => Term::BadResponse,
            BodyEnd::TimedOut(Side::Client) => Term::ClientTimeout,
            BodyEnd::TimedOut(Side::Server) => Term::ServerTimeout,
        };
        story.end(term);
        client.abort();
        Outcome::Broken
    }

    /// Puts a connection that ended its exchange exactly back into the pool.
    fn keep(&self, pick: &Pick, server: H1Server) {
        let worker = self.scene.worker;
        let configured = self.slot.backend.timeouts.upstream_idle;
        let limit = match server.head.keep_alive_timeout() {
            // The server's own clock started a little earlier; a second is a safe distance.
            Some(promised) => {
                configured.min(std::time::Duration::from_secs(promised.saturating_sub(1)))
            }
            None => configured,
        };
        let key = (self.slot.key(), pick.id().0);
        let stream = server.into_stream(&worker.blocks);
        let now = worker.clock().recent();
        worker.pool.put(key, pick.address(), stream, now, limit);
    }

    /// Fills `self.edits` with what changes in the head of an answer.
    fn answer_edits(&mut self, pick: &Pick, server: &H1Server, story: &mut Story) {
        self.edits.clear();
        let fields = server.head.fields();
        if server.head.connection().names_fields {
            self.edits.remove_connection_named(fields);
        }
        self.scene.worker.with_date(|date| {
            headers::add_date(fields, date.as_bytes(), &mut self.edits);
        });
        if let Some(id) = &story.request_id {
            headers::set(fields, Known::XRequestId, id.as_bytes(), &mut self.edits);
        }
        if let Some(text) = &self.slot.cookie {
            sticky::remove_set_cookie(fields, text, &mut self.edits);
            if self.cookie != Some(pick.id()) {
                sticky::set(fields, text, pick.cookie_value(), &mut self.edits);
                story.cookie_set = true;
            }
        }
    }
}

fn find_sticky(slot: &BackendSlot, head: &RequestHead, story: &mut Story) -> Option<StickyServer> {
    let text = slot.cookie.as_ref()?;
    let mut first = None;
    let mut chosen = None;
    let current = slot.current();
    let found = sticky::find(head.fields(), text, |value| {
        let verdict = current.sticky(value);
        first.get_or_insert(verdict);
        let index = verdict.server()?;
        chosen = Some(verdict);
        Some(StickyServer {
            id: current.servers()[index].live.id,
            index,
            generation: current.generation(),
        })
    });
    if let Some(verdict) = chosen.or(first) {
        story.sticky = StickyVerdict::label(verdict);
    }
    found
}

fn find_hash(scene: Scene<'_>, slot: &BackendSlot, head: &RequestHead) -> Option<u64> {
    let on = slot.backend.hash_on.as_ref()?;
    key::hash(on, head, scene.peer.address.ip())
}

fn is_trusted(scene: Scene<'_>) -> bool {
    let trusted = &scene.rules.frontend.trusted_proxies;
    headers::is_trusted(scene.peer.address.ip(), trusted)
}

#[cold]
fn request_id(scene: Scene<'_>, head: &RequestHead, story: &Story) -> Box<str> {
    let unix = scene.worker.unix(story.started);
    let mut rng = scene.worker.rng.borrow_mut();
    identity::request_id(head.fields(), is_trusted(scene), unix, &mut rng)
}

fn request_edits(
    scene: Scene<'_>,
    slot: &BackendSlot,
    head: &RequestHead,
    story: &mut Story,
) -> Edits {
    let mut edits = scene.worker.blocks.take_edits();
    let fields = head.fields();
    if head.connection().names_fields {
        edits.remove_connection_named(fields);
    }
    let mut port = itoa::Buffer::new();
    let frontend = &scene.rules.frontend;
    let client = headers::Client {
        address: scene.peer.address.ip(),
        ip: &scene.peer.ip,
        port: port.format(scene.peer.port),
        proto: "http",
        trusted: is_trusted(scene),
        version: head.version(),
        host: head.host().unwrap_or_default(),
    };
    let (marks, trusted) = (frontend.marks, &frontend.trusted_proxies);
    headers::forward(fields, client, marks, trusted, frontend.via, &mut edits);
    if let Some(id) = &story.request_id {
        headers::set(fields, Known::XRequestId, id.as_bytes(), &mut edits);
    }
    if marks.traceparent {
        let mut rng = scene.worker.rng.borrow_mut();
        story.trace_id = identity::start_trace(fields, &mut rng, &mut edits);
    }
    if head.method() == Method::Options {
        headers::one_forward_less(fields, head.max_forwards(), &mut edits);
    }
    if let Some(text) = &slot.cookie {
        sticky::hide(fields, text, &mut edits);
    }
    edits
}
