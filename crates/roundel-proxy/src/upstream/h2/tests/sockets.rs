//! WebSocket to servers of HTTP/2, from clients of either version.

use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Method;

use super::*;

/// The example of RFC 6455 1.3, as HTTP/1 asks.
const UPGRADE: &str = "HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Protocol: chat\r\n\r\n";

async fn far() -> Far {
    Far::new(|builder| {
        builder.enable_connect_protocol();
    })
    .await
}

impl Asked {
    /// Whether it is the extended CONNECT that RFC 8441 5 says.
    fn is_connect(&self) {
        let request = &self.request;
        assert_eq!(request.method(), Method::CONNECT);
        let protocol = request.extensions().get::<Protocol>();
        assert_eq!(protocol.unwrap().as_str(), "websocket");
        assert_eq!(request.uri().scheme_str(), Some("http"));
        assert_eq!(request.uri().authority().unwrap(), "h");
        let fields = request.headers();
        assert_eq!(fields["sec-websocket-version"], "13");
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for name in ["sec-websocket-key", "upgrade", "connection"] {
            assert!(!fields.contains_key(name), "{name}");
        }
    }

    fn grant(&mut self) -> SendStream<Bytes> {
        let answer = Response::builder().header("sec-websocket-protocol", "chat");
        let answer = answer.body(()).unwrap();
        self.respond.send_response(answer, false).unwrap()
    }

    async fn has_ended(&mut self) {
        let body = self.request.body_mut();
        while let Some(piece) = body.data().await {
            assert_eq!(piece.unwrap(), "");
        }
        assert!(body.is_end_stream());
    }
}

/// A client of HTTP/2.
async fn client2(stand: &Stand) -> SendRequest<Bytes> {
    let (send, driven) = h2::client::handshake(client(stand).await).await.unwrap();
    tokio::task::spawn_local(driven);
    let send = send.ready().await.unwrap();
    while !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    send
}

fn connect(path: &str) -> Request<()> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://h{path}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat");
    request.body(()).unwrap()
}

#[test]
fn an_upgrade_of_http_1_is_a_stream_there() {
    run(async {
        let mut far = far().await;
        let stand = far.stand();
        let mut client = client(&stand).await;
        say(&mut client, &format!("GET /1 {UPGRADE}early ")).await;
        let mut asked = far.next("/1").await;
        asked.is_connect();
        let mut send = asked.grant();
        let head = read_until(&mut client, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        for line in [
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-protocol: chat",
        ] {
            let head = head.to_ascii_lowercase();
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert_eq!(asked.data().await, "early ");
        send.send_data(Bytes::from_static(b"hello."), false)
            .unwrap();
        read_until(&mut client, "hello.").await;
        // Each side ends by itself.
        client.shutdown().await.unwrap();
        asked.has_ended().await;
        send.send_data(Bytes::from_static(b"bye."), true).unwrap();
        assert_eq!(read_until(&mut client, "bye.").await, "bye.");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_stream_is_a_stream_there_and_resets_are_passed_on() {
    run(async {
        let mut far = far().await;
        let stand = far.stand();
        let mut client = client2(&stand).await;
        let (answer, mut up) = client.send_request(connect("/1"), false).unwrap();
        let mut asked = far.next("/1").await;
        asked.is_connect();
        let mut send = asked.grant();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        for name in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        let mut down = answer.into_body();
        up.send_data(Bytes::from_static(b"ping"), false).unwrap();
        assert_eq!(asked.data().await, "ping");
        send.send_data(Bytes::from_static(b"pong"), false).unwrap();
        assert_eq!(down.data().await.unwrap().unwrap(), "pong");
        up.send_reset(Reason::CANCEL);
        let error = asked.request.body_mut().data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));

        let (answer, _up) = client.send_request(connect("/2"), false).unwrap();
        let mut asked = far.next("/2").await;
        let mut send = asked.grant();
        let mut down = answer.await.unwrap().into_body();
        send.send_reset(Reason::INTERNAL_ERROR);
        let error = down.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        assert_eq!(asked.connection, 0, "the connection goes on");

        // Fields behind what was sent are no data.
        let (answer, _up) = client.send_request(connect("/3"), false).unwrap();
        let mut send = far.next("/3").await.grant();
        let mut down = answer.await.unwrap().into_body();
        send.send_trailers(HeaderMap::new()).unwrap();
        assert!(down.data().await.unwrap().is_err());
    });
}

#[test]
fn what_is_not_granted_is_an_answer() {
    run(async {
        let mut far = far().await;
        let stand = far.stand();
        let mut one = client(&stand).await;
        say(&mut one, &format!("GET /1 {UPGRADE}")).await;
        let mut asked = far.next("/1").await;
        let mut send = asked.begin(404);
        send.send_data(Bytes::from_static(b"none."), true).unwrap();
        asked.has_ended().await;
        let got = read_until(&mut one, "none.\r\n0\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 404 "), "{got}");
        // It was HTTP, and goes on as such.
        ask(&mut one, "GET /2").await;
        far.next("/2").await.answer("two.");
        read_until(&mut one, "two.\r\n0\r\n\r\n").await;

        let mut two = client2(&stand).await;
        let (answer, _up) = two.send_request(connect("/3"), false).unwrap();
        let mut asked = far.next("/3").await;
        asked.begin(426).send_data(Bytes::new(), true).unwrap();
        asked.has_ended().await;
        assert_eq!(answer.await.unwrap().status(), 426);

        // Nothing is asked of a server that does not offer it.
        let other = Far::new(|_| {}).await;
        let stand = other.stand();
        let mut two = client2(&stand).await;
        let (answer, _up) = two.send_request(connect("/4"), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), 502);
    });
}

#[test]
fn a_socket_whose_client_takes_nothing_holds_nobody_up() {
    run(async {
        const MUTE: usize = 8;
        let mut far = far().await;
        let stand = far.stand();
        let mut mute = Vec::new();
        for _ in 0..MUTE {
            let (near, mut client) = pair().await;
            // What goes into the client's sockets does not wait.
            SockRef::from(&near).set_send_buffer_size(4096).unwrap();
            SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
            stand.serve(Io::Plain(near));
            say(&mut client, &format!("GET /mute {UPGRADE}")).await;
            let mut asked = far.next("/mute").await;
            let mut send = asked.grant();
            read_until(&mut client, "\r\n\r\n").await;
            // Small ones, which cost most where they wait: as many as the stream's window takes.
            for _ in 0..10_000 {
                send.send_data(Bytes::from_static(&[b'x'; 12]), false)
                    .unwrap();
            }
            mute.push((client, asked, send));
        }
        let mut client = client(&stand).await;
        say(&mut client, &format!("GET /1 {UPGRADE}")).await;
        let mut asked = far.next("/1").await;
        let mut send = asked.grant();
        read_until(&mut client, "\r\n\r\n").await;
        for _ in 0..100 {
            say(&mut client, "ping").await;
            assert_eq!(asked.data().await, "ping");
            send.send_data(Bytes::from_static(b"pong"), false).unwrap();
            read_until(&mut client, "pong").await;
        }
        for (_, asked, _) in &mute {
            assert_eq!(asked.connection, 0);
        }
        assert_eq!(asked.connection, 0);
    });
}
