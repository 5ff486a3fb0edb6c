//! Exchanges over HTTP/2 with servers that do what the tests say.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::config::{Backend, Proto};
use crate::stand::{Stand, pair, run};
use crate::transport::Io;

mod full;
mod sockets;

/// One request as the server has it.
struct Asked {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    /// The number of its connection.
    connection: usize,
}

/// A server whose exchanges are the test's.
struct Far {
    address: SocketAddr,
    asked: UnboundedReceiver<Asked>,
}

impl Far {
    async fn new(change: impl Fn(&mut Builder) + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, asked) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let mut builder = Builder::new();
                change(&mut builder);
                let to = to.clone();
                tokio::task::spawn_local(async move {
                    let mut serving = builder.handshake::<_, Bytes>(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = serving.accept().await {
                        let asked = Asked {
                            request,
                            respond,
                            connection,
                        };
                        if to.send(asked).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn stand(&self) -> Stand {
        stand(self.address, |_| {})
    }

    async fn next(&mut self, path: &str) -> Asked {
        let asked = self.asked.recv().await.unwrap();
        assert_eq!(asked.request.uri().path(), path);
        asked
    }
}

fn stand(address: SocketAddr, change: impl FnOnce(&mut Backend)) -> Stand {
    let speaks = |backend: &mut Backend| {
        backend.proto = Proto::H2;
        // Nothing is swept here.
        backend.timeouts.upstream_idle = Duration::from_secs(60);
        change(backend);
    };
    Stand::towards(address, speaks, |_| {})
}

impl Asked {
    fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Begins an answer with a body.
    fn begin(&mut self, status: u16) -> SendStream<Bytes> {
        let answer = Response::builder().status(status).body(()).unwrap();
        self.respond.send_response(answer, false).unwrap()
    }

    fn answer(&mut self, body: &'static str) {
        let mut send = self.begin(200);
        send.send_data(Bytes::from_static(body.as_bytes()), true)
            .unwrap();
    }

    /// The next piece of the request's body.
    async fn data(&mut self) -> Bytes {
        let body = self.request.body_mut();
        let data = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        data
    }
}

async fn client(stand: &Stand) -> TcpStream {
    let (near, client) = pair().await;
    stand.serve(Io::Plain(near));
    client
}

async fn say(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
}

async fn ask(client: &mut TcpStream, head: &str) {
    say(client, &format!("{head} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
}

async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        match client.read_u8().await {
            Ok(byte) => got.push(byte),
            Err(error) => panic!("{error} behind {}", String::from_utf8_lossy(&got)),
        }
    }
    String::from_utf8(got).unwrap()
}

#[test]
fn clients_share_a_connection_and_each_gets_its_own() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let mut clients = Vec::new();
        for n in 0..50 {
            let mut client = client(&stand).await;
            ask(&mut client, &format!("GET /{n}?x=%20")).await;
            clients.push(client);
        }
        let mut all = Vec::new();
        for _ in 0..50 {
            all.push(far.asked.recv().await.unwrap());
        }
        assert!(all.iter().all(|asked| asked.connection == 0));
        let uri = all[0].request.uri();
        assert_eq!(uri.scheme_str(), Some("http"));
        assert_eq!(uri.authority().unwrap(), "h");
        assert_eq!(uri.query(), Some("x=%20"));
        for asked in all.iter_mut().rev() {
            let path = asked.request.uri().path().to_owned();
            let mut send = asked.begin(200);
            send.send_data(Bytes::from(path), true).unwrap();
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let got = read_until(client, "\r\n0\r\n\r\n").await;
            assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
            assert!(got.ends_with(&format!("/{n}\r\n0\r\n\r\n")), "{got}");
        }
        let live = stand.server_live();
        let counters = &live.workers[0];
        assert_eq!((counters.connects.get(), counters.reuses.get()), (1, 49));
    });
}

#[test]
fn bodies_go_both_ways_with_trailers_and_what_comes_before_the_answer() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let mut client = client(&stand).await;
        say(
            &mut client,
            "POST /1 HTTP/1.1\r\nHost: a.example\r\nTE: trailers, deflate\r\nConnection: te, x-hop\r\n\
             X-Hop: 1\r\nKeep-Alive: 5\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
        let mut asked = far.next("/1").await;
        let fields = asked.request.headers();
        assert_eq!(fields["te"], "trailers");
        assert_eq!(fields["expect"], "100-continue");
        for gone in [
            "connection",
            "x-hop",
            "keep-alive",
            "transfer-encoding",
            "host",
        ] {
            assert!(!fields.contains_key(gone), "{gone}");
        }
        for status in [100, 103] {
            let interim = Response::builder().status(status).body(()).unwrap();
            asked.respond.send_informational(interim).unwrap();
            let got = read_until(&mut client, "\r\n\r\n").await;
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        }
        say(&mut client, "4\r\nhere\r\n").await;
        assert_eq!(asked.data().await, "here");
        let mut send = asked.begin(201);
        send.send_data(Bytes::from_static(b"so "), false).unwrap();
        let got = read_until(&mut client, "so \r\n").await;
        assert!(got.starts_with("HTTP/1.1 201 Created\r\n"), "{got}");
        say(&mut client, "4\r\nmore\r\n0\r\nX-Sum: 1\r\n\r\n").await;
        assert_eq!(asked.data().await, "more");
        assert!(asked.request.body_mut().data().await.is_none());
        let trailers = asked.request.body_mut().trailers().await.unwrap();
        assert_eq!(trailers.unwrap()["x-sum"], "1");
        let mut trailers = HeaderMap::new();
        trailers.insert(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        );
        send.send_trailers(trailers).unwrap();
        let got = read_until(&mut client, "\r\n\r\n").await;
        assert_eq!(got.to_ascii_lowercase(), "0\r\ngrpc-status: 0\r\n\r\n");
    });
}

