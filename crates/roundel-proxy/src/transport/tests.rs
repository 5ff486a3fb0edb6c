//! TLS everywhere that a connection goes, with rustls by itself at the other end.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use roundel_testkit::Dice;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::Io;
use super::tls::Tls;
use crate::stand::{Stand, pair, run};

pub(crate) mod far;
mod handshake;
mod servers;

use far::{Far, Pair};

/// Makes the handshake of our end.
async fn shake(mut tls: Tls<TcpStream>) -> Io {
    loop {
        tls.advance().unwrap();
        if !tls.is_handshaking() {
            return Io::Tls(tls);
        }
        poll_fn(|cx| tls.poll_more(cx)).await.unwrap();
    }
}

/// Our end as a server, and its client.
async fn served() -> (Io, Far) {
    let (near, far) = pair().await;
    let made = Pair::new(&["h"]);
    // What was received before belongs to it.
    let near = async {
        let mut hello = vec![0; 9];
        let mut near = near;
        near.read_exact(&mut hello).await.unwrap();
        shake(Tls::server(near, made.server(), &hello).unwrap()).await
    };
    let (near, far) = tokio::join!(near, Far::client(far, made.client(&[]), "h"));
    (near, far.unwrap())
}

/// Our end as a client, and its server.
async fn asked() -> (Io, Far) {
    let (near, far) = pair().await;
    let made = Pair::new(&["h"]);
    let client = Arc::new(made.client(&[]));
    let near = shake(Tls::client(near, client, "h".try_into().unwrap()).unwrap());
    let far = Far::server(far, made.server());
    let near = async {
        let mut near = near.await;
        near.flush().await.unwrap();
        near
    };
    let (near, far) = tokio::join!(near, far);
    (near, far.unwrap())
}

/// As [`asked`]; the session tickets of the server have come and were read.
async fn settled() -> (Io, Far) {
    let (mut near, mut far) = asked().await;
    far.say("x").await;
    assert_eq!(near.read_u8().await.unwrap(), b'x');
    (near, far)
}

/// Reads at most `most` bytes of what there is without waiting.
fn read_now(io: &mut Io, most: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut room = ReadBuf::new(&mut bytes);
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(io).poll_read(&mut cx, &mut room) {
        Poll::Ready(read) => read.unwrap(),
        Poll::Pending => return None,
    }
    Some(room.filled().to_vec())
}

fn is_readable(io: &mut Io) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    io.poll_readable(&mut cx).is_ready()
}

/// Lets the reactor look at the sockets.
async fn turn() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

/// How many records of application data there are in what was received.
fn data_records(mut received: &[u8]) -> usize {
    let mut count = 0;
    while let [kind, _, _, high, low, rest @ ..] = received {
        count += usize::from(*kind == 23);
        received = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    count
}

#[test]
fn plaintext_above_the_socket_is_readable() {
    run(async {
        let (mut io, mut far) = served().await;
        assert!(!is_readable(&mut io));
        // Two records in one piece.
        for words in ["hello ", "world"] {
            std::io::Write::write_all(&mut far.session.writer(), words.as_bytes()).unwrap();
        }
        far.flush().await;
        poll_fn(|cx| io.poll_readable(cx)).await.unwrap();
        assert_eq!(read_now(&mut io, 3).unwrap(), b"hel");
        // The socket is empty by now.
        assert!(is_readable(&mut io));
        assert_eq!(read_now(&mut io, 99).unwrap(), b"lo world");
        assert!(!is_readable(&mut io));
        assert!(io.as_plain().is_none());
    });
}

#[test]
fn nothing_is_kept_between_messages() {
    run(async {
        let (mut io, mut far) = served().await;
        for _ in 0..3 {
            far.say(vec![1; 40_000]).await;
            let mut got = vec![0; 40_000];
            io.read_exact(&mut got).await.unwrap();
            assert!(!is_readable(&mut io));
            io.write_all(&got).await.unwrap();
            io.flush().await.unwrap();
            far.read_exact(40_000).await;
            let Io::Tls(tls) = &io else { unreachable!() };
            assert_eq!(tls.held(), 0);
        }
    });
}

#[test]
fn head_and_body_leave_in_one_record() {
    run(async {
        let (mut io, mut far) = served().await;
        // Tickets go out with the first words.
        io.send(b"first").unwrap();
        far.read_exact(5).await;
        let before = data_records(&far.received);
        assert_eq!(io.send_both(b"head", &[b'x'; 1000]).unwrap(), 1004);
        far.read_exact(1004).await;
        assert_eq!(data_records(&far.received), before + 1);
    });
}

#[test]
fn a_session_goes_from_worker_to_worker() {
    run(async {
        let (mut io, mut far) = asked().await;
        for words in ["abc", "def"] {
            std::io::Write::write_all(&mut far.session.writer(), words.as_bytes()).unwrap();
        }
        let sent = far.records();
        let (first, second) = sent.split_at(sent.len() - 2);
        far.socket.write_all(first).await.unwrap();
        poll_fn(|cx| io.poll_readable(cx)).await.unwrap();
        let mut io = io.detach().unwrap().attach().unwrap();
        far.socket.write_all(second).await.unwrap();
        let mut got = [0; 6];
        io.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"abcdef");
        io.write_all(b"ghi").await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(far.read_until("ghi").await, "ghi");
    });
}

