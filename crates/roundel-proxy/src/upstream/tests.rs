//! Exchanges with a server whose connections carry several of them at a time.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::memory::{Accepted, Connection, Piece};
use crate::stand::{Stand, pair, run};
use crate::transport::Io;

const LONG: Duration = Duration::from_secs(60);

async fn client(stand: &Stand) -> TcpStream {
    let (near, client) = pair().await;
    stand.serve(Io::Plain(near));
    client
}

async fn ask(client: &mut TcpStream, head: &str) {
    let request = format!("{head} HTTP/1.1\r\nHost: h\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
}

async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        got.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(got).unwrap()
}

async fn accept(streams: &mut UnboundedReceiver<Accepted>, target: &str) -> Accepted {
    let mut stream = streams.recv().await.unwrap();
    assert_eq!(stream.next().await, target);
    assert_eq!(stream.next().await, "end");
    stream
}

fn answer(stream: &Accepted, body: &'static str) {
    stream.say(Piece::Status(200, true));
    stream.data(body);
    stream.say(Piece::End);
}

#[test]
fn a_connection_carries_as_many_exchanges_as_it_has_places() {
    run(async {
        let stand = Stand::new();
        let (connection, state, mut streams) = Connection::new(2);
        stand.multiplex(connection, LONG);
        let (mut one, mut two) = (client(&stand).await, client(&stand).await);
        ask(&mut one, "GET /1").await;
        let first = accept(&mut streams, "/1").await;
        ask(&mut two, "GET /2").await;
        let second = accept(&mut streams, "/2").await;
        assert_eq!(state.open.get(), 2);
        let mut third = client(&stand).await;
        ask(&mut third, "GET /3").await;
        let head = read_until(&mut third, "\r\n\r\n").await;
        // Nobody listens where another connection would lead.
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        answer(&second, "two.");
        let got = read_until(&mut two, "two.\r\n0\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
        assert_eq!(state.open.get(), 1);
        ask(&mut two, "GET /4").await;
        let fourth = accept(&mut streams, "/4").await;
        answer(&fourth, "four.");
        read_until(&mut two, "four.\r\n0\r\n\r\n").await;
        answer(&first, "one.");
        read_until(&mut one, "one.\r\n0\r\n\r\n").await;
        assert_eq!(state.open.get(), 0);
    });
}

#[test]
fn bodies_go_both_ways_and_what_comes_before_the_answer_too() {
    run(async {
        let stand = Stand::new();
        let (connection, _, mut streams) = Connection::new(1);
        stand.multiplex(connection, LONG);
        let mut client = client(&stand).await;
        let head = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhere";
        client.write_all(head.as_bytes()).await.unwrap();
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(stream.next().await, "/1");
        assert_eq!(stream.next().await, "here");
        stream.say(Piece::Status(103, true));
        let head = read_until(&mut client, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 103 "), "{head}");
        stream.say(Piece::Status(201, true));
        stream.data("so ");
        let head = read_until(&mut client, "so \r\n").await;
        assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
        client.write_all(b"more").await.unwrap();
        assert_eq!(stream.next().await, "more");
        assert_eq!(stream.next().await, "end");
        stream.data("be it.");
        stream.say(Piece::End);
        read_until(&mut client, "be it.\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_stream_that_breaks_takes_no_other_with_it() {
    run(async {
        let stand = Stand::new();
        let (connection, state, mut streams) = Connection::new(9);
        stand.multiplex(connection, LONG);
        let (mut one, mut two) = (client(&stand).await, client(&stand).await);
        ask(&mut one, "GET /1").await;
        let first = accept(&mut streams, "/1").await;
        ask(&mut two, "POST /2").await;
        let second = accept(&mut streams, "/2").await;
        first.say(Piece::Status(200, true));
        first.data("half");
        read_until(&mut one, "half\r\n").await;
        drop(first);
        let mut rest = Vec::new();
        one.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "no end that looks whole");
        drop(second);
        let head = read_until(&mut two, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        assert_eq!(state.open.get(), 0);
        let mut three = client(&stand).await;
        ask(&mut three, "GET /3").await;
        answer(&accept(&mut streams, "/3").await, "three.");
        read_until(&mut three, "three.\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_connection_that_leaves_ends_with_its_last_stream() {
    run(async {
        let stand = Stand::new();
        let (connection, state, mut streams) = Connection::new(9);
        stand.multiplex(connection, LONG);
        let (mut one, mut two) = (client(&stand).await, client(&stand).await);
        ask(&mut one, "GET /1").await;
        let first = accept(&mut streams, "/1").await;
        state.leaves.set(true);
        stand.sweep();
        ask(&mut two, "GET /2").await;
        let head = read_until(&mut two, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        answer(&first, "one.");
        read_until(&mut one, "one.\r\n0\r\n\r\n").await;
        assert!(!stand.worker.pool.is_empty());
        stand.sweep();
        assert!(stand.worker.pool.is_empty());
        assert!(streams.recv().await.is_none(), "it is closed");
    });
}

#[test]
fn a_connection_that_nobody_uses_is_closed_in_time() {
    run(async {
        let stand = Stand::new();
        let (connection, _, mut streams) = Connection::new(9);
        stand.multiplex(connection, Duration::ZERO);
        let mut client = client(&stand).await;
        stand.sweep();
        ask(&mut client, "GET /1").await;
        let head = read_until(&mut client, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(streams.recv().await.is_none(), "it is closed");
    });
}

#[test]
fn a_switch_that_was_refused_is_an_exchange_like_any_other() {
    run(async {
        let stand = Stand::new();
        let (connection, _, mut streams) = Connection::new(1);
        stand.multiplex(connection, LONG);
        let mut client = client(&stand).await;
        let head = "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n";
        for _ in 0..2 {
            client.write_all(head.as_bytes()).await.unwrap();
            let mut stream = streams.recv().await.unwrap();
            assert_eq!(stream.next().await, "/1");
            answer(&stream, "no.");
            assert_eq!(stream.next().await, "end");
            read_until(&mut client, "no.\r\n0\r\n\r\n").await;
        }
    });
}

#[test]
fn a_tunnel_at_rest_holds_the_head_of_its_request_only() {
    run(async {
        let stand = Stand::new();
        let mut client = client(&stand).await;
        let (near, mut server) = pair().await;
        stand.connect(Io::Plain(near));
        let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut server, "\r\n\r\n").await;
        let head = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n";
        server.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut client, "\r\n\r\n").await;
        for _ in 0..3 {
            client.write_all(b"ping.").await.unwrap();
            read_until(&mut server, "ping.").await;
            server.write_all(b"pong.").await.unwrap();
            read_until(&mut client, "pong.").await;
        }
        // What is read from and written to the server, and what is written to the client.
        assert_eq!(stand.worker.blocks.free(), 3);
    });
}

#[test]
fn a_tunnel_may_have_a_stream_for_its_end() {
    run(async {
        let stand = Stand::new();
        let (connection, state, mut streams) = Connection::new(1);
        stand.multiplex(connection, LONG);
        let mut client = client(&stand).await;
        let head = "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(stream.next().await, "/1");
        stream.say(Piece::Status(101, true));
        stream.data("hello");
        let head = read_until(&mut client, "hello").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client.write_all(b"and hello").await.unwrap();
        assert_eq!(stream.next().await, "and hello");
        let large = Bytes::from(vec![b'x'; 1_000_000]);
        stream.say(Piece::Data(large.clone()));
        let mut got = vec![0; large.len()];
        client.read_exact(&mut got).await.unwrap();
        assert!(got == large);
        stream.say(Piece::End);
        assert_eq!(client.read(&mut got).await.unwrap(), 0);
        client.write_all(b"bye").await.unwrap();
        assert_eq!(stream.next().await, "bye");
        client.shutdown().await.unwrap();
        assert_eq!(stream.next().await, "end");
        assert_eq!(stream.next().await, "gone");
        assert_eq!(state.open.get(), 0);
    });
}