#[test]
fn an_answer_without_a_body_says_how_long_it_would_be() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let mut client = client(&stand).await;
        ask(&mut client, "HEAD /2").await;
        let mut asked = far.next("/2").await;
        let answer = Response::builder()
            .header("content-length", 5)
            .body(())
            .unwrap();
        asked.respond.send_response(answer, true).unwrap();
        let got = read_until(&mut client, "\r\n\r\n").await;
        assert!(
            got.to_ascii_lowercase().contains("content-length: 5\r\n"),
            "{got}"
        );
    });
}

#[test]
fn a_large_body_goes_through_in_both_directions() {
    run(async {
        const SIZE: usize = 3_000_000;
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let mut client = client(&stand).await;
        say(
            &mut client,
            &format!("PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n"),
        )
        .await;
        let (mut read, mut write) = client.into_split();
        tokio::task::spawn_local(async move { write.write_all(&vec![b'u'; SIZE]).await });
        let mut asked = far.next("/1").await;
        let mut got = 0;
        while got < SIZE {
            let data = asked.data().await;
            assert!(data.iter().all(|byte| *byte == b'u'));
            got += data.len();
        }
        let mut send = asked.begin(200);
        send.send_data(Bytes::from(vec![b'd'; SIZE]), true).unwrap();
        let mut body = 0;
        let mut part = vec![0; 65_536];
        while body < SIZE {
            let n = read.read(&mut part).await.unwrap();
            assert_ne!(n, 0);
            body += part[..n].iter().filter(|byte| **byte == b'd').count();
        }
    });
}

