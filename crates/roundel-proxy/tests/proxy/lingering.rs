//! A client that is still sending gets to read its answer.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roundel_proxy::{Limiter, RateLimit};
use roundel_testkit::wait_for;

use crate::lifecycle::block_on;
use crate::stage::*;

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large";

/// A server that refuses each body by its head, closes its sending side and keeps the connection.
///
/// It reads nothing of the body: were the whole of it through before the proxy has looked at the answer,
/// which happens on a busy machine, the answer would be no early one, and the connection would be kept.
fn refusing_bodies() -> Server {
    let kept = Mutex::new(Vec::new());
    Server::new(move |_, peer| {
        peer.head();
        peer.client.send(TOO_LARGE);
        peer.client.stream.shutdown(Shutdown::Write).unwrap();
        kept.lock()
            .unwrap()
            .push(peer.client.stream.try_clone().unwrap());
    })
}

/// Sends a POST of `size` bytes in pieces, `pause` apart, and only then reads: as many clients do.
fn upload(stage: &Stage, size: usize, piece: usize, pause: Duration) -> String {
    let mut client = stage.client();
    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    client.send(format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    ));
    let mut left = size;
    while left > 0 {
        let n = left.min(piece);
        let sent = client.stream.write_all(&PIECE[..n]);
        sent.unwrap_or_else(|error| panic!("{error} with {left} bytes to go"));
        left -= n;
        std::thread::sleep(pause);
    }
    client.read_to_end()
}

#[test]
fn an_early_answer_of_a_server_reaches_a_client_that_sends_on() {
    let server = refusing_bodies();
    let stage = Stage::new(&[server.address]);
    let check = |size, piece, pause| {
        let answer = upload(&stage, size, piece, pause);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with("too large"), "{answer}");
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert_eq!(field(head, "connection"), Some("close"), "{answer}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| check(40_000_000, PIECE.len(), Duration::ZERO));
        // Slower than a connection would be kept for a client that sends nothing.
        scope.spawn(|| check(600_000, 10_000, Duration::from_millis(100)));
    });
}

#[test]
fn so_do_answers_of_our_own() {
    let server = Server::always(HELLO);
    let all = |frontend: &mut roundel_proxy::Frontend| {
        frontend.limits.max_body = 1000;
    };
    let stage = Stage::with(&[server.address], |_| {}, all);
    let answer = upload(&stage, 20_000_000, PIECE.len(), Duration::ZERO);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let limited = |frontend: &mut roundel_proxy::Frontend| {
        frontend.rate_limit = Some(Arc::new(Limiter::new(RateLimit {
            requests: 1,
            per: Duration::from_secs(3600),
            burst: 1,
        })));
    };
    let stage = Stage::with(&[server.address], |_| {}, limited);
    stage.once(GET_CLOSE);
    let answer = upload(&stage, 20_000_000, PIECE.len(), Duration::ZERO);
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");

    let stage = Stage::new(&[refusing()]);
    let answer = upload(&stage, 20_000_000, PIECE.len(), Duration::ZERO);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");

    // What follows cannot be understood, and comes all the same.
    let mut client = stage.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    for _ in 0..300 {
        client.stream.write_all(&PIECE).unwrap();
    }
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_silent_client_is_not_waited_for_longer_than_five_seconds() {
    let server = refusing_bodies();
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart");
    let answer = client.read_to_end();
    assert!(answer.ends_with("too large"), "{answer}");
    wait_for("the connection to linger", PATIENCE, || {
        (stage.proxy.lingering() == 1).then_some(())
    });
    let begun = Instant::now();
    wait_for("its end", PATIENCE, || {
        (stage.proxy.lingering() == 0).then_some(())
    });
    assert!(begun.elapsed() > Duration::from_secs(3));
    // It is gone for good: nobody reads any more.
    let refused = wait_for("a refusal", PATIENCE, || {
        client.stream.write_all(&PIECE).err()
    });
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(kinds.contains(&refused.kind()), "{refused}");
}

#[test]
fn a_client_that_ends_is_let_go_at_once() {
    let server = refusing_bodies();
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart");
    client.read_to_end();
    drop(client);
    wait_for("no connection", Duration::from_secs(4), || {
        (stage.proxy.connections() == 0).then_some(())
    });
    assert_eq!(stage.proxy.lingering(), 0);
}

/// Its answer says that the connection ends, but it keeps its side open.
#[test]
fn a_drain_waits_for_a_client_that_stays_a_second_at_most() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let begins = |client: &mut Client| client.send("POST / HTTP/1.1\r\nHost: a\r\n");
    let [mut before, mut within] = [(); 2].map(|()| stage.client());
    // One lingers when the drain begins, the other one from its last answer on.
    before.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    before.read_head();
    wait_for("a close", PATIENCE, || {
        (stage.proxy.lingering() == 1).then_some(())
    });
    begins(&mut within);
    let left = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("the drain", PATIENCE, || {
                std::net::TcpStream::connect(stage.address)
                    .is_err()
                    .then_some(())
            });
            within.send("Content-Length: 0\r\n\r\n");
            let (head, _) = within.read_answer();
            assert_eq!(field(&head, "connection"), Some("close"));
        });
        block_on(stage.proxy.drain(Instant::now() + Duration::from_secs(4)))
    });
    assert_eq!(left, 0);
}
