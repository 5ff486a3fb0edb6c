//! Waiting for a place on a full backend: order, hand-over, and no lost wake-up.
#![allow(
    clippy::disallowed_methods,
    reason = "tests need an instant and real threads"
)]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use roundel_balance::{
    BackendConfig, Balancer, Pick, PickContext, PickError, Placement, Policy, QueueFull, ServerId,
    StickyKey, Ticket, Turn, View, Want,
};
use roundel_model::{Name, ServerState};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn balancer(workers: usize, limits: &[u32]) -> Arc<Balancer> {
    let config = BackendConfig {
        name: name("nodes"),
        policy: Policy::RoundRobin,
        sticky_key: StickyKey::default(),
    };
    let balancer = Balancer::new(config, workers);
    for (n, limit) in (1..).zip(limits) {
        balancer.live(&name(&format!("s{n}"))).set_limit(*limit);
    }
    publish(&balancer, &vec![ServerState::Up; limits.len()]);
    balancer
}

fn publish(balancer: &Balancer, states: &[ServerState]) {
    let placement = |(n, state): (u8, &ServerState)| Placement {
        live: balancer.live(&name(&format!("s{n}"))),
        address: ([10, 0, 0, n], 3000).into(),
        weight: 256,
        backup: false,
        state: *state,
    };
    balancer.publish((1..).zip(states).map(placement).collect());
}

fn pick(view: &mut View, worker: usize) -> Result<Pick, PickError> {
    let context = PickContext {
        tried: &[],
        worker,
        now: Instant::now(),
        hash: None,
    };
    let mut rng = fastrand::Rng::with_seed(1);
    view.current().pick(&context, &mut rng)
}

#[derive(Default)]
struct Flag(AtomicU32);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Somebody who waits.
struct Waiting {
    ticket: Ticket,
    flag: Arc<Flag>,
}

impl Waiting {
    fn new(balancer: &Balancer, want: Want) -> Self {
        let ticket = balancer.wait(want).expect("the queue is not limited");
        let flag = Arc::default();
        Self { ticket, flag }
    }

    fn poll(&mut self) -> Poll<Turn> {
        let waker = Waker::from(Arc::clone(&self.flag));
        pin!(&mut self.ticket).poll(&mut Context::from_waker(&waker))
    }

    /// Polled before, and woken since.
    fn is_woken(&self) -> bool {
        self.flag.0.load(SeqCst) > 0
    }

    fn pick(&mut self, view: &mut View, sticky: bool) -> Option<Pick> {
        match self.poll() {
            Poll::Ready(Turn::Granted(grant)) => view.current().redeem(grant, 0, sticky).ok(),
            _ => None,
        }
    }
}

fn only(id: ServerId) -> Want {
    Want {
        only: Some(id),
        ..Want::default()
    }
}

#[test]
fn who_came_first_is_served_first_and_nobody_passes() {
    let balancer = balancer(1, &[1, 1]);
    let mut view = View::new(Arc::clone(&balancer));
    let (a, b) = (pick(&mut view, 0).unwrap(), pick(&mut view, 0).unwrap());
    assert_eq!(pick(&mut view, 0).unwrap_err(), PickError::Full);
    let mut first = Waiting::new(&balancer, Want::default());
    let mut second = Waiting::new(&balancer, Want::default());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    assert_eq!(balancer.queued(), 2);
    let freed = a.id();
    drop(a);
    assert!(first.is_woken() && !second.is_woken());
    assert_eq!(
        pick(&mut view, 0).unwrap_err(),
        PickError::Full,
        "a place is promised"
    );
    let c = first.pick(&mut view, false).unwrap();
    assert_eq!(c.id(), freed);
    assert_eq!(c.server().in_flight(), 1);
    drop(b);
    assert!(second.is_woken());
    assert!(second.pick(&mut view, false).is_some());
    drop(c);
    assert_eq!(balancer.queued(), 0);
    assert!(pick(&mut view, 0).is_ok());
}

#[test]
fn a_place_freed_before_joining_is_granted_at_once() {
    let balancer = balancer(1, &[1]);
    let mut view = View::new(Arc::clone(&balancer));
    let a = pick(&mut view, 0).unwrap();
    assert!(pick(&mut view, 0).is_err());
    drop(a);
    let mut late = Waiting::new(&balancer, Want::default());
    assert!(late.pick(&mut view, false).is_some());
}

