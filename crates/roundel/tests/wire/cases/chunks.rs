//! RFC 9112 7.1: the chunked coding of requests.

use roundel_testkit::wire::{Case, Saw};

use super::section;

const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

/// Bodies that are broken: the request must never look whole to a server.
const BROKEN: &[(&str, &str)] = &[
    ("chunk-size-plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-minus", "-5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-empty", "\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-letters", "zz\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-leading-space", " 5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-leading-tab", "\t5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-quoted", "\"5\"\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-decimal", "5.0\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-2-64", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    (
        "chunk-size-2-64-many",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk-size-2-32-zeros",
        "00000000000000000000000000000000100000005\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk-size-endless",
        "5555555555555555555555555555555555555555555555555555555555555555555555555555",
    ),
    ("chunk-size-inner-space", "5 5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-trailing-words", "5 hello\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-nul", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-vt", "5\x0b\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-cr-cr-lf", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-bare-lf", "5\nhello\r\n0\r\n\r\n"),
    ("chunk-size-bare-cr", "5\rhello\r\n0\r\n\r\n"),
    ("chunk-data-bare-lf", "5\r\nhello\n0\r\n\r\n"),
    ("chunk-data-bare-cr", "5\r\nhello\r0\r\n\r\n"),
    ("chunk-data-no-end", "5\r\nhello0\r\n\r\n"),
    ("chunk-data-too-long", "5\r\nhelloX\r\n0\r\n\r\n"),
    ("chunk-data-xx-end", "5\r\nhelloXX0\r\n\r\n"),
    ("chunk-data-short", "6\r\nhello\r\n0\r\n\r\n"),
    ("chunk-extension-lf", "5;a\nhello\r\n0\r\n\r\n"),
    ("chunk-extension-cr", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("chunk-extension-nul", "5;a\0\r\nhello\r\n0\r\n\r\n"),
    (
        "chunk-extension-quoted-lf",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk-extension-quoted-crlf",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunk-extension-lf-then-crlf", "5;\n\r\nhello\r\n0\r\n\r\n"),
    ("chunk-last-bare-lf", "5\r\nhello\r\n0\n\n"),
    ("chunk-last-crlf-lf", "5\r\nhello\r\n0\r\n\nX"),
    ("chunk-last-bare-cr", "5\r\nhello\r\n0\r\n\rX"),
    ("chunk-last-extension-lf", "5\r\nhello\r\n0;x\n\r\n"),
    (
        "trailer-space-before-colon",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    ),
    ("trailer-no-colon", "5\r\nhello\r\n0\r\nXY\r\n\r\n"),
    ("trailer-empty-name", "5\r\nhello\r\n0\r\n: y\r\n\r\n"),
    ("trailer-obs-fold", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    ("trailer-nul", "5\r\nhello\r\n0\r\nX: y\0\r\n\r\n"),
    ("trailer-bare-lf", "5\r\nhello\r\n0\r\nX: y\n\r\n"),
    ("trailer-bare-cr", "5\r\nhello\r\n0\r\nX: y\rz\r\n\r\n"),
    ("trailer-lf-lf", "5\r\nhello\r\n0\r\nX: y\n\n"),
];

/// Bodies that are right although odd.
const RIGHT: &[(&str, &str, &str)] = &[
    ("chunk-one", "5\r\nhello\r\n0\r\n\r\n", "hello"),
    (
        "chunk-many",
        "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n",
        "hello",
    ),
    ("chunk-none", "0\r\n\r\n", ""),
    (
        "chunk-upper-hex",
        "A\r\n0123456789\r\n0\r\n\r\n",
        "0123456789",
    ),
    (
        "chunk-lower-hex",
        "a\r\n0123456789\r\n0\r\n\r\n",
        "0123456789",
    ),
    ("chunk-leading-zeros", "0005\r\nhello\r\n0\r\n\r\n", "hello"),
    ("chunk-last-zeros", "5\r\nhello\r\n000\r\n\r\n", "hello"),
    ("chunk-extension", "5;a\r\nhello\r\n0\r\n\r\n", "hello"),
    (
        "chunk-extension-value",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "hello",
    ),
    (
        "chunk-extension-quoted",
        "5;a=\"b;c\\\"\"\r\nhello\r\n0\r\n\r\n",
        "hello",
    ),
    (
        "chunk-extensions",
        "5;a;b=c;d=\"e\"\r\nhello\r\n0;z\r\n\r\n",
        "hello",
    ),
    (
        "chunk-holds-crlf",
        "7\r\na\r\n0\r\n\r\r\n0\r\n\r\n",
        "a\r\n0\r\n\r",
    ),
    (
        "chunk-holds-last-chunk",
        "5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "0\r\n\r\n",
    ),
];

fn post(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn broken() -> Vec<Case> {
    let case = |(name, body): &(&str, &str)| {
        // Some servers were told the head already: whatever the client hears, none saw it whole.
        Case::new(*name)
            .send(post(&format!("{body}{EVIL}")))
            .status(&[400, 413, 431, 502])
            .closed()
            .saw_nothing()
    };
    BROKEN.iter().map(case).collect()
}

fn right() -> Vec<Case> {
    let case = |(name, body, whole): &(&str, &str, &str)| {
        Case::new(*name)
            .send(post(body))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body(whole))
    };
    RIGHT.iter().map(case).collect()
}

/// Why a case is one of HTTP/1.
const LINES: &str = "it is about the lines of chunks";

fn more() -> Vec<Case> {
    let extension = |n: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(n));
    let trailer = |n: usize| format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "x".repeat(n));
    let late = |case: Case| case.status(&[400, 413, 431, 502]).closed().saw_nothing();
    vec![
        Case::new("chunk-extensions-dropped")
            .should()
            .send(post("5;secret=1\r\nhello\r\n0\r\n\r\n"))
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello").free_of("secret")),
        late(Case::new("chunk-extension-100k").http1_only(LINES).send(post(&extension(100_000)))),
        late(Case::new("chunk-extensions-many").http1_only(LINES).send(post(&"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2000)))),
        late(Case::new("trailer-100k")
.http1_only("the library leaves out what is too large of trailers").send(post(&trailer(100_000)))),
        late(Case::new("trailers-5000").send(post(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(5000))))),
        Case::new("trailer-forwarded-or-dropped")
            .send(post("5\r\nhello\r\n0\r\nX-T: y\r\n\r\n"))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("hello").lacks("x-t")),
        Case::new("trailer-forwarded")
            .should()
            .send(post("5\r\nhello\r\n0\r\nX-T: y\r\n\r\n"))
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello").trailer("x-t", "y")),
        Case::new("trailer-never-framing")
            .send(post("5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: evil\r\n\r\n"))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("hello").has("host", "a").lacks("content-length"))
            .or()
            .status(&[400])
            .closed()
            .saw_nothing(),
        Case::new("chunked-name-case")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("hello")),
        Case::new("chunked-then-pipelined")
            .send(format!("{}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", post("5\r\nhello\r\n0\r\n\r\n")))
            .methods(["POST", "GET"])
            .status(&[200])
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello"))
            .saw(Saw::line("GET /2")),
        Case::new("chunked-300k")
            .send(post(&format!("{}0\r\n\r\n", format!("7530\r\n{}\r\n", "z".repeat(30_000)).repeat(10))))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("z".repeat(300_000))),
        Case::new("chunks-of-one-byte")
            .send(post(&format!("{}0\r\n\r\n", "1\r\nq\r\n".repeat(3000))))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("q".repeat(3000))),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9112 7.1", broken());
    all.extend(section("RFC 9112 7.1", right()));
    all.extend(section("RFC 9112 7.1", more()));
    all
}
