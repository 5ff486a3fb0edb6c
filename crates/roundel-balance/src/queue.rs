//! Requests that wait for a place on a full backend: first come, first served.
//!
//! A place that becomes free is handed to the first who may use it, in flight already, so that
//! nobody who came later can take it in between.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::live::Opening;
use crate::sync::{AtomicU32, Mutex, MutexGuard};
use crate::{Balancer, ServerId, ServerLive, Snapshot};

/// Where a waiting request may go.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// Only there: the server of its sticky cookie.
    pub only: Option<ServerId>,
    /// Not there: servers that failed for this request.
    pub tried: Vec<ServerId>,
    /// Waits on while no server would take it: one is expected to come or to come back. A server
    /// of `tried` that has been out meanwhile will do as well.
    pub hold: bool,
}

/// The most requests held for want of a server where no limit is set.
const HELD: u32 = 1_024;

/// The queue of one backend.
///
/// Shape: `line` holds everybody who waits or was served and has not looked yet; `anywhere` and
/// `only` the numbers of those who wait. Numbers grow with time.
/// A lost wake-up is ruled out so: who joins counts itself in before it looks at the servers,
/// who leaves a server does so before it looks at the count, all in one total order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicU32,
    waiting_anywhere: AtomicU32,
    /// 0 for no limit.
    limit: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// The most that ever waited at once.
    longest: u32,
    line: BTreeMap<u64, Waiter>,
    anywhere: BTreeSet<u64>,
    only: BTreeMap<ServerId, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Waiter {
    want: Want,
    waker: Option<Waker>,
    turn: Option<Turned>,
}

#[derive(Debug)]
enum Turned {
    Granted(Arc<ServerLive>),
    Again,
    Called(u32),
}

/// What the end of waiting brought.
#[derive(Debug)]
pub enum Turn {
    /// A place on a server.
    Granted(Grant),
    /// No place, but the servers changed: pick again.
    Again,
    /// For who is held: a server is there, and so many others were called to it before.
    Called(u32),
}

/// A place on a server, in flight until it is redeemed by [`crate::Current::redeem`] or dropped.
#[derive(Debug)]
pub struct Grant {
    live: Arc<ServerLive>,
    queue: Arc<Queue>,
    redeemed: bool,
}

/// A place in the queue; given up when dropped.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

/// Says that the queue is as long as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

impl Balancer {
    /// Joins the queue of the backend; a place that is free is granted at once.
    ///
    /// Errors: [`QueueFull`] when as many wait as may; nothing changed then.
    pub fn wait(&self, want: Want) -> Result<Ticket, QueueFull> {
        // The newest snapshot is read under the lock, and published before the lock is taken:
        // so either this one sees a new server, or the publisher sees this waiter.
        self.queue().join(want, || self.load())
    }

    /// How many requests wait at this moment.
    pub fn queued(&self) -> u32 {
        self.queue().waiting.load(SeqCst)
    }

    /// How many of them wait for this server only.
    pub fn queued_for(&self, server: ServerId) -> u32 {
        let state = self.queue().state();
        state.only.get(&server).map_or(0, |set| set.len() as u32)
    }

    /// The most requests that ever waited at once.
    pub fn queued_max(&self) -> u32 {
        self.queue().state().longest
    }

