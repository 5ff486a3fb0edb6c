use std::time::Duration;

use roundel_balance::{CheckKind, CheckReport, CheckSpec};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::check::probe;
use crate::config::Proto;

fn spec(service: &str) -> CheckSpec {
    CheckSpec {
        kind: CheckKind::Grpc {
            service: service.into(),
            host: None,
        },
        timeout: Duration::from_secs(5),
        ..CheckSpec::default()
    }
}

/// Checks a server that answers with these: head, body, trailers.
async fn asked(
    service: &str,
    head: Response<()>,
    body: &'static [u8],
    trailers: Option<HeaderMap>,
) -> (CheckReport, Request<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let answering = async move {
            let (head_of, mut stream) = request.into_parts();
            let mut seen = Vec::new();
            while let Some(piece) = stream.data().await {
                seen.extend_from_slice(&piece.unwrap());
            }
            let only_head = body.is_empty() && trailers.is_none();
            let mut send = respond.send_response(head, only_head).unwrap();
            if !only_head {
                let is_end = trailers.is_none();
                send.send_data(Bytes::from_static(body), is_end).unwrap();
            }
            if let Some(trailers) = trailers {
                send.send_trailers(trailers).unwrap();
            }
            Request::from_parts(head_of, seen)
        };
        let (seen, _) = tokio::join!(answering, async {
            while connection.accept().await.is_some() {}
        });
        seen
    });
    let report = probe(address, &spec(service), None, None, Proto::H2).await;
    (report, served.await.unwrap())
}

fn trailers(code: &'static str) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    map.insert("grpc-status", code.parse().unwrap());
    Some(map)
}

#[tokio::test]
async fn what_a_server_says_of_itself_decides() {
    use CheckStatus::{L7Ok, L7Rsp, L7Sts};
    let cases: [(&[u8], &'static str, CheckStatus, &str); 10] = [
        (b"\0\0\0\0\x02\x08\x01", "0", L7Ok, ""),
        (b"\0\0\0\0\x02\x08\x02", "0", L7Sts, "NOT_SERVING"),
        (
            b"\0\0\0\0\x02\x08\x03",
            "0",
            L7Sts,
            "SERVICE_UNKNOWN of `a.B`",
        ),
        (b"\0\0\0\0\0", "0", L7Sts, "it says UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x09", "0", L7Sts, "says 9"),
        (
            b"\x01\0\0\0\x02\x08\x01",
            "0",
            L7Rsp,
            "no HealthCheckResponse",
        ),
        (b"", "12", L7Sts, "register that service"),
        (b"", "5", L7Sts, "no service `a.B`"),
        (b"", "14", L7Sts, "grpc-status 14"),
        (b"", "x", L7Sts, "grpc-status 2"),
    ];
    for (body, code, status, text) in cases {
        let (report, seen) = asked("a.B", Response::new(()), body, trailers(code)).await;
        assert_eq!(report.status, status, "{code} {}", report.description);
        assert!(report.description.contains(text), "{}", report.description);
        assert_eq!(seen.uri().path(), PATH);
        assert_eq!(seen.body(), b"\0\0\0\0\x05\x0a\x03a.B");
        assert_eq!(seen.headers()["content-type"], "application/grpc");
        assert_eq!(seen.headers()["te"], "trailers");
        assert!(seen.headers().contains_key("grpc-timeout"));
    }
}

#[tokio::test]
async fn an_answer_may_end_with_its_head_or_be_none_of_grpc() {
    let only = Response::builder().header("grpc-status", "12").body(());
    let (report, seen) = asked("", only.unwrap(), b"", None).await;
    assert_eq!(report.status, CheckStatus::L7Sts);
    assert!(report.description.contains("UNIMPLEMENTED"));
    assert_eq!(seen.body(), b"\0\0\0\0\0");
    let page = Response::builder().status(404).body(()).unwrap();
    let (report, _) = asked("", page, b"<html>", None).await;
    assert_eq!(report.status, CheckStatus::L7Sts);
    assert_eq!(report.http_code, Some(404));
    let (report, _) = asked("", Response::new(()), b"", None).await;
    assert_eq!(report.status, CheckStatus::L7Rsp);
    let long = &[0; LONGEST + 1];
    let (report, _) = asked("", Response::new(()), long, trailers("0")).await;
    assert_eq!(report.status, CheckStatus::L7Rsp);
    assert!(
        report.description.contains("longer"),
        "{}",
        report.description
    );
}

#[tokio::test]
async fn a_server_of_http_1_is_no_server_of_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        socket
    };
    let spec = spec("");
    let asking = probe(address, &spec, None, None, Proto::H2);
    let (report, _socket) = tokio::join!(asking, serving);
    assert_eq!(report.status, CheckStatus::L7Rsp);
    assert!(
        report.description.contains("not HTTP/2"),
        "{}",
        report.description
    );
}

#[test]
fn messages_are_read_field_by_field() {
    for (message, expected) in [
        (&b"\x08\x01"[..], Some(1)),
        (b"", Some(0)),
        (b"\x12\x03abc\x08\x01", Some(1)),
        (b"\x11abcdefgh\x1dabcd\x08\x81\x00", Some(1)),
        (b"\x08\x02\x08\x01", Some(1)),
        (b"\x08", None),
        (b"\x12\x03ab", None),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None),
        (b"\x0b", None),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
    ] {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        assert_eq!(serving(&body), expected, "{message:?}");
        assert_eq!(serving(&body[..body.len().saturating_sub(1)]), None);
    }
    let long = "x".repeat(300);
    let asked = message(&long);
    assert_eq!(asked[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
}
