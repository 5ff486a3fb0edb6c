//! RFC 9113: HTTP/2 by prior knowledge in front, HTTP/1 behind. Raw frames for what no client
//! library would send, the `h2` crate for what one does.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Version};
use roundel_testkit::wire::message::text;
use roundel_testkit::wire::{Act, DEADLINE, Seen, Way};

use roundel_tls::rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::stage::Proxy;

/// One raw field list, and whether it is a request.
type Row = (&'static str, &'static [(&'static str, &'static str)], bool);

const PLAIN: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/x"),
    (":authority", "a"),
];

macro_rules! and {
    ($($field:expr),*) => {
        &[(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "a"), $($field),*]
    };
}

const ROWS: &[Row] = &[
    ("plain", PLAIN, true),
    ("te-trailers", and!(("te", "trailers")), true),
    (
        "cookie-crumbs",
        and!(("cookie", "a=1"), ("cookie", "b=2")),
        true,
    ),
    ("host-agrees", and!(("host", "a")), true),
    (
        "no-method",
        &[(":scheme", "http"), (":path", "/x"), (":authority", "a")],
        false,
    ),
    (
        "no-path",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        false,
    ),
    (
        "no-scheme",
        &[(":method", "GET"), (":path", "/x"), (":authority", "a")],
        false,
    ),
    (
        "empty-path",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", ""),
            (":authority", "a"),
        ],
        false,
    ),
    (
        "path-without-slash",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "x"),
            (":authority", "a"),
        ],
        false,
    ),
    (
        "path-with-space",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x HTTP/1.1"),
            (":authority", "a"),
        ],
        false,
    ),
    (
        "path-with-crlf",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x\r\nX: y"),
            (":authority", "a"),
        ],
        false,
    ),
    (
        "method-with-space",
        &[
            (":method", "GET /evil"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "a"),
        ],
        false,
    ),
    (
        "method-with-crlf",
        &[
            (":method", "GET\r\nX"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "a"),
        ],
        false,
    ),
    (
        "authority-with-crlf",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "a\r\nX: y"),
        ],
        false,
    ),
    (
        "authority-with-userinfo",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "u@a"),
        ],
        false,
    ),
    (
        "authority-with-comma",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "a,b"),
        ],
        false,
    ),
    (
        "authority-with-slash",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "a/b"),
        ],
        false,
    ),
    ("two-methods", and!((":method", "POST")), false),
    ("two-paths", and!((":path", "/evil")), false),
    ("two-authorities", and!((":authority", "b")), false),
    ("pseudo-unknown", and!((":odd", "x")), false),
    ("pseudo-of-answers", and!((":status", "200")), false),
    (
        "pseudo-behind-a-field",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            ("x", "y"),
            (":path", "/x"),
            (":authority", "a"),
        ],
        false,
    ),
    ("name-upper-case", and!(("X-Upper", "y")), false),
    ("name-with-space", and!(("x y", "z")), false),
    ("name-with-colon", and!(("x:y", "z")), false),
    ("name-with-crlf", and!(("x\r\ny", "z")), false),
    ("name-empty", and!(("", "z")), false),
    ("value-with-crlf", and!(("x", "y\r\nEvil: 1")), false),
    ("value-with-lf", and!(("x", "y\nEvil: 1")), false),
    ("value-with-nul", and!(("x", "y\0z")), false),
    ("connection", and!(("connection", "close")), false),
    ("keep-alive", and!(("keep-alive", "timeout=5")), false),
    (
        "proxy-connection",
        and!(("proxy-connection", "close")),
        false,
    ),
    (
        "transfer-encoding",
        and!(("transfer-encoding", "chunked")),
        false,
    ),
    ("upgrade", and!(("upgrade", "websocket")), false),
    ("te-gzip", and!(("te", "gzip")), false),
    ("host-differs", and!(("host", "b")), false),
    ("host-twice", and!(("host", "a"), ("host", "a")), false),
    ("length-without-body", and!(("content-length", "5")), false),
    (
        "length-twice",
        and!(("content-length", "0"), ("content-length", "5")),
        false,
    ),
    ("length-plus", and!(("content-length", "+0")), false),
    (
        "connect",
        &[(":method", "CONNECT"), (":authority", "a:443")],
        false,
    ),
];

