//! A transport that keeps plaintext above its socket, everywhere that a connection goes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use roundel_testkit::Dice;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::Io;
use super::records::{DATA, END, Records, TICKET, record};
use crate::stand::{Stand, pair, run};

fn records(socket: TcpStream) -> Io {
    Io::Records(Box::new(Records::new(socket)))
}

fn tickets(io: &Io) -> usize {
    match io {
        Io::Records(records) => records.tickets,
        Io::Plain(_) => 0,
    }
}

/// An end that keeps records, and the socket at the other end.
async fn half() -> (Io, TcpStream) {
    let (near, far) = pair().await;
    (records(near), far)
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

async fn read_until(io: &mut Io, end: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        got.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(got).unwrap()
}

async fn say(io: &mut Io, words: &str) {
    io.write_all(words.as_bytes()).await.unwrap();
    io.flush().await.unwrap();
}

#[test]
fn plaintext_above_the_socket_is_readable() {
    run(async {
        let (mut io, mut far) = half().await;
        assert!(!is_readable(&mut io));
        let sent = [record(DATA, b"hello "), record(DATA, b"world")].concat();
        far.write_all(&sent).await.unwrap();
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
fn a_record_without_plaintext_is_nothing_to_read() {
    run(async {
        let (mut io, mut far) = half().await;
        far.write_all(&record(TICKET, b"ticket")).await.unwrap();
        while tickets(&io) == 0 {
            assert!(!is_readable(&mut io));
            turn().await;
        }
        assert_eq!(read_now(&mut io, 99), None);
    });
}

#[test]
fn tickets_leave_a_connection_fit_for_use_and_all_else_does_not() {
    run(async {
        let stand = Stand::new();
        for (came, is_fit) in [
            (record(TICKET, b"one"), true),
            ([record(TICKET, b"1"), record(TICKET, b"2")].concat(), true),
            // The rest of it is on its way.
            (record(TICKET, b"half")[..5].to_vec(), true),
            (record(DATA, b"x"), false),
            ([record(TICKET, b"1"), record(DATA, b"x")].concat(), false),
            (record(END, b""), false),
        ] {
            let (io, mut far) = half().await;
            stand.connect(io);
            far.write_all(&came).await.unwrap();
            turn().await;
            assert_eq!(stand.take().is_some(), is_fit, "{came:?}");
        }
        let (io, far) = half().await;
        stand.connect(io);
        drop(far);
        turn().await;
        assert!(stand.take().is_none(), "it was cut");
    });
}

#[test]
fn a_session_goes_from_worker_to_worker() {
    run(async {
        let (mut io, mut far) = half().await;
        let sent = [
            record(TICKET, b"1"),
            record(DATA, b"abc"),
            record(DATA, b"def"),
        ]
        .concat();
        let (first, second) = sent.split_at(sent.len() - 2);
        far.write_all(first).await.unwrap();
        poll_fn(|cx| io.poll_readable(cx)).await.unwrap();
        let mut io = io.detach().unwrap().attach().unwrap();
        assert_eq!(tickets(&io), 1);
        far.write_all(second).await.unwrap();
        assert_eq!(read_until(&mut io, "abcdef").await, "abcdef");
    });
}

#[test]
fn requests_that_came_in_one_record_are_all_answered() {
    run(async {
        let stand = Stand::new();
        let ((near, client), (far, server)) = (pair().await, pair().await);
        let (mut client, mut server) = (records(client), records(server));
        stand.serve(records(near));
        stand.connect(records(far));
        say(
            &mut client,
            "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .await;
        for n in 1..=2 {
            let head = read_until(&mut server, "\r\n\r\n").await;
            assert!(head.starts_with(&format!("GET /{n} ")), "{head}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{n}.\n");
            say(&mut server, &answer).await;
            let answer = read_until(&mut client, ".\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    });
}

#[test]
fn large_bodies_are_copied_where_there_are_records() {
    run(async {
        const LARGE: usize = 3_000_000;
        let stand = Stand::new();
        let body = Dice::new(1).bytes(LARGE);
        for (client_keeps, server_keeps) in [(true, true), (true, false), (false, true)] {
            let ((near, client), (far, server)) = (pair().await, pair().await);
            let io = |keeps, socket| match keeps {
                true => records(socket),
                false => Io::Plain(socket),
            };
            let (mut client, mut server) = (io(client_keeps, client), io(server_keeps, server));
            stand.serve(io(client_keeps, near));
            stand.connect(io(server_keeps, far));
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n");
            let sent = [head.as_bytes(), &body].concat();
            let asking = async {
                client.write_all(&sent).await.unwrap();
                client.flush().await.unwrap();
                read_until(&mut client, "\r\n\r\n").await;
                let mut got = vec![0; LARGE];
                client.read_exact(&mut got).await.unwrap();
                got
            };
            let answering = async {
                read_until(&mut server, "\r\n\r\n").await;
                let mut got = vec![0; LARGE];
                server.read_exact(&mut got).await.unwrap();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                say(&mut server, &head).await;
                server.write_all(&got).await.unwrap();
                server.flush().await.unwrap();
            };
            let (got, ()) = tokio::join!(asking, answering);
            assert!(got == body, "{client_keeps} {server_keeps}");
        }
        assert_eq!(stand.worker.cell().spliced_bytes.load(Relaxed), 0);
    });
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_only_if_the_transport_says_so() {
    run(async {
        for is_whole in [true, false] {
            let stand = Stand::new();
            let ((near, client), (far, server)) = (pair().await, pair().await);
            let (mut client, mut server) = (Io::Plain(client), records(server));
            stand.serve(Io::Plain(near));
            stand.connect(records(far));
            say(&mut client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            read_until(&mut server, "\r\n\r\n").await;
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwords";
            say(&mut server, answer).await;
            read_until(&mut client, "words\r\n").await;
            if is_whole {
                server.shutdown().await.unwrap();
            }
            drop(server);
            let mut rest = [0; 5];
            let read = client.read_exact(&mut rest).await;
            assert_eq!(read.is_ok() && rest == *b"0\r\n\r\n", is_whole);
        }
    });
}

#[test]
fn a_tunnel_ends_each_side_in_its_own_way() {
    run(async {
        let stand = Stand::new();
        let ((near, client), (far, server)) = (pair().await, pair().await);
        let (mut client, mut server) = (records(client), records(server));
        stand.serve(records(near));
        stand.connect(records(far));
        say(
            &mut client,
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\nfirst",
        )
        .await;
        read_until(&mut server, "\r\n\r\n").await;
        say(
            &mut server,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\nhello",
        )
        .await;
        read_until(&mut server, "first").await;
        let head = read_until(&mut client, "hello").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let large = Dice::new(2).bytes(1_000_000);
        let mut got = vec![0; large.len()];
        let sending = async {
            server.write_all(&large).await.unwrap();
            server.flush().await.unwrap();
        };
        let (read, ()) = tokio::join!(client.read_exact(&mut got), sending);
        read.unwrap();
        assert!(got == large);
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
        say(&mut server, "bye").await;
        server.shutdown().await.unwrap();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");
        assert_eq!(stand.worker.cell().spliced_bytes.load(Relaxed), 0);
    });
}
