//! RFC 9112 6: where a request's body ends.

use roundel_testkit::wire::{Case, Lane, Saw, Step};

use super::{Refused, refused, section};

/// A request that must never be seen if it follows an ambiguous one.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

/// Fields of a POST whose body is `5 bytes`, and what must not follow from them.
const LENGTHS: &[(&str, &str)] = &[
    ("length-plus", "Content-Length: +5"),
    ("length-minus", "Content-Length: -5"),
    ("length-minus-zero", "Content-Length: -0"),
    ("length-empty", "Content-Length:"),
    ("length-space", "Content-Length:  "),
    ("length-hex", "Content-Length: 0x5"),
    ("length-hex-letter", "Content-Length: A"),
    ("length-decimal", "Content-Length: 5.0"),
    ("length-exponent", "Content-Length: 5e0"),
    ("length-underscore", "Content-Length: 1_0"),
    ("length-inner-space", "Content-Length: 1 0"),
    ("length-inner-tab", "Content-Length: 1\t0"),
    ("length-quoted", "Content-Length: \"5\""),
    ("length-words", "Content-Length: five"),
    ("length-semicolon", "Content-Length: 5;x"),
    ("length-trailing-comma", "Content-Length: 5,"),
    ("length-leading-comma", "Content-Length: ,5"),
    ("length-2-63", "Content-Length: 9223372036854775808999"),
    ("length-2-64", "Content-Length: 18446744073709551616"),
    ("length-2-64-plus-5", "Content-Length: 18446744073709551621"),
    (
        "length-2-32-long",
        "Content-Length: 00000000000000000000000000000000000000004294967301x",
    ),
    (
        "length-many-nines",
        "Content-Length: 99999999999999999999999999",
    ),
    (
        "length-two-differ",
        "Content-Length: 5\r\nContent-Length: 6",
    ),
    (
        "length-two-differ-empty",
        "Content-Length: 5\r\nContent-Length:",
    ),
    (
        "length-two-differ-empty-first",
        "Content-Length:\r\nContent-Length: 5",
    ),
    (
        "length-two-differ-case",
        "Content-Length: 5\r\ncontent-length: 0",
    ),
    (
        "length-two-differ-apart",
        "Content-Length: 5\r\nX: y\r\nContent-Length: 0",
    ),
    ("length-list-differs", "Content-Length: 5, 6"),
    ("length-list-differs-5-0", "Content-Length: 5,0"),
    ("length-nul", "Content-Length: 5\0"),
    ("length-arabic", "Content-Length: \u{665}"),
    ("length-vt", "Content-Length: \x0b5"),
    ("length-nbsp", "Content-Length: \u{a0}5"),
];

const CODINGS: &[(&str, &str, &[u16])] = &[
    (
        "coding-and-length",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        &[400],
    ),
    (
        "length-and-coding",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        &[400],
    ),
    (
        "length-0-and-coding",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        &[400],
    ),
    (
        "length-and-coding-case",
        "Content-Length: 5\r\ntRANSFER-eNCODING: chunked",
        &[400],
    ),
    (
        "length-and-bad-coding",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked",
        &[400, 422, 501],
    ),
    (
        "length-and-empty-coding",
        "Content-Length: 5\r\nTransfer-Encoding:",
        &[400, 422, 501],
    ),
    (
        "length-and-identity",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        &[400, 422, 501],
    ),
    ("coding-empty", "Transfer-Encoding:", &[400, 422, 501]),
    ("coding-comma", "Transfer-Encoding: ,", &[400, 422, 501]),
    (
        "coding-identity",
        "Transfer-Encoding: identity",
        &[400, 422, 501],
    ),
    ("coding-unknown", "Transfer-Encoding: foo", &[400, 422, 501]),
    (
        "coding-gzip-only",
        "Transfer-Encoding: gzip",
        &[400, 422, 501],
    ),
    (
        "coding-not-final",
        "Transfer-Encoding: chunked, gzip",
        &[400, 422, 501],
    ),
    (
        "coding-chunked-identity",
        "Transfer-Encoding: chunked, identity",
        &[400, 422, 501],
    ),
    (
        "coding-identity-chunked",
        "Transfer-Encoding: identity, chunked",
        &[400, 422, 501],
    ),
    (
        "coding-chunked-twice",
        "Transfer-Encoding: chunked, chunked",
        &[400, 422, 501],
    ),
    (
        "coding-two-lines",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        &[400, 422, 501],
    ),
    (
        "coding-two-lines-identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        &[400, 422, 501],
    ),
    (
        "coding-two-lines-x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        &[400, 422, 501],
    ),
    (
        "coding-x-chunked",
        "Transfer-Encoding: xchunked",
        &[400, 422, 501],
    ),
    (
        "coding-chunked-x",
        "Transfer-Encoding: chunkedx",
        &[400, 422, 501],
    ),
    (
        "coding-quoted",
        "Transfer-Encoding: \"chunked\"",
        &[400, 422, 501],
    ),
    (
        "coding-single-quoted",
        "Transfer-Encoding: 'chunked'",
        &[400, 422, 501],
    ),
    (
        "coding-parameter",
        "Transfer-Encoding: chunked;q=1",
        &[400, 422, 501],
    ),
    (
        "coding-parameter-2",
        "Transfer-Encoding: chunked; x=y",
        &[400, 422, 501],
    ),
    (
        "coding-vt",
        "Transfer-Encoding: \x0bchunked",
        &[400, 422, 501],
    ),
    (
        "coding-vt-end",
        "Transfer-Encoding: chunked\x0b",
        &[400, 422, 501],
    ),
    (
        "coding-ff",
        "Transfer-Encoding:\x0cchunked",
        &[400, 422, 501],
    ),
    (
        "coding-nul",
        "Transfer-Encoding: chunked\0",
        &[400, 422, 501],
    ),
    (
        "coding-nbsp",
        "Transfer-Encoding: \u{a0}chunked",
        &[400, 422, 501],
    ),
    ("coding-cr", "Transfer-Encoding: \rchunked", &[400]),
    (
        "coding-inner-space",
        "Transfer-Encoding: chu nked",
        &[400, 422, 501],
    ),
    (
        "coding-colon",
        "Transfer-Encoding:: chunked",
        &[400, 422, 501],
    ),
    (
        "coding-cut-kelvin",
        "Transfer-Encoding: chun\u{212a}ed",
        &[400, 422, 501],
    ),
    (
        "coding-gzip-chunked",
        "Transfer-Encoding: gzip, chunked",
        &[501, 422, 400],
    ),
];