/// A frame: length, type, flags, stream, payload. Source: RFC 9113 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
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

/// How the proxy took a stream: the first byte of its answer's fields, which is an index of the
/// static table for the usual statuses (0x88 is 200), or nothing when it was reset.
fn raw(way: &Way, fields: &[(&str, &str)]) -> Result<Option<u8>, String> {
    let mut stream = way.open(&["h2"]).map_err(|e| e.to_string())?;
    stream.set_read_timeout(DEADLINE);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 0x4 | 0x1, 1, &block(fields)));
    stream.write_all(&bytes).map_err(|e| e.to_string())?;
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Ok(None);
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).map_err(|e| e.to_string())?;
        match head[3] {
            // HEADERS, of an answer that says why.
            1 => return Ok(payload.iter().copied().find(|b| b & 0xe0 != 0x20)),
            // RST_STREAM and GOAWAY with an error.
            3 => return Ok(None),
            7 if payload[4..8] != [0; 4] => return Ok(None),
            _ => {}
        }
    }
}

#[test]
fn malformed_field_lists_never_reach_a_server() {
    let proxy = Proxy::start();
    let mut failed = Vec::new();
    for (slot, (name, fields, is_request)) in proxy
        .both()
        .into_iter()
        .flat_map(|slot| ROWS.iter().map(move |row| (slot, row)))
    {
        let name = format!("{name} (TLS: {})", slot.pairing.is_tls());
        let played = slot.exchange(&[], |way| raw(way, fields));
        match played {
            Err(why) => failed.push(format!("{name}: {why}")),
            Ok((status, seen)) => {
                let passed = (status == Some(0x88), seen.len() == 1);
                if passed != (*is_request, *is_request) {
                    let lines: Vec<&str> = seen.iter().map(|s| s.message.line.as_str()).collect();
                    failed.push(format!("{name}: {status:x?}, servers saw {lines:?}"));
                }
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        ROWS.len(),
        failed.join("\n")
    );
}

/// What a client of the `h2` crate got: status, body, trailers, or the error.
type Got = Result<(u16, Vec<u8>, http::HeaderMap), String>;

/// Sends one request with a body and reads the answer; with `reset` gives it up at its head.
fn ask(way: &Way, request: Request<()>, body: Option<Vec<u8>>) -> Got {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let asked = tokio::time::timeout(DEADLINE, talk(way, request, body));
        asked
            .await
            .map_err(|_| "hangs".to_owned())?
            .map_err(|e| e.to_string())
    })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(way: &Way) -> Box<dyn Stream> {
    let stream = tokio::net::TcpStream::connect(way.address).await.unwrap();
    let Some(config) = &way.tls else {
        return Box::new(stream);
    };
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let name = Way::NAME.try_into().unwrap();
    Box::new(connector.connect(name, stream).await.unwrap())
}

async fn talk(
    way: &Way,
    request: Request<()>,
    body: Option<Vec<u8>>,
) -> Result<(u16, Vec<u8>, http::HeaderMap), h2::Error> {
    let (client, connection) = h2::client::handshake(connect(way).await).await?;
    tokio::spawn(connection);
    let mut client = client.ready().await?;
    let (answer, mut send) = client.send_request(request, body.is_none())?;
    let upload = async {
        let mut rest = Bytes::from(body.unwrap_or_default());
        while !rest.is_empty() {
            send.reserve_capacity(rest.len());
            match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(Ok(n)) => {
                    let piece = rest.split_to(n.min(rest.len()));
                    let last = rest.is_empty();
                    send.send_data(piece, last)?;
                }
                _ => return Ok(()),
            }
        }
        Ok::<(), h2::Error>(())
    };
    let download = async {
        let answer = answer.await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            let _ = body.flow_control().release_capacity(piece.len());
            bytes.extend_from_slice(&piece);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok::<_, h2::Error>((status, bytes, trailers))
    };
    let (sent, got) = tokio::join!(upload, download);
    sent.and(got)
}

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://a.example{path}");
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .version(Version::HTTP_2);
    request.body(()).unwrap()
}

