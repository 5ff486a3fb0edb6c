//! Rotation, retries, connects, what the control side is told.

use std::time::{Duration, Instant};

use roundel_balance::EvidenceKind;
use roundel_model::ServerState;

use crate::stage::*;

#[test]
fn a_connection_per_request_meets_the_servers_in_turn_on_any_number_of_threads() {
    let servers: Vec<Server> = (0..3).map(|_| Server::always(HELLO)).collect();
    let addresses: Vec<_> = servers.iter().map(|s| s.address).collect();
    let stage = Stage::with_threads(4, &addresses, |_| {}, |_| {});
    for _ in 0..5 {
        for server in &servers {
            stage.once(GET_CLOSE);
            assert!(server.heads.try_recv().is_ok());
        }
    }
}

#[test]
fn a_refusing_server_costs_no_request_of_any_method() {
    let server = Server::always(HELLO);
    let mut stage = Stage::new(&[refusing(), server.address]);
    let mut client = stage.client();
    for i in 0..4 {
        client.send(match i % 2 {
            0 => GET,
            _ => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        });
        assert_eq!(client.read_answer().1, "hello");
    }
    let evidence = stage.evidence.try_recv().unwrap();
    assert_eq!(evidence.kind, EvidenceKind::Refused);
    assert_eq!(evidence.backend, "nodes");
    let live = stage.balancer.load().servers()[0].live.clone();
    // What the first request learnt the others know.
    assert_eq!(live.workers.sum(|w| w.connect_errors.get()), 1);
    assert_eq!(evidence.server, live.id);
}

#[test]
fn when_all_refuse_the_client_gets_503_at_once() {
    let stage = Stage::new(&[refusing(), refusing()]);
    let started = Instant::now();
    let answer = stage.once(GET_CLOSE);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(2));
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"connect_error\""), "{line}");
}

#[test]
fn an_empty_answer_is_retried_for_idempotent_methods_only() {
    let check = |request: &str, expected: &str| {
        let dead = Server::new(|_, peer| {
            peer.request();
        });
        let alive = Server::always(HELLO);
        let stage = Stage::new(&[dead.address, alive.address]);
        let answer = stage.once(request);
        assert!(answer.starts_with(expected), "{request} -> {answer}");
        (
            dead.heads.try_iter().count(),
            alive.heads.try_iter().count(),
        )
    };
    assert_eq!(check(GET_CLOSE, "HTTP/1.1 200"), (1, 1));
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(check(put, "HTTP/1.1 200"), (1, 1));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(check(post, "HTTP/1.1 502"), (1, 0));
}

#[test]
fn a_replayed_body_arrives_whole_and_a_large_one_is_not_replayed() {
    let check = |size: usize, expected: &str| {
        let dead = Server::new(|_, peer| {
            peer.request();
        });
        let alive = Server::new(|_, peer| {
            if let Some((_, body)) = peer.request() {
                let n = body.len().to_string();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{n}", n.len());
                peer.client.send(answer);
            }
        });
        let stage = Stage::new(&[dead.address, alive.address]);
        let answer = stage.once(&format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n{}",
            "x".repeat(size)
        ));
        assert!(answer.starts_with(expected), "{size} -> {answer}");
        if expected.ends_with("200") {
            assert!(answer.ends_with(&format!("\r\n\r\n{size}")), "{answer}");
        }
    };
    check(10, "HTTP/1.1 200");
    check(16 * 1024, "HTTP/1.1 200");
    check(16 * 1024 + 1, "HTTP/1.1 502");
}

#[test]
fn a_server_that_does_not_answer_connects_is_passed_by_after_a_moment() {
    // A listener whose queue is full answers no connect at all.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = full.local_addr().unwrap();
    socket2::SockRef::from(&full).listen(0).unwrap();
    let _queued: Vec<_> = (0..3)
        .map(|_| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&silent.into());
            socket
        })
        .collect();
    let alive = Server::always(HELLO);
    let mut stage = Stage::new(&[silent, alive.address]);
    let started = Instant::now();
    let answer = stage.once(GET_CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(150), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let evidence = stage.evidence.try_recv().unwrap();
    assert_eq!(
        (evidence.kind, evidence.address),
        (EvidenceKind::Unanswered, silent)
    );
}

#[test]
fn a_connect_that_is_never_answered_ends_with_504() {
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = full.local_addr().unwrap();
    socket2::SockRef::from(&full).listen(0).unwrap();
    let _queued: Vec<_> = (0..3)
        .map(|_| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&silent.into());
            socket
        })
        .collect();
    let mut stage = Stage::with(
        &[silent],
        |b| b.timeouts.connect = Duration::from_millis(400),
        |_| {},
    );
    let answer = stage.once(GET_CLOSE);
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    for kind in [EvidenceKind::Unanswered, EvidenceKind::ConnectTimeout] {
        assert_eq!(stage.evidence.try_recv().unwrap().kind, kind);
    }
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let server = Server::new(|_, peer| {
        let head = peer.head().unwrap();
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert!(
            field(&head, "connection")
                .unwrap()
                .eq_ignore_ascii_case("upgrade")
        );
        peer.client.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
        );
        let got = peer.client.read_until("!");
        peer.client.send(format!("echo {got}"));
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly ",
    );
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(client.read_until("first"), "first");
    client.send("bytes!");
    assert_eq!(client.read_to_end(), "echo early bytes!");
    drop(client);
    let line = stage.log_line(0);
    assert!(line.contains("\"status\":101"), "{line}");
}

#[test]
fn an_upgrade_that_is_not_granted_is_an_ordinary_answer() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        assert_eq!(client.read_answer().1, "hello");
    }
}

#[test]
fn an_idle_connection_to_a_server_that_leaves_is_closed_within_moments() {
    let (told, ended) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let server = Server::new(move |_, peer| {
        while peer.request().is_some() {
            peer.client.send(HELLO);
        }
        let _ = told.lock().expect("no panic while held").send(());
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    assert_eq!(client.read_answer().1, "hello");
    assert!(ended.recv_timeout(Duration::from_millis(500)).is_err());
    publish(&stage.balancer, &[server.address], ServerState::Leaving);
    // The idle limit alone would keep it for four seconds.
    assert!(ended.recv_timeout(Duration::from_secs(2)).is_ok());
}