/// Many clients on one connection, one of which takes nothing: its answer does not hold up theirs.
#[test]
fn a_client_that_takes_nothing_holds_nobody_up() {
    run(async {
        const OTHERS: usize = 31;
        const ROUNDS: usize = 3000;
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let (near, mut lazy) = pair().await;
        SockRef::from(&near).set_send_buffer_size(4096).unwrap();
        SockRef::from(&lazy).set_recv_buffer_size(4096).unwrap();
        stand.serve(Io::Plain(near));
        ask(&mut lazy, "GET /lazy").await;
        let mut asked = far.next("/lazy").await;
        let mut flood = asked.begin(200);
        // As much as the stream's window takes, and the client's sockets, in the smallest frames.
        let flooding = tokio::task::spawn_local(async move {
            let mut sent = 0;
            loop {
                flood.reserve_capacity(20);
                let room = std::future::poll_fn(|cx| flood.poll_capacity(cx));
                match tokio::time::timeout(Duration::from_secs(2), room).await {
                    Err(_) => return (sent, flood),
                    Ok(room) => assert!(room.unwrap().unwrap() > 0),
                }
                flood.send_data(Bytes::from_static(b"x"), false).unwrap();
                sent += 1;
            }
        });
        let mut others = Vec::new();
        for _ in 0..OTHERS {
            let mut client = client(&stand).await;
            ask(&mut client, "GET /other").await;
            let mut asked = far.next("/other").await;
            assert_eq!(asked.connection, 0);
            let mut send = asked.begin(200);
            let streaming = async move {
                for _ in 0..ROUNDS {
                    let text = Bytes::from_static(&[b'm'; 60]);
                    send.reserve_capacity(text.len());
                    while send.capacity() < text.len() {
                        let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
                        room.unwrap().unwrap();
                    }
                    send.send_data(text, false).unwrap();
                    tokio::task::yield_now().await;
                }
                send.send_data(Bytes::new(), true).unwrap();
            };
            tokio::task::spawn_local(streaming);
            others.push(tokio::task::spawn_local(async move {
                let (mut got, mut part) = (Vec::new(), vec![0; 65_536]);
                while !got.ends_with(b"\r\n0\r\n\r\n") {
                    let n = client.read(&mut part).await.unwrap();
                    assert_ne!(n, 0, "it was broken off");
                    got.extend_from_slice(&part[..n]);
                }
                got.iter().filter(|byte| **byte == b'm').count()
            }));
        }
        for other in others {
            assert!(other.await.unwrap() >= 60 * ROUNDS);
        }
        let (sent, _flood) = flooding.await.unwrap();
        // All of its window, but for a frame that was reserved.
        assert!(sent + 20 >= super::STREAM_WINDOW, "{sent}");
        drop(lazy);
    });
}

#[test]
fn what_a_server_refuses_is_asked_again_whatever_it_is() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let mut client = client(&stand).await;
        say(
            &mut client,
            "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
        )
        .await;
        let mut asked = far.next("/1").await;
        assert_eq!(asked.data().await, "body");
        asked.respond.send_reset(Reason::REFUSED_STREAM);
        let mut asked = far.next("/1").await;
        assert_eq!(asked.data().await, "body");
        asked.answer("done.");
        let got = read_until(&mut client, "done.\r\n0\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
        // What it may have begun with is not.
        say(
            &mut client,
            "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        let mut asked = far.next("/2").await;
        asked.respond.send_reset(Reason::INTERNAL_ERROR);
        let got = read_until(&mut client, "\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    });
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = [&length[1..], &[kind, flags]].concat();
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Reads frames until one of this kind.
async fn read_frame(socket: &mut TcpStream, kind: u8) -> u32 {
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await.unwrap();
        if head[3] == kind {
            return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        }
    }
}

#[test]
fn a_server_that_goes_away_answers_what_it_began_and_the_rest_goes_elsewhere() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand = stand(listener.local_addr().unwrap(), |_| {});
        let serve = async |listener: &TcpListener| {
            let mut socket = listener.accept().await.unwrap().0;
            let mut preface = [0; 24];
            socket.read_exact(&mut preface).await.unwrap();
            socket.write_all(&frame(4, 0, 0, b"")).await.unwrap();
            socket
        };
        let (mut one, mut two) = (client(&stand).await, client(&stand).await);
        ask(&mut one, "GET /1").await;
        let mut first = serve(&listener).await;
        assert_eq!(read_frame(&mut first, 1).await, 1);
        say(
            &mut two,
            "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        assert_eq!(read_frame(&mut first, 1).await, 3);
        let away = frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
        first.write_all(&away).await.unwrap();
        let mut second = serve(&listener).await;
        assert_eq!(read_frame(&mut second, 1).await, 1);
        // `:status: 204` of the static table.
        second.write_all(&frame(1, 5, 1, &[0x89])).await.unwrap();
        let got = read_until(&mut two, "\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 204 "), "{got}");
        first.write_all(&frame(1, 5, 1, &[0x89])).await.unwrap();
        let got = read_until(&mut one, "\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 204 "), "{got}");
        // And with its last stream the connection ends.
        read_frame(&mut first, 7).await;
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn no_more_streams_than_the_server_takes() {
    run(async {
        let mut far = Far::new(|builder| {
            builder.max_concurrent_streams(2);
        })
        .await;
        let stand = far.stand();
        let mut clients = Vec::new();
        for n in 0..7 {
            let mut client = client(&stand).await;
            ask(&mut client, &format!("GET /{n}")).await;
            clients.push(client);
        }
        let (mut all, mut each) = (Vec::new(), [0; 8]);
        for _ in 0..7 {
            let asked = far.asked.recv().await.unwrap();
            each[asked.connection] += 1;
            all.push(asked);
        }
        assert!(each.iter().all(|count| *count <= 2), "{each:?}");
        all.iter_mut().for_each(|asked| asked.answer("done."));
        for client in &mut clients {
            read_until(client, "done.\r\n0\r\n\r\n").await;
        }
    });
}

#[test]
fn a_stream_that_breaks_takes_no_other_with_it_and_a_client_that_leaves_tells() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let (mut one, mut two, mut three) = (
            client(&stand).await,
            client(&stand).await,
            client(&stand).await,
        );
        ask(&mut one, "GET /1").await;
        let mut first = far.next("/1").await;
        ask(&mut two, "GET /2").await;
        let mut second = far.next("/2").await;
        ask(&mut three, "GET /3").await;
        let mut third = far.next("/3").await;
        let mut send = first.begin(200);
        send.send_data(Bytes::from_static(b"half"), false).unwrap();
        read_until(&mut one, "half\r\n").await;
        send.send_reset(Reason::INTERNAL_ERROR);
        // It is not to look whole.
        let mut rest = Vec::new();
        let _ = one.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
        let mut send = third.begin(200);
        send.send_data(Bytes::from_static(b"half"), false).unwrap();
        read_until(&mut three, "half\r\n").await;
        // By a reset: who only ends its side still gets its answer.
        SockRef::from(&three)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(three);
        let reset = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
        assert_eq!(reset.unwrap(), Reason::CANCEL);
        second.answer("done.");
        read_until(&mut two, "done.\r\n0\r\n\r\n").await;
        assert_eq!(second.connection, 0);
    });
}

