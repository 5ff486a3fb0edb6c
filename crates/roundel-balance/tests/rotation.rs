//! Picking on many threads, and what every snapshot must keep.
#![allow(
    clippy::disallowed_methods,
    reason = "tests need an instant and real threads"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use roundel_balance::{
    BackendConfig, Balancer, PickContext, PickError, Placement, Policy, ServerId, StickyKey,
    StickyVerdict, View, hash_key,
};
use roundel_model::{Name, ServerState};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn balancer(policy: Policy, workers: usize) -> Arc<Balancer> {
    let config = BackendConfig {
        name: name("nodes"),
        policy,
        sticky_key: StickyKey::derive(b"test"),
    };
    Balancer::new(config, workers)
}

fn placement(balancer: &Balancer, number: u8, weight: u32, state: ServerState) -> Placement {
    Placement {
        live: balancer.live(&name(&format!("s{number}"))),
        address: ([10, 0, 0, number], 3000).into(),
        weight,
        backup: false,
        state,
    }
}

fn publish(balancer: &Balancer, weights: &[u32]) {
    let all = (1..).zip(weights);
    let placements = all.map(|(n, w)| placement(balancer, n, *w, ServerState::Up));
    balancer.publish(placements.collect());
}

fn context(worker: usize, tried: &[ServerId]) -> PickContext<'_> {
    PickContext {
        tried,
        worker,
        now: Instant::now(),
        hash: None,
    }
}

/// The last part of the address of the next pick.
fn pick(view: &mut View, worker: usize, rng: &mut fastrand::Rng) -> u8 {
    let pick = view.current().pick(&context(worker, &[]), rng);
    match pick.expect("a server serves").address().ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => unreachable!("only IPv4 was placed"),
    }
}

/// Picks `each` times on every one of `threads` threads at once; sums the picks by server.
fn pick_in_parallel(balancer: &Arc<Balancer>, threads: usize, each: usize) -> BTreeMap<u8, usize> {
    let run = |worker| {
        let balancer = Arc::clone(balancer);
        thread::spawn(move || {
            let mut view = View::new(balancer);
            let mut rng = fastrand::Rng::with_seed(worker as u64);
            let picks = (0..each).map(|_| pick(&mut view, worker, &mut rng));
            picks.collect::<Vec<_>>()
        })
    };
    let threads: Vec<_> = (0..threads).map(run).collect();
    let mut counts = BTreeMap::new();
    for thread in threads {
        for server in thread.join().expect("no thread panics") {
            *counts.entry(server).or_default() += 1;
        }
    }
    counts
}

#[test]
fn latency_is_told_through_picks_where_the_policy_weighs_it_only() {
    for (policy, told) in [(Policy::P2c, true), (Policy::RoundRobin, false)] {
        let balancer = balancer(policy, 1);
        publish(&balancer, &[100, 100]);
        let (mut view, mut rng) = (
            View::new(Arc::clone(&balancer)),
            fastrand::Rng::with_seed(1),
        );
        let now = Instant::now();
        for (index, millis) in [(0, 500), (1, 1)] {
            let pick = view.current().take(index, 0).expect("a server serves");
            pick.record_latency(now, Duration::from_millis(millis));
            assert_eq!(pick.server().latency_us(now).is_some(), told, "{policy:?}");
        }
        let picked: Vec<u8> = (0..20).map(|_| pick(&mut view, 0, &mut rng)).collect();
        assert_eq!(
            picked.iter().all(|n| *n == 2),
            told,
            "{policy:?}: {picked:?}"
        );
    }
}

#[test]
fn three_equal_servers_get_3000_of_9000_each_whatever_the_threads() {
    for threads in [1, 2, 8] {
        let balancer = balancer(Policy::RoundRobin, threads);
        publish(&balancer, &[256; 3]);
        let counts = pick_in_parallel(&balancer, threads, 9_000 / threads);
        assert_eq!(counts, BTreeMap::from([(1, 3_000), (2, 3_000), (3, 3_000)]));
        for entry in balancer.load().servers() {
            assert_eq!(entry.live.in_flight(), 0);
            let chosen = entry.live.workers.sum(|w| w.lb_total.get());
            assert_eq!(chosen, 3_000);
        }
    }
}

#[test]
fn weights_are_exact_on_many_threads() {
    let balancer = balancer(Policy::RoundRobin, 4);
    publish(&balancer, &[5 * 256, 3 * 256, 256]);
    let counts = pick_in_parallel(&balancer, 4, 9 * 250);
    assert_eq!(counts, BTreeMap::from([(1, 5_000), (2, 3_000), (3, 1_000)]));
}