/// Plays one request against a scripted server, in clear and over TLS.
fn play(
    script: Vec<Act>,
    request: &Request<()>,
    body: Option<&[u8]>,
    check: impl Fn(Got, Vec<Seen>),
) {
    let proxy = Proxy::start();
    let script = if script.is_empty() {
        vec![]
    } else {
        vec![script]
    };
    for slot in proxy.both() {
        let body = body.map(<[u8]>::to_vec);
        let played = slot.exchange(&script, |way| Ok(ask(way, request.clone(), body)));
        let (got, seen) = played.unwrap();
        check(got, seen);
    }
}

fn send(bytes: &str) -> Act {
    Act::Send(bytes.as_bytes().to_vec())
}

#[test]
fn get_becomes_http_1() {
    play(vec![], &request(Method::GET, "/x?y"), None, |got, seen| {
        assert_eq!(got.unwrap().0, 200);
        let message = &seen[0].message;
        assert_eq!(message.line, "GET /x?y HTTP/1.1");
        assert_eq!(message.first("host"), Some("a.example"));
        let via = message.first("via").unwrap();
        assert!(via.starts_with("2.0 roundel-"), "{via}");
    });
}

#[test]
fn head_has_no_body() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let script = vec![Act::Body, send(answer)];
    play(script, &request(Method::HEAD, "/"), None, |got, _| {
        let (status, body, _) = got.unwrap();
        assert_eq!((status, body.len()), (200, 0));
    });
}

#[test]
fn trailers_come_through() {
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n";
    let script = vec![Act::Body, send(answer)];
    play(script, &request(Method::GET, "/"), None, |got, _| {
        let (status, body, trailers) = got.unwrap();
        assert_eq!((status, text(&body).as_str()), (200, "hello"));
        assert_eq!(trailers.get("x-t").unwrap(), "y");
    });
}

#[test]
fn large_bodies_both_ways() {
    let body = vec![b'q'; 1_500_000];
    let script = vec![
        Act::Body,
        send("HTTP/1.1 200 OK\r\nContent-Length: 1500000\r\n\r\n"),
        Act::Flood(1_500_000),
    ];
    let request = request(Method::POST, "/up");
    play(script, &request, Some(&body), |got, seen| {
        let (status, got, _) = got.unwrap();
        assert_eq!((status, got.len()), (200, 1_500_000));
        assert!(got.iter().all(|b| *b == b'x'));
        assert!(seen[0].whole && seen[0].message.body == body);
    });
}

#[test]
fn a_broken_answer_is_no_clean_end() {
    for (answer, end) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
            Act::Close,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Act::Close,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            send("zz\r\n"),
        ),
    ] {
        let script = vec![Act::Body, send(answer), end];
        play(script, &request(Method::GET, "/"), None, |got, _| {
            assert!(got.is_err(), "{answer:?}: {got:?}");
        });
    }
}

#[test]
fn a_malformed_answer_is_502() {
    let script = vec![Act::Body, send("nonsense\r\n\r\n"), Act::Close];
    play(script, &request(Method::GET, "/"), None, |got, _| {
        assert_eq!(got.unwrap().0, 502);
    });
}

#[test]
fn a_reset_stream_cancels_the_server() {
    let proxy = Proxy::start();
    let script = [vec![Act::Body, Act::Eof]];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    for slot in proxy.both() {
        let played = slot.exchange(&script, |way| {
            let stream = runtime.block_on(async {
                let stream = connect(way).await;
                let (client, connection) = h2::client::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                let mut client = client.ready().await.unwrap();
                let asked = client
                    .send_request(request(Method::GET, "/x"), true)
                    .unwrap();
                (client, asked)
            });
            let (client, (answer, mut send)) = stream;
            let asked = slot.is_asked();
            send.send_reset(h2::Reason::CANCEL);
            let cancelled = slot.is_cancelled();
            drop((client, answer));
            Ok((asked, cancelled))
        });
        assert_eq!(played.unwrap().0, (true, true));
    }
}
