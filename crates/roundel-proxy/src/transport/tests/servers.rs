//! Servers that are spoken to over TLS.

use std::sync::Arc;
use std::time::Duration;

use roundel_balance::{CheckKind, CheckSpec, CheckStatus};
use roundel_http1::proxy_protocol;
use roundel_tls::{Back, Demand};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::far::{Far, Pair};
use crate::check::probe;
use crate::config::Proto;
use crate::pool::dials::Known;
use crate::stand::{Stand, pair, run};
use crate::transport::Io;
use crate::{Backend, ProxyVersion};

const REQUEST: &[u8] = b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server's listener, and a backend that speaks TLS to it.
async fn listen(back: Back, change: impl FnOnce(&mut Backend)) -> (TcpListener, Stand) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = |backend: &mut Backend| {
        backend.tls = Some(Arc::new(back));
        change(backend);
    };
    let stand = Stand::towards(listener.local_addr().unwrap(), tls, |_| {});
    (listener, stand)
}

async fn client(stand: &Stand) -> TcpStream {
    let (near, far) = pair().await;
    stand.serve(Io::Plain(near));
    far
}

/// Asks, and reads until the answer says `end`.
async fn ask(client: &mut TcpStream, end: &str) -> String {
    client.write_all(REQUEST).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        assert_ne!(client.read_buf(&mut got).await.unwrap(), 0, "{got:?}");
    }
    String::from_utf8(got).unwrap()
}

#[test]
fn requests_go_over_one_connection_whose_tickets_spoil_nothing() {
    run(async {
        let made = Pair::new(&["s.example"]);
        let back = made.back(|demand| demand.server_name = Some("s.example".try_into().unwrap()));
        let (listener, stand) = listen(back, |_| {}).await;
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let mut far = Far::server(socket, made.server()).await.unwrap();
            assert_eq!(far.name(), Some("s.example"));
            assert_eq!(far.session.alpn_protocol(), None);
            for _ in 0..3 {
                let head = far.read_until("\r\n\r\n").await;
                assert!(head.starts_with("GET /p HTTP/1.1\r\n"), "{head}");
                far.say(ANSWER).await;
            }
            far
        };
        let asking = async {
            let mut client = client(&stand).await;
            for _ in 0..3 {
                let answer = ask(&mut client, "ok").await;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            }
        };
        tokio::join!(serving, asking);
    });
}

#[test]
fn a_server_that_is_not_believed_gets_no_request() {
    run(async {
        let (made, other) = (Pair::new(&["s.example"]), Pair::new(&["s.example"]));
        let name = |name: &'static str| name.try_into().unwrap();
        let cases = [
            // Another authority, another name, and the address where no name is told.
            (
                other.back(|demand| demand.server_name = Some(name("s.example"))),
                false,
            ),
            (
                made.back(|demand| demand.server_name = Some(name("t.example"))),
                false,
            ),
            (made.back(|_| {}), false),
            (other.back(|demand| demand.verify = false), true),
        ];
        for (at, (back, is_believed)) in cases.into_iter().enumerate() {
            let (listener, stand) = listen(back, |_| {}).await;
            let serving = async {
                let (socket, _) = listener.accept().await.unwrap();
                if let Ok(mut far) = Far::server(socket, made.server()).await
                    && is_believed
                {
                    far.read_until("\r\n\r\n").await;
                    far.say(ANSWER).await;
                }
            };
            let asking = async {
                let mut client = client(&stand).await;
                ask(&mut client, if is_believed { "ok" } else { "second.\n" }).await
            };
            let ((), answer) = tokio::join!(serving, asking);
            let status = if is_believed { "200" } else { "503" };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{at}: {answer}"
            );
        }
    });
}

