//! Large bodies, which go through pipes where there are some: nobody can tell, but by the CPU.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use roundel_proxy::Config;
use roundel_testkit::{Dice, hash, wait_for};
use socket2::SockRef;

use crate::stage::*;

/// A body that the buffers of a connection on loopback do not hold.
const HUGE: usize = 16 << 20;
/// The size of a body that never ends.
const ENDLESS: usize = 9_999_999_999;

/// A proxy of one worker with so many pipes.
fn stage(pipes: u64, servers: &[SocketAddr]) -> Stage {
    let config = Config {
        threads: 1,
        pipes,
        ..Config::default()
    };
    Stage::with_config(config, servers, |_| {}, |_| {})
}

/// A number that the target's last word says.
fn number(head: &str) -> usize {
    let target = head.split(' ').nth(1).unwrap();
    target.trim_start_matches('/').parse().unwrap()
}

fn read_body(from: &mut impl Read, length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    from.read_exact(&mut body).unwrap();
    body
}

fn length(head: &str) -> usize {
    field(head, "content-length").map_or(0, |v| v.parse().unwrap())
}

/// A server that answers with the body that the target asks for, of bytes known to both sides,
/// and says what it got.
fn echo() -> Server {
    Server::new(|_, peer| {
        while let Some(head) = peer.head() {
            let got = read_body(&mut peer.client.stream, length(&head));
            let size = number(&head);
            let head = format!(
                "HTTP/1.1 200 OK\r\nX-Got: {}\r\nContent-Length: {size}\r\n\r\n",
                hash(&got)
            );
            let answer = [head.as_bytes(), &Dice::new(size as u64).bytes(size)].concat();
            // A client that leaves ends this connection only.
            if peer.client.stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

fn take_answer(client: &mut Client, sent: &[u8], size: usize) {
    let head = client.read_head();
    assert_eq!(field(&head, "x-got"), Some(&*hash(sent).to_string()));
    let body = read_body(&mut client.stream, length(&head));
    assert!(body == Dice::new(size as u64).bytes(size), "{size} bytes");
}

/// Waits until nothing is in a pipe.
fn wait_empty(stage: &Stage) {
    wait_for("empty pipes", PATIENCE, || {
        (stage.proxy.pipes().used == 0).then_some(())
    });
}

#[test]
fn bodies_of_every_size_arrive_whole_on_connections_that_are_kept() {
    const SIZES: [usize; 16] = [
        0,
        1,
        16_000,
        16_384,
        32_000,
        40_000,
        65_535,
        65_536,
        65_537,
        81_920,
        100_000,
        262_144,
        327_680,
        1 << 20,
        (3 << 20) + 7,
        65_536,
    ];
    for pipes in [256, 1, 0] {
        let server = echo();
        let stage = stage(pipes, &[server.address]);
        let mut client = stage.client();
        for method in ["GET", "POST", "PUT"] {
            for (i, size) in SIZES.into_iter().enumerate() {
                let sent = match method {
                    "GET" => Vec::new(),
                    _ => Dice::new(9).bytes(SIZES[SIZES.len() - 1 - i] + i),
                };
                let head = format!(
                    "{method} /{size} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                    sent.len()
                );
                // The next request comes right behind this one's body.
                client.send(
                    [
                        head.as_bytes(),
                        &sent,
                        b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
                    ]
                    .concat(),
                );
                take_answer(&mut client, &sent, size);
                take_answer(&mut client, b"", 3);
            }
        }
        let seen = stage.proxy.pipes();
        assert_eq!(seen.bytes > 0, pipes > 0, "{seen:?}");
        assert_eq!(seen.used, 0, "{seen:?}");
        assert!(seen.free <= pipes, "{seen:?}");
    }
}

#[test]
fn the_log_counts_every_byte() {
    let server = echo();
    let stage = stage(4, &[server.address]);
    let mut client = stage.client();
    let sent = Dice::new(1).bytes(300_000);
    let head = format!(
        "POST /500000 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        sent.len()
    );
    client.send([head.as_bytes(), &sent].concat());
    let answer = client.read_head();
    read_body(&mut client.stream, 500_000);
    let line = stage.log_line(0);
    let expected = format!("\"req_bytes\":{}", head.len() + sent.len());
    assert!(line.contains(&expected), "{expected} in {line}");
    let upstream = answer.len()
        - answer
            .lines()
            .filter(|l| l.starts_with("Date"))
            .map(|l| l.len() + 2)
            .sum::<usize>();
    let expected = format!("\"resp_bytes\":{}", upstream + 500_000);
    assert!(line.contains(&expected), "{expected} in {line}");
}

#[test]
fn what_a_slow_server_sends_is_passed_on_at_once() {
    const PIECE: usize = 10_000;
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let server = Server::new(move |_, peer| {
        peer.head();
        peer.client.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            40 * PIECE
        ));
        for _ in 0..40 {
            gone.lock().unwrap().recv().unwrap();
            peer.client.send([b'x'; PIECE]);
        }
    });
    let stage = stage(4, &[server.address]);
    let mut client = stage.client();
    client.send(GET);
    client.read_head();
    for _ in 0..40 {
        go.send(()).unwrap();
        read_body(&mut client.stream, PIECE);
        // Nothing waits, so no pipe is held.
        wait_empty(&stage);
    }
    assert!(stage.proxy.pipes().bytes > 0);
}

#[test]
fn more_streams_than_pipes_end_whole() {
    const STREAMS: usize = 12;
    let server = echo();
    let stage = stage(2, &[server.address]);
    let mut clients: Vec<Client> = (0..STREAMS).map(|_| stage.client()).collect();
    for client in &mut clients {
        client.send(format!("GET /{HUGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    // Nobody reads, so what was taken from the servers stays in the pipes.
    wait_for("both pipes in use", PATIENCE, || {
        let seen = stage.proxy.pipes();
        ((seen.most, seen.used, seen.free) == (2, 2, 0)).then_some(())
    });
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| take_answer(client, b"", HUGE));
        }
    });
    wait_empty(&stage);
    for client in &mut clients {
        client.send("GET /200000 HTTP/1.1\r\nHost: a\r\n\r\n");
        take_answer(client, b"", 200_000);
    }
}

#[test]
fn an_answer_that_breaks_off_is_broken_for_the_client_too() {
    for reset in [false, true] {
        let server = Server::new(move |_, peer| {
            peer.head();
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            peer.client.send(vec![b'x'; 500_000]);
            // What the client got shows that all of it has passed.
            peer.client.read_until("x");
            if reset {
                let linger = SockRef::from(&peer.client.stream).set_linger(Some(Duration::ZERO));
                linger.unwrap();
            }
        });
        let stage = stage(4, &[server.address]);
        let mut client = stage.client();
        // The body's only byte waits until the client has read.
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
        client.read_head();
        read_body(&mut client.stream, 500_000);
        client.send("x");
        assert_eq!(client.read_to_any_end().0, "");
        let line = stage.log_line(0);
        assert!(line.contains("\"term\":\"server_abort\""), "{line}");
        assert!(line.contains("\"term_ha\":\"SD"), "{line}");
        wait_empty(&stage);
    }
}

#[test]
fn an_answer_without_a_length_ends_whole_or_by_a_reset() {
    for broken in [false, true] {
        let server = Server::new(move |_, peer| {
            peer.head();
            peer.client.send("HTTP/1.1 200 OK\r\n\r\n");
            peer.client.send(vec![b'x'; 500_000]);
            peer.client.read_until("x");
            if broken {
                let linger = SockRef::from(&peer.client.stream).set_linger(Some(Duration::ZERO));
                linger.unwrap();
            }
        });
        let stage = stage(4, &[server.address]);
        let mut client = stage.client();
        client.send("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n");
        let head = client.read_head();
        assert!(!has_field(&head, "transfer-encoding"), "{head}");
        read_body(&mut client.stream, 500_000);
        client.send("x");
        assert_eq!(client.read_to_any_end(), (String::new(), !broken));
        assert!(stage.proxy.pipes().bytes > 0);
    }
}

#[test]
fn a_client_that_resets_ends_it_and_its_bytes_reach_nobody_else() {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let server = Server::new(move |_, peer| {
        while let Some(head) = peer.head() {
            let size = number(&head);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Got: {}\r\nContent-Length: {size}\r\n\r\n",
                hash(b"")
            );
            peer.client.send(answer);
            if size == ENDLESS {
                while peer.client.stream.write_all(&[b'!'; 64 << 10]).is_ok() {}
                return tell.lock().unwrap().send(()).unwrap();
            }
            peer.client.send(Dice::new(size as u64).bytes(size));
        }
    });
    let stage = stage(1, &[server.address]);
    for _ in 0..3 {
        let mut client = stage.client();
        client.send(format!("GET /{ENDLESS} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.read_head();
        // Nothing flows any more, with the pipe still in use: there is something in it.
        let mut last = 0;
        wait_for("a pipe that stays full", PATIENCE, || {
            thread::sleep(Duration::from_millis(20));
            let seen = stage.proxy.pipes();
            let before = std::mem::replace(&mut last, seen.bytes);
            (seen.used == 1 && seen.bytes > 0 && seen.bytes == before).then_some(())
        });
        SockRef::from(&client.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        told.recv_timeout(PATIENCE).unwrap();
        wait_empty(&stage);
        let mut client = stage.client();
        client.send("GET /300000 HTTP/1.1\r\nHost: a\r\n\r\n");
        take_answer(&mut client, b"", 300_000);
    }
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"client_abort\""), "{line}");
    assert!(line.contains("\"term_ha\":\"CD"), "{line}");
}

#[test]
fn a_request_outlives_the_head_of_an_early_answer() {
    let server = Server::new(|_, peer| {
        while let Some(head) = peer.head() {
            // Its answer begins while most of the request is still on its way.
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
            let got = read_body(&mut peer.client.stream, length(&head));
            peer.client.send(format!("{:020}", hash(&got)));
        }
    });
    let stage = stage(1, &[server.address]);
    for _ in 0..2 {
        // An answer that begins early ends the connection.
        let mut client = stage.client();
        let sent = Dice::new(5).bytes(HUGE);
        let mut writer = client.stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {HUGE}\r\n\r\n");
                writer.write_all(head.as_bytes()).unwrap();
                writer.write_all(&sent).unwrap();
            });
            assert_eq!(client.read_answer().1, format!("{:020}", hash(&sent)));
        });
    }
    assert!(stage.proxy.pipes().bytes as usize > HUGE);
}

