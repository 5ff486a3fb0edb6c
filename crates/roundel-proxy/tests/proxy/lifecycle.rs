//! Reloads, drains, taken ports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_proxy::{AccessLog, Config, Listen, Routes, StartError};

use crate::stage::*;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn a_reload_keeps_connections_and_counters_and_changes_rules() {
    let (one, two) = (Server::always(HELLO), Server::always(HELLO));
    let stage = Stage::new(&[one.address]);
    let other = roundel_balance::Balancer::new(
        roundel_balance::BackendConfig {
            name: name("other"),
            policy: roundel_balance::Policy::RoundRobin,
            sticky_key: roundel_balance::StickyKey::default(),
        },
        1,
    );
    publish(&other, &[two.address], roundel_model::ServerState::Up);
    let mut client = stage.client();
    client.send(GET);
    client.read_answer();
    one.head();
    let listen = Listen::new(stage.address);
    let fresh = Listen::new(([127, 0, 0, 1], 0).into());
    let mut routes = routes(&other, |_| {}, |_| {});
    routes.frontends[0].listen = vec![Listen::new(([127, 0, 0, 1], 0).into()), fresh];
    stage.proxy.reload(routes).unwrap();
    // Equal wishes are the same listener: port 0 stays the port it got, and is not asked twice.
    let addresses = stage.proxy.frontends()[0].addresses.clone();
    assert_eq!(addresses[0], listen.address);
    assert_eq!(addresses.len(), 2);
    // The workers learn of it a moment later; the connection stays the same.
    roundel_testkit::wait_for("the new rules", PATIENCE, || {
        client.send(GET);
        assert_eq!(client.read_answer().1, "hello");
        two.heads.try_recv().ok()
    });
    let mut new = Client::new(addresses[1]);
    new.send(GET);
    assert_eq!(new.read_answer().1, "hello");
    let counters = &stage.proxy.frontends()[0].counters;
    assert!(counters.sum(|c| c.requests.get()) >= 3);
    assert_eq!(counters.sum(|c| c.connections.get()), 2);
}

#[test]
fn a_reload_that_cannot_bind_changes_nothing() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut routes = routes(&stage.balancer, |_| {}, |_| {});
    routes.frontends[0].listen = vec![Listen::new(taken.local_addr().unwrap())];
    let error = stage.proxy.reload(routes).unwrap_err();
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
    assert_eq!(stage.proxy.frontends()[0].addresses, [stage.address]);
    assert!(stage.once(GET_CLOSE).ends_with("hello"));
}

#[test]
fn a_removed_listener_answers_what_is_queued_and_closes() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    stage.proxy.reload(Routes::default()).unwrap();
    assert_eq!(client.read_answer().1, "hello");
    roundel_testkit::wait_for("the port to close", PATIENCE, || {
        std::net::TcpStream::connect(stage.address)
            .is_err()
            .then_some(())
    });
    // A connection that is open goes on with the rules it has.
    client.send(GET);
    assert_eq!(client.read_answer().1, "hello");
}