#[test]
fn what_cannot_go_over_it_is_told_and_what_need_not_goes_without() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        let mut client = client(&stand).await;
        let upgrade = "HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ";
        say(&mut client, &format!("GET /1 {upgrade}WebSocket\r\n\r\n")).await;
        let got = read_until(&mut client, "\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
        let mut client = super::tests::client(&stand).await;
        say(
            &mut client,
            &format!("GET /2?a=`|{{}} {upgrade}words\r\n\r\n"),
        )
        .await;
        let mut asked = far.next("/2").await;
        assert_eq!(asked.request.headers().get("upgrade"), None);
        assert_eq!(asked.request.uri().query(), Some("a=`|{}"));
        asked.answer("plain.");
        read_until(&mut client, "plain.\r\n0\r\n\r\n").await;
        say(&mut client, "GET /`%2f HTTP/1.1\r\nHost: h\r\n\r\n").await;
        far.next("/%60%2f").await;
    });
}

#[test]
fn an_answer_that_is_whole_is_passed_on_whatever_ends_its_stream() {
    run(async {
        let mut far = Far::new(|_| {}).await;
        let stand = far.stand();
        for (length, whole) in [(5, true), (6, false)] {
            let mut client = client(&stand).await;
            ask(&mut client, "GET /1").await;
            let mut asked = far.next("/1").await;
            let answer = Response::builder().header("content-length", length);
            let answer = answer.body(()).unwrap();
            let mut send = asked.respond.send_response(answer, false).unwrap();
            send.send_data(Bytes::from_static(b"done."), false).unwrap();
            read_until(&mut client, "done.").await;
            send.send_reset(Reason::CANCEL);
            ask(&mut client, "GET /2").await;
            if whole {
                far.next("/2").await;
            } else {
                let mut rest = Vec::new();
                let _ = client.read_to_end(&mut rest).await;
                assert_eq!(rest, b"");
            }
        }
    });
}

#[test]
fn who_does_not_speak_it_is_no_server() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand = stand(listener.local_addr().unwrap(), |_| {});
        let mut client = client(&stand).await;
        ask(&mut client, "POST /1").await;
        let mut socket = listener.accept().await.unwrap().0;
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let got = read_until(&mut client, "\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
    });
}
