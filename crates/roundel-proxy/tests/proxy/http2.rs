//! HTTP/2 by prior knowledge in front, HTTP/1 behind.

use std::io::{Read, Write};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};

use crate::stage::*;

/// Connects an HTTP/2 client and runs `talk` with it.
pub(crate) fn talk<F: Future>(
    stage: &Stage,
    talk: impl FnOnce(SendRequest<Bytes>) -> F,
) -> F::Output {
    talk_as(stage, &h2::client::Builder::new(), talk)
}

/// As [`talk`], with a client that has other settings.
pub(crate) fn talk_as<F: Future>(
    stage: &Stage,
    settings: &h2::client::Builder,
    talk: impl FnOnce(SendRequest<Bytes>) -> F,
) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        let (client, connection) = settings.handshake(stream).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let client = client.ready().await.unwrap();
        tokio::time::timeout(PATIENCE, talk(client)).await.unwrap()
    })
}

pub(crate) async fn collect(
    response: Response<h2::RecvStream>,
) -> Result<(String, String), h2::Error> {
    let mut body = response.into_body();
    let mut data = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        data.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    let trailers = trailers.map_or_else(String::new, |t| format!("{t:?}"));
    Ok((String::from_utf8(data).unwrap(), trailers))
}

#[test]
fn a_request_and_its_answer() {
    let server = Server::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\nhello",
    );
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        for _ in 0..2 {
            let request = Request::get("http://example.org/a?b")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("te", "trailers")
                .body(())
                .unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers["content-length"], "5");
            assert_eq!(headers["x-end"], "2");
            assert!(!headers.contains_key("x-hop") && !headers.contains_key("connection"));
            assert!(headers.contains_key("date"));
            assert_eq!(collect(response).await.unwrap().0, "hello");
        }
    });
    let head = server.head();
    assert!(
        head.starts_with("GET /a?b HTTP/1.1\r\nHost: example.org\r\n"),
        "{head}"
    );
    assert_eq!(field(&head, "cookie"), Some("a=1; b=2"));
    let via = field(&head, "via").unwrap();
    assert!(via.starts_with("2.0 roundel-"), "{via}");
    assert_eq!(field(&head, "te"), Some("trailers"));
    let line = stage.log_line(0);
    assert!(line.contains("\"proto\":\"HTTP/2.0\""), "{line}");
    let counters = &stage.proxy.frontends()[0].counters;
    assert_eq!(counters.sum(|c| c.connections_h2.get()), 1);
}

#[test]
fn bodies_and_trailers_cross_both_ways() {
    let server = Server::new(|_, peer| {
        let head = peer.head().unwrap();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        peer.client.read_until("x-up: 1\r\n\r\n");
        peer.client
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Down: 1\r\n\r\n");
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        let request = Request::post("http://a/").body(()).unwrap();
        let (response, mut send) = client.send_request(request, false).unwrap();
        send.send_data(Bytes::from(vec![b'x'; 100_000]), false)
            .unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-up", "1".parse().unwrap());
        send.send_trailers(trailers).unwrap();
        let (body, trailers) = collect(response.await.unwrap()).await.unwrap();
        assert_eq!(body, "abc");
        assert!(trailers.contains("x-down"), "{trailers}");
    });
}

#[test]
fn trailers_have_the_limits_of_a_head() {
    let server = Server::new(|_, peer| {
        while peer.head().is_some() {
            let (mut body, mut byte) = (Vec::new(), [0]);
            while !body.starts_with(b"1\r\nx\r\n0\r\n") || !body.ends_with(b"\r\n\r\n") {
                // One that is refused breaks off.
                let Ok(1) = peer.client.stream.read(&mut byte) else {
                    return;
                };
                body.push(byte[0]);
            }
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        let cases = [
            (100, 1, 200),
            (101, 1, 431),
            (1, 8_000, 200),
            (1, 8_200, 431),
            (90, 100, 431),
        ];
        for (fields, size, status) in cases {
            let request = Request::post("http://a/").body(()).unwrap();
            let (response, mut send) = client.send_request(request, false).unwrap();
            send.send_data(Bytes::from_static(b"x"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            for n in 0..fields {
                let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
                trailers.insert(name, "y".repeat(size).parse().unwrap());
            }
            send.send_trailers(trailers).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), status, "{fields} fields of {size} bytes");
        }
    });
}

#[test]
fn large_answers_respect_the_window() {
    const SIZE: usize = 3_000_000;
    let server = Server::new(|_, peer| {
        peer.request().unwrap();
        peer.client
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let _ = peer.client.stream.write_all(&vec![b'x'; SIZE]);
        let _ = peer.client.stream.read(&mut [0]);
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        let request = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let (body, _) = collect(response.await.unwrap()).await.unwrap();
        assert_eq!(body.len(), SIZE);
    });
}

#[test]
fn a_broken_answer_is_a_reset_stream() {
    let server = Server::new(|_, peer| {
        if peer.request().is_some() {
            peer.client
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        }
    });
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        let request = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        // The reset may overtake the head.
        let error = match response.await {
            Ok(response) => collect(response).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.is_reset(), "{error}");
    });
}

#[test]
fn own_answers_and_answers_without_a_body() {
    let empty = Stage::new(&[]);
    talk(&empty, |mut client| async move {
        let request = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(collect(response).await.unwrap().0.contains("503"));
    });
    let server = Server::always("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        let request = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 304);
        assert_eq!(collect(response).await.unwrap().0, "");
    });
}

#[test]
fn many_streams_at_once() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    talk(&stage, |client| async move {
        let mut answers = Vec::new();
        for _ in 0..100 {
            let mut client = client.clone().ready().await.unwrap();
            let request = Request::get("http://a/").body(()).unwrap();
            answers.push(client.send_request(request, true).unwrap().0);
        }
        for answer in answers {
            assert_eq!(collect(answer.await.unwrap()).await.unwrap().0, "hello");
        }
    });
    assert_eq!(stage.balancer.load().servers()[0].live.answers(), 100);
}

#[test]
fn prior_knowledge_is_refused_where_it_is_off() {
    let server = Server::always(HELLO);
    let stage = Stage::with(&[server.address], |_| {}, |f| f.listen[0].h2c = false);
    let answer = stage.once("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 505") || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[test]
fn tiny_chunks_leave_together() {
    let chunks = "1\r\nx\r\n".repeat(3_000);
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let server = Server::always(answer.leak());
    let stage = Stage::new(&[server.address]);
    talk(&stage, |mut client| async move {
        let request = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let (mut bytes, mut frames) = (0, 0);
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            bytes += data.len();
            frames += 1;
        }
        assert_eq!(bytes, 3_000);
        // One per read of the server's socket at most, not one per chunk.
        assert!(frames < 300, "{frames} frames");
    });
}
