//! Clients that come all the while, as certificates and processes change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use roundel_testkit::{Signal, wait_for};

use super::{Stage, snapshot};
use crate::balancer::SOON;
use crate::renewal::begin_renewal;
use crate::turns::alone;

/// Handshakes that were made, and how many of them went on with a session.
#[derive(Default)]
struct Made {
    all: AtomicU64,
    resumed: AtomicU64,
    is_over: AtomicBool,
}

/// Comes again and again, half of the time as a stranger; whatever fails is a panic.
fn come(stage: &Stage, made: &Made) {
    let known = stage.client();
    for stranger in [true, false].into_iter().cycle() {
        if made.is_over.load(Ordering::SeqCst) {
            return;
        }
        let client = match stranger {
            true => stage.client(),
            false => Arc::clone(&known),
        };
        let mut talk = stage.connect(&client);
        assert_eq!(talk.get(), "a");
        made.all.fetch_add(1, Ordering::SeqCst);
        let resumed = u64::from(talk.is_resumed());
        made.resumed.fetch_add(resumed, Ordering::SeqCst);
    }
}

#[test]
fn no_handshake_fails_while_certificates_and_processes_change() {
    let _turn = alone();
    let stage = Stage::new();
    stage.put_valid("site.pem");
    let mut balancer = stage.serve();
    let made = Made::default();
    let wait_more = |of: &AtomicU64, more: u64| {
        let goal = of.load(Ordering::SeqCst) + more;
        wait_for("more handshakes", SOON * 2, || {
            (of.load(Ordering::SeqCst) >= goal).then_some(())
        });
    };
    let successor = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| come(&stage, &made)))
            .collect();
        wait_more(&made.resumed, 10);
        for _ in 0..3 {
            let before = stage.shown();
            stage.put_valid("site.pem");
            wait_for("another certificate", SOON, || {
                (stage.shown() != before).then_some(())
            });
            wait_more(&made.all, 10);
        }
        let reloads = || snapshot(&balancer)["config"]["reloads_ok_total"].as_u64();
        let before = reloads();
        balancer.process.signal(Signal::HUP);
        wait_for("a reload", SOON, || (reloads() > before).then_some(()));
        wait_more(&made.resumed, 10);
        let successor = begin_renewal(&balancer);
        assert!(balancer.process.wait_exit(SOON).success());
        // Under the keys of the process that has gone.
        wait_more(&made.resumed, 10);
        made.is_over.store(true, Ordering::SeqCst);
        let failed = clients.into_iter().filter_map(|client| client.join().err());
        assert_eq!(failed.count(), 0, "{}", balancer.process);
        successor
    });
    drop(successor);
    let (all, resumed) = (made.all.into_inner(), made.resumed.into_inner());
    println!("{all} handshakes, {resumed} of them resumed");
    assert!(resumed < all, "{resumed} of {all}");
    assert!(
        !balancer.process.stderr().contains("panicked"),
        "{}",
        balancer.process
    );
}