#[test]
fn one_client_sees_the_servers_in_order_through_every_swap() {
    let balancer = balancer(Policy::RoundRobin, 1);
    publish(&balancer, &[256; 3]);
    let mut view = View::new(Arc::clone(&balancer));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut round = |n| {
        let picks = (0..n).map(|_| pick(&mut view, 0, &mut rng));
        picks.collect::<Vec<_>>()
    };
    assert_eq!(round(4), [1, 2, 3, 1]);
    publish(&balancer, &[256; 4]);
    assert_eq!(round(6), [2, 3, 4, 1, 2, 3]);
    balancer.publish(Vec::new());
    publish(&balancer, &[256; 4]);
    assert_eq!(round(2), [4, 1], "also through an empty set");
}

#[test]
fn errors_say_why_no_server_was_picked() {
    let balancer = balancer(Policy::RoundRobin, 1);
    let mut view = View::new(Arc::clone(&balancer));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut error = |tried: &[ServerId]| {
        let pick = view.current().pick(&context(0, tried), &mut rng);
        pick.expect_err("none is to be had")
    };
    assert_eq!(error(&[]), PickError::Empty);
    balancer.publish(vec![placement(&balancer, 1, 256, ServerState::Down)]);
    assert_eq!(error(&[]), PickError::NoneUsable);
    publish(&balancer, &[256]);
    let id = balancer.live(&name("s1")).id;
    assert_eq!(error(&[id]), PickError::AllTried);
}

#[test]
fn a_sticky_take_counts_as_in_flight_and_not_as_chosen() {
    let balancer = balancer(Policy::RoundRobin, 1);
    publish(&balancer, &[256; 2]);
    let mut view = View::new(Arc::clone(&balancer));
    let current = view.current().clone();
    let value = current.cookie_value(1).to_owned();
    let StickyVerdict::Valid(index) = current.sticky(value.as_bytes()) else {
        panic!("the value is the server's own");
    };
    let pick = current.take(index, 0).expect("nothing is limited");
    assert_eq!(
        (pick.server().in_flight(), pick.cookie_value()),
        (1, &*value)
    );
    assert_eq!(pick.counters().lb_total.get(), 0);
    drop(pick);
    assert_eq!(current.servers()[1].live.in_flight(), 0);
}

#[test]
fn publishing_while_picking_loses_nothing() {
    let balancer = balancer(Policy::RoundRobin, 2);
    publish(&balancer, &[256; 3]);
    let publisher = {
        let balancer = Arc::clone(&balancer);
        thread::spawn(move || {
            for round in 0..2_000usize {
                publish(&balancer, &vec![256; 2 + round % 3]);
            }
        })
    };
    let counts = pick_in_parallel(&balancer, 2, 20_000);
    publisher.join().expect("no thread panics");
    assert_eq!(counts.values().sum::<usize>(), 40_000);
    for n in 1..=4 {
        assert_eq!(balancer.live(&name(&format!("s{n}"))).in_flight(), 0);
    }
}

fn servers() -> impl Strategy<Value = Vec<(u32, ServerState)>> {
    let state = prop::sample::select(ServerState::ALL.to_vec());
    prop::collection::vec((1..=65_536u32, state), 0..20)
}

fn place(balancer: &Balancer, servers: &[(u32, ServerState)]) -> Vec<Placement> {
    let numbered = (1..).zip(servers);
    numbered
        .map(|(n, (weight, state))| placement(balancer, n, *weight, *state))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every server that takes new requests is reached, no other ever is, and with all but one
    /// tried that one is found.
    #[test]
    fn exactly_the_serving_ones_are_reached(
        servers in servers(),
        policy in prop::sample::select(Policy::ALL.to_vec()),
        seed: u64,
    ) {
        let balancer = balancer(policy, 1);
        balancer.publish(place(&balancer, &servers));
        let mut view = View::new(Arc::clone(&balancer));
        let mut rng = fastrand::Rng::with_seed(seed);
        let serving: Vec<ServerId> = balancer.load().servers().iter()
            .filter(|e| e.state.takes_new())
            .map(|e| e.live.id)
            .collect();
        prop_assert_eq!(balancer.load().usable(), serving.len());
        for wanted in &serving {
            let tried: Vec<ServerId> = serving.iter().copied().filter(|id| id != wanted).collect();
            let pick = view.current().pick(&context(0, &tried), &mut rng);
            prop_assert_eq!(pick.expect("one is left").id(), *wanted);
        }
        let all = view.current().pick(&context(0, &serving), &mut rng);
        prop_assert!(all.is_err());
    }

    /// Publishing the same again changes nothing; live state stays with its name.
    #[test]
    fn publishing_is_idempotent_and_keeps_live_state(before in servers(), after in servers()) {
        let balancer = balancer(Policy::RoundRobin, 1);
        balancer.publish(place(&balancer, &before));
        let generation = balancer.generation();
        prop_assert!(balancer.publish(place(&balancer, &before)).is_none());
        prop_assert_eq!(balancer.generation(), generation);
        let first = balancer.load();
        balancer.publish(place(&balancer, &after));
        for (old, new) in first.servers().iter().zip(balancer.load().servers()) {
            prop_assert!(Arc::ptr_eq(&old.live, &new.live));
        }
    }

    /// Every cookie value leads back to its own server, with the verdict of its state, whatever
    /// was published before.
    #[test]
    fn cookies_find_their_server(before in servers(), after in servers(), new_key: bool) {
        let balancer = balancer(Policy::RoundRobin, 1);
        balancer.publish(place(&balancer, &before));
        let first = balancer.load();
        if new_key {
            balancer.configure(Policy::RoundRobin, StickyKey::derive(b"another"));
        }
        balancer.publish(place(&balancer, &after));
        let snapshot = balancer.load();
        for index in 0..before.len().min(after.len()) {
            let is_kept = snapshot.cookie_value(index) == first.cookie_value(index);
            prop_assert_eq!(is_kept, !new_key);
        }
        for (index, (_, state)) in after.iter().enumerate() {
            let verdict = snapshot.sticky(snapshot.cookie_value(index).as_bytes());
            prop_assert_eq!(verdict.server(), state.takes_sticky().then_some(index));
        }
        prop_assert_eq!(snapshot.sticky(b"zzz"), StickyVerdict::Unknown);
    }
}