#[test]
fn sticky_requests_wait_for_their_server_in_order_with_the_others() {
    let balancer = balancer(1, &[1, 1]);
    let mut view = View::new(Arc::clone(&balancer));
    let (a, b) = (pick(&mut view, 0).unwrap(), pick(&mut view, 0).unwrap());
    let (id, index) = (a.id(), a.index());
    let current = view.current().clone();
    assert_eq!(current.take(index, 0).unwrap_err(), PickError::Full);
    let mut sticky = Waiting::new(&balancer, only(id));
    let mut any = Waiting::new(&balancer, Want::default());
    assert_eq!(balancer.queued_for(id), 1);
    drop(b);
    assert!(sticky.poll().is_pending(), "that was another server");
    let c = any.pick(&mut view, false).unwrap();
    assert_ne!(c.id(), id);
    let mut any = Waiting::new(&balancer, Want::default());
    drop(a);
    assert!(any.poll().is_pending(), "the sticky one came first");
    assert_eq!(sticky.pick(&mut view, true).unwrap().id(), id);
}

#[test]
fn nobody_is_sent_to_a_server_that_failed_for_him() {
    let balancer = balancer(1, &[1, 1]);
    let mut view = View::new(Arc::clone(&balancer));
    let (a, b) = (pick(&mut view, 0).unwrap(), pick(&mut view, 0).unwrap());
    let tried = vec![a.id()];
    let mut careful = Waiting::new(
        &balancer,
        Want {
            tried,
            ..Want::default()
        },
    );
    let mut second = Waiting::new(&balancer, Want::default());
    drop(a);
    assert!(careful.poll().is_pending());
    assert!(second.pick(&mut view, false).is_some());
    drop(b);
    assert!(careful.pick(&mut view, false).is_some());
}

#[test]
fn who_gives_up_hands_on_what_was_granted() {
    let balancer = balancer(1, &[1]);
    let mut view = View::new(Arc::clone(&balancer));
    let a = pick(&mut view, 0).unwrap();
    let mut list: Vec<_> = (0..4)
        .map(|_| Waiting::new(&balancer, Want::default()))
        .collect();
    list.iter_mut().for_each(|w| assert!(w.poll().is_pending()));
    drop(list.remove(0)); // before any grant
    drop(a);
    assert!(list[0].is_woken());
    drop(list.remove(0)); // after the grant, before looking
    assert!(list[0].is_woken());
    let Poll::Ready(Turn::Granted(grant)) = list[0].poll() else {
        panic!("it was woken for a place");
    };
    drop(grant); // after looking
    assert!(list[1].is_woken());
    assert!(list[1].pick(&mut view, false).is_some());
    assert_eq!(balancer.load().servers()[0].live.in_flight(), 0);
}

#[test]
fn new_capacity_is_given_out_and_hopeless_waiting_ends() {
    use ServerState::{Down, Draining, Up};
    let balancer = balancer(1, &[1, 1, 2]);
    publish(&balancer, &[Up, Up, Down]);
    let mut view = View::new(Arc::clone(&balancer));
    let (a, b) = (pick(&mut view, 0).unwrap(), pick(&mut view, 0).unwrap());
    let mut list: Vec<_> = (0..4)
        .map(|_| Waiting::new(&balancer, Want::default()))
        .collect();
    let mut sticky = Waiting::new(&balancer, only(a.id()));
    list.iter_mut().for_each(|w| assert!(w.poll().is_pending()));
    assert!(sticky.poll().is_pending());
    publish(&balancer, &[Up, Up, Up]);
    assert_eq!(balancer.queued(), 3, "two places came");
    assert_eq!(balancer.queued_max(), 5);
    assert_eq!((a.server().queued_max(), b.server().queued_max()), (1, 0));
    // A drained server keeps serving its cookie, and nobody else.
    let (by_index, other) = if a.index() == 0 {
        ([Draining, Up, Up], b)
    } else {
        ([Up, Draining, Up], b)
    };
    publish(&balancer, &by_index);
    let id = a.id();
    drop(a);
    assert_eq!(sticky.pick(&mut view, true).unwrap().id(), id);
    let mut sticky = Waiting::new(&balancer, only(other.id()));
    assert!(sticky.poll().is_pending());
    publish(&balancer, &[Down, Down, Down]);
    assert!(matches!(sticky.poll(), Poll::Ready(Turn::Again)));
    assert!(matches!(list[3].poll(), Poll::Ready(Turn::Again)));
    assert_eq!(balancer.queued(), 0);
    // A place that was granted on a server that serves no longer is given back.
    assert!(list[0].pick(&mut view, false).is_none());
    assert!(list[1].pick(&mut view, false).is_none());
    assert_eq!(balancer.load().servers()[2].live.in_flight(), 0);
}

