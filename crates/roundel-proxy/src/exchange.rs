//! One request and its answer, whatever the client speaks.
//!
//! Reads from top to bottom: refuse, route, rewrite, attempt until an answer begins, pass it on.
//! What is decided on the way is decided by functions elsewhere that return data.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use roundel_balance::{Pick, ServerId, StickyVerdict};
use roundel_http1::{Edits, RequestHead, login};

use crate::answer::Reply;
use crate::bonds::Bond;
use crate::config::Proto;
use crate::deadline::Deadline;
use crate::ending::{Phase, Term};
use crate::pool::ANYONE;
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::sides::{Downstream, Presence, SourceError};
use crate::sticky::StickyServer;
use crate::story::{Story, conclude};
use crate::{answer, headers, key, sticky};

mod admit;
mod attempt;
mod call;
mod edits;
mod facts;
mod outcome;
mod own;
mod pump;
mod replay;
pub(crate) mod state;
mod wait;
mod watch;

use admit::admit;
use call::Timeout;
use edits::{answer_edits, request_edits};
use facts::{client_address, facts, request_id};
use outcome::{Begun, Failed};
use pump::{BodyEnd, Pump};
use replay::Replay;
use state::State;

pub(crate) use outcome::{Outcome, Tunnelled};
pub(crate) use own::{decline, refuse};

/// Answers one request. Counts it and writes its log line, except for tunnels.
pub(crate) async fn exchange<D: Downstream>(
    scene: Scene<'_>,
    client: &mut D,
    deadline: &Deadline,
    story: &mut Story,
) -> Outcome {
    scene.peer.slot.counters(scene.worker.index).requests.add(1);
    if D::MULTIPLEXED && is_given_up(client).await {
        story.end(Term::ClientAbort);
        conclude(scene, None, None, client.head(), story);
        return Outcome::Broken;
    }
    if scene.rules.wants_request_id {
        story.request_id = Some(request_id(scene, client.head(), story));
    }
    let slot = match admit(scene, client.head(), story) {
        Ok(slot) => slot,
        Err((term, reply)) => {
            story.end(term);
            let mut told = Told::new(scene, None, client, story);
            let Told { client, story, .. } = &mut told;
            let answered = own::answer(scene, *client, deadline, story, None, &reply);
            let outcome = Box::pin(answered).await;
            told.conclude();
            return outcome;
        }
    };
    let course = Course::new(scene, slot, client.head(), story);
    deadline.end_at(course.end(story));
    let mut told = Told::new(scene, Some(course), client, story);
    let Told {
        course: Some(course),
        client,
        story,
        ..
    } = &mut told
    else {
        unreachable!("it was put in a moment ago");
    };
    let begun = course.attempts(*client, deadline, story).await;
    story.set_version = course.state.search.set_version;
    let outcome = match begun {
        Ok(begun) => course.pass_on(*client, deadline, story, begun).await,
        Err(Failed::Client(term)) => {
            story.end(term);
            client.abort();
            Outcome::Broken
        }
        Err(Failed::Answer(status, term, sentence)) => {
            story.end(term);
            deadline.end_at(None);
            let reply = Reply::new(status, sentence);
            let answered = own::answer(scene, *client, deadline, story, Some(slot), &reply);
            Box::pin(answered).await
        }
    };
    deadline.end_at(None);
    match &outcome {
        // Its story goes on.
        Outcome::Tunnel(_) => told.hand_on(),
        _ => told.conclude(),
    }
    if let Some(mut course) = told.course.take() {
        if let Some(bond) = course.state.search.bond.take() {
            scene.peer.bonds.put(bond);
        }
        course.state.clear();
        scene.worker.states.give(course.state);
    }
    outcome
}

/// Whether the client has given the request up before anything was done for it.
async fn is_given_up(client: &mut impl Downstream) -> bool {
    poll_fn(|cx| Poll::Ready(client.poll_presence(cx) == Presence::Gone)).await
}

/// An exchange that is counted and logged in any case: where it is dropped before its end, by a
/// panic or because the process ends, as one that was cut short.
struct Told<'x, 'c, D: Downstream> {
    scene: Scene<'x>,
    course: Option<Course<'x>>,
    client: &'c mut D,
    story: &'c mut Story,
    over: bool,
}

impl<'x, 'c, D: Downstream> Told<'x, 'c, D> {
    fn new(
        scene: Scene<'x>,
        course: Option<Course<'x>>,
        client: &'c mut D,
        story: &'c mut Story,
    ) -> Self {
        Self {
            scene,
            course,
            client,
            story,
            over: false,
        }
    }

    /// Notes in the story what was tried.
    fn hand_on(&mut self) {
        self.over = true;
        if let Some(course) = &self.course {
            let search = &course.state.search;
            self.story.retries = search.retries + search.refusals;
            self.story.redispatched = search.redispatched;
        }
    }

