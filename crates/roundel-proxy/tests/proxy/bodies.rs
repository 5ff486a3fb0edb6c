//! Bodies of every framing, both ways: whole, streamed, broken.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use crate::stage::*;

/// Reads one chunked body and returns its data and trailer lines.
fn read_chunked(client: &mut Client) -> (String, String) {
    let mut data = String::new();
    loop {
        let size = client.read_until("\r\n");
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            let mut trailers = String::new();
            loop {
                let line = client.read_until("\r\n");
                if line == "\r\n" {
                    return (data, trailers);
                }
                trailers += &line;
            }
        }
        let mut chunk = vec![0; size];
        client.stream.read_exact(&mut chunk).unwrap();
        data += std::str::from_utf8(&chunk).unwrap();
        assert_eq!(client.read_until("\r\n"), "\r\n");
    }
}

#[test]
fn a_chunked_request_keeps_its_trailers() {
    let server = Server::new(|_, peer| {
        while peer.head().is_some() {
            let (data, trailers) = read_chunked(&mut peer.client);
            let body = format!("{data}|{trailers}");
            peer.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 7\r\n\r\n",
        );
        let (_, body) = client.read_answer();
        assert_eq!(body, "abcd|X-Sum: 7\r\n");
        let head = server.head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert!(!has_field(&head, "content-length"), "{head}");
    }
}

#[test]
fn a_chunked_answer_keeps_its_trailers() {
    let server = Server::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..2 {
        client.send(GET);
        let head = client.read_head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let (data, trailers) = read_chunked(&mut client);
        assert_eq!((&*data, &*trailers), ("hello world", "X-Sum: 7\r\n"));
    }
}

#[test]
fn an_answer_that_ends_with_the_connection_is_chunked_for_new_clients() {
    let server = Server::new(|_, peer| {
        if peer.request().is_some() {
            peer.client.send("HTTP/1.1 200 OK\r\n\r\nuntil close");
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    for _ in 0..2 {
        client.send(GET);
        let head = client.read_head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!(read_chunked(&mut client).0, "until close");
    }
}

#[test]
fn answers_without_a_body() {
    let check = |answer: &'static str, method: &str, length: Option<&str>| {
        let server = Server::always(answer);
        let stage = Stage::new(&[server.address]);
        let mut client = stage.client();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            let head = client.read_head();
            assert_eq!(field(&head, "content-length"), length, "{answer}");
            assert!(!has_field(&head, "transfer-encoding"), "{head}");
        }
    };
    check(HELLO_HEAD, "HEAD", Some("5"));
    check("HTTP/1.1 204 No Content\r\n\r\n", "GET", None);
    check(
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        "GET",
        None,
    );
    check(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "GET",
        Some("9"),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "GET",
        Some("0"),
    );
    check("HTTP/1.1 200 OK\r\n\r\n", "HEAD", None);
}

const HELLO_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

#[test]
fn interim_answers_reach_clients_of_http_1_1_only() {
    let server = Server::always(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    );
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    let early = client.read_head();
    assert!(
        early.starts_with("HTTP/1.1 103 Early Hints\r\nLink: "),
        "{early}"
    );
    assert_eq!(client.read_answer().1, "hello");
    let old = stage.once("GET / HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.1 200"), "{old}");
}

#[test]
fn expect_waits_for_the_servers_word() {
    let server = Server::new(|_, peer| {
        let head = peer.head().unwrap();
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        peer.client.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        peer.client.stream.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"body");
        peer.client.send(HELLO);
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.read_answer().1, "hello");
}

#[test]
fn a_refused_expectation_ends_the_connection() {
    let server = Server::new(|_, peer| {
        peer.head().unwrap();
        peer.client
            .send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        peer.head();
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert_eq!(body, "no");
    // Whether the body comes or not cannot be known, so nothing may follow.
    assert_eq!(field(&head, "connection"), Some("close"));
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn an_early_answer_passes_a_body_that_is_still_coming() {
    let server = Server::new(|_, peer| {
        peer.head().unwrap();
        peer.client.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
        );
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nstart");
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert_eq!(body, "big");
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn both_directions_flow_at_once() {
    // An echo of a chunked body, piece by piece: the answer begins before the request ends.
    let server = Server::new(|_, peer| {
        peer.head().unwrap();
        peer.client
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let line = peer.client.read_until("\r\n");
            peer.client.send(&line);
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut rest = vec![0; size + 2];
            peer.client.stream.read_exact(&mut rest).unwrap();
            peer.client.send(&rest);
            if size == 0 {
                return;
            }
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.read_head();
    for piece in ["a", "bc", "def"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        client.send(&chunk);
        assert_eq!(client.read_until(&chunk), chunk);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read_to_end(), "0\r\n\r\n");
}

#[test]
fn large_bodies_arrive_unchanged_both_ways() {
    const SIZE: usize = 5_000_000;
    let pattern = |i: usize| (i * 31 % 251) as u8;
    let server = Server::new(move |_, peer| {
        peer.head().unwrap();
        let mut body = vec![0; SIZE];
        peer.client.stream.read_exact(&mut body).unwrap();
        peer.client
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        peer.client.stream.write_all(&body).unwrap();
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    let body: Vec<u8> = (0..SIZE).map(pattern).collect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    client.send(&body);
    client.read_head();
    let mut got = vec![0; SIZE];
    client.stream.read_exact(&mut got).unwrap();
    assert!(got == body);
}

#[test]
fn large_chunked_answers_arrive_unchanged() {
    let server = Server::new(|_, peer| {
        peer.head().unwrap();
        let mut out = String::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for i in 1..600 {
            out += &format!("{:x}\r\n{}\r\n", i * 7, "x".repeat(i * 7));
        }
        peer.client.send(out + "0\r\n\r\n");
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    client.read_head();
    let (data, _) = read_chunked(&mut client);
    assert_eq!(data.len(), (1..600).map(|i| i * 7).sum::<usize>());
}

#[test]
fn a_server_that_dies_in_mid_body_is_never_a_clean_end() {
    let check = |answer: &'static str, request: &str| {
        let server = Server::new(move |_, peer| {
            if peer.request().is_some() {
                peer.client.send(answer);
            }
        });
        let stage = Stage::new(&[server.address]);
        let mut client = stage.client();
        client.send(request);
        let (got, orderly) = client.read_to_any_end();
        let line = stage.log_line(0);
        assert!(line.contains("\"term\":\"server_abort\""), "{line}");
        (got, orderly)
    };
    let (got, _) = check("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell", GET);
    assert!(got.ends_with("hell"), "{got}");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let (got, _) = check(chunked, GET);
    assert!(!got.contains("0\r\n\r\n"), "{got}");
    // A client of HTTP/1.0 gets no framing, so that only a reset can tell it.
    let (_, orderly) = check(chunked, "GET / HTTP/1.0\r\n\r\n");
    assert!(!orderly);
}

#[test]
fn a_malformed_chunk_from_the_server_breaks_the_answer_off() {
    let server = Server::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n0\r\n\r\n",
    );
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    let (got, _) = client.read_to_any_end();
    assert!(!got.contains("0\r\n\r\n"), "{got}");
    assert!(stage.log_line(0).contains("\"term\":\"bad_response\""));
}

#[test]
fn a_client_that_resets_cancels_the_servers_work() {
    // On a used connection nothing but the reset itself, or the sweep, wakes whoever waits.
    for before in [0, 2] {
        let (tell, told) = mpsc::channel();
        let server = Server::new(move |_, peer| {
            for _ in 0..before {
                peer.request().unwrap();
                peer.client.send(HELLO);
            }
            peer.request().unwrap();
            // Ends only when the proxy gives the connection up.
            let mut byte = [0];
            let _ = tell.send(matches!(peer.client.stream.read(&mut byte), Ok(0) | Err(_)));
        });
        let stage = Stage::new(&[server.address]);
        let mut client = stage.client();
        for _ in 0..before {
            client.send(GET);
            client.read_answer();
            server.head();
        }
        client.send(GET);
        server.head();
        let linger = socket2::SockRef::from(&client.stream);
        linger.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert!(told.recv_timeout(Duration::from_secs(30)).unwrap());
        let line = stage.log_line(before);
        assert!(line.contains("\"term\":\"client_abort\""), "{line}");
    }
}

#[test]
fn a_client_that_ends_in_mid_body_leaves_no_whole_request() {
    let (tell, told) = mpsc::channel();
    let server = Server::new(move |_, peer| {
        peer.head().unwrap();
        let mut got = Vec::new();
        let _ = peer.client.stream.read_to_end(&mut got);
        let _ = tell.send(got.len());
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    server.head();
    drop(client);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), 3);
}

#[test]
fn a_slow_reader_holds_the_server_back() {
    let (tell, told) = mpsc::channel();
    let server = Server::new(move |_, peer| {
        peer.request().unwrap();
        peer.client
            .send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let stream = &peer.client.stream;
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let piece = vec![b'x'; 65536];
        let mut sent = 0;
        while let Ok(n) = (&mut &*stream).write(&piece) {
            sent += n;
        }
        let _ = tell.send(sent);
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    client.read_head();
    let sent = told.recv_timeout(Duration::from_secs(30)).unwrap();
    // What fits into socket buffers, never the whole body.
    assert!(sent < 100_000_000, "{sent}");
}
