//! RFC 9112 2.2, 2.3, 3: how a request begins.

use roundel_testkit::wire::{Case, Saw, Want};

use super::{Refused, refused, section};

const LINES: &[Refused] = &[
    ("line-no-version", "GET /\r\nHost: a\r\n\r\n", &[400, 505]),
    ("line-09-only", "GET /\r\n\r\n", &[400, 505]),
    (
        "line-empty-method",
        " / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-leading-space",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-leading-tab",
        "\tGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-two-spaces",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-two-spaces-before-version",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-tab-separators",
        "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-trailing-space",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-trailing-word",
        "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("line-no-target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("line-bare-lf", "GET / HTTP/1.1\nHost: a\r\n\r\n", &[400]),
    ("line-all-bare-lf", "GET / HTTP/1.1\nHost: a\n\n", &[400]),
    (
        "line-bare-cr-end",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-cr-in-target",
        "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-nul-in-target",
        "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-nul-in-method",
        "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-vt-separator",
        "GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-ff-separator",
        "GET\x0c/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "line-two-crcr",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("method-slash", "GE/T / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("method-colon", "GET: / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    (
        "method-quoted",
        "\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("method-at", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    (
        "method-braces",
        "{GET} / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("method-del", "G\x7fT / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    (
        "method-non-ascii",
        "G\u{c9}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "version-2-0",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    (
        "version-3-0",
        "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    (
        "version-0-9",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    ("version-1", "GET / HTTP/1\r\nHost: a\r\n\r\n", &[400]),
    ("version-1-dot", "GET / HTTP/1.\r\nHost: a\r\n\r\n", &[400]),
    ("version-01-1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", &[400]),
    ("version-1-01", "GET / HTTP/1.01\r\nHost: a\r\n\r\n", &[400]),
    (
        "version-1-10",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    ("version-lower", "GET / http/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("version-mixed", "GET / Http/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("version-htp", "GET / HTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    (
        "version-httpx",
        "GET / HTTPX/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "version-space",
        "GET / HTTP/ 1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("version-comma", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", &[400]),
    (
        "version-letter",
        "GET / HTTP/1.x\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "version-minus",
        "GET / HTTP/-1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("version-icap", "GET / ICAP/1.0\r\nHost: a\r\n\r\n", &[400]),
    (
        "target-no-slash",
        "GET abc HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-query-only",
        "GET ?q HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-fragment",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-space",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-star-get",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-star-plus",
        "OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-authority-get",
        "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        &[400],
    ),
    (
        "target-absolute-empty-host",
        "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-absolute-userinfo",
        "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-absolute-bad-port",
        "GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-absolute-fragment",
        "GET http://a/x#y HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-absolute-comma-host",
        "GET http://a,b/ HTTP/1.1\r\nHost: a,b\r\n\r\n",
        &[400],
    ),
    (
        "target-del",
        "GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-quote",
        "GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target-less",
        "GET /a<b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "preface-in-1-0",
        "PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400, 501, 505],
    ),
    (
        "garbage",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n",
        &[400],
    ),
    ("garbage-text", "hello\r\n\r\n", &[400]),
    ("garbage-json", "{\"method\": \"GET\"}\r\n\r\n", &[400]),
];

/// Targets that go through byte for byte.
const TARGETS: &[(&str, &str)] = &[
    ("target-root", "/"),
    ("target-query", "/a?b=c&d"),
    ("target-two-questions", "/a?b?c"),
    ("target-encoded-slash", "/a%2Fb"),
    ("target-encoded-lower", "/a%2fb"),
    ("target-dots", "/a/../b/./c"),
    ("target-double-slash", "//a//b"),
    ("target-semicolon", "/a;b=c"),
    ("target-encoded-null", "/a%00b"),
    ("target-encoded-crlf", "/a%0d%0aX:%20y"),
    ("target-colon", "/a:b@c"),
    ("target-empty-query", "/a?"),
    ("target-plus", "/a+b?c+d"),
    ("target-sub-delims", "/!$&'()*+,;=~-._"),
];

/// Characters that browsers send although RFC 3986 does not allow them.
const RAW: &[(&str, &str)] = &[
    ("target-raw-brackets", "/a?x[]=1"),
    ("target-raw-pipe", "/a|b"),
    ("target-raw-braces", "/a{b}"),
    ("target-raw-caret", "/a^b"),
    ("target-raw-backtick", "/a`b"),
    ("target-raw-backslash", "/a\\b"),
];

/// Behind HTTP/2 one of them is sent in its encoding, which means the same: the library there takes no other.
fn raw(name: &str, target: &str) -> Case {
    let case = passes(name, target);
    match target.contains('`') {
        true => case.http1_only("the character is sent encoded"),
        false => case,
    }
}

fn passes(name: &str, target: &str) -> Case {
    let line: &'static str = format!("GET {target}").leak();
    Case::new(name)
        .send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .status(&[200])
        .kept()
        .saw(Saw::line(line))
}

/// RFC 9112 3: long and odd, yet right.
fn sizes() -> Vec<Case> {
    let long = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n));
    let method = "M".repeat(300);
    vec![
        Case::new("target-8000")
            .send(long(8000))
            .status(&[200])
            .kept(),
        Case::new("target-100k")
            .send(long(100_000))
            .refused(&[414, 400]),
        Case::new("target-17k")
            .own()
            .send(long(17_000))
            .refused(&[414]),
        Case::new("target-endless")
            .send(format!("GET /{}", "x".repeat(300_000)))
            .refused(&[414, 400]),
        Case::new("method-300")
            .should()
            .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
            .refused(&[501, 400, 405]),
        Case::new("method-unknown")
            .send("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("BREW /pot"))
            .kept(),
        Case::new("method-lower-is-another")
            .send("get / HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("get /"))
            .or()
            .refused(&[400, 501]),
        Case::new("method-all-token-characters")
            .should()
            .send("M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("M!#$%&'*+-.^_`|~9 /")),
        Case::new("crlf-before-request")
            .should()
            .send("\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x")),
        Case::new("crlf-between-requests")
            .should()
            .send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .status(&[200])
            .saw(Saw::line("GET /1"))
            .saw(Saw::line("GET /2")),
        Case::new("version-1-2-is-1-1")
            .should()
            .send("GET /x HTTP/1.2\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").version("HTTP/1.1"))
            .or()
            .refused(&[400, 505]),
    ]
}

/// RFC 9112 3.2.2, 9110 7.1: absolute-form.
fn absolute() -> Vec<Case> {
    vec![
        Case::new("absolute")
            .send("GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::default().has("host", "a.example"))
            .kept(),
        Case::new("absolute-origin-form-to-servers")
            .own()
            .send("GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x?y").has("host", "a.example")),
        Case::new("absolute-no-path")
            .own()
            .send("GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /").has("host", "a.example")),
        Case::new("absolute-no-path-query")
            .own()
            .send("GET http://a.example?q HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /?q")),
        Case::new("absolute-options-no-path")
            .send("OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("OPTIONS *").has("host", "a.example"))
            .or()
            .status(&[200])
            .saw(Saw::line("OPTIONS http://a.example").has("host", "a.example")),
        Case::new("absolute-upper-scheme")
            .send("GET HTTP://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::default().has("host", "a.example")),
        Case::new("absolute-contradicts-host")
            .send("GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n")
            .refused(&[400])
            .or()
            .status(&[200])
            .saw(Saw::default().has("host", "a.example").free_of("b.example")),
        Case::new("absolute-contradicts-host-refused")
            .own()
            .send("GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n")
            .refused(&[400]),
        Case::new("absolute-contradicts-port")
            .own()
            .send("GET http://a.example:81/x HTTP/1.1\r\nHost: a.example:82\r\n\r\n")
            .refused(&[400]),
        Case::new("absolute-default-port-agrees")
            .own()
            .send("GET http://a.example:80/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x")),
        Case::new("absolute-host-case-agrees")
            .own()
            .send("GET http://A.Example/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x")),
        Case::new("absolute-needs-host")
            .send("GET http://a.example/x HTTP/1.1\r\n\r\n")
            .refused(&[400]),
        Case::new("absolute-1-0-needs-no-host")
            .send("GET http://a.example/x HTTP/1.0\r\n\r\n")
            .status(&[200])
            .saw(Saw::default().has("host", "a.example"))
            .closed(),
        Case::new("absolute-ipv6")
            .send("GET http://[::1]:8080/x HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n")
            .status(&[200])
            .saw(Saw::default().has("host", "[::1]:8080")),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = refused("RFC 9112 3", LINES);
    let targets = TARGETS.iter().map(|(n, t)| passes(n, t)).collect();
    all.extend(section("RFC 9112 3.2.1", targets));
    let raw = RAW.iter().map(|(n, t)| raw(n, t).own()).collect();
    all.extend(section("RFC 3986 2", raw));
    all.extend(section("RFC 9112 3", sizes()));
    all.extend(section("RFC 9112 3.2.2", absolute()));
    let refusal = Case::new("refusals-say-why-and-close")
        .section("RFC 9112 9.6")
        .send("GET / HTTP/1.1\nHost: a\n\n")
        .want(Want::status(400).has("connection", "close").any("date"))
        .closed();
    all.push(refusal.should());
    all
}
