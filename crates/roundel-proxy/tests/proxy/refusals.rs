//! What is not passed on, and how the client learns it.

use std::time::Duration;

use roundel_proxy::{Redirect, Route, RouteTimeouts, Target};
use roundel_tls::Challenges;

use crate::stage::*;

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn ambiguous_or_malformed_requests_are_refused_and_the_connection_ends() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let check = |request: &str, expected: &str| {
        let answer = stage.once(request);
        assert_eq!(status(&answer), expected, "{request:?} -> {answer}");
        assert!(answer.contains("Connection: close"), "{answer}");
    };
    let smuggled = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    check(
        &format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        "400",
    );
    check(
        &format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd{smuggled}"
        ),
        "400",
    );
    check("GET / HTTP/1.1\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400");
    check("GET / HTTP/1.1\nHost: a\n\n", "400");
    check("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "400");
    check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505");
    check("GET /\r\n\r\n", "400");
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "501",
    );
    check(
        &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000)),
        "414",
    );
    check(
        &format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(70_000)
        ),
        "431",
    );
    let errors = |at: usize| {
        let counters = &stage.proxy.frontends()[0].counters;
        counters.sum(|c| c.request_errors[at].get())
    };
    assert_eq!((errors(0), errors(3), errors(4)), (8, 2, 2));
    assert!(server.heads.try_recv().is_err(), "a server saw something");
}

#[test]
fn methods_that_are_not_offered() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let check = |request: &str, expected: &str| {
        let answer = stage.once(request);
        assert_eq!(status(&answer), expected, "{answer}");
    };
    check(
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n",
        "501",
    );
    check(
        "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "405",
    );
    assert!(server.heads.try_recv().is_err(), "a server saw something");
}

#[test]
fn a_malformed_chunk_from_the_client_is_refused() {
    let server = Server::new(|_, peer| {
        peer.head();
        peer.head();
    });
    let stage = Stage::new(&[server.address]);
    let answer = stage.once(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(status(&answer), "400", "{answer}");
}

#[test]
fn malformed_answers_become_502() {
    let check = |answer: &'static str| {
        let server = Server::new(move |_, peer| {
            if peer.request().is_some() {
                peer.client.send(answer);
            }
        });
        let stage = Stage::new(&[server.address]);
        let mut client = stage.client();
        client.send(GET);
        let (head, body) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 502 "), "{answer:?} -> {head}");
        assert!(body.contains("502"), "{body}");
        // The client did nothing wrong: its connection goes on.
        client.send(GET);
        assert!(client.read_head().starts_with("HTTP/1.1 502 "));
        assert!(stage.log_line(0).contains("\"status\":502"));
    };
    check("nonsense\r\n\r\n");
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello");
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello");
    check("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello");
    check("HTTP/1.1 200 OK\r\nContent-Le");
    check("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
}

#[test]
fn a_head_that_takes_too_long_gets_408() {
    let stage = Stage::with(
        &[],
        |_| {},
        |f| f.timeouts.http_request = Duration::from_millis(200),
    );
    let answer = stage.once("GET / HTTP/1.1\r\nHost:");
    assert_eq!(status(&answer), "408", "{answer}");
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"request_timeout\""), "{line}");
    // One that says nothing is not worth an answer.
    assert_eq!(stage.client().read_to_end(), "");
}

#[test]
fn a_body_that_takes_too_long_gets_408() {
    let server = Server::new(|_, peer| {
        peer.head();
        peer.head();
    });
    let stage = Stage::with(
        &[server.address],
        |_| {},
        |f| f.timeouts.request_body = Duration::from_millis(200),
    );
    let answer = stage.once("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(status(&answer), "408", "{answer}");
    let line = stage.log_line(0);
    assert!(line.contains("\"term_ha\":\"cH--\""), "{line}");
}

#[test]
fn a_server_that_takes_too_long_gets_the_client_504() {
    let server = Server::new(|_, peer| {
        peer.head();
        peer.head();
    });
    let stage = Stage::with(
        &[server.address],
        |b| b.timeouts.first_byte = Duration::from_millis(200),
        |_| {},
    );
    let mut client = stage.client();
    client.send(GET);
    assert!(client.read_answer().0.starts_with("HTTP/1.1 504 "));
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"first_byte_timeout\""), "{line}");
    assert!(line.contains("\"term_ha\":\"sH--\""), "{line}");
}

#[test]
fn without_servers_there_is_503_with_a_reason() {
    let stage = Stage::new(&[]);
    let mut client = stage.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
        let (head, body) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(field(&head, "retry-after"), Some("1"));
        assert!(
            body.contains("No application server has joined yet"),
            "{body}"
        );
        assert!(body.contains("<h1>"), "{body}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert!(client.read_answer().0.starts_with("HTTP/1.1 503 "));
    // A body that was there already does not end the connection.
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 503 "));
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"no_server\""), "{line}");
    assert!(line.contains("\"term_ha\":\"SC--\""), "{line}");
}

#[test]
fn a_ca_that_asks_for_a_proof_is_answered_before_all_rules() {
    let server = Server::always(HELLO);
    let challenges = Challenges::default();
    let shared = challenges.clone();
    let redirect = Redirect {
        scheme: Some("https"),
        host: None,
        port: None,
        path: None,
        status: 308,
    };
    let stage = Stage::with(
        &[server.address],
        |_| {},
        |f| {
            f.challenges = shared;
            f.routes = vec![Route {
                host: None,
                path_prefix: None,
                rate_limit: None,
                timeouts: RouteTimeouts::default(),
                target: Target::Redirect(redirect),
            }];
        },
    );
    challenges.present_http("tok", "tok.thumb");
    let ask = |method: &str, path: &str| {
        stage.once(&format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
    };
    let path = "/.well-known/acme-challenge/tok";
    let answer = ask("GET", path);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\ntok.thumb"),
        "{answer}"
    );
    assert!(answer.contains("application/octet-stream"), "{answer}");
    assert!(stage.log_line(0).contains("acme_challenge"));
    for (method, path) in [
        ("POST", path),
        ("GET", "/.well-known/acme-challenge/other"),
        ("GET", "/"),
    ] {
        assert!(
            ask(method, path).starts_with("HTTP/1.1 308"),
            "{method} {path}"
        );
    }
    challenges.withdraw_http("tok");
    assert!(ask("GET", path).starts_with("HTTP/1.1 308"));
}
