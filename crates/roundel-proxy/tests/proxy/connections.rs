//! Keep-alive, pipelining, HTTP/1.0, reuse of connections on both sides.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::stage::*;

#[test]
fn a_request_and_its_answer() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "hello");
    assert!(has_field(&head, "date"), "{head}");
    assert!(!has_field(&head, "via"), "{head}");
    assert!(!has_field(&head, "connection"), "{head}");
}

#[test]
fn both_sides_keep_their_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let server = Server::new(move |_, peer| {
        count.fetch_add(1, SeqCst);
        while peer.request().is_some() {
            peer.client.send(HELLO);
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..20 {
        client.send(GET);
        assert_eq!(client.read_answer().1, "hello");
    }
    assert_eq!(connections.load(SeqCst), 1);
    let live = stage.balancer.load().servers()[0].live.clone();
    assert_eq!(live.workers.sum(|w| w.connects.get()), 1);
    assert_eq!(live.workers.sum(|w| w.reuses.get()), 19);
    // The last answer may be read a moment before its exchange is over.
    roundel_testkit::wait_for("no request in flight", PATIENCE, || {
        (live.in_flight() == 0).then_some(())
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::new(|_, peer| {
        while let Some((head, _)) = peer.request() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            peer.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    let all: String = (0..50)
        .map(|i| match i % 3 {
            0 => format!("POST /{i} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
            _ => format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
        })
        .collect();
    client.send(all);
    for i in 0..50 {
        assert_eq!(client.read_answer().1, format!("/{i}"));
    }
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(format!("{GET}{GET}"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_answer().1, "hello");
    assert_eq!(client.read_answer().1, "hello");
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn a_client_that_asks_for_close_gets_it() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let answer = stage.once(GET_CLOSE);
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    let seen = server.head();
    assert!(!has_field(&seen, "connection"), "{seen}");
}

#[test]
fn clients_of_http_1_0_get_what_they_can_read() {
    let check = |answer: &'static str, request: &str, expected_end: &str| {
        let server = Server::new(move |_, peer| {
            if peer.request().is_some() {
                peer.client.send(answer);
            }
        });
        let stage = Stage::new(&[server.address]);
        let got = stage.once(request);
        assert!(!has_field(&got, "transfer-encoding"), "{got}");
        assert!(got.ends_with(expected_end), "{got}");
        got
    };
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
    let old = "GET / HTTP/1.0\r\n\r\n";
    check(chunked, old, "\r\n\r\nhello");
    check(HELLO, old, "\r\n\r\nhello");
    let got = check(
        chunked,
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "\r\n\r\nhello",
    );
    assert!(got.contains("Connection: close"), "{got}");
    check("HTTP/1.1 200 OK\r\n\r\nuntil close", old, "until close");
}

#[test]
fn http_1_0_keeps_alive_when_asked() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let (head, body) = client.read_answer();
        assert!(head.contains("Connection: keep-alive"), "{head}");
        assert_eq!(body, "hello");
    }
}

#[test]
fn a_stale_connection_is_noticed_before_use() {
    // Each connection is closed by the server right after its first answer.
    let server = Server::new(|_, peer| {
        if peer.request().is_some() {
            peer.client.send(HELLO);
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..10 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let (head, _) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        // The end must have arrived for it to be noticed; loopback delivers it at once, the
        // server's thread takes a moment to send it.
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn bytes_behind_an_answer_are_never_the_next_answer() {
    let server = Server::new(|_, peer| {
        while peer.request().is_some() {
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.read_answer().1, "hello");
    }
}

#[test]
fn a_reused_connection_that_dies_costs_no_error_on_get() {
    // The first connection answers once and closes when the second request has come.
    let server = Server::new(|number, peer| {
        while peer.request().is_some() {
            peer.client.send(HELLO);
            if number == 0 {
                peer.head();
                return;
            }
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..2 {
        client.send(GET);
        assert_eq!(client.read_answer().1, "hello");
    }
    let live = stage.balancer.load().servers()[0].live.clone();
    assert_eq!(live.workers.sum(|w| w.connects.get()), 2);
}

#[test]
fn keep_alive_ends_after_its_time() {
    let server = Server::always(HELLO);
    let stage = Stage::with(
        &[server.address],
        |_| {},
        |f| f.timeouts.http_keep_alive = Duration::from_millis(200),
    );
    let mut client = stage.client();
    client.send(GET);
    assert_eq!(client.read_answer().1, "hello");
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn heads_may_come_byte_by_byte() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for byte in GET.as_bytes() {
        client.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(client.read_answer().1, "hello");
}

#[test]
fn connections_spread_over_workers() {
    let server = Server::always(HELLO);
    let stage = Stage::with_threads(2, &[server.address], |_| {}, |_| {});
    let mut clients: Vec<_> = (0..32).map(|_| stage.client()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.read_answer().1, "hello");
    }
    assert_eq!(stage.proxy.connections(), 32);
    let counters = &stage.proxy.frontends()[0].counters;
    let open: Vec<u64> = counters
        .iter()
        .map(|c| c.connections.get() - c.connections_closed.get())
        .collect();
    assert!(open.iter().all(|n| (10..=22).contains(n)), "{open:?}");
}
