//! RFC 9110 7.6.1: fields for one hop, and those that Connection names.

use roundel_testkit::wire::{Case, Saw, Want};

use super::section;

/// Request fields, and the names that must not arrive.
const GONE: &[(&str, &str, &[&str])] = &[
    (
        "hop-keep-alive",
        "Connection: keep-alive\r\nKeep-Alive: timeout=5",
        &["keep-alive"],
    ),
    (
        "hop-keep-alive-alone",
        "Keep-Alive: timeout=5",
        &["keep-alive"],
    ),
    (
        "hop-proxy-connection",
        "Proxy-Connection: keep-alive",
        &["proxy-connection"],
    ),
    ("hop-named", "Connection: x-a\r\nX-A: 1", &["x-a"]),
    ("hop-named-case", "Connection: X-a\r\nx-A: 1", &["x-a"]),
    (
        "hop-named-list",
        "Connection: x-a, x-b\r\nX-A: 1\r\nX-B: 2",
        &["x-a", "x-b"],
    ),
    (
        "hop-named-list-odd",
        "Connection: ,x-a ,\t,x-b,\r\nX-A: 1\r\nX-B: 2",
        &["x-a", "x-b"],
    ),
    (
        "hop-named-two-lines",
        "Connection: x-a\r\nConnection: x-b\r\nX-A: 1\r\nX-B: 2",
        &["x-a", "x-b"],
    ),
    (
        "hop-named-twice-there",
        "Connection: x-a\r\nX-A: 1\r\nX-A: 2",
        &["x-a"],
    ),
    ("hop-named-after", "X-A: 1\r\nConnection: x-a", &["x-a"]),
    (
        "hop-named-with-keep-alive",
        "Connection: keep-alive, x-a\r\nX-A: 1",
        &["x-a"],
    ),
    (
        "hop-named-with-close",
        "Connection: close, x-a\r\nX-A: 1",
        &["x-a"],
    ),
    (
        "hop-named-authorization",
        "Connection: authorization\r\nAuthorization: Basic x",
        &["authorization"],
    ),
    ("hop-te", "Connection: TE\r\nTE: gzip", &["te"]),
    ("hop-te-unnamed", "TE: gzip;q=0.5", &["te"]),
    ("hop-upgrade-unnamed", "Upgrade: websocket", &["upgrade"]),
    (
        "hop-trailer-named",
        "Connection: trailer\r\nTrailer: x",
        &["trailer"],
    ),
];

/// Names that Connection cannot take away.
const KEPT: &[(&str, &str, &str, &str)] = &[
    ("hop-cannot-name-host", "Connection: host", "host", "a"),
    (
        "hop-cannot-name-host-case",
        "Connection: close, HOST",
        "host",
        "a",
    ),
    (
        "hop-cannot-name-cookie",
        "Connection: cookie\r\nCookie: a=1",
        "cookie",
        "a=1",
    ),
];

fn requests() -> Vec<Case> {
    let gone = GONE.iter().map(|(name, fields, names)| {
        let saw = names
            .iter()
            .fold(Saw::line("GET /x").has("x-z", "z"), |saw, n| saw.lacks(n));
        Case::new(*name)
            .send(format!(
                "GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\nX-Z: z\r\n\r\n"
            ))
            .status(&[200])
            .saw(saw)
    });
    let kept = KEPT.iter().map(|(name, fields, field, value)| {
        Case::new(*name)
            .own()
            .send(format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
            .status(&[200])
            .saw(Saw::line("GET /x").has(field, value))
    });
    gone.chain(kept).collect()
}

fn more() -> Vec<Case> {
    vec![
        Case::new("hop-cannot-name-length")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello"))
            .kept()
            .or()
            .refused(&[400]),
        Case::new("hop-cannot-name-coding")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello"))
            .kept()
            .or()
            .refused(&[400]),
        Case::new("hop-cannot-name-forwarded-for")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").any("x-forwarded-for")),
        Case::new("hop-cannot-name-forwarded-proto")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-proto\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").proto()),
        Case::new("hop-cannot-name-via")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: via\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").any("via")),
        Case::new("hop-te-trailers")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: trailers\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("te", "trailers")),
        Case::new("hop-te-trailers-of-several")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: gzip, trailers\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").free_of("gzip")),
        Case::new("hop-close-is-not-for-the-server")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").lacks("connection"))
            .closed(),
        Case::new("hop-proxy-authorization-kept")
            .should()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("authorization", "Basic eDp5")),
        Case::new("hop-answer-named")
            .send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nConnection: x-a, keep-alive\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).lacks("x-a").lacks("keep-alive").has("x-b", "2"))
            .kept(),
        Case::new("hop-answer-proxy-connection")
            .send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).lacks("proxy-connection"))
            .kept(),
        Case::new("hop-answer-cannot-name-length")
            .send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello")
            .want(Want::status(200).body("hello"))
            .or()
            .status(&[502]),
        Case::new("hop-answer-cannot-name-set-cookie")
            .own()
            .send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nConnection: content-type\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).lacks("content-type"))
            .kept(),
        Case::new("hop-answer-upgrade-unasked")
            .send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).lacks("upgrade"))
            .kept(),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9110 7.6.1", requests());
    all.extend(section("RFC 9110 7.6.1", more()));
    all
}