    fn conclude(&mut self) {
        self.hand_on();
        let slot = self.course.as_ref().map(|course| &**course.slot);
        let pick = self.course.as_ref().and_then(|c| c.state.pick.as_ref());
        conclude(self.scene, slot, pick, self.client.head(), self.story);
    }
}

impl<D: Downstream> Drop for Told<'_, '_, D> {
    fn drop(&mut self) {
        if !self.over {
            self.story.cut_short();
            self.conclude();
        }
    }
}

/// One request on its way through a backend.
struct Course<'x> {
    scene: Scene<'x>,
    slot: &'x Rc<BackendSlot>,
    state: Box<State>,
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
        let mut state = scene.worker.states.take().unwrap_or_default();
        let edits = &mut state.edits;
        request_edits(scene, head, story, edits);
        let sticky = take_sticky(slot, head, edits, story);
        if !slot.request_headers.is_empty() {
            let facts = facts(scene, head, story);
            headers::rules::apply(&slot.request_headers, head.fields(), &facts, edits);
        }
        state.search.sticky = sticky;
        state.search.hash = find_hash(scene, slot, head);
        state.search.client = scene.peer.id;
        state.search.is_first = !scene.peer.has_asked.replace(true);
        // Any other upgrade, or one with a body, is none in HTTP/2.
        state.search.is_socket = head.asks_websocket() && head.framing().is_empty();
        state.cookie = sticky.map(|s| s.id);
        state.login = login::in_request(head.fields());
        state.call = Timeout::find(head, edits);
        if let Some(bond) = scene.peer.bonds.take(slot.key()) {
            follow_bond(slot, bond, &mut state);
        }
        let may_refuse = slot.backend.proto != Proto::H1;
        state.replay = Replay::new(head, scene.rules.frontend.limits.max_body, may_refuse);
        Self { scene, slot, state }
    }

    /// When the request is to be over, whatever happens.
    fn end(&self, story: &Story) -> Option<Instant> {
        let total = Some(self.slot.server_timeouts().total).filter(|total| !total.is_zero());
        let asked = self.state.call.map(|call| call.time);
        let time = total.into_iter().chain(asked).min();
        time.and_then(|time| story.started.checked_add(time))
    }

    /// Passes an answer on that has begun.
    async fn pass_on<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
        begun: Begun,
    ) -> Outcome {
        let (scene, slot) = (self.scene, self.slot);
        let State {
            edits,
            replay,
            cookie,
            login,
            bound,
            pick: Some(pick),
            server: Some(server),
            ..
        } = &mut *self.state
        else {
            unreachable!("an answer begins on a connection to a server");
        };
        let switching = server.head().is_switching();
        let unasked = switching && (client.head().upgrade().is_none() || !begun.sent);
        // Over HTTP/2 such a status says that there is a tunnel (RFC 8441 5): what follows would be
        // taken for WebSocket's frames.
        let misleads = matches!(server.head().status(), 200..=299);
        if unasked || (misleads && client.head().is_extended_connect()) {
            return Box::pin(self.refuse_switch(client, deadline, story)).await;
        }
        story.cookie_set = slot.cookie.is_some() && sets_cookie(*cookie, *bound, pick);
        let cookie = story.cookie_set.then(|| pick.cookie_value());
        let (asked, head) = (client.head(), server.head());
        answer_edits(scene, slot, asked, head, cookie, story, edits);
        let logged_out = (*login || *bound) && !head.keep_alive();
        let last = !begun.sent || logged_out || scene.worker.is_draining();
        client.commit(head, edits, last);
        story.status = head.status();
        story.phase = Phase::Data;
        story.response_bytes = head.size() as u64;
        if switching {
            return self.tunnel();
        }
        let mut pump = Pump::new(scene, slot, client, server, replay, deadline);
        pump.resume(&begun, slot.server_timeouts().response_idle);
        let end = pass_body(&mut pump, story).await;
        let sent = pump.is_sent();
        if client.head().is_call() {
            call::note_end(&end, server, pick.server(), story);
        }
        let is_open = server.head().content_length().is_none();
        let outcome = body_outcome(end, client, story, is_open).await;
        self.part::<D>(matches!(outcome, Outcome::Done) && sent);
        outcome
    }

    /// Answers in place of a server that switches although that was not asked for (RFC 9110 15.2.2), or
    /// whose answer would be taken for that.
    async fn refuse_switch<D: Downstream>(
        &mut self,
        client: &mut D,
        deadline: &Deadline,
        story: &mut Story,
    ) -> Outcome {
        story.end(Term::BadResponse);
        self.state.server = None;
        let reply = Reply::new(502, answer::sentence(502));
        let slot = Some(&**self.slot);
        own::answer(self.scene, client, deadline, story, slot, &reply).await
    }

    /// Hands the switched connection over.
    fn tunnel(&mut self) -> Outcome {
        match (self.state.server.take(), self.state.pick.take()) {
            (Some(mut server), Some(pick)) => {
                server.switch();
                Outcome::Tunnel(Box::new(Tunnelled {
                    slot: self.slot.clone(),
                    server,
                    pick,
                }))
            }
            _ => Outcome::Broken,
        }
    }

    /// Puts the connection back into the pool if its exchange ended exactly, else closes it. One that
    /// carries a login, or is about to, stays with its client.
    fn part<D: Downstream>(&mut self, is_over: bool) {
        let (Some(pick), Some(server)) = (&self.state.pick, &self.state.server) else {
            return;
        };
        if !is_over || !server.is_reusable() {
            self.state.server = None;
            return;
        }
        let worker = self.scene.worker;
        let unfinished = login::in_answer(server.head().status(), server.head().fields());
        if self.state.login || self.state.bound || unfinished {
            return self.bind::<D>(unfinished);
        }
        let configured = self.slot.backend.timeouts.upstream_idle;
        let limit = match server.head().keep_alive_timeout() {
            // The server's own clock started a little earlier; a second is a safe distance.
            Some(promised) => configured.min(Duration::from_secs(promised.saturating_sub(1))),
            None => configured,
        };
        let key = (self.slot.key(), pick.id().0);
        let owner = self.state.search.owner(self.slot, pick);
        if owner != ANYONE {
            self.scene.peer.owns.set(true);
        }
        let (address, now) = (pick.address(), worker.clock().recent());
        let server = self.state.server.take();
        if self.state.search.is_shy(self.slot) {
            // Clients that ask once would leave more behind than all others take.
            worker.pool.make_room(key, worker.connections());
        }
        if let Some(io) = server.and_then(|server| server.into_connection(&worker.blocks)) {
            worker.pool.put(key, owner, address, io, now, limit);
        }
    }

    /// Leaves the connection, which carries a login or is about to, to its client alone.
    #[cold]
    fn bind<D: Downstream>(&mut self, unfinished: bool) {
        let (Some(pick), Some(server)) = (&self.state.pick, self.state.server.take()) else {
            return;
        };
        if !D::MULTIPLEXED
            && let Some(io) = server.into_connection(&self.scene.worker.blocks)
        {
            self.scene.peer.bonds.put(Bond {
                backend: self.slot.key(),
                server: pick.id(),
                address: pick.address(),
                io,
                unfinished,
            });
        }
    }
}

