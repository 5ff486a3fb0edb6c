//! Picking by key, waiting for a place, and how much is retried.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests panic like tests themselves"
)]

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use roundel_balance::{Balancer, Policy, RetryBudget, StickyKey};
use roundel_model::ServerState;
use roundel_proxy::{HashOn, Sticky};

use crate::stage::*;

fn by_key(policy: Policy, on: HashOn) -> (Vec<Server>, Stage) {
    let servers: Vec<Server> = (0..4).map(|_| Server::always(HELLO)).collect();
    let addresses: Vec<_> = servers.iter().map(|s| s.address).collect();
    let stage = Stage::with(&addresses, |b| b.hash_on = Some(on), |_| {});
    stage.balancer.configure(policy, StickyKey::default());
    publish(&stage.balancer, &addresses, ServerState::Up);
    (servers, stage)
}

/// Sends one request and returns the index of the server that got it.
fn home(servers: &[Server], stage: &Stage, path: &str, fields: &str) -> usize {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    let answer = stage.once(&request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let got = servers.iter().map(|s| s.heads.try_iter().count());
    got.into_iter().position(|n| n == 1).unwrap()
}

#[test]
fn equal_keys_meet_the_same_server_and_different_ones_are_spread() {
    for policy in [Policy::Hash, Policy::Maglev] {
        let (servers, stage) = by_key(policy, HashOn::Header("X-User".to_owned()));
        let mut used = std::collections::BTreeSet::new();
        for user in 0..20 {
            let fields = format!("x-user: {user}\r\n");
            let first = home(&servers, &stage, "/", &fields);
            for path in ["/a", "/b?c"] {
                assert_eq!(home(&servers, &stage, path, &fields), first);
            }
            used.insert(first);
        }
        assert!(used.len() >= 3, "{used:?}");
        let without: std::collections::BTreeSet<_> =
            (0..30).map(|_| home(&servers, &stage, "/", "")).collect();
        assert!(without.len() >= 3, "{without:?}");
    }
}

#[test]
fn paths_cookies_and_addresses_are_keys_too() {
    let (servers, stage) = by_key(Policy::Maglev, HashOn::Path);
    let first = home(&servers, &stage, "/one", "");
    assert_eq!(home(&servers, &stage, "/one?q=1", ""), first);
    let spread: std::collections::BTreeSet<_> = (0..30)
        .map(|n| home(&servers, &stage, &format!("/{n}"), ""))
        .collect();
    assert!(spread.len() >= 3, "{spread:?}");

    let (servers, stage) = by_key(Policy::Maglev, HashOn::Cookie("id".to_owned()));
    let first = home(&servers, &stage, "/", "Cookie: a=1; id=7\r\n");
    for other in ["Cookie: id=7\r\n", "Cookie: b=2\r\nCookie: id=7; id=9\r\n"] {
        assert_eq!(home(&servers, &stage, "/", other), first);
    }

    let (servers, stage) = by_key(Policy::Hash, HashOn::Source);
    let first = home(&servers, &stage, "/", "");
    for n in 0..10 {
        assert_eq!(home(&servers, &stage, &format!("/{n}"), ""), first);
    }
}

/// Opens once for everybody who waits at it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (places, changed) = &*self.0;
        let mut places = changed
            .wait_while(places.lock().unwrap(), |n| *n == 0)
            .unwrap();
        *places -= 1;
    }

    fn open_for(&self, n: usize) {
        *self.0.0.lock().unwrap() += n;
        self.0.1.notify_all();
    }
}

/// A server that answers as often as its gate lets it.
fn gated(gate: &Gate) -> Server {
    let gate = gate.clone();
    Server::new(move |_, peer| {
        while peer.request().is_some() {
            gate.pass();
            peer.client.send(HELLO);
        }
    })
}

fn limit(balancer: &Balancer, server: usize, most: u32) {
    balancer.load().servers()[server].live.set_limit(most);
}