#[test]
fn a_server_without_a_place_for_sockets_is_told_of_as_that() {
    run(async {
        let made = Pair::new(&["127.0.0.1"]);
        let both = |demand: &mut Demand| demand.alpn = Proto::Auto.alpn();
        let (listener, stand) =
            listen(made.back(both), |backend| backend.proto = Proto::Auto).await;
        stand.note_known(Known {
            streams: 100,
            sockets: false,
        });
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let mut config = ServerConfig::clone(&made.server());
            config.alpn_protocols = vec![b"h2".to_vec()];
            let refused = Far::server(socket, Arc::new(config)).await;
            assert_eq!(
                refused.err(),
                Some(rustls::Error::NoApplicationProtocol),
                "HTTP/1.1 is all that is offered"
            );
        };
        let asking = async {
            let mut client = client(&stand).await;
            let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
                           Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
            client.write_all(upgrade.as_bytes()).await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"over it.\n") {
                let read = client.read_buf(&mut got).await.unwrap();
                assert_ne!(read, 0, "{}", String::from_utf8_lossy(&got));
            }
            assert!(got.starts_with(b"HTTP/1.1 502 "));
        };
        tokio::join!(serving, asking);
    });
}

#[test]
fn the_proxy_protocol_comes_before_the_handshake() {
    run(async {
        let made = Pair::new(&["127.0.0.1"]);
        let (listener, stand) = listen(made.back(|_| {}), |backend| {
            backend.send_proxy.all = Some(ProxyVersion::V1);
        })
        .await;
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut header = Vec::new();
            while !header.ends_with(b"\r\n") {
                header.push(socket.read_u8().await.unwrap());
            }
            assert!(proxy_protocol::parse(&header).unwrap().is_some());
            let mut far = Far::server(socket, made.server()).await.unwrap();
            let head = far.read_until("\r\n\r\n").await;
            assert!(head.starts_with("GET "), "{head}");
            far.say(ANSWER).await;
        };
        let asking = async { ask(&mut client(&stand).await, "ok").await };
        tokio::join!(serving, asking);
    });
}

#[test]
fn checks_go_over_tls_too() {
    run(async {
        let made = Pair::new(&["127.0.0.1"]);
        let other = Pair::new(&["127.0.0.1"]);
        let http = CheckSpec::default().kind;
        let cases = [
            (http.clone(), &made, CheckStatus::L7Ok),
            (http.clone(), &other, CheckStatus::L6Rsp),
            (CheckKind::Tcp, &made, CheckStatus::L6Ok),
            (CheckKind::Tcp, &other, CheckStatus::L6Rsp),
        ];
        for (kind, believed, expected) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let is_http = kind != CheckKind::Tcp;
            let serving = async {
                let (socket, _) = listener.accept().await.unwrap();
                if let Ok(mut far) = Far::server(socket, made.server()).await
                    && is_http
                {
                    far.read_until("\r\n\r\n").await;
                    far.say("HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            };
            let spec = CheckSpec {
                kind,
                timeout: Duration::from_secs(5),
                ..CheckSpec::default()
            };
            let back = believed.back(|_| {});
            let ((), report) =
                tokio::join!(serving, probe(address, &spec, None, Some(&back), Proto::H1));
            assert_eq!(report.status, expected, "{}", report.description);
            let is_told = report.description.contains("certificate");
            assert_eq!(
                is_told,
                expected == CheckStatus::L6Rsp,
                "{}",
                report.description
            );
        }
    });
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one() {
    run(async {
        let (made, own) = (Pair::new(&["127.0.0.1"]), Pair::new(&["balancer"]));
        let [chain, key] = own.files();
        let back = made.back(|demand| {
            demand.certificate = Some((chain.to_path_buf(), key.to_path_buf()));
        });
        let (listener, stand) = listen(back, |_| {}).await;
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let mut far = Far::server(socket, made.server_for(&own)).await.unwrap();
            far.read_until("\r\n\r\n").await;
            assert!(far.session.peer_certificates().is_some());
            far.say(ANSWER).await;
        };
        let asking = async { ask(&mut client(&stand).await, "ok").await };
        tokio::join!(serving, asking);
    });
}
