//! Every order of events between those who leave a full server and those who wait for a place.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p roundel-balance --test loom`; empty otherwise.
//! A lost wake-up shows as a deadlock.
#![cfg(loom)]
#![allow(clippy::disallowed_methods, reason = "tests need an instant")]

use std::sync::Arc;
use std::time::Instant;

use loom::future::block_on;
use loom::thread;
use roundel_balance::{
    BackendConfig, Balancer, Pick, PickContext, PickError, Placement, Policy, StickyKey, Turn,
    View, Want,
};
use roundel_model::{Name, ServerState};

/// One server with one place.
fn balancer() -> Arc<Balancer> {
    let config = BackendConfig {
        name: Name::new("nodes").expect("a name"),
        policy: Policy::RoundRobin,
        sticky_key: StickyKey::default(),
    };
    let balancer = Balancer::new(config, 3);
    let live = balancer.live(&Name::new("s1").expect("a name"));
    live.set_limit(1);
    balancer.publish(vec![Placement {
        live,
        address: ([10, 0, 0, 1], 3000).into(),
        weight: 256,
        backup: false,
        state: ServerState::Up,
    }]);
    balancer
}

/// Picks at once or after waiting, and ends the request.
fn request(balancer: &Arc<Balancer>, worker: usize) {
    let mut view = View::new(Arc::clone(balancer));
    let pick = pick(&mut view, worker).unwrap_or_else(|| {
        let ticket = balancer.wait(Want::default()).expect("no limit");
        match block_on(ticket) {
            Turn::Granted(grant) => {
                let pick = view.current().redeem(grant, worker, false);
                pick.expect("the server stays up")
            }
            Turn::Again | Turn::Called(_) => unreachable!("the server stays up, and answers"),
        }
    });
    let live = pick.server();
    assert!(live.in_flight() <= live.limit());
}

fn pick(view: &mut View, worker: usize) -> Option<Pick> {
    let context = PickContext {
        tried: &[],
        worker,
        now: Instant::now(),
        hash: None,
    };
    match view
        .current()
        .pick(&context, &mut fastrand::Rng::with_seed(1))
    {
        Ok(pick) => Some(pick),
        Err(PickError::Full) => None,
        Err(error) => panic!("{error}"),
    }
}

fn check(preemptions: usize, model: impl Fn(&Arc<Balancer>) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let balancer = balancer();
        model(&balancer);
        assert_eq!(balancer.queued(), 0);
        assert_eq!(balancer.load().servers()[0].live.in_flight(), 0);
    });
}

#[test]
fn two_requests_for_one_place_are_both_served() {
    check(3, |balancer| {
        let other = {
            let balancer = Arc::clone(balancer);
            thread::spawn(move || request(&balancer, 1))
        };
        request(balancer, 0);
        other.join().expect("no panic");
    });
}

#[test]
fn three_requests_for_one_place_are_all_served() {
    check(1, |balancer| {
        let others = [1, 2].map(|worker| {
            let balancer = Arc::clone(balancer);
            thread::spawn(move || request(&balancer, worker))
        });
        request(balancer, 0);
        for other in others {
            other.join().expect("no panic");
        }
    });
}

#[test]
fn one_who_gives_up_costs_nobody_his_turn() {
    check(1, |balancer| {
        let impatient = {
            let balancer = Arc::clone(balancer);
            thread::spawn(move || drop(balancer.wait(Want::default()).expect("no limit")))
        };
        let patient = {
            let balancer = Arc::clone(balancer);
            thread::spawn(move || request(&balancer, 1))
        };
        request(balancer, 0);
        impatient.join().expect("no panic");
        patient.join().expect("no panic");
    });
}

#[test]
fn a_raised_limit_lets_in_who_waits() {
    check(3, |balancer| {
        let waiting = {
            let balancer = Arc::clone(balancer);
            thread::spawn(move || request(&balancer, 1))
        };
        // In flight until the other is done: only the raised limit can let it in.
        let held = pick(&mut View::new(Arc::clone(balancer)), 0);
        let live = balancer.live(&Name::new("s1").expect("a name"));
        live.set_limit(2);
        let entry = balancer.load().servers()[0].clone();
        balancer.publish(vec![Placement {
            live,
            address: entry.address,
            weight: entry.weight,
            backup: false,
            state: ServerState::Up,
        }]);
        waiting.join().expect("no panic");
        drop(held);
    });
}