fn wait_for_queue(balancer: &Balancer, n: u32) {
    roundel_testkit::wait_for("the queue", PATIENCE, || {
        (balancer.queued() == n).then_some(())
    });
}

fn threads(n: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    n.min(cores.max(2))
}

#[test]
fn requests_beyond_the_limit_wait_in_order_and_all_are_answered() {
    let gate = Gate::default();
    let server = gated(&gate);
    let stage = Stage::with_threads(threads(2), &[server.address], |_| {}, |_| {});
    limit(&stage.balancer, 0, 1);
    let mut clients = Vec::new();
    for n in 0..5 {
        let mut client = stage.client();
        client.send(format!(
            "GET /{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        match n {
            0 => assert!(server.head().starts_with("GET /0 ")),
            n => wait_for_queue(&stage.balancer, n),
        }
        clients.push(client);
    }
    for (n, mut client) in clients.into_iter().enumerate() {
        gate.open_for(1);
        assert!(client.read_to_end().starts_with("HTTP/1.1 200"));
        if n < 4 {
            assert!(server.head().starts_with(&format!("GET /{} ", n + 1)));
        }
    }
    let live = stage.balancer.load().servers()[0].live.clone();
    assert_eq!(
        live.workers.iter().map(|w| w.in_flight_max.get()).max(),
        Some(1)
    );
    assert!(live.workers.sum(|w| w.queue_us.get()) > 0);
    let line = stage.log_line_of("\"path\":\"/4\"");
    assert!(!line.contains("\"t_queue\":0.000000"), "{line}");
}

#[test]
fn a_request_that_waits_too_long_gets_503_and_its_place_is_free() {
    let gate = Gate::default();
    let server = gated(&gate);
    let stage = Stage::with(
        &[server.address],
        |b| b.timeouts.queue = Duration::from_millis(300),
        |_| {},
    );
    limit(&stage.balancer, 0, 1);
    let mut first = stage.client();
    first.send(GET_CLOSE);
    server.head();
    let started = Instant::now();
    let answer = stage.once(GET_CLOSE);
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(has_field(&answer, "retry-after"), "{answer}");
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"queue_timeout\""), "{line}");
    assert!(line.contains("\"term_ha\":\"sQ"), "{line}");
    assert_eq!(stage.balancer.queued(), 0);
    assert_eq!(stage.balancer.counters().sum(|c| c.queue_timeouts.get()), 1);
    gate.open_for(2);
    assert!(first.read_to_end().starts_with("HTTP/1.1 200"));
    assert!(stage.once(GET_CLOSE).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_full_queue_refuses_at_once_and_a_client_that_leaves_gives_its_place_up() {
    let gate = Gate::default();
    let server = gated(&gate);
    let stage = Stage::new(&[server.address]);
    limit(&stage.balancer, 0, 1);
    stage.balancer.limit_queue(1);
    let mut first = stage.client();
    first.send(GET_CLOSE);
    server.head();
    let mut second = stage.client();
    second.send(GET_CLOSE);
    wait_for_queue(&stage.balancer, 1);
    let answer = stage.once(GET_CLOSE);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(stage.log_line(0).contains("\"term\":\"queue_full\""));
    // A reset, not an orderly end.
    let zero = Some(Duration::ZERO);
    socket2::SockRef::from(&second.stream)
        .set_linger(zero)
        .unwrap();
    drop(second);
    wait_for_queue(&stage.balancer, 0);
    gate.open_for(1);
    assert!(first.read_to_end().starts_with("HTTP/1.1 200"));
    assert!(server.heads.try_recv().is_err(), "who left is not served");
}

#[test]
fn a_sticky_request_waits_for_its_own_server_while_others_go_on() {
    let gate = Gate::default();
    let slow = gated(&gate);
    let quick = Server::always(HELLO);
    let addresses = [slow.address, quick.address];
    let stage = Stage::with(
        &addresses,
        |b| b.sticky = Some(Sticky::new("SERVERID")),
        |_| {},
    );
    limit(&stage.balancer, 0, 1);
    let cookie = stage.balancer.load().cookie_value(0).to_owned();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: SERVERID={cookie}\r\nConnection: close\r\n\r\n"
    );
    let mut first = stage.client();
    first.send(&request);
    slow.head();
    let mut second = stage.client();
    second.send(&request);
    wait_for_queue(&stage.balancer, 1);
    for _ in 0..3 {
        assert!(stage.once(GET_CLOSE).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(quick.heads.try_iter().count(), 3);
    gate.open_for(2);
    assert!(first.read_to_end().starts_with("HTTP/1.1 200"));
    let answer = second.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !has_field(&answer, "set-cookie"),
        "it stays where it was: {answer}"
    );
}

#[test]
fn a_refused_connection_waits_for_the_full_server_that_is_left() {
    let gate = Gate::default();
    let server = gated(&gate);
    let stage = Stage::new(&[server.address, refusing()]);
    limit(&stage.balancer, 0, 1);
    let mut first = stage.client();
    first.send(GET_CLOSE);
    server.head();
    let mut second = stage.client();
    second.send(GET_CLOSE);
    wait_for_queue(&stage.balancer, 1);
    gate.open_for(2);
    assert!(first.read_to_end().starts_with("HTTP/1.1 200"));
    assert!(second.read_to_end().starts_with("HTTP/1.1 200"));
}

/// Many clients over few places on two threads: a lost wake-up would leave one of them waiting
/// until the queue's time is up.
#[test]
fn a_crowd_is_served_without_a_lost_wake_up() {
    const CLIENTS: usize = 24;
    const EACH: usize = 60;
    let busy = Arc::new(AtomicUsize::new(0));
    let server = {
        let busy = Arc::clone(&busy);
        move || {
            let busy = Arc::clone(&busy);
            Server::new(move |_, peer| {
                while peer.request().is_some() {
                    assert!(busy.fetch_add(1, SeqCst) < 3, "more than the limits allow");
                    busy.fetch_sub(1, SeqCst);
                    peer.client.send(HELLO);
                }
            })
        }
    };
    let servers = [server(), server()];
    let addresses = [servers[0].address, servers[1].address];
    let stage = Stage::with_threads(2, &addresses, |_| {}, |_| {});
    limit(&stage.balancer, 0, 1);
    limit(&stage.balancer, 1, 2);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = stage.client();
                for _ in 0..EACH {
                    client.send(GET);
                    let (head, _) = client.read_answer();
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                }
            });
        }
    });
    assert_eq!(stage.balancer.counters().sum(|c| c.queue_timeouts.get()), 0);
    assert_eq!(stage.balancer.queued(), 0);
}

