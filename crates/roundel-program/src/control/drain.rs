//! The balancer's half of the two-way drain: servers that are about to end ask how much of their
//! work is left here, and are told when nothing is and nothing more will come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_balance::ServerLive;
use roundel_gossip_tokio::{DRAINS, DrainAnswer, DrainRequest, Member, QueryId, Question, Status};
use roundel_model::{ServerState, SourceKind};
use tokio::task::JoinHandle;

use super::Control;

/// How long an answer is put off in case all is done by then: less than the pause after which the
/// server asks again.
const PATIENCE: Duration = Duration::from_millis(40);

/// Pause between two looks while a question waits.
const LOOK: Duration = Duration::from_millis(5);

/// A server that has not asked for so long is forgotten.
const FORGET: Duration = Duration::from_secs(10);

/// The servers that asked of late, by member name.
#[derive(Default)]
pub(super) struct Drains {
    by_member: BTreeMap<String, Drain>,
    /// When to look again; set while a question waits.
    next: Option<Instant>,
}

/// One server on its way out.
struct Drain {
    incarnation: u32,
    /// The last question that is not answered yet, and when it is answered in any case.
    question: Option<(QueryId, Instant)>,
    asked: Instant,
    /// Its live states in the backends that have it, or had it since it asked.
    lives: Vec<Arc<ServerLive>>,
    passed: Passed,
}

/// Whether a request that is not counted yet may still go to the server.
enum Passed {
    /// A snapshot lets new requests through.
    Open,
    /// None does, but a worker may not have seen that yet.
    Closing(JoinHandle<()>),
    Closed,
}

impl Drains {
    /// When [`Control::look_at_drains`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Has a waiting question looked at without delay: something has changed.
    pub(super) fn soon(&mut self) {
        if self.next.is_some() {
            self.next = Some(Instant::now());
        }
    }
}

impl Control {
    /// Takes a question. Only a member may ask, and only about itself.
    pub(super) fn handle_question(&mut self, question: Question) {
        let now = Instant::now();
        let Ok(request) = DrainRequest::decode(&question.payload) else {
            tracing::debug!(from = %question.address, "a drain question that cannot be read");
            return;
        };
        let asks = |m: &Member| m.address == question.address;
        if !self.member(&question.from).is_some_and(|m| asks(&m)) {
            tracing::debug!(from = %question.address, "a drain question of no member");
            return;
        }
        let drains = &mut self.drains.by_member;
        drains.retain(|_, drain| now.saturating_duration_since(drain.asked) < FORGET);
        let drain = drains.entry(question.from).or_insert_with(|| {
            let left = roundel_config::value::show_duration(request.deadline);
            tracing::debug!(from = %question.address, left, "a server asks when it is drained");
            Drain::new(request.incarnation, now)
        });
        if drain.incarnation < request.incarnation {
            *drain = Drain::new(request.incarnation, now);
        }
        drain.asked = now;
        drain.question = Some((question.id, now + PATIENCE.min(request.deadline)));
        self.look_at_drains();
    }

    /// Answers every question whose time has come: all is done, or the asker has waited enough.
    pub(super) fn look_at_drains(&mut self) {
        let now = Instant::now();
        let mut drains = std::mem::take(&mut self.drains.by_member);
        for (name, drain) in &mut drains {
            let Some((question, at_latest)) = drain.question else {
                continue;
            };
            self.look_at(name, drain);
            let answer = drain.answer(self.follows);
            if !answer.drained && now < at_latest {
                continue;
            }
            drain.question = None;
            if let Some(view) = &self.parts.gossip {
                let handle = view.handle().clone();
                // The gossip may have much to do, which must not hold up anything here. A question
                // that is over will be asked anew.
                tokio::spawn(async move { handle.respond(question, answer.encode()).await });
            }
        }
        let waits = drains.values().any(|drain| drain.question.is_some());
        self.drains.next = waits.then(|| now + LOOK);
        self.drains.by_member = drains;
    }

    fn look_at(&self, name: &str, drain: &mut Drain) {
        let mut open = !self.member(name).is_some_and(|m| is_leaving(&m, drain));
        for managed in self.backends.values() {
            let ours = managed.director().servers_of(SourceKind::Gossip);
            for (live, state) in ours.filter(|(live, _)| live.name.as_str() == name) {
                // One that joins may serve at any moment: its leave is not taken in yet.
                open |= state != ServerState::Leaving;
                drain.keep(live);
            }
        }
        drain.step(open, || tokio::spawn(self.parts.proxy.passed()));
    }

    fn member(&self, name: &str) -> Option<Member> {
        let members = self.parts.gossip.as_ref()?.handle().members();
        let members = members.borrow();
        members.iter().find(|m| m.name == name).cloned()
    }
}

impl Drain {
    fn new(incarnation: u32, now: Instant) -> Self {
        Self {
            incarnation,
            question: None,
            asked: now,
            lives: Vec::new(),
            passed: Passed::Open,
        }
    }

    fn keep(&mut self, live: &Arc<ServerLive>) {
        if !self.lives.iter().any(|known| Arc::ptr_eq(known, live)) {
            self.lives.push(Arc::clone(live));
        }
    }

    /// Goes on from open to closing to closed, or back when the server takes requests again.
    fn step(&mut self, open: bool, pass: impl FnOnce() -> JoinHandle<()>) {
        if open {
            self.passed = Passed::Open;
            return;
        }
        if let Passed::Open = self.passed {
            self.passed = Passed::Closing(pass());
        }
        if let Passed::Closing(passing) = &self.passed
            && passing.is_finished()
        {
            self.passed = Passed::Closed;
        }
    }

    /// `follows`: the process before may have more in flight here, and may send more: its sets
    /// of servers stand still.
    fn answer(&self, follows: bool) -> DrainAnswer {
        let sum = |of: fn(&ServerLive) -> u32| {
            let counts = self.lives.iter().map(|live| of(live));
            counts.fold(0, u32::saturating_add)
        };
        let in_flight = sum(ServerLive::in_flight);
        DrainAnswer {
            drained: matches!(self.passed, Passed::Closed) && in_flight == 0 && !follows,
            in_flight,
            // The two are read one after the other.
            tunnels: sum(ServerLive::tunnels).min(in_flight),
        }
    }
}

/// Whether the member is known as one that takes no more requests, as it was when it asked.
fn is_leaving(member: &Member, drain: &Drain) -> bool {
    let (key, value) = DRAINS;
    let said = member.tags.get(key).is_some_and(|v| v == value);
    let gone = matches!(member.status, Status::Leaving | Status::Left);
    (said && member.incarnation >= drain.incarnation) || gone
}