#[test]
fn messages_between_the_ends_leave_a_connection_fit_for_use_and_all_else_does_not() {
    run(async {
        let stand = Stand::new();
        // Session tickets come when the server likes.
        let (io, _far) = asked().await;
        stand.connect(io);
        turn().await;
        assert!(stand.take().is_some());
        type Send = fn(&mut Far) -> Vec<u8>;
        let key_update: Send = |far| {
            far.session.refresh_traffic_keys().unwrap();
            far.records()
        };
        let data: Send = |far| {
            std::io::Write::write_all(&mut far.session.writer(), b"x").unwrap();
            far.records()
        };
        let half: Send = |far| {
            far.session.refresh_traffic_keys().unwrap();
            let mut records = far.records();
            records.truncate(9);
            records
        };
        let bye: Send = |far| {
            far.session.send_close_notify();
            far.records()
        };
        let both: Send = |far| {
            far.session.refresh_traffic_keys().unwrap();
            std::io::Write::write_all(&mut far.session.writer(), b"x").unwrap();
            far.records()
        };
        let broken: Send = |_| b"HTTP/1.1 200 OK\r\n".to_vec();
        let cases = [
            (key_update, true),
            // The rest of it is on its way.
            (half, true),
            (data, false),
            (both, false),
            (bye, false),
            (broken, false),
        ];
        for (at, (send, is_fit)) in cases.into_iter().enumerate() {
            let (io, mut far) = settled().await;
            stand.connect(io);
            let sent = send(&mut far);
            far.socket.write_all(&sent).await.unwrap();
            turn().await;
            assert_eq!(stand.take().is_some(), is_fit, "case {at}");
        }
        let (io, far) = settled().await;
        stand.connect(io);
        drop(far);
        turn().await;
        assert!(stand.take().is_none(), "it was cut");
    });
}

