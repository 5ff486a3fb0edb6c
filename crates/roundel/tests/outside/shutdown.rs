//! How a balancer ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use roundel_testkit::{Origin, Reply, Signal, get, wait_for};

use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

/// An origin that answers `/slow` only when told to; everything else at once.
struct Gate {
    origin: Origin,
    open: Arc<(Mutex<bool>, Condvar)>,
    waiting: Arc<AtomicBool>,
}

impl Gate {
    fn start() -> Self {
        let open = Arc::new((Mutex::new(false), Condvar::new()));
        let waiting = Arc::new(AtomicBool::new(false));
        let (gate, seen) = (Arc::clone(&open), Arc::clone(&waiting));
        let origin = Origin::start(move |request| {
            if request.target == "/slow" {
                seen.store(true, Ordering::SeqCst);
                let guard = gate.0.lock().unwrap();
                drop(gate.1.wait_while(guard, |open| !*open).unwrap());
            }
            Reply::text("done")
        });
        Self {
            origin,
            open,
            waiting,
        }
    }

    /// A balancer in front of it with `/slow` under way, and the thread that waits for it.
    fn busy(
        &self,
    ) -> (
        Balancer,
        thread::JoinHandle<std::io::Result<roundel_testkit::Response>>,
    ) {
        let server = format!("s1={}", self.origin.address());
        let balancer = Balancer::serve(&["--static", &server]);
        balancer.wait_up(1, SOON);
        let front = balancer.front;
        let client = thread::spawn(move || get(front, "/slow"));
        wait_for("the request to arrive", SOON, || {
            self.waiting.load(Ordering::SeqCst).then_some(())
        });
        (balancer, client)
    }

    fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let _turn = beside_others();
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::USR1] {
        let gate = Gate::start();
        let (mut balancer, client) = gate.busy();
        balancer.process.signal(signal);
        wait_for("readyz to say no", SOON, || {
            let ready = get(balancer.stats, "/readyz").ok()?;
            (ready.status == 503).then_some(())
        });
        assert!(
            balancer.process.try_exit().is_none(),
            "{signal:?}: ended too early"
        );
        gate.open();
        let response = client.join().unwrap().unwrap();
        assert_eq!((response.status, response.text()), (200, "done".into()));
        let status = balancer.process.wait_exit(SOON);
        assert_eq!(status.code(), Some(0), "{signal:?}\n{}", balancer.process);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let _turn = beside_others();
    let gate = Gate::start();
    let (mut balancer, client) = gate.busy();
    balancer.process.signal(Signal::TERM);
    wait_for("readyz to say no", SOON, || {
        let ready = get(balancer.stats, "/readyz").ok()?;
        (ready.status == 503).then_some(())
    });
    balancer.process.signal(Signal::TERM);
    balancer.process.wait_exit(Duration::from_secs(3));
    gate.open();
    let answer = client.join().unwrap().unwrap();
    assert_eq!(answer.status, 503, "the origin has not answered");
}

#[test]
fn the_members_are_told_of_a_balancers_end() {
    let _turn = beside_others();
    let first = Balancer::serve(&["--node-name", "lb1"]);
    let seed = first.gossip.to_string();
    let mut second = Balancer::serve(&["--node-name", "lb2", "--join", &seed]);
    first.wait_member("lb2", "alive", SOON);
    second.process.signal(Signal::TERM);
    assert_eq!(second.process.wait_exit(SOON).code(), Some(0));
    first.wait_member("lb2", "left", SOON);
}
