//! WebSocket over HTTP/2 in front (RFC 8441), upgraded connections of HTTP/1 behind.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use roundel_testkit::{wait_for, websocket_accept};
use socket2::SockRef;

use crate::frames::{Client, END_STREAM, HEADERS, RST_STREAM, SETTINGS, frame};
use crate::http2::{collect, talk, talk_as};
use crate::stage::*;

/// Bytes of a stream that is a tunnel.
const TUNNEL: u64 = (40 + 64) * 1024;

/// A server that grants every upgrade and goes on as `serve` says.
fn granting(serve: impl Fn(&mut Peer, &str) + Send + Sync + 'static) -> Server {
    Server::new(move |_, peer| {
        let Some(head) = peer.head() else { return };
        let Some(key) = field(&head, "sec-websocket-key") else {
            let length = field(&head, "content-length").map_or(0, |v| v.parse().unwrap());
            peer.client.stream.read_exact(&mut vec![0; length]).unwrap();
            return peer.client.send(HELLO);
        };
        let proof = websocket_accept(key);
        peer.client.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        ));
        serve(peer, &head);
    })
}

/// Gives everything back until the client ends.
fn echo(peer: &mut Peer, _: &str) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = peer.client.stream.read(&mut bytes) {
        peer.client.send(&bytes[..n]);
    }
    peer.told("end");
}

/// An extended CONNECT.
fn connect(protocol: &str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT);
    let request = request.extension(Protocol::from(protocol));
    let request = request.uri("http://a/chat?room=1");
    request
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat, other")
        .header("sec-websocket-extensions", "permessage-deflate")
        .body(())
        .unwrap()
}

/// Asks for a tunnel once the proxy has said that it offers some.
async fn ask(
    client: &SendRequest<Bytes>,
    request: Request<()>,
) -> (ResponseFuture, SendStream<Bytes>) {
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut client = client.clone().ready().await.unwrap();
    client.send_request(request, false).unwrap()
}

/// Opens a tunnel.
async fn open(client: &SendRequest<Bytes>) -> (RecvStream, SendStream<Bytes>) {
    let (answer, send) = ask(client, connect("websocket")).await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    (answer.into_body(), send)
}

/// Reads so many bytes.
async fn read(body: &mut RecvStream, size: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < size {
        let piece = body.data().await.expect("it goes on").unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        got.extend_from_slice(&piece);
    }
    got
}