fn ambiguous() -> Vec<Case> {
    let length = LENGTHS.iter().map(|(name, fields)| {
        Case::new(*name)
            .send(format!(
                "POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello{EVIL}"
            ))
            .refused(&[400])
    });
    let coding = CODINGS.iter().map(|(name, fields, status)| {
        Case::new(*name)
            .send(format!(
                "POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{EVIL}"
            ))
            .refused(status)
    });
    length.chain(coding).collect()
}

const OTHER: &[Refused] = &[
    (
        "coding-1-0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400, 422, 501],
    ),
    (
        "coding-1-0-keep-alive",
        "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.0\r\n\r\n",
        &[400, 422, 501],
    ),
    (
        "coding-get-and-length",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "coding-connection-names-length",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "coding-connection-names-coding",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
];

/// Sends a text in small pieces, each read by the proxy before the next.
fn cuts(text: &str) -> impl Iterator<Item = Step> + use<> {
    let pieces: Vec<Step> = text
        .as_bytes()
        .chunks(9)
        .map(|c| Step::Cut(c.to_vec()))
        .collect();
    pieces.into_iter()
}

fn right() -> Vec<Case> {
    let post =
        |fields: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
    let hello = |name: &str, fields: &str| {
        Case::new(name)
            .send(post(fields, "hello"))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("hello"))
    };
    vec![
        hello("length", "Content-Length: 5"),
        hello("length-no-space", "Content-Length:5"),
        hello("length-tabs", "Content-Length:\t5\t"),
        hello("length-zeros", "Content-Length: 0005").or().refused(&[400]),
        hello("length-two-same", "Content-Length: 5\r\nContent-Length: 5").or().refused(&[400]),
        hello("length-list-same", "Content-Length: 5, 5").or().refused(&[400]),
        Case::new("length-zero")
            .send(post("Content-Length: 0", ""))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("")),
        Case::new("post-without-body")
            .send("POST /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("")),
        Case::new("get-with-body")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[200])
            .kept()
            .saw(Saw::line("GET /x").body("hello")),
        Case::new("get-with-chunked-body")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .status(&[200])
            .kept()
            .saw(Saw::line("GET /x").body("hello")),
        Case::new("delete-with-body")
            .send("DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[200])
            .kept()
            .saw(Saw::line("DELETE /x").body("hello")),
        Case::new("body-looks-like-a-request")
            .send(post(&format!("Content-Length: {}", EVIL.len()), EVIL))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body(EVIL)),
        Case::new("body-of-nul-and-lf")
            .send(post("Content-Length: 5", "\0\n\r\0\r"))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("\0\n\r\0\r")),
        Case::new("body-200k")
            .send(post("Content-Length: 200000", &"y".repeat(200_000)))
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("y".repeat(200_000))),
        Case::new("head-cut-everywhere")
            .steps(cuts("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"))
            .methods(["POST"])
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("hello")),
        Case::new("chunks-cut-everywhere")
            .steps(cuts("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"))
            .methods(["POST"])
            .status(&[200])
            .kept()
            .saw(Saw::line("POST /x").body("abcde")),
        Case::new("smuggling-cut-everywhere")
            .steps(cuts("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"))
            .methods(["POST"])
            .refused(&[400]),
        Case::new("body-short-then-fin")
            .send(post("Content-Length: 50", "hello"))
            .steps([Step::HalfClose])
            .saw_nothing()
            .closed(),
        Case::new("pair-lane-body")
            .lane(Lane::Pair)
            .send(post("Content-Length: 5", "hello"))
            .status(&[200])
            .kept(),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9112 6.3", ambiguous());
    all.extend(refused("RFC 9112 6.1", OTHER));
    all.extend(section("RFC 9112 6", right()));
    all
}
