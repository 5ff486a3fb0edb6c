//! Properties for any bytes, and for messages that are nearly right.

#[allow(dead_code)]
#[path = "../fuzz/properties.rs"]
mod properties;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces of paths.
const PATH: &[&[u8]] = &[
    b"/", b"/", b".", b"..", b"%", b"%", b"2", b"e", b"E", b"2F", b"5c", b"%2e", b"%61", b"a",
    b";", b"|", b"\xc3",
];

/// Pieces of requests, good and bad; strings of them come close to everything that matters.
const REQUEST: &[&str] = &[
    "GET",
    "POST",
    "OPTIONS",
    "CONNECT",
    "HEAD",
    " ",
    " ",
    "/",
    "/a?b",
    "*",
    "http://b/c",
    "b:80",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\t",
    "\0",
    "Host: a",
    "Host: a\r\n",
    "Host:",
    "host: [::1]:8",
    "Content-Length: 5",
    "Content-Length: 5\r\n",
    "content-length:",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: ",
    "chunked",
    "gzip",
    ",",
    ";",
    "Connection: ",
    "close",
    "keep-alive",
    "upgrade",
    "X",
    "X: y\r\n",
    ":",
    ": ",
    "\u{e4}",
    "#",
    "\"",
    "Upgrade: w\r\n",
    "TE: trailers\r\n",
    "Expect: 100-continue\r\n",
    "hello",
];

/// Pieces of answers.
const ANSWER: &[&str] = &[
    "HTTP/1.1 ",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 None\r\n",
    "HTTP/1.1 304 \r\n",
    "HTTP/1.1 101 Up\r\n",
    "HTTP/1.1 100\r\n",
    "HTTP/1.0 200 OK\r\n",
    "200",
    " ",
    "OK",
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\t",
    "\0",
    "Content-Length: 5\r\n",
    "Content-Length: ",
    "5",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Connection: x\r\n",
    "X: y\r\n",
    "Keep-Alive: timeout=5\r\n",
    ":",
    "X",
    "\u{e4}",
    "hello",
];

/// Pieces of chunked bodies.
const CHUNKS: &[&str] = &[
    "0",
    "1",
    "5",
    "a",
    "F",
    "0\r\n",
    "5\r\nhello\r\n",
    "1\r\nx\r\n",
    "0\r\n\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    ";",
    ";a",
    "=",
    "b",
    "\"",
    "\"c\"",
    "\\",
    " ",
    "\t",
    "X: y\r\n",
    "Host: a\r\n",
    "hello",
    "\0",
    "-",
    "+",
    "0x",
    "\u{e4}",
];

/// Pieces of PROXY protocol headers of version 1.
const PROXY: &[&str] = &[
    "TCP4",
    "TCP6",
    "UNKNOWN",
    " ",
    " ",
    " ",
    "1.2.3.4",
    "::1",
    "::ffff:1.2.3.4",
    "0",
    "80",
    "65535",
    "65536",
    "+1",
    "\r\n",
    "\r",
    "\n",
    "x",
];

/// Pieces of the binary header: fixed parts, lengths, values.
const BINARY: &[&[u8]] = &[
    b"\x21",
    b"\x20",
    b"\x11",
    b"\x21",
    b"\0\x0c",
    b"\0\x24",
    b"\0\x13",
    b"\x10\0",
    b"abcdefghijkl",
    b"\x02\0\x04host",
    b"\x03\0\x04abcd",
    b"\x20\0\x05\x01abcd",
    b"\x04\0\0",
    b"\0",
    b"\xff",
];

fn pieces(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(select(from), 0..most).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A head that begins well, so that more than its first line is reached.
fn begun(line: &'static str, from: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    pieces(from, 12).prop_map(move |rest| [line.as_bytes(), &rest, b"\r\n\r\n"].concat())
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_of_pieces(data in pieces(REQUEST, 20)) {
        properties::request(&data);
    }

    #[test]
    fn requests_that_begin_well(data in begun("GET /a HTTP/1.1\r\nHost: a\r\n", REQUEST)) {
        properties::request(&data);
    }

    #[test]
    fn answers_of_pieces(data in pieces(ANSWER, 20)) {
        properties::answer(&data);
    }

    #[test]
    fn answers_that_begin_well(data in begun("HTTP/1.1 200 OK\r\n", ANSWER)) {
        properties::answer(&data);
    }

    #[test]
    fn chunked_bodies_of_pieces(data in pieces(CHUNKS, 20)) {
        properties::chunks(&data);
    }

    #[test]
    fn proxy_lines_of_pieces(rest in pieces(PROXY, 12)) {
        properties::proxy_protocol(&[b"PROXY ", rest.as_slice()].concat());
    }

    #[test]
    fn binary_proxy_headers_of_pieces(rest in vec(select(BINARY), 0..12)) {
        properties::proxy_protocol(&[b"\r\n\r\n\0\r\nQUIT\n", rest.concat().as_slice()].concat());
    }

    #[test]
    fn any_addresses_come_through(from: [u8; 16], to: [u8; 16], ports: [u8; 4], is_six: bool) {
        let (family, size) = if is_six { (0x21, 16) } else { (0x11, 4) };
        let length = u8::try_from(2 * size + 4).unwrap();
        let fixed = [b"\r\n\r\n\0\r\nQUIT\n\x21".as_slice(), &[family, 0, length]].concat();
        properties::proxy_protocol(&[&fixed, &from[..size], &to[..size], &ports].concat());
    }

    #[test]
    fn a_path_has_one_normal_form(rest in vec(select(PATH), 0..10)) {
        properties::path(&[b"/", rest.concat().as_slice()].concat());
    }

    #[test]
    fn noise_is_harmless(data in noise()) {
        properties::path(&data);
        properties::proxy_protocol(&data);
        properties::request(&data);
        properties::answer(&data);
        properties::chunks(&data);
    }

    #[test]
    fn any_fields_come_through(fields in vec(("[!#-'*+.^-z|~A-Z0-9-]{1,12}", "[ -~]{0,20}"), 0..12)) {
        let mut head = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        for (name, value) in &fields {
            head.push_str(&format!("{name}:{value}\r\n"));
        }
        head.push_str("\r\n");
        properties::request(head.as_bytes());
    }
}