/// What the server tells next. The connection's task goes on meanwhile.
async fn told(server: &Server) -> String {
    loop {
        match server.heads.try_recv() {
            Ok(told) => return told,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_socket_is_an_upgrade_at_its_server() {
    let server = granting(|peer, _| {
        peer.client.send("first");
        let got = peer.client.read_until("!");
        peer.client.send(format!("echo {got}"));
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |client| async move {
        let mut request = connect("WebSocket");
        let mine = "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap();
        request.headers_mut().insert("sec-websocket-key", mine);
        let (answer, mut send) = ask(&client, request).await;
        send.send_data(bytes("early "), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let fields = answer.headers();
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for name in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!fields.contains_key(name), "{name}");
        }
        let mut body = answer.into_body();
        assert_eq!(read(&mut body, 5).await, b"first");
        send.send_data(bytes("bytes!"), true).unwrap();
        let rest = collect(Response::new(body)).await.unwrap();
        assert_eq!(rest, ("echo early bytes!".to_owned(), String::new()));
    });
    let head = server.head();
    assert!(
        head.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: a\r\n"),
        "{head}"
    );
    let is = |name, value| assert_eq!(field(&head, name), Some(value), "{head}");
    is("upgrade", "websocket");
    is("connection", "Upgrade");
    is("sec-websocket-version", "13");
    is("sec-websocket-protocol", "chat, other");
    is("sec-websocket-extensions", "permessage-deflate");
    let key = field(&head, "sec-websocket-key").unwrap();
    assert!(
        key.len() == 24 && key != "dGhlIHNhbXBsZSBub25jZQ==",
        "{key}"
    );
    assert!(!has_field(&head, "transfer-encoding"), "{head}");
    let line = stage.log_line(0);
    for word in [
        "\"status\":101",
        "\"method\":\"GET\"",
        "\"proto\":\"HTTP/2.0\"",
        "\"term\":\"ok\"",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn each_side_ends_by_itself() {
    let server = granting(|peer, _| {
        peer.client.send("bye");
        SockRef::from(&peer.client.stream)
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        let rest = peer.client.read_to_end();
        peer.told(&rest);
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |client| async move {
        let (body, mut send) = open(&client).await;
        assert_eq!(collect(Response::new(body)).await.unwrap().0, "bye");
        send.send_data(bytes("last"), true).unwrap();
        told(&server).await;
        assert_eq!(told(&server).await, "last");
    });
    assert!(stage.log_line(0).contains("\"term\":\"ok\""));
}

#[test]
fn resets_are_passed_on_as_such() {
    let server = granting(|peer, _| {
        let mut byte = [0];
        match peer.client.stream.read(&mut byte) {
            Ok(1) => {
                let socket = SockRef::from(&peer.client.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => peer.told("reset"),
            other => peer.told(&format!("{other:?}")),
        }
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |client| async move {
        let (body, mut send) = open(&client).await;
        told(&server).await;
        send.send_reset(Reason::CANCEL);
        assert_eq!(told(&server).await, "reset");
        drop(body);
        let (mut body, mut send) = open(&client).await;
        send.send_data(bytes("x"), false).unwrap();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        // Those who share the connection go on.
        let (_body, _send) = open(&client).await;
    });
    assert_eq!(
        stage.proxy.frontends()[0]
            .counters
            .sum(|c| c.connections_h2.get()),
        1
    );
}

#[test]
fn what_is_not_granted_is_an_ordinary_answer() {
    const REFUSED: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-Own: 1\r\n\r\nnone";
    const OTHER: &str = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\n\
                         Connection: Upgrade\r\nContent-Length: 0\r\n\r\n";
    const UNPROVEN: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                            Connection: Upgrade\r\n\r\n";
    const FORGED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                          Connection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, status, term) in [
        (REFUSED, 404, "ok"),
        (OTHER, 426, "ok"),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            302,
            "ok",
        ),
        // Over HTTP/2 it would say that there is a socket.
        (HELLO, 502, "bad_response"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 502, "bad_response"),
        (UNPROVEN, 502, "bad_response"),
        (FORGED, 502, "bad_response"),
    ] {
        let server = Server::always(answer);
        let stage = Stage::new(&[server.address]);
        talk(&stage, |client| async move {
            let (got, mut send) = ask(&client, connect("websocket")).await;
            let _ = send.send_data(bytes("early"), false);
            let got = got.await.unwrap();
            assert_eq!(got.status(), status, "{answer}");
            assert!(!got.headers().contains_key("upgrade"), "{answer}");
            let (body, _) = collect(got).await.unwrap();
            assert_eq!(body == "none", status == 404, "{body}");
        });
        let line = stage.log_line(0);
        for word in [
            format!("\"status\":{status}"),
            format!("\"term\":\"{term}\""),
        ] {
            assert!(line.contains(&word), "{word}: {line}");
        }
    }
}

#[test]
fn nothing_else_is_connected_to() {
    let server = granting(echo);
    let stage = Stage::new(&[server.address]);
    talk(&stage, |client| async move {
        for protocol in [
            "webtransport",
            "connect-udp",
            "h2c",
            "web",
            "websocket2",
            "",
        ] {
            let (answer, _send) = ask(&client, connect(protocol)).await;
            assert_eq!(answer.await.unwrap().status(), 501, "{protocol}");
        }
        let plain = Request::connect("a:443").body(()).unwrap();
        let (answer, _send) = ask(&client, plain).await;
        assert_eq!(answer.await.unwrap().status(), 501);
        // RFC 9110 9.3.6: there is no content that a length could be of.
        for length in ["0", "5"] {
            let mut request = connect("websocket");
            let length = length.parse().unwrap();
            request.headers_mut().insert("content-length", length);
            let (answer, _send) = ask(&client, request).await;
            assert_eq!(answer.await.unwrap().status(), 400);
        }
        let (mut body, mut send) = open(&client).await;
        send.send_data(bytes("still"), false).unwrap();
        assert_eq!(read(&mut body, 5).await, b"still");
    });
    let line = stage.log_line(0);
    assert!(line.contains("\"method\":\"CONNECT\""), "{line}");
    let mut told = server.heads.try_iter();
    assert!(told.next().is_some_and(|head| head.starts_with("GET ")));
    assert!(told.all(|word| word == "end"), "one went to the server");
}

/// Fields as literals that no table keeps. Source: RFC 7541 6.2.2; lengths stay below 127.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// Source: RFC 8441 4, RFC 9113 8.1.1.
#[test]
fn malformed_ones_break_their_stream_alone() {
    const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];
    const ALL: [(&str, &str); 5] = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    let server = granting(echo);
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    let settings = client.next().unwrap();
    assert_eq!(settings.kind, SETTINGS);
    let mut announced = settings.payload.chunks(6);
    assert!(announced.any(|setting| setting == ENABLE_CONNECT_PROTOCOL));
    let mut stream = 1;
    let mut resets = |fields: &[(&str, &str)], flags: u8| {
        client.send(&frame(HEADERS, 4 | flags, stream, &block(fields)));
        loop {
            let frame = client.next().expect("the connection goes on");
            if frame.kind == HEADERS || frame.kind == RST_STREAM {
                assert_eq!(frame.stream, stream);
                stream += 2;
                let code = frame.payload.try_into().map(u32::from_be_bytes);
                return code.ok().filter(|_| frame.kind == RST_STREAM);
            }
        }
    };
    for left_out in [":path", ":scheme"] {
        let fields: Vec<_> = ALL.into_iter().filter(|f| f.0 != left_out).collect();
        assert_eq!(resets(&fields, 0), Some(1), "{left_out}");
    }
    let mut other = ALL;
    other[0].1 = "GET";
    assert_eq!(resets(&other, 0), Some(1));
    let twice = [ALL.as_slice(), &[(":protocol", "websocket")]].concat();
    assert_eq!(resets(&twice, 0), Some(1));
    assert_eq!(resets(&ALL, 0), None);
    // Fields behind what was sent are no data. Source: RFC 9113 8.5.
    client.send(&frame(
        HEADERS,
        4 | END_STREAM,
        stream - 2,
        &block(&[("x", "y")]),
    ));
    let code = loop {
        let frame = client.next().expect("the connection goes on");
        if frame.kind == RST_STREAM {
            break frame.payload;
        }
    };
    assert_eq!(code, 1u32.to_be_bytes());
    client.is_served();
}

#[test]
fn sockets_are_timed_cut_and_stopped_as_all_tunnels_are() {
    let server = granting(|peer, head| {
        if !head.contains("quiet") {
            peer.client.send("hi");
        }
        echo(peer, head);
    });
    let stage = Stage::with(
        &[server.address],
        |_| {},
        |frontend| frontend.timeouts.tunnel = Duration::from_millis(300),
    );
    talk(&stage, |client| async move {
        let (mut body, _send) = open(&client).await;
        assert_eq!(read(&mut body, 2).await, b"hi");
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
    });
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"tunnel_timeout\""), "{line}");

    let stage = Stage::new(&[server.address]);
    let live = stage.balancer.live(&name("s1"));
    let (proxy, log) = (&stage.proxy, &stage);
    talk(&stage, |client| async move {
        let (mut body, _send) = open(&client).await;
        assert_eq!(read(&mut body, 2).await, b"hi");
        assert_eq!((live.in_flight(), proxy.in_flight()), (1, 1));
        assert_eq!(proxy.http2_memory().used, TUNNEL);
        proxy.cut_server(live.clone()).await;
        assert_eq!((live.in_flight(), proxy.in_flight()), (0, 0));
        assert!(body.data().await.unwrap().is_err());
        let line = log.log_line(0);
        assert!(line.contains("\"term\":\"cut\""), "{line}");
    });

    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/last"),
        (":authority", "a"),
    ];
    client.send(&frame(HEADERS, 4, 1, &block(&fields)));
    while client.next().unwrap().kind != HEADERS {}
    let text = stage.stop();
    assert!(text.contains("\"term\":\"stopped\""), "{text}");
}

#[test]
fn a_hundred_share_a_connection() {
    const COUNT: usize = 100;
    let server = granting(echo);
    let stage = Stage::new(&[server.address]);
    let proxy = &stage.proxy;
    talk(&stage, |client| async move {
        let mut sockets = Vec::new();
        for _ in 0..COUNT {
            sockets.push(open(&client).await);
        }
        assert_eq!(proxy.in_flight(), COUNT as u64);
        for (n, (_, send)) in sockets.iter_mut().enumerate() {
            send.send_data(Bytes::from(vec![n as u8; 300]), false)
                .unwrap();
        }
        for (n, (body, send)) in sockets.iter_mut().enumerate() {
            assert_eq!(read(body, 300).await, vec![n as u8; 300]);
            send.send_data(Bytes::new(), true).unwrap();
        }
        for (body, _) in sockets {
            assert_eq!(collect(Response::new(body)).await.unwrap().0, "");
        }
    });
    wait_for("the end of all", PATIENCE, || {
        (proxy.in_flight() == 0 && proxy.http2_memory().used == 0).then_some(())
    });
    let counters = &proxy.frontends()[0].counters;
    assert_eq!(counters.sum(|c| c.connections.get()), 1);
}

#[test]
fn those_that_are_not_read_hold_up_nobody() {
    const WINDOW: usize = 65_535;
    /// More than the connection's window would hold.
    const MUTE: usize = 24;
    let server = granting(|peer, _| {
        let first = peer.client.read_until("\n");
        if first == "mute\n" {
            let _ = SockRef::from(&peer.client.stream).set_recv_buffer_size(1);
            // Until the proxy gives it up.
            while peer.client.stream.write_all(&[b'x'; 4096]).is_ok() {}
            return;
        }
        peer.client.send(&first);
        echo(peer, "");
    });
    let stage = Stage::new(&[server.address]);
    let mut settings = h2::client::Builder::new();
    settings.initial_connection_window_size(2 * (MUTE * WINDOW) as u32);
    talk_as(&stage, &settings, |client| async move {
        let mut mute = Vec::new();
        for _ in 0..MUTE {
            // Neither reads the server nor the client.
            let (body, mut send) = open(&client).await;
            send.send_data(bytes("mute\n"), false).unwrap();
            send.reserve_capacity(16 * WINDOW);
            mute.push((body, send));
        }
        // As much as is taken, until nothing more is.
        let mut sent = [0; MUTE];
        loop {
            let before = sent;
            for (n, (_, send)) in mute.iter_mut().enumerate() {
                let room = send.capacity();
                if room > 0 && sent[n] < 64 * WINDOW {
                    send.send_data(Bytes::from(vec![0; room]), false).unwrap();
                    send.reserve_capacity(16 * WINDOW);
                    sent[n] += room;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if sent == before {
                break;
            }
        }
        let (mut body, mut send) = open(&client).await;
        for _ in 0..50 {
            send.send_data(bytes("hello\n"), false).unwrap();
            assert_eq!(read(&mut body, 6).await, b"hello\n");
        }
        let upload = Request::post("http://a/").header("content-length", 200_000);
        let mut ready = client.clone().ready().await.unwrap();
        let (answer, mut send) = ready.send_request(upload.body(()).unwrap(), false).unwrap();
        send.send_data(Bytes::from(vec![0; 200_000]), true).unwrap();
        assert_eq!(collect(answer.await.unwrap()).await.unwrap().0, "hello");
        assert_eq!(mute.len(), MUTE);
    });
}
