//! RFC 9112 3.2, 5; RFC 9110 5, 7.2: fields of requests.

use roundel_testkit::wire::{Case, Saw};

use super::{Refused, refused, section};

const HOSTS: &[Refused] = &[
    ("host-missing", "GET / HTTP/1.1\r\n\r\n", &[400]),
    (
        "host-missing-other-there",
        "GET / HTTP/1.1\r\nX: a\r\n\r\n",
        &[400],
    ),
    (
        "host-twice",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        &[400],
    ),
    (
        "host-twice-same",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "host-twice-case",
        "GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
        &[400],
    ),
    (
        "host-twice-1-0",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        &[400],
    ),
    ("host-list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", &[400]),
    ("host-comma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", &[400]),
    ("host-space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
    (
        "host-userinfo",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        &[400],
    ),
    ("host-path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400]),
    ("host-query", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", &[400]),
    (
        "host-fragment",
        "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
        &[400],
    ),
    (
        "host-scheme",
        "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n",
        &[400],
    ),
    (
        "host-port-letters",
        "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
        &[400],
    ),
    (
        "host-port-big",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        &[400],
    ),
    (
        "host-port-sign",
        "GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n",
        &[400],
    ),
    (
        "host-two-ports",
        "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
        &[400],
    ),
    (
        "host-bracket-open",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        &[400],
    ),
    (
        "host-bracket-close",
        "GET / HTTP/1.1\r\nHost: ::1]\r\n\r\n",
        &[400],
    ),
    (
        "host-bracket-words",
        "GET / HTTP/1.1\r\nHost: [abc\r\n\r\n",
        &[400],
    ),
    (
        "host-quote",
        "GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n",
        &[400],
    ),
    (
        "host-backslash",
        "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
        &[400],
    ),
    ("host-nul", "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", &[400]),
    ("host-less", "GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", &[400]),
    (
        "host-port-only",
        "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        &[400],
    ),
];

const FIELDS: &[Refused] = &[
    (
        "field-space-before-colon",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        &[400],
    ),
    (
        "field-tab-before-colon",
        "GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n",
        &[400],
    ),
    (
        "field-host-space-before-colon",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        &[400],
    ),
    (
        "field-length-space-before-colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        &[400],
    ),
    (
        "field-coding-space-before-colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "field-first-begins-with-space",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        &[400],
    ),
    (
        "field-first-begins-with-space-2",
        "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "field-obs-fold",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        &[400],
    ),
    (
        "field-obs-fold-tab",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
        &[400],
    ),
    (
        "field-obs-fold-host",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        &[400],
    ),
    (
        "field-obs-fold-length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello",
        &[400],
    ),
    (
        "field-obs-fold-coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "field-obs-fold-space-line",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n \r\n\r\n",
        &[400],
    ),
    (
        "field-empty-name",
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        &[400],
    ),
    (
        "field-empty-name-first",
        "GET / HTTP/1.1\r\n: x\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "field-no-colon",
        "GET / HTTP/1.1\r\nHost: a\r\nXY\r\n\r\n",
        &[400],
    ),
    (
        "field-nul-in-name",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: z\r\n\r\n",
        &[400],
    ),
    (
        "field-nul-in-value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n",
        &[400],
    ),
    (
        "field-nul-at-end",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n",
        &[400],
    ),
    (
        "field-bare-cr-in-value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n",
        &[400],
    ),
    (
        "field-bare-cr-hides-field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\nhello",
        &[400],
    ),
    (
        "field-bare-lf-in-value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: 1\r\n\r\n",
        &[400],
    ),
    (
        "field-bare-lf-end",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        &[400],
    ),
    (
        "field-lf-lf-end",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\n\n",
        &[400],
    ),
    (
        "field-crlf-lf-end",
        "GET / HTTP/1.1\r\nHost: a\r\n\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "field-cr-cr-lf",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n",
        &[400],
    ),
    (
        "field-cr-at-head-end",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\rGET: x\r\n\r\n",
        &[400],
    ),
    (
        "field-cr-and-nothing-more",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
        &[400],
    ),
    (
        "field-cr-in-value-and-nothing-more",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ",
        &[400],
    ),
    (
        "field-name-space",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-slash",
        "GET / HTTP/1.1\r\nHost: a\r\nX/Y: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-brackets",
        "GET / HTTP/1.1\r\nHost: a\r\nX[Y]: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-quoted",
        "GET / HTTP/1.1\r\nHost: a\r\n\"X\": z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-at",
        "GET / HTTP/1.1\r\nHost: a\r\nX@Y: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-non-ascii",
        "GET / HTTP/1.1\r\nHost: a\r\n\u{fc}: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-del",
        "GET / HTTP/1.1\r\nHost: a\r\nX\x7f: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-vt",
        "GET / HTTP/1.1\r\nHost: a\r\nX\x0b: z\r\n\r\n",
        &[400],
    ),
    (
        "field-name-leading-vt",
        "GET / HTTP/1.1\r\nHost: a\r\n\x0bX: z\r\n\r\n",
        &[400],
    ),
    (
        "field-coding-vt",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
];

/// Control characters in values: RFC 9110 5.5 lets a recipient replace or reject them.
const CONTROLS: &[Refused] = &[
    (
        "value-bel",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\x07z\r\n\r\n",
        &[400],
    ),
    (
        "value-esc",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\x1b[1m\r\n\r\n",
        &[400],
    ),
    (
        "value-del",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\x7fz\r\n\r\n",
        &[400],
    ),
    (
        "value-vt",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\x0bz\r\n\r\n",
        &[400],
    ),
    (
        "value-soh",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        &[400],
    ),
];

/// Values that go through, trimmed.
const VALUES: &[(&str, &str, &str)] = &[
    ("value-empty", "", ""),
    ("value-no-space", "y", "y"),
    ("value-many-spaces", "   y   ", "y"),
    ("value-tabs", "\ty\t", "y"),
    ("value-inner-tab", "y\tz", "y\tz"),
    ("value-inner-spaces", "y   z", "y   z"),
    ("value-colons", "a:b:c", "a:b:c"),
    ("value-quoted", "\"a, b\"", "\"a, b\""),
    ("value-quoted-unclosed", "\"a", "\"a"),
    ("value-only-commas", ",,,", ",,,"),
    (
        "value-visible",
        "!#$%&'()*+,-./:;<=>?@[]^_`{|}~",
        "!#$%&'()*+,-./:;<=>?@[]^_`{|}~",
    ),
];

fn value(name: &str, sent: &str, seen: &'static str) -> Case {
    Case::new(name)
        .send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-V:{sent}\r\n\r\n"))
        .status(&[200])
        .saw(Saw::default().has("x-v", seen))
        .kept()
}

fn odd() -> Vec<Case> {
    let fields = |n: usize, size: usize| {
        let one = format!("X-N: {}\r\n", "y".repeat(size));
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", one.repeat(n))
    };
    vec![
        Case::new("host-empty")
            .send("GET / HTTP/1.1\r\nHost:\r\n\r\n")
            .http1_only("no authority is empty there")
            .status(&[200])
            .saw(Saw::default().has("host", ""))
            .or()
            .refused(&[400]),
        Case::new("host-port-empty")
            .send("GET / HTTP/1.1\r\nHost: a:\r\n\r\n")
            .status(&[200])
            .or()
            .refused(&[400]),
        Case::new("host-1-0-missing")
            .send("GET /x HTTP/1.0\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").any("host"))
            .or()
            .status(&[200])
            .saw(Saw::line("GET /x").version("HTTP/1.0")),
        Case::new("host-kept-as-sent")
            .send("GET /x HTTP/1.1\r\nHost: A.Example:8080\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("host", "A.Example:8080")),
        Case::new("host-underscore")
            .send("GET /x HTTP/1.1\r\nHost: a_b\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("host", "a_b")),
        Case::new("host-ipv6")
            .send("GET /x HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("host", "[2001:db8::1]:80")),
        Case::new("host-last-of-many")
            .send("GET /x HTTP/1.1\r\nA: 1\r\nB: 2\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("host", "a").has("b", "2")),
        Case::new("fields-repeated-keep-order")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("x", "1").has("x", "2"))
            .or()
            .status(&[200])
            .saw(Saw::line("GET /x").has("x", "1, 2")),
        Case::new("fields-names-without-case")
            .send("POST /x HTTP/1.1\r\nhOsT: a\r\ncOnTeNt-LeNgTh: 3\r\n\r\nabc")
            .status(&[200])
            .saw(Saw::line("POST /x").body("abc")),
        Case::new("fields-90")
            .send(fields(90, 10))
            .status(&[200])
            .kept(),
        Case::new("fields-101")
            .own()
            .send(fields(101, 1))
            .refused(&[431]),
        Case::new("fields-5000")
            .send(fields(5000, 1))
            .refused(&[431, 400]),
        Case::new("field-6k")
            .send(fields(1, 6000))
            .status(&[200])
            .kept(),
        Case::new("field-40k")
            .own()
            .send(fields(1, 40_000))
            .status(&[200])
            .kept(),
        Case::new("field-70k")
            .send(fields(1, 70_000))
            .refused(&[431, 400]),
        Case::new("field-name-70k")
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n",
                "x".repeat(70_000)
            ))
            .refused(&[431, 400]),
        Case::new("field-endless")
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}",
                "x".repeat(1_000_000)
            ))
            .refused(&[431, 400]),
        Case::new("head-total-70k")
            .own()
            .send(fields(70, 1000))
            .refused(&[431]),
        Case::new("value-obs-text")
            .send(b"GET / HTTP/1.1\r\nHost: a\r\nX-V: \xe4\xf6\xfc\r\n\r\n")
            .status(&[200])
            .saw(Saw::default().has("x-v", "\u{e4}\u{f6}\u{fc}"))
            .kept(),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = refused("RFC 9112 3.2", HOSTS);
    all.extend(refused("RFC 9112 5", FIELDS));
    all.extend(
        refused("RFC 9110 5.5", CONTROLS)
            .into_iter()
            .map(Case::should),
    );
    let values = VALUES.iter().map(|(n, s, v)| value(n, s, v)).collect();
    all.extend(section("RFC 9110 5.5", values));
    all.extend(section("RFC 9110 5", odd()));
    all
}