/// Whether an answer sets the sticky cookie, where the backend has one.
fn sets_cookie(named: Option<ServerId>, bound: bool, pick: &Pick) -> bool {
    match bound {
        // Other connections of the client may be logged in where its cookie leads.
        true => named.is_none(),
        false => named != Some(pick.id()),
    }
}

/// Moves what is left of both bodies, and notes in the story how much that was.
async fn pass_body<D: Downstream>(pump: &mut Pump<'_, D>, story: &mut Story) -> BodyEnd {
    let mut at_once = true;
    let end = poll_fn(|cx| {
        let end = pump.poll_body(cx);
        at_once &= end.is_ready();
        end
    })
    .await;
    if at_once {
        // All of it was there with its head.
        story.ended_at = story.answered_at;
    }
    story.request_bytes = pump.request_bytes() + pump.client_head_size();
    story.response_bytes += pump.response_bytes();
    end
}

/// `is_open` says that the answer may end at any byte.
async fn body_outcome<D: Downstream>(
    end: BodyEnd,
    client: &mut D,
    story: &mut Story,
    is_open: bool,
) -> Outcome {
    let term = match end {
        BodyEnd::Done => {
            story.phase = Phase::Last;
            return Outcome::Done;
        }
        BodyEnd::Client(term) => {
            story.end(term);
            client.abort();
            return Outcome::Broken;
        }
        BodyEnd::Server(SourceError::Gone) => Term::ServerAbort,
        BodyEnd::Server(SourceError::Malformed(_)) => Term::BadResponse,
        BodyEnd::TimedOut(term) => term,
    };
    story.end(term);
    if !is_open || !call::end_early(client, term).await {
        client.abort();
    }
    Outcome::Broken
}

/// Takes the sticky cookie out of a request and looks up the server that it names.
fn take_sticky(
    slot: &BackendSlot,
    head: &RequestHead,
    edits: &mut Edits,
    story: &mut Story,
) -> Option<StickyServer> {
    let text = slot.cookie.as_ref()?;
    let mut first = None;
    let mut chosen = None;
    let current = slot.current();
    let found = sticky::cut(head.fields(), text, edits, |value| {
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

/// Has the request go out on the connection that carries the client's login, if it still can.
#[cold]
fn follow_bond(slot: &BackendSlot, mut bond: Bond, state: &mut State) {
    match bond.locate(&slot.current()) {
        Some(server) if bond.is_fit() => {
            state.search.sticky = Some(server);
            state.search.bond = Some(bond);
        }
        _ => state.login_lost = state.login && bond.unfinished,
    }
}

fn find_hash(scene: Scene<'_>, slot: &BackendSlot, head: &RequestHead) -> Option<u64> {
    let on = slot.backend.hash_on.as_ref()?;
    key::hash(on, head, || client_address(scene, head))
}