    /// Sets how many may wait; 0, as at first, means any number. Those who wait stay.
    pub fn limit_queue(&self, most: u32) {
        self.queue().limit.store(most, SeqCst);
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half done between lock and unlock that a panic could leave behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits who would take any server.
    pub(crate) fn waits_anywhere(&self) -> bool {
        self.waiting_anywhere.load(SeqCst) > 0
    }

    /// Whether somebody waits.
    pub(crate) fn waits(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    fn join(
        self: &Arc<Self>,
        want: Want,
        newest: impl FnOnce() -> Arc<Snapshot>,
    ) -> Result<Ticket, QueueFull> {
        let mut state = self.state();
        let limit = match self.limit.load(SeqCst) {
            0 if want.hold => HELD,
            limit => limit,
        };
        if limit > 0 && self.waiting.load(SeqCst) >= limit {
            return Err(QueueFull);
        }
        state.last += 1;
        let number = state.last;
        let only = want.only;
        match only {
            Some(server) => state.only.entry(server).or_default().insert(number),
            None => state.anywhere.insert(number),
        };
        let waiter = Waiter {
            want,
            waker: None,
            turn: None,
        };
        state.line.insert(number, waiter);
        self.waiting.fetch_add(1, SeqCst);
        if only.is_none() {
            self.waiting_anywhere.fetch_add(1, SeqCst);
        }
        let snapshot = newest();
        let mut wakers = self.call(&mut state, &snapshot);
        wakers.extend(self.give_out(&mut state, &snapshot));
        if state.waits(number) && is_hopeless(&state.line[&number].want, &snapshot) {
            self.send_away(&mut state, number, Turned::Again);
        }
        self.note_lengths(&mut state, only, &snapshot);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(Ticket {
            queue: Arc::clone(self),
            number,
        })
    }

    /// Notes how many wait, in all and for the server `only`.
    fn note_lengths(&self, state: &mut State, only: Option<ServerId>, snapshot: &Snapshot) {
        state.longest = state.longest.max(self.waiting.load(SeqCst));
        let Some((server, waiting)) = only.and_then(|id| Some((id, state.only.get(&id)?))) else {
            return;
        };
        let mut lives = snapshot.servers().iter().map(|entry| &entry.live);
        if let Some(live) = lives.find(|live| live.id == server) {
            live.note_queued(waiting.len());
        }
    }

    /// Gives out every free place of a snapshot.
    fn give_out(&self, state: &mut State, snapshot: &Snapshot) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for entry in snapshot.servers() {
            while let Some(waker) = self.grant(state, &entry.live) {
                wakers.extend(waker);
            }
        }
        wakers
    }

    /// Gives a free place on `live` to the first who may have it, and returns who is to be
    /// woken. `None` when nobody may or the server is full.
    fn grant(&self, state: &mut State, live: &Arc<ServerLive>) -> Option<Option<Waker>> {
        let number = state.first_for(live)?;
        live.try_enter().is_some().then(|| {
            self.take_out(state, number);
            let waiter = state.line.get_mut(&number).expect("who waits is in line");
            waiter.turn = Some(Turned::Granted(Arc::clone(live)));
            waiter.waker.take()
        })
    }

    /// Hands the places that are free on `live` on. Called after each request that ended there.
    pub(crate) fn hand_on(&self, live: &Arc<ServerLive>) {
        if !self.waits() {
            return;
        }
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            while let Some(waker) = self.grant(&mut state, live) {
                wakers.extend(waker);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Gives out the places of a snapshot just published, and sends those away for whom it has
    /// no server.
    pub(crate) fn look_at(&self, snapshot: &Snapshot) {
        if !self.waits() {
            return;
        }
        let mut state = self.state();
        state.forgive(snapshot);
        let mut wakers = self.call(&mut state, snapshot);
        wakers.extend(self.give_out(&mut state, snapshot));
        let waits = state.line.iter().filter(|(_, w)| w.turn.is_none());
        let hopeless = waits.filter(|(_, w)| is_hopeless(&w.want, snapshot));
        let numbers: Vec<u64> = hopeless.map(|(number, _)| *number).collect();
        for number in numbers {
            wakers.extend(self.send_away(&mut state, number, Turned::Again));
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Calls those who are held if a snapshot has a server for them. They pick it by the policy:
    /// what one server alone was given would be too much for it, and too little for the others.
    fn call(&self, state: &mut State, snapshot: &Snapshot) -> Vec<Waker> {
        let held = state
            .line
            .iter()
            .filter(|(_, w)| w.want.hold && w.turn.is_none());
        let called = held.filter(|(_, w)| has_server(&w.want, snapshot));
        let numbers: Vec<u64> = called.map(|(number, _)| *number).collect();
        let call = |(rank, number)| self.send_away(state, number, Turned::Called(rank));
        (0..).zip(numbers).filter_map(call).collect()
    }

    /// Ends the waiting of somebody without a place.
    fn send_away(&self, state: &mut State, number: u64, turn: Turned) -> Option<Waker> {
        self.take_out(state, number);
        let waiter = state.line.get_mut(&number).expect("who waits is in line");
        waiter.turn = Some(turn);
        waiter.waker.take()
    }

    /// Takes somebody out of those who wait.
    fn take_out(&self, state: &mut State, number: u64) {
        let only = state.line[&number].want.only;
        match only {
            Some(server) => {
                let set = state.only.get_mut(&server).expect("who waits is counted");
                set.remove(&number);
                if set.is_empty() {
                    state.only.remove(&server);
                }
            }
            None => {
                state.anywhere.remove(&number);
            }
        }
        self.waiting.fetch_sub(1, SeqCst);
        if only.is_none() {
            self.waiting_anywhere.fetch_sub(1, SeqCst);
        }
    }
}

/// Whether no server of a snapshot would ever take somebody who is not ready to wait for one.
fn is_hopeless(want: &Want, snapshot: &Snapshot) -> bool {
    !want.hold && !has_server(want, snapshot)
}

fn has_server(want: &Want, snapshot: &Snapshot) -> bool {
    let mut lives = snapshot.servers().iter().map(|entry| &entry.live);
    lives.any(|live| live.opening().admits(want, live.id))
}

impl State {
    /// The number of the first who may have a place on a server.
    fn first_for(&self, live: &ServerLive) -> Option<u64> {
        let opening = live.opening();
        let may = |number: &&u64| opening.admits(&self.line[number].want, live.id);
        let anywhere = self.anywhere.iter().find(may);
        let only = self.only.get(&live.id).and_then(BTreeSet::first);
        anywhere.into_iter().chain(only.filter(may)).min().copied()
    }

    /// Strikes off what those who are held have tried and a snapshot does not offer: what comes
    /// back later has begun anew.
    fn forgive(&mut self, snapshot: &Snapshot) {
        let open = |id: &ServerId| {
            let mut lives = snapshot.servers().iter().map(|entry| &entry.live);
            lives.any(|live| live.id == *id && live.opening() == Opening::All)
        };
        let held = self.line.values_mut().filter(|w| w.want.hold);
        for waiter in held.filter(|w| !w.want.tried.is_empty()) {
            waiter.want.tried.retain(open);
        }
    }

    fn waits(&self, number: u64) -> bool {
        self.line.get(&number).is_some_and(|w| w.turn.is_none())
    }
}

impl Opening {
    /// Whether somebody who waits may go to a server that stands like this.
    fn admits(self, want: &Want, server: ServerId) -> bool {
        match (self, want.only) {
            (Self::Closed, _) => false,
            (Self::Sticky, None) => false,
            (_, Some(only)) => only == server,
            (Self::All, None) => !want.tried.contains(&server),
        }
    }
}

impl Future for Ticket {
    type Output = Turn;

    /// Ready once; must not be polled again then.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut state = self.queue.state();
        let waiter = state.line.get_mut(&self.number);
        let Some(waiter) = waiter else {
            return Poll::Ready(Turn::Again);
        };
        if waiter.turn.is_none() {
            waiter.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let waiter = state.line.remove(&self.number);
        Poll::Ready(match waiter.and_then(|w| w.turn) {
            Some(Turned::Granted(live)) => Turn::Granted(Grant {
                live,
                queue: Arc::clone(&self.queue),
                redeemed: false,
            }),
            Some(Turned::Called(rank)) => Turn::Called(rank),
            Some(Turned::Again) | None => Turn::Again,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if state.waits(self.number) {
            self.queue.take_out(&mut state, self.number);
        }
        let waiter = state.line.remove(&self.number);
        drop(state);
        if let Some(Turned::Granted(live)) = waiter.and_then(|w| w.turn) {
            live.leave();
            self.queue.hand_on(&live);
        }
    }
}

impl Grant {
    /// The server.
    pub fn id(&self) -> ServerId {
        self.live.id
    }

    /// Passes the place on to whoever calls; it stays in flight.
    pub(crate) fn redeem(mut self) {
        self.redeemed = true;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if !self.redeemed {
            self.live.leave();
            self.queue.hand_on(&self.live);
        }
    }
}