#[test]
fn a_raised_limit_lets_the_first_in() {
    let balancer = balancer(1, &[1]);
    let mut view = View::new(Arc::clone(&balancer));
    let _a = pick(&mut view, 0).unwrap();
    let mut waiting = Waiting::new(&balancer, Want::default());
    assert!(waiting.poll().is_pending());
    balancer.live(&name("s1")).set_limit(2);
    publish(&balancer, &[ServerState::Up]);
    assert!(waiting.is_woken() && waiting.pick(&mut view, false).is_some());
}

#[test]
fn the_queue_is_as_long_as_it_may_be() {
    let balancer = balancer(1, &[1]);
    balancer.limit_queue(2);
    let mut view = View::new(Arc::clone(&balancer));
    let _a = pick(&mut view, 0).unwrap();
    let _b = balancer.wait(Want::default()).unwrap();
    let c = balancer.wait(Want::default()).unwrap();
    assert_eq!(balancer.wait(Want::default()).unwrap_err(), QueueFull);
    drop(c);
    assert!(balancer.wait(Want::default()).is_ok());
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a ticket on this thread; `None` when `patience` is over first.
fn wait(ticket: Ticket, patience: Duration) -> Option<Turn> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut ticket = pin!(ticket);
    let end = Instant::now() + patience;
    loop {
        if let Poll::Ready(turn) = ticket.as_mut().poll(&mut cx) {
            return Some(turn);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

/// One request from beginning to end; says whether it was served.
fn request(view: &mut View, worker: usize, rng: &mut fastrand::Rng, impatient: bool) -> bool {
    let patience = match impatient && rng.u8(..4) == 0 {
        true => Duration::from_micros(rng.u64(..200)),
        // Nobody waits this long unless a wake-up was lost.
        false => Duration::from_secs(20),
    };
    let sticky = rng.bool();
    let home = rng.usize(..view.current().servers().len());
    let id = view.current().servers()[home].live.id;
    loop {
        let current = view.current().clone();
        let serves = current.servers()[home].state.takes_sticky();
        let picked = match sticky && serves {
            true => current.take(home, worker),
            false => pick(view, worker),
        };
        let want = match sticky && serves {
            true => only(id),
            false => Want::default(),
        };
        let pick = match picked {
            Ok(pick) => pick,
            Err(PickError::Full) => {
                let ticket = view.balancer().wait(want).expect("no limit");
                match wait(ticket, patience) {
                    None => {
                        assert!(patience < Duration::from_secs(1), "a wake-up was lost");
                        return false;
                    }
                    Some(Turn::Again | Turn::Called(_)) => continue,
                    Some(Turn::Granted(grant)) => {
                        match view.current().redeem(grant, worker, sticky) {
                            Ok(pick) => pick,
                            Err(_) => continue,
                        }
                    }
                }
            }
            Err(error) => panic!("{error}"),
        };
        let live = pick.server();
        assert!(live.in_flight() <= live.limit(), "one too many");
        for _ in 0..rng.u32(..300) {
            std::hint::spin_loop();
        }
        if rng.u8(..8) == 0 {
            thread::yield_now();
        }
        return true;
    }
}

/// Eight threads on three servers with four places, some giving up, while another thread drains
/// a server and brings it back.
#[test]
fn no_wake_up_is_lost_among_threads() {
    const THREADS: usize = 8;
    const EACH: usize = 3_000;
    for seed in 0..3 {
        let balancer = balancer(THREADS, &[1, 1, 2]);
        let over = Arc::new(AtomicBool::new(false));
        let run = |worker: usize| {
            let balancer = Arc::clone(&balancer);
            thread::spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed * 100 + worker as u64);
                let mut view = View::new(balancer);
                let impatient = worker.is_multiple_of(2);
                let served = (0..EACH).filter(|_| request(&mut view, worker, &mut rng, impatient));
                served.count()
            })
        };
        let threads: Vec<_> = (0..THREADS).map(run).collect();
        let churn = {
            let (balancer, over) = (Arc::clone(&balancer), Arc::clone(&over));
            thread::spawn(move || {
                use ServerState::{Down, Draining, Up};
                let mut rng = fastrand::Rng::with_seed(seed);
                while !over.load(SeqCst) {
                    let state = [Up, Draining, Down][rng.usize(..3)];
                    publish(&balancer, &[state, Up, Up]);
                    thread::sleep(Duration::from_micros(rng.u64(..500)));
                }
            })
        };
        let served: Vec<usize> = threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect();
        over.store(true, SeqCst);
        churn.join().expect("no panic");
        let patient = served.iter().skip(1).step_by(2);
        patient.for_each(|n| assert_eq!(*n, EACH));
        assert_eq!(balancer.queued(), 0);
        let snapshot = balancer.load();
        assert!(snapshot.servers().iter().all(|e| e.live.in_flight() == 0));
    }
}