#[test]
fn requests_that_came_in_one_record_are_all_answered() {
    run(async {
        let stand = Stand::new();
        let (near, mut client) = served().await;
        let (far, mut server) = asked().await;
        stand.serve(near);
        stand.connect(far);
        client
            .say("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
            .await;
        for n in 1..=2 {
            let head = server.read_until("\r\n\r\n").await;
            assert!(head.starts_with(&format!("GET /{n} ")), "{head}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{n}.\n");
            server.say(&answer).await;
            let answer = client.read_until(".\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    });
}

/// The other end, in clear or not.
enum Other {
    Plain(TcpStream),
    Tls(Box<Far>),
}

impl Other {
    async fn say(&mut self, words: &[u8]) {
        match self {
            Self::Plain(socket) => socket.write_all(words).await.unwrap(),
            Self::Tls(far) => far.say(words).await,
        }
    }

    /// Reads a head, and `length` bytes behind it, which it gives.
    async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut head = None;
        while head.is_none_or(|head| got.len() < head + length) {
            match self {
                Self::Plain(socket) => assert_ne!(socket.read_buf(&mut got).await.unwrap(), 0),
                Self::Tls(far) => got.extend_from_slice(&far.read().await.unwrap()),
            }
            let end = || got.windows(4).position(|four| four == b"\r\n\r\n");
            head = head.or_else(|| Some(end()? + 4));
        }
        got.split_off(head.unwrap())
    }
}

fn sealed((io, far): (Io, Far)) -> (Io, Other) {
    (io, Other::Tls(Box::new(far)))
}

fn plain((near, far): (TcpStream, TcpStream)) -> (Io, Other) {
    (Io::Plain(near), Other::Plain(far))
}

#[test]
fn large_bodies_are_copied_where_there_are_records() {
    run(async {
        const LARGE: usize = 3_000_000;
        let stand = Stand::new();
        let body = Dice::new(1).bytes(LARGE);
        for (client_keeps, server_keeps) in [(true, true), (true, false), (false, true)] {
            let (near, mut client) = match client_keeps {
                true => sealed(served().await),
                false => plain(pair().await),
            };
            let (far, mut server) = match server_keeps {
                true => sealed(asked().await),
                false => plain(pair().await),
            };
            stand.serve(near);
            stand.connect(far);
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n");
            let sent = [head.as_bytes(), &body].concat();
            let asking = async {
                client.say(&sent).await;
                client.read(LARGE).await
            };
            let answering = async {
                let got = server.read(LARGE).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                server.say(&[head.as_bytes(), &got].concat()).await;
            };
            let (got, ()) = tokio::join!(asking, answering);
            assert!(got == body, "{client_keeps} {server_keeps}");
        }
        assert_eq!(stand.worker.cell().spliced_bytes.load(Relaxed), 0);
    });
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_only_if_the_server_says_so() {
    run(async {
        for is_whole in [true, false] {
            let stand = Stand::new();
            let (near, mut client) = served().await;
            let (far, mut server) = asked().await;
            stand.serve(near);
            stand.connect(far);
            client.say("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            server.read_until("\r\n\r\n").await;
            server
                .say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwords")
                .await;
            client.read_until("words\r\n").await;
            if is_whole {
                server.end().await;
            }
            drop(server);
            let mut rest = Vec::new();
            while !rest.ends_with(b"0\r\n\r\n")
                && let Ok(more) = client.read().await
                && !more.is_empty()
            {
                rest.extend_from_slice(&more);
            }
            assert_eq!(rest.ends_with(b"0\r\n\r\n"), is_whole);
        }
    });
}

#[test]
fn a_goodbye_is_said_unless_the_connection_is_broken_off() {
    run(async {
        let (mut io, mut far) = served().await;
        io.write_all(b"all").await.unwrap();
        drop(io);
        assert_eq!(far.read_until("all").await, "all");
        assert_eq!(far.read().await, Ok(Vec::new()));
        let (mut io, mut far) = served().await;
        io.write_all(b"part").await.unwrap();
        assert_eq!(far.read_until("part").await, "part");
        io.break_off();
        drop(io);
        assert_eq!(far.read().await, Err(ErrorKind::UnexpectedEof));
        // To a client whose side is cut, its end is as good as said; a server has to say it.
        let (mut io, far) = served().await;
        drop(far);
        assert_eq!(io.read(&mut [0; 9]).await.unwrap(), 0);
        let (mut io, far) = settled().await;
        drop(far);
        let error = io.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn what_breaks_the_protocol_ends_the_session_with_an_alert() {
    run(async {
        let (mut io, mut far) = served().await;
        far.socket
            .write_all(b"\x17\x03\x03\0\x20 no seal of ours, 32 bytes. ....")
            .await
            .unwrap();
        let error = io.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(io.write(b"x").await.is_err());
        assert!(!io.is_quiet(true));
        drop(io);
        let alert = loop {
            if let Err(error) = far.hear().await {
                break error;
            }
        };
        assert!(matches!(alert, rustls::Error::AlertReceived(_)), "{alert}");
    });
}

#[test]
fn bytes_arrive_as_they_were_sent_in_pieces_of_any_size() {
    run(async {
        for seed in 0..20 {
            let mut dice = Dice::new(seed);
            let (mut io, mut far) = match seed % 2 {
                0 => served().await,
                _ => asked().await,
            };
            let sent = dice.bytes(200_000);
            let mut left = &sent[..];
            let mut got = Vec::new();
            while got.len() < sent.len() {
                // Some plaintext in records, and those in pieces.
                let n = (1 + dice.roll(30_000)).min(left.len());
                std::io::Write::write_all(&mut far.session.writer(), &left[..n]).unwrap();
                left = &left[n..];
                if dice.roll(8) == 0 {
                    far.session.refresh_traffic_keys().unwrap();
                }
                let records = far.records();
                for piece in records.chunks(1 + dice.roll(20_000)) {
                    far.socket.write_all(piece).await.unwrap();
                    let most = 1 + dice.roll(40_000);
                    while let Some(more) = read_now(&mut io, most) {
                        assert!(!more.is_empty());
                        got.extend_from_slice(&more);
                    }
                    turn().await;
                }
                if left.is_empty() {
                    let rest = sent.len() - got.len();
                    let mut last = vec![0; rest];
                    io.read_exact(&mut last).await.unwrap();
                    got.extend_from_slice(&last);
                }
            }
            assert!(got == sent, "seed {seed}");
            let mut left = &sent[..];
            let writing = async {
                while !left.is_empty() {
                    let (first, second) = left.split_at(dice.roll(left.len()));
                    let parts = [first, second].map(std::io::IoSlice::new);
                    let n = match dice.roll(3) {
                        0 => io.send_both(first, second).unwrap_or(0),
                        1 => io.write(left).await.unwrap(),
                        _ => io.write_vectored(&parts).await.unwrap(),
                    };
                    left = &left[n..];
                }
                io.flush().await.unwrap();
            };
            let (got, ()) = tokio::join!(far.read_exact(sent.len()), writing);
            assert!(got == sent, "seed {seed}");
        }
    });
}

#[test]
fn a_tunnel_ends_each_side_in_its_own_way() {
    run(async {
        let stand = Stand::new();
        let (near, mut client) = served().await;
        let (far, mut server) = asked().await;
        stand.serve(near);
        stand.connect(far);
        client
            .say("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\nfirst")
            .await;
        server.read_until("\r\n\r\n").await;
        server
            .say(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\nhello",
            )
            .await;
        server.read_until("first").await;
        let head = client.read_until("hello").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let large = Dice::new(2).bytes(1_000_000);
        let (got, ()) = tokio::join!(client.read_exact(large.len()), server.say(&large));
        assert!(got == large);
        client.end().await;
        assert_eq!(server.read().await, Ok(Vec::new()));
        server.say("bye").await;
        assert_eq!(client.read_until("bye").await, "bye");
        server.end().await;
        assert_eq!(client.read().await, Ok(Vec::new()));
        assert_eq!(stand.worker.cell().spliced_bytes.load(Relaxed), 0);
    });
}
