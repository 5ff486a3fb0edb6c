//! Streams that go both ways while another process takes over: WebSockets and calls of gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use roundel_testkit::{SocketServer, free_address, wait_for};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::balancer::{Balancer, SOON};
use crate::renewal::begin_renewal;
use crate::turns::beside_others;

/// A message of gRPC, and one of WebSocket that asks for itself.
const CALL: &[u8] = b"\0\0\0\0\x05hello";
const FRAME: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];

/// A server of HTTP/2 that sends back whatever comes on a stream, and ends a call with its code.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol();
                let mut connection = builder.handshake(socket).await.ok()?;
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(echo(request, respond));
                }
                Some(())
            });
        }
    });
    address
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Option<()> {
    let is_call = request.method() == Method::POST;
    let mut head = Response::builder();
    if is_call {
        head = head.header("content-type", "application/grpc");
    }
    let mut send = respond.send_response(head.body(()).unwrap(), false).ok()?;
    let mut body = request.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        let _ = body.flow_control().release_capacity(piece.len());
        send.send_data(piece, false).ok()?;
    }
    if is_call {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        return send.send_trailers(trailers).ok();
    }
    send.send_data(Bytes::new(), true).ok()
}

/// A balancer before sockets of HTTP/1 and a server that speaks HTTP/2 alone.
struct Stage {
    _folder: TempDir,
    balancer: Balancer,
}

impl Stage {
    async fn start(drain_timeout: &str, sockets: &SocketServer) -> Self {
        let [front, stats] = [(); 2].map(|()| free_address());
        let text = format!(
            "[global]\nthreads = 2\ndrain_timeout = \"{drain_timeout}\"\n[stats]\nlisten = \"{stats}\"\n\
             [cli]\nlisten = \"off\"\n[access_log]\nformat = \"json\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"two\"\n\
             route = [{{ path_prefix = \"/echo\", backend = \"one\" }}]\n\
             [[backend]]\nname = \"one\"\nsticky = \"off\"\ncheck = \"off\"\n\
             server = [{{ name = \"s\", address = \"{}\" }}]\n\
             [[backend]]\nname = \"two\"\nsticky = \"off\"\ncheck = \"off\"\nproto = \"h2\"\n\
             server = [{{ name = \"s\", address = \"{}\" }}]\n",
            sockets.address(),
            echo_server().await,
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roundel.toml");
        std::fs::write(&path, text).unwrap();
        Self {
            balancer: Balancer::with_file(path.to_str().unwrap(), [front, stats]),
            _folder: folder,
        }
    }

    /// The code of how the stream of this path ended, as the access log of the first process has it.
    fn term(&self, path: &str) -> Value {
        wait_for(&format!("a line about {path}"), SOON, || {
            let told = self.balancer.process.stdout();
            let mut lines = told.lines().filter_map(|l| serde_json::from_str(l).ok());
            let mut line: Value = lines.find(|line: &Value| line["path"] == path)?;
            Some(line["term"].take())
        })
    }
}

/// A stream that is open both ways.
struct Open {
    send: SendStream<Bytes>,
    body: RecvStream,
}

impl Open {
    /// Sends this and waits until that has come back.
    async fn talk(&mut self, sent: &[u8], expected: &[u8]) {
        self.send
            .send_data(Bytes::copy_from_slice(sent), false)
            .unwrap();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let piece = self.body.data().await.unwrap().unwrap();
            let _ = self.body.flow_control().release_capacity(piece.len());
            got.extend_from_slice(&piece);
        }
        assert_eq!(got, expected);
    }

    /// Ends its own direction, with these last bytes, and gives the trailers once the other has ended too.
    async fn end(mut self, last: &[u8]) -> Option<HeaderMap> {
        self.send
            .send_data(Bytes::copy_from_slice(last), true)
            .unwrap();
        while let Some(piece) = self.body.data().await {
            piece.unwrap();
        }
        self.body.trailers().await.unwrap()
    }
}

/// A connection with a socket of either kind of server and a call.
struct Client {
    sockets: [Open; 2],
    call: Open,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn open(front: SocketAddr) -> Self {
        let stream = TcpStream::connect(front).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        while !client.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let socket = |path: &str| {
            Request::builder()
                .method(Method::CONNECT)
                .uri(format!("http://a{path}"))
                .extension(Protocol::from("websocket"))
                .header("sec-websocket-version", "13")
                .body(())
                .unwrap()
        };
        let call = Request::post("http://a/test.Echo/Both")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut opened = Vec::new();
        for request in [socket("/echo"), socket("/raw"), call] {
            let (answer, send) = client.send_request(request, false).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200, "{answer:?}");
            let body = answer.into_body();
            opened.push(Open { send, body });
        }
        let [one, two, call] = opened.try_into().ok().unwrap();
        let mut client = Self {
            sockets: [one, two],
            call,
            connection,
        };
        client.talk().await;
        client
    }

    /// Something goes there and back on each.
    async fn talk(&mut self) {
        let [one, two] = &mut self.sockets;
        one.talk(FRAME, &[0x81, 2, b'h', b'i']).await;
        two.talk(FRAME, FRAME).await;
        self.call.talk(CALL, CALL).await;
    }

    /// Each ends well, then the connection is ended by the other side where that `leaves`.
    async fn end(self, leaves: bool) {
        let [one, two] = self.sockets;
        let close = [0x88, 0x82, 0, 0, 0, 0, 3, 232];
        assert_eq!(one.end(&close).await, None);
        assert_eq!(two.end(b"").await, None);
        let trailers = self.call.end(b"").await.unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        if leaves {
            self.connection.await.unwrap().unwrap();
        }
    }
}

/// Runs a test that ends within a time that is long for it.
fn run(test: impl Future<Output = ()>) {
    let _turn = beside_others();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(4 * SOON, test).await };
    runtime.block_on(bounded).expect("no stream hangs");
}

#[test]
fn open_sockets_and_calls_go_on_while_another_process_takes_over() {
    run(async {
        let sockets = SocketServer::start();
        let mut stage = Stage::start("1m", &sockets).await;
        let front = stage.balancer.front;
        let mut old = Client::open(front).await;
        let _successor = begin_renewal(&stage.balancer);
        old.talk().await;
        // Who comes now is the successor's.
        let mut new = Client::open(front).await;
        let running = stage.balancer.process.try_exit();
        assert!(running.is_none(), "{}", stage.balancer.process);
        old.talk().await;
        old.end(true).await;
        let status = stage.balancer.process.wait_exit(SOON);
        assert_eq!(status.code(), Some(0), "{}", stage.balancer.process);
        for path in ["/echo", "/raw", "/test.Echo/Both"] {
            assert_eq!(stage.term(path), "ok", "{path}");
        }
        new.talk().await;
        new.end(false).await;
    });
}

#[test]
fn what_does_not_end_in_time_is_told_that_it_was_cut() {
    run(async {
        let sockets = SocketServer::start();
        let mut stage = Stage::start("300ms", &sockets).await;
        let old = Client::open(stage.balancer.front).await;
        let _successor = begin_renewal(&stage.balancer);
        let status = stage.balancer.process.wait_exit(SOON);
        assert_eq!(status.code(), Some(0), "{}", stage.balancer.process);
        for mut socket in old.sockets {
            let cut = socket.body.data().await.unwrap().unwrap_err();
            assert_eq!(cut.reason(), Some(Reason::CANCEL), "{cut:?}");
        }
        let mut call = old.call.body;
        assert!(call.data().await.is_none());
        let trailers = call.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
    });
}