#[test]
fn a_server_that_sends_too_much_is_cut_at_the_length() {
    let server = Server::new(|_, peer| {
        if peer.head().is_some() {
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
            peer.client.send(vec![b'x'; 200_000 + 50_000]);
            peer.head();
        }
    });
    let stage = stage(4, &[server.address]);
    let mut client = stage.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.read_answer().1.len(), 200_000);
    }
    // Each came over a connection of its own: what lay behind the body was noticed.
    assert_eq!(server.heads.try_iter().count(), 3);
}

#[test]
fn heads_that_announce_much_and_bring_nothing() {
    let server = Server::always("HTTP/1.1 304 Not Modified\r\nContent-Length: 9000000\r\n\r\n");
    let stage = stage(4, &[server.address]);
    let mut client = stage.client();
    for method in ["GET", "HEAD"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(field(&head, "content-length"), Some("9000000"));
    }
    assert_eq!(stage.proxy.pipes().bytes, 0);
}

#[test]
fn time_limits_count_from_the_last_byte() {
    const LIMIT: Duration = Duration::from_secs(2);
    // The server pauses in the middle for too long; then the client takes nothing.
    let server = Server::new(|_, peer| {
        if let Some(head) = peer.head() {
            let size = number(&head);
            peer.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                size + 1
            ));
            let _ = peer.client.stream.write_all(&vec![b'x'; size]);
            peer.head();
        }
    });
    let config = Config {
        threads: 1,
        ..Config::default()
    };
    let stage = Stage::with_config(
        config,
        &[server.address],
        |backend| backend.timeouts.response_idle = LIMIT,
        |frontend| frontend.timeouts.client = LIMIT,
    );
    let mut client = stage.client();
    client.send("GET /200000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    assert_eq!(client.read_to_any_end().0.len(), 200_000);
    let line = stage.log_line(0);
    assert!(
        line.contains("\"term\":\"response_idle_timeout\""),
        "{line}"
    );

    let mut idle = stage.client();
    idle.send(format!("GET /{HUGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let line = stage.log_line(1);
    assert!(line.contains("\"term\":\"client_timeout\""), "{line}");
    wait_empty(&stage);

    // Who takes some again and again is waited for.
    let mut slow = stage.client();
    slow.send(format!("GET /{HUGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    slow.read_head();
    for _ in 0..20 {
        thread::sleep(LIMIT / 10);
        read_body(&mut slow.stream, 512 << 10);
    }
    drop(slow);
    let line = stage.log_line(2);
    assert!(line.contains("\"term\":\"client_abort\""), "{line}");
}

#[test]
fn a_tunnel_carries_bulk_both_ways_and_each_side_ends_by_itself() {
    for pipes in [4, 0] {
        let server = Server::new(|_, peer| {
            peer.head();
            peer.client.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi",
            );
            let mut got = Vec::new();
            peer.client.stream.read_to_end(&mut got).unwrap();
            peer.client.send(got);
        });
        let stage = stage(pipes, &[server.address]);
        let mut client = stage.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        client.read_head();
        assert_eq!(client.read_until("hi"), "hi");
        let sent = Dice::new(3).bytes(HUGE);
        client.send("small");
        client.send(&sent);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        client.stream.read_to_end(&mut got).unwrap();
        assert!(got == [b"small", &sent[..]].concat(), "{} bytes", got.len());
        let line = stage.log_line(0);
        assert!(line.contains("\"status\":101"), "{line}");
        assert_eq!(stage.proxy.pipes().bytes > 0, pipes > 0);
        wait_empty(&stage);
    }
}
