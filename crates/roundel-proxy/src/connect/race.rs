//! Connects that are raced when slow: the next server at once after a refusal, and beside a silent one
//! after a while.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use roundel_balance::{Evidence, EvidenceKind, Pick, PickError};
use smallvec::SmallVec;
use tokio::time::Sleep;

use super::dial::{Made, Target, dial};
use super::{Link, NoLink, pick};
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::search::Search;
use crate::shortage::is_shortage;
use crate::worker::Worker;

/// Silence after which the next server is tried beside one that has not taken a connection yet.
const NEXT_AFTER: Duration = Duration::from_millis(200);

/// Silence of which the control side is told, so that it asks the server by other ways while
/// there is still time.
const TELL_AFTER: Duration = Duration::from_millis(80);

/// One connection being opened.
struct Opening {
    pick: Pick,
    begun: Instant,
    connecting: Pin<Box<dyn Future<Output = io::Result<Made>>>>,
    limit: Pin<Box<Sleep>>,
    /// It waits for a descriptor of ours, not for the server.
    short: Rc<Cell<bool>>,
}

impl Opening {
    fn new(scene: Scene<'_>, slot: &BackendSlot, search: &Search, pick: Pick) -> Self {
        let limit = slot.backend.timeouts.connect;
        let short = Rc::new(Cell::new(false));
        let target = Target::new(scene, slot, search, &pick);
        Self {
            begun: target.begun,
            connecting: dial(&scene.peer.worker, target, short.clone()),
            short,
            pick,
            limit: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Made>> {
        if let Poll::Ready(done) = self.connecting.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let limit = self.limit.as_mut().poll(cx);
        limit.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Opens connections until one stands: the next server at once after a refusal, and beside a
/// silent one after [`NEXT_AFTER`]. Nothing has been sent, so any method may go anywhere. Every
/// server is asked once before it fails; only silent ones count as retries.
pub(super) async fn race(
    scene: Scene<'_>,
    slot: &BackendSlot,
    search: &mut Search,
    first: Pick,
) -> Result<Link, NoLink> {
    let mut race = Race {
        scene,
        worker: scene.worker,
        slot,
        search,
        open: SmallVec::new(),
        next: Box::pin(tokio::time::sleep(TELL_AFTER)),
        told: false,
        others_left: true,
    };
    race.open(first);
    loop {
        match poll_fn(|cx| race.poll(cx)).await {
            Event::Connected(opening, made) => return Ok(race.won(opening, made)),
            Event::Failed(opening, error) => race.replace(&opening, &error)?,
            Event::Silence => race.go_on().map_err(NoLink::NoServer)?,
        }
    }
}

struct Race<'x> {
    scene: Scene<'x>,
    worker: &'x Worker,
    slot: &'x BackendSlot,
    search: &'x mut Search,
    open: SmallVec<[Opening; 2]>,
    /// When something is done about silence.
    next: Pin<Box<Sleep>>,
    /// The control side was told of the server that was asked last.
    told: bool,
    /// There may be servers that were not asked yet.
    others_left: bool,
}

/// What may happen in a race.
enum Event {
    Connected(Opening, Made),
    Failed(Opening, io::Error),
    /// Nothing, for a while.
    Silence,
}

impl Race<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for i in 0..self.open.len() {
            if let Poll::Ready(result) = self.open[i].poll(cx) {
                let opening = self.open.swap_remove(i);
                return Poll::Ready(match result {
                    Ok(made) => Event::Connected(opening, made),
                    Err(error) => Event::Failed(opening, error),
                });
            }
            if self.open[i].short.get() {
                self.worker.pool.shed();
            }
        }
        self.next.as_mut().poll(cx).map(|()| Event::Silence)
    }

    /// Does what is due about silence. Errors: there is nobody left to wait for.
    fn go_on(&mut self) -> Result<(), PickError> {
        let pause = match self.open.iter().any(|o| o.short.get()) {
            // It is not the servers that are silent.
            true => TELL_AFTER,
            false => {
                if self.leave_behind() {
                    self.add()?;
                }
                self.tell_or_add()
            }
        };
        let at = tokio::time::Instant::now() + pause;
        self.next.as_mut().reset(at);
        Ok(())
    }

    /// Tells the control side of the server that is silent; the next time, begins on another one
    /// beside it. Returns for how long to wait then.
    fn tell_or_add(&mut self) -> Duration {
        self.told = !self.told;
        match (self.told, self.open.last()) {
            _ if !self.others_left => NEXT_AFTER,
            (true, Some(silent)) => {
                let kind = EvidenceKind::Unanswered;
                tell(self.worker, self.slot, &silent.pick, kind);
                NEXT_AFTER - TELL_AFTER
            }
            (_, silent) => {
                self.search.tried.extend(silent.map(|s| s.pick.id()));
                self.others_left = self.add_beside().is_ok();
                TELL_AFTER
            }
        }
    }

    /// Gives up connects to servers that are known by now to serve no longer. Returns whether none
    /// is left.
    fn leave_behind(&mut self) -> bool {
        let current = self.slot.current();
        let tried = &mut self.search.tried;
        self.open.retain(|opening| {
            let id = opening.pick.id();
            let mut servers = current.servers().iter();
            let serves = servers.any(|e| e.live.id == id && e.state.takes_sticky());
            if !serves && !tried.contains(&id) {
                tried.push(id);
            }
            serves
        });
        self.open.is_empty()
    }

    /// Goes to another server than one that failed. Errors: there is none, and none is waited for.
    fn replace(&mut self, done: &Opening, error: &io::Error) -> Result<(), NoLink> {
        if is_shortage(error) && self.open.is_empty() {
            return Err(NoLink::Short);
        }
        self.failed(done, error);
        let added = match error.kind() {
            io::ErrorKind::TimedOut => self.add_beside(),
            _ => self.add(),
        };
        if added.is_ok() {
            done.pick.counters().retries.add(1);
            done.pick.counters().redispatches.add(1);
        } else if self.open.is_empty() {
            return Err(match error.kind() {
                _ if added == Err(PickError::Full) => NoLink::NoServer(PickError::Full),
                io::ErrorKind::TimedOut => NoLink::TimedOut,
                io::ErrorKind::Unsupported => NoLink::NoSocket,
                _ => NoLink::Refused,
            });
        }
        Ok(())
    }

    /// Starts on one more server in place of one that is out of the question, if one is left.
    fn add(&mut self) -> Result<(), PickError> {
        let pick = pick(self.worker, self.slot, self.search)?;
        self.search.refusals += 1;
        self.open(pick);
        Ok(())
    }

    /// Starts on one more server although another may still answer, if the backend's retries allow
    /// it and one is left.
    fn add_beside(&mut self) -> Result<(), PickError> {
        if self.search.retries >= self.slot.backend.retries {
            return Err(PickError::AllTried);
        }
        let pick = pick(self.worker, self.slot, self.search)?;
        self.search.retries += 1;
        self.open(pick);
        Ok(())
    }

    fn open(&mut self, pick: Pick) {
        let opening = Opening::new(self.scene, self.slot, self.search, pick);
        self.open.push(opening);
    }

    fn won(&mut self, opening: Opening, made: Made) -> Link {
        // Servers tried on the way may be asked again for a later attempt: only this one is spent
        // then.
        let tried = &self.search.tried;
        self.search.redispatched |= !tried.is_empty() && !tried.contains(&opening.pick.id());
        if !made.reused {
            opening.pick.counters().connects.add(1);
        }
        self.slot.backend.balancer.note_served();
        let now = self.worker.clock().now();
        Link {
            took: now.saturating_duration_since(opening.begun),
            pick: opening.pick,
            carrier: made.carrier,
            reused: made.reused,
            bound: false,
        }
    }

    /// Counts a failed connect and tells the control side.
    fn failed(&mut self, opening: &Opening, error: &io::Error) {
        let id = opening.pick.id();
        opening.pick.counters().connect_errors.add(1);
        if !self.search.tried.contains(&id) {
            self.search.tried.push(id);
        }
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                EvidenceKind::Refused
            }
            // The handshake came to nothing, of which checks tell more.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => EvidenceKind::Refused,
            io::ErrorKind::TimedOut => EvidenceKind::ConnectTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                EvidenceKind::Unreachable
            }
            // Descriptors or ports of our own ran out, or it has no place for a socket, which says nothing
            // about the server.
            _ => return,
        };
        opening.pick.server().note_failure();
        tell(self.worker, self.slot, &opening.pick, kind);
    }
}

/// Tells the control side what became of a connect. That it was refused, all other requests know
/// at once, until the control side has decided what follows.
fn tell(worker: &Worker, slot: &BackendSlot, pick: &Pick, kind: EvidenceKind) {
    let evidence = Evidence {
        backend: slot.backend.balancer.name().clone(),
        server: pick.id(),
        address: pick.address(),
        kind,
    };
    let refused = kind == EvidenceKind::Refused;
    if refused {
        pick.server().note_refused();
    }
    // A full channel means that the control side has plenty of evidence already.
    if worker.shared.evidence.try_send(evidence).is_err() && refused {
        pick.server().clear_refused();
    }
}