/// The server that each of 2,000 keys leads to, without anything in flight.
fn homes(balancer: &Arc<Balancer>) -> Vec<ServerId> {
    let mut view = View::new(Arc::clone(balancer));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut home = |key: u32| {
        let context = PickContext {
            hash: Some(hash_key(&key.to_be_bytes())),
            ..context(0, &[])
        };
        let pick = view.current().pick(&context, &mut rng);
        pick.expect("a server serves").id()
    };
    (0..2_000).map(&mut home).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_key_moves_only_with_its_server(n in 2u8..12, gone in 0u8..12, maglev: bool) {
        let gone = gone % n;
        let policy = if maglev { Policy::Maglev } else { Policy::Hash };
        let balancer = balancer(policy, 1);
        publish(&balancer, &vec![256; n.into()]);
        let before = homes(&balancer);
        let id = balancer.live(&name(&format!("s{}", gone + 1))).id;
        let down = |i: u8| if i == gone { ServerState::Down } else { ServerState::Up };
        let placements = (0..n).map(|i| placement(&balancer, i + 1, 256, down(i)));
        balancer.publish(placements.collect());
        let after = homes(&balancer);
        let own = before.iter().filter(|home| **home == id).count();
        let others = before.iter().zip(&after).filter(|(b, a)| **b != id && b != a).count();
        prop_assert!(!after.contains(&id));
        // Its own keys are about 1/n of all; the ring moves no other, Maglev very few.
        let share = 2_000 / usize::from(n);
        prop_assert!((share / 2..=share * 2).contains(&own), "{own} keys of {share}");
        prop_assert!(others <= if maglev { 2_000 / 20 } else { 0 }, "{others} moved");
    }
}

#[test]
fn keys_go_to_backups_only_while_no_other_server_serves() {
    for policy in [Policy::Hash, Policy::Maglev] {
        let balancer = balancer(policy, 1);
        let publish = |state| {
            let mut all = vec![
                placement(&balancer, 1, 256, state),
                placement(&balancer, 2, 256, ServerState::Up),
            ];
            all[1].backup = true;
            balancer.publish(all);
        };
        let only = |n: u8| {
            let id = balancer.live(&name(&format!("s{n}"))).id;
            homes(&balancer).iter().all(|home| *home == id)
        };
        publish(ServerState::Up);
        assert!(only(1));
        publish(ServerState::Down);
        assert!(only(2));
    }
}

#[test]
fn a_hot_key_spreads_while_its_server_is_busy_and_comes_home() {
    let balancer = balancer(Policy::Hash, 2);
    publish(&balancer, &[256; 5]);
    let mut view = View::new(Arc::clone(&balancer));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut pick = |worker: usize| {
        let context = PickContext {
            hash: Some(hash_key(b"hot")),
            ..context(worker, &[])
        };
        view.current().pick(&context, &mut rng).expect("all serve")
    };
    let home = pick(0).id();
    let held: Vec<_> = (0..200).map(|i| pick(i % 2)).collect();
    let at_home = held.iter().filter(|pick| pick.id() == home).count();
    // 1.25 times its share of 200.
    assert!((40..=50).contains(&at_home), "{at_home}");
    drop(held);
    assert_eq!(pick(1).id(), home);
}

#[test]
fn without_a_key_requests_are_spread() {
    for policy in [Policy::Hash, Policy::Maglev] {
        let balancer = balancer(policy, 1);
        publish(&balancer, &[256, 256, 256]);
        let counts = pick_in_parallel(&balancer, 1, 300);
        assert!(
            counts.len() == 3 && counts.values().all(|n| *n > 50),
            "{counts:?}"
        );
    }
}