#[test]
fn a_taken_port_is_an_error_with_a_cure() {
    let stage = Stage::new(&[]);
    let mut routes = routes(&stage.balancer, |_| {}, |_| {});
    routes.frontends[0].listen = vec![Listen::new(stage.address)];
    let (evidence, _) = tokio::sync::mpsc::channel(1);
    let error = roundel_proxy::start(
        Config {
            threads: 1,
            ..Config::default()
        },
        routes,
        evidence,
        AccessLog::off(),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&stage.address.to_string()), "{error}");
    assert!(error.contains("taken by another program"), "{error}");
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_tells_clients_to_leave() {
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let held = Arc::new(std::sync::Mutex::new(held));
    let server = Server::new(move |_, peer| {
        while peer.request().is_some() {
            held.lock().unwrap().recv().unwrap();
            peer.client.send(HELLO);
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut busy = stage.client();
    busy.send(GET);
    server.head();
    let mut idle = stage.client();
    roundel_testkit::wait_for("both connections", PATIENCE, || {
        (stage.proxy.connections() == 2).then_some(())
    });
    assert_eq!(stage.proxy.in_flight(), 1);
    let (proxy, address) = (&stage.proxy, stage.address);
    std::thread::scope(|scope| {
        let drained =
            scope.spawn(|| block_on(proxy.drain(Instant::now() + Duration::from_secs(15))));
        roundel_testkit::wait_for("the port to close", PATIENCE, || {
            std::net::TcpStream::connect(address).is_err().then_some(())
        });
        // An idle connection may still send the request that was on its way.
        idle.send(GET);
        server.head();
        release.send(()).unwrap();
        release.send(()).unwrap();
        for client in [&mut busy, &mut idle] {
            let (head, body) = client.read_answer();
            assert_eq!(body, "hello");
            assert_eq!(field(&head, "connection"), Some("close"));
            assert_eq!(client.read_to_end(), "");
        }
        assert_eq!(drained.join().unwrap(), 0);
    });
    assert!(matches!(
        proxy.reload(Routes::default()),
        Err(StartError::ShuttingDown)
    ));
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let server = Server::new(|_, peer| {
        peer.head();
        peer.head();
    });
    let stage = Stage::new(&[server.address]);
    let mut busy = stage.client();
    busy.send(GET);
    server.head();
    let left = block_on(
        stage
            .proxy
            .drain(Instant::now() + Duration::from_millis(300)),
    );
    assert_eq!(left, 1);
}

#[test]
fn an_address_may_move_to_another_frontend() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut routes = routes(&stage.balancer, |_| {}, |_| {});
    routes.frontends[0].name = name("other");
    routes.frontends[0].listen = vec![Listen::new(stage.address)];
    stage.proxy.reload(routes).unwrap();
    let counters = stage.proxy.frontends()[0].counters.clone();
    for _ in 0..10 {
        assert!(stage.once(GET_CLOSE).ends_with("hello"));
    }
    roundel_testkit::wait_for("the new frontend to answer", PATIENCE, || {
        stage.once(GET_CLOSE);
        (counters.sum(|c| c.requests.get()) > 0).then_some(())
    });
}

#[test]
fn what_a_stop_drops_is_told_of_and_counted() {
    let server = Server::new(|_, peer| {
        let head = peer.head();
        if head.is_some_and(|head| head.contains("/stream")) {
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
        }
        peer.head();
    });
    let stage = Stage::new(&[server.address]);
    let (mut waits, mut reads) = (stage.client(), stage.client());
    waits.send(GET);
    server.head();
    reads.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    reads.read_until("hello");
    let counters = stage.proxy.frontends()[0].counters.clone();
    let balancer = stage.balancer.clone();
    let log = stage.stop();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    for line in lines {
        assert!(line.contains("\"term\":\"stopped\""), "{line}");
        let letters = if line.contains("/stream") { "KD" } else { "KH" };
        assert!(line.contains(&format!("\"term_ha\":\"{letters}")), "{line}");
    }
    assert_eq!(counters.sum(|w| w.duration.snapshot().count()), 2);
    let counted = balancer
        .counters()
        .sum(|w| w.responses.iter().map(|c| c.get()).sum());
    assert_eq!(counted, 2);
    assert_eq!(balancer.load().servers()[0].live.in_flight(), 0);
}

#[test]
#[cfg(debug_assertions)]
fn a_worker_that_panics_is_replaced_with_its_listeners_and_counters() {
    let server = Server::new(|_, peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("GET / ") {
                peer.client.send(HELLO);
            }
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut ends = stage.proxy.worker_ends();
    let mut idle = stage.client();
    idle.send(GET);
    idle.read_answer();
    let mut waiting = stage.client();
    waiting.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    while !server.head().starts_with("GET /never") {}

    stage.proxy.panic_worker(0);
    assert_eq!(idle.read_to_any_end().0, "");
    waiting.read_to_any_end();
    let line = stage.log_line_of("/never");
    assert!(line.contains("\"stopped\""), "{line}");

    block_on(ends.wait_for(|ends| ends.replaced == 1)).unwrap();
    assert!(stage.once(GET_CLOSE).ends_with("hello"));
    roundel_testkit::wait_for("every connection to be counted", PATIENCE, || {
        (stage.proxy.connections() == 0 && stage.proxy.in_flight() == 0).then_some(())
    });
    let counters = &stage.proxy.frontends()[0].counters;
    assert_eq!(counters.sum(|c| c.requests.get()), 3);
    assert_eq!(counters.sum(|c| c.connections.get()), 3);

    let routes = routes(&stage.balancer, |_| {}, |_| {});
    stage.proxy.reload(routes).unwrap();
    let moved = stage.proxy.frontends()[0].addresses[0];
    let mut client = Client::new(moved);
    client.send(GET);
    assert_eq!(client.read_answer().1, "hello", "it takes orders");

    stage.proxy.panic_worker(0);
    block_on(ends.wait_for(|ends| ends.replaced == 2)).unwrap();
    stage.proxy.panic_worker(0);
    block_on(ends.wait_for(|ends| ends.is_lost)).unwrap();
}

/// Whoever is accepted while the drain begins is waited for like all others. A handshake that the
/// kernel ends later than the last look at the queue is not accepted, and does not count.
#[test]
fn a_drain_waits_for_those_who_are_accepted_last() {
    let server = Server::always(HELLO);
    for round in 0..50 {
        let stage = Stage::new(&[server.address]);
        let counters = stage.proxy.frontends()[0].counters.clone();
        let clients = (0..4).map(|_| {
            let mut client = stage.client();
            client.send(GET);
            std::thread::spawn(move || client.read_to_any_end().0)
        });
        let clients: Vec<_> = clients.collect();
        let left = block_on(stage.proxy.drain(Instant::now() + PATIENCE));
        assert_eq!(left, 0);
        stage.stop();
        let answers = clients.into_iter().map(|client| client.join().unwrap());
        let answered = answers.filter(|answer| answer.ends_with("hello")).count();
        let accepted = counters.sum(|c| c.connections.get());
        assert_eq!(answered as u64, accepted, "{round}");
    }
}
