//! RFC 9112 4, 5, 6.3: answers that are malformed become 502 and never reach a client.

use roundel_testkit::wire::{Act, Case, Lane, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads, and what follows them, that must not be passed on.
const MALFORMED: &[(&str, &str)] = &[
    ("answer-garbage", "hello\r\n\r\n"),
    ("answer-empty-lines", "\r\n\r\n\r\n"),
    ("answer-html", "<html>no</html>\r\n\r\n"),
    ("answer-ssh", "SSH-2.0-OpenSSH_9\r\n\r\n"),
    (
        "answer-version-2",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-version-0-9",
        "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-version-lower",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-version-short",
        "HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-version-long",
        "HTTP/1.11 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    ("answer-no-status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
    (
        "answer-status-words",
        "HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-two-digits",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-four-digits",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-plus",
        "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-hex",
        "HTTP/1.1 2a0 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-000",
        "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-tab",
        "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-status-two-spaces",
        "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-leading-space",
        " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-phrase-nul",
        "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-phrase-cr",
        "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    ),
    ("answer-bare-lf", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    (
        "answer-field-nul",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-field-bare-cr",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-field-no-colon",
        "HTTP/1.1 200 OK\r\nXY\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-field-empty-name",
        "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-field-first-space",
        "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-field-name-brackets",
        "HTTP/1.1 200 OK\r\nX[]: y\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "answer-length-plus",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    ),
    (
        "answer-length-minus",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    ),
    (
        "answer-length-empty",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
    ),
    (
        "answer-length-words",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
    ),
    (
        "answer-length-hex",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    ),
    (
        "answer-length-2-64",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "answer-length-differs",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ),
    (
        "answer-length-list-differs",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    ),
    (
        "answer-coding-unknown",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\nhello",
    ),
    (
        "answer-coding-twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "answer-coding-not-final",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "answer-coding-vt",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "answer-length-space-before-colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    ),
    ("answer-cut-in-line", "HTTP/1.1 20"),
    ("answer-cut-in-field", "HTTP/1.1 200 OK\r\nContent-Le"),
    (
        "answer-cut-before-end",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ),
];

/// RFC 9112 5.2, 6.3: a proxy may mend these or refuse them.
const MENDED: &[(&str, &str)] = &[
    (
        "answer-obs-fold",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "answer-length-same-twice",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "answer-length-list-same",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    ),
    (
        "answer-length-and-coding",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "answer-coding-and-length",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "answer-coding-1-0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "answer-name-space-before-colon",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 5\r\n\r\nhello",
    ),
];

/// Heads that are right although odd.
const RIGHT: &[(&str, &str, u16)] = &[
    (
        "answer-no-phrase",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
        200,
    ),
    (
        "answer-no-phrase-no-space",
        "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
        200,
    ),
    (
        "answer-long-phrase",
        "HTTP/1.1 404 Not here, sorry: look elsewhere!\r\nContent-Length: 5\r\n\r\nhello",
        404,
    ),
    (
        "answer-status-299",
        "HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\nhello",
        299,
    ),
    (
        "answer-status-599",
        "HTTP/1.1 599 Odd\r\nContent-Length: 5\r\n\r\nhello",
        599,
    ),
    (
        "answer-status-420",
        "HTTP/1.1 420 Odd\r\nContent-Length: 5\r\n\r\nhello",
        420,
    ),
    (
        "answer-1-0",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        200,
    ),
    (
        "answer-names-in-case",
        "HTTP/1.1 200 OK\r\ncOnTENT-leNGTH: 5\r\n\r\nhello",
        200,
    ),
    (
        "answer-chunked-case",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        200,
    ),
    (
        "answer-chunk-extension",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        200,
    ),
    (
        "answer-500",
        "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhello",
        500,
    ),
    (
        "answer-503-of-the-app",
        "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello",
        503,
    ),
];

fn malformed() -> Vec<Case> {
    let case = |(name, bytes): &(&str, &str)| {
        Case::new(*name)
            .send(GET)
            .reply_close(bytes)
            .want(Want::status(502).free_of("hello"))
            .saw(Saw::line("GET /x"))
    };
    MALFORMED.iter().map(case).collect()
}

fn mended() -> Vec<Case> {
    let case = |(name, bytes): &(&str, &str)| {
        Case::new(*name)
            .send(GET)
            .reply_close(bytes)
            .want(Want::status(502).free_of("hello"))
            .or()
            .want(Want::status(200).body("hello"))
    };
    MENDED.iter().map(case).collect()
}

fn right() -> Vec<Case> {
    let case = |(name, bytes, status): &(&str, &str, u16)| {
        Case::new(*name)
            .send(GET)
            .reply(bytes)
            .want(Want::status(*status).body("hello"))
            .kept()
    };
    RIGHT.iter().map(case).collect()
}

/// Broken chunks of an answer: the client must not see a whole message.
const CHUNKS: &[(&str, &str)] = &[
    ("answer-chunk-plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("answer-chunk-words", "zz\r\nhello\r\n0\r\n\r\n"),
    ("answer-chunk-0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    (
        "answer-chunk-2-64",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("answer-chunk-bare-lf", "5\nhello\n0\n\n"),
    ("answer-chunk-long", "5\r\nhelloX\r\n0\r\n\r\n"),
    ("answer-chunk-short", "6\r\nhello\r\n0\r\n\r\n"),
    ("answer-chunk-no-last", "5\r\nhello\r\n"),
    ("answer-chunk-cut", "5\r\nhel"),
    ("answer-chunk-cut-size", "5\r\nhello\r\n1"),
    ("answer-chunk-no-final-crlf", "5\r\nhello\r\n0\r\n"),
    ("answer-trailer-cut", "5\r\nhello\r\n0\r\nX: y"),
    ("answer-trailer-nul", "5\r\nhello\r\n0\r\nX: y\0\r\n\r\n"),
];

fn broken_chunks() -> Vec<Case> {
    let case = |(name, body): &(&str, &str)| {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        Case::new(*name)
            .send(GET)
            .reply_close(answer)
            .want(Want::status(200).broken())
            .closed()
            .or()
            .want(Want::status(502))
    };
    CHUNKS.iter().map(case).collect()
}

fn more() -> Vec<Case> {
    let big = |n: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello",
            "y".repeat(n)
        )
    };
    let many = |n: usize| {
        format!(
            "HTTP/1.1 200 OK\r\n{}Content-Length: 5\r\n\r\nhello",
            "X: y\r\n".repeat(n)
        )
    };
    let endless = |n: usize| format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(n));
    let too_much = |case: Case| case.want(Want::status(502).free_of("hello"));
    vec![
        Case::new("answer-head-6k").send(GET).reply(big(6000)).want(Want::status(200).body("hello")).kept(),
        Case::new("answer-head-40k").own().send(GET).reply(big(40_000)).want(Want::status(200).body("hello")).kept(),
        too_much(Case::new("answer-head-200k").send(GET).reply_close(big(200_000))),
        too_much(Case::new("answer-fields-5000").send(GET).reply_close(many(5000))),
        too_much(Case::new("answer-head-endless").send(GET).reply_close(endless(2_000_000))),
        Case::new("answer-empty-then-close")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .acts([Act::Body, Act::Close])
            .status(&[502]),
        Case::new("answer-reset")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .acts([Act::Body, Act::Reset])
            .status(&[502]),
        Case::new("client-kept-after-502")
            .should()
            .send(GET)
            .reply_close("nonsense\r\n\r\n")
            .status(&[502])
            .kept(),
        Case::new("answer-malformed-not-pooled")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()), Act::Eof])
            .steps([Step::Answer, Step::Open, Step::Send(GET.into()), Step::Answer])
            .status(&[502])
            .want(Want::status(200).free_of("EVIL")),
        Case::new("answer-two-in-one")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()), Act::Eof])
            .steps([Step::Answer, Step::Open, Step::Send(GET.into()), Step::Answer])
            .want(Want::status(200).body("hello"))
            .want(Want::status(200).free_of("EVIL")),
        Case::new("answer-two-in-one-same-client")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()), Act::Eof])
            .steps([Step::Answer, Step::Send(GET.into()), Step::Answer])
            .want(Want::status(200).body("hello"))
            .want(Want::status(200).free_of("EVIL")),
        Case::new("answer-extra-bytes-later")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
                Act::Await("answered"),
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()),
                Act::Signal("sent"),
                Act::Eof,
            ])
            .steps([Step::Answer, Step::Signal("answered"), Step::Await("sent"), Step::Open, Step::Send(GET.into()), Step::Answer])
            .want(Want::status(200).body("hello"))
            .want(Want::status(200).free_of("EVIL")),
        Case::new("answer-extra-after-chunks")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()), Act::Eof])
            .steps([Step::Answer, Step::Open, Step::Send(GET.into()), Step::Answer])
            .want(Want::status(200).body("hello"))
            .want(Want::status(200).free_of("EVIL")),
        Case::new("answer-before-the-request-is-whole-then-garbage")
            .lane(Lane::One)
            .steps([Step::Send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe".to_vec())])
            .acts([Act::Send(b"junk\r\n\r\n".to_vec()), Act::Eof])
            .methods(["POST"])
            .status(&[502]),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9112 4", malformed());
    all.extend(section("RFC 9112 5.2, 6.3", mended()));
    all.extend(section("RFC 9112 4", right()));
    all.extend(section("RFC 9112 8", broken_chunks()));
    all.extend(section("RFC 9112 6.3, 9.2", more()));
    all
}