#[test]
fn who_is_held_waits_for_a_server_that_was_out() {
    let balancer = balancer(1, &[0, 0]);
    let mut view = View::new(Arc::clone(&balancer));
    let (a, b) = (pick(&mut view, 0).unwrap(), pick(&mut view, 0).unwrap());
    let held = |tried: &[ServerId]| Want {
        tried: tried.to_vec(),
        hold: true,
        ..Want::default()
    };
    let both = [a.id(), b.id()];
    let mut waiting = Waiting::new(&balancer, held(&both));
    assert!(waiting.poll().is_pending(), "both refused");
    let context = PickContext {
        tried: &both,
        worker: 0,
        now: Instant::now(),
        hash: None,
    };
    let next = view.current().pick(&context, &mut fastrand::Rng::new());
    assert_eq!(
        next.unwrap_err(),
        PickError::AllTried,
        "no place to wait for"
    );
    publish(&balancer, &[ServerState::Down, ServerState::Up]);
    assert!(waiting.poll().is_pending(), "the other one still refuses");
    publish(&balancer, &[ServerState::Up, ServerState::Up]);
    assert!(waiting.is_woken());
    assert!(
        matches!(waiting.poll(), Poll::Ready(Turn::Called(0))),
        "one has been out"
    );
    let mut waiting: Vec<_> = (0..3)
        .map(|_| Waiting::new(&balancer, held(&both)))
        .collect();
    publish(&balancer, &[ServerState::Down, ServerState::Down]);
    assert!(waiting.iter_mut().all(|w| w.poll().is_pending()));
    assert_eq!(balancer.queued(), 3);
    publish(&balancer, &[ServerState::Up, ServerState::Up]);
    for (rank, waiting) in (0..).zip(&mut waiting) {
        assert!(matches!(waiting.poll(), Poll::Ready(Turn::Called(n)) if n == rank));
    }
    assert_eq!(balancer.queued(), 0);
    let mut without = Waiting::new(
        &balancer,
        Want {
            hold: false,
            ..held(&both)
        },
    );
    assert!(matches!(without.poll(), Poll::Ready(Turn::Again)));
}

#[test]
fn so_many_are_held_where_no_limit_is_set() {
    let balancer = balancer(1, &[]);
    let held = || Want {
        hold: true,
        ..Want::default()
    };
    let tickets: Vec<Ticket> = (0..1_024).map(|_| balancer.wait(held()).unwrap()).collect();
    assert_eq!(balancer.wait(held()).unwrap_err(), QueueFull);
    drop(tickets);
    assert_eq!(balancer.queued(), 0);
    balancer.limit_queue(1);
    let _one = balancer.wait(held()).unwrap();
    assert_eq!(balancer.wait(held()).unwrap_err(), QueueFull);
}