#[test]
fn an_outage_is_not_multiplied_by_retries() {
    let dead = || {
        Server::new(|_, peer| {
            peer.request();
        })
    };
    let servers = [dead(), dead(), dead()];
    let addresses: Vec<_> = servers.iter().map(|s| s.address).collect();
    let budget = RetryBudget {
        percent: 20,
        min: 4,
    };
    let stage = Stage::with(&addresses, |b| b.retry_budget = budget, |_| {});
    for _ in 0..50 {
        let answer = stage.once(GET_CLOSE);
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    let asked: usize = servers.iter().map(|s| s.heads.try_iter().count()).sum();
    // 50 requests and 20 % of them, or the few that are always allowed.
    assert!((54..=62).contains(&asked), "{asked}");
    let counters = stage.balancer.counters();
    assert!(counters.sum(|c| c.retries_exhausted.get()) >= 38);
}

#[test]
fn refused_connections_are_not_counted_against_the_budget() {
    let alive = Server::always(HELLO);
    let budget = RetryBudget { percent: 0, min: 0 };
    let addresses = [refusing(), alive.address];
    let stage = Stage::with(&addresses, |b| b.retry_budget = budget, |_| {});
    for _ in 0..10 {
        assert!(stage.once(GET_CLOSE).starts_with("HTTP/1.1 200"));
    }
}
