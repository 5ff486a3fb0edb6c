//! RFC 9113 and RFC 7541, frame by frame: what a client must not send, and what must be taken.
//!
//! One row per sentence, in the order of the RFC; it covers the generic cases of h2spec that field
//! lists cannot express (those are in `http2.rs`).

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use roundel_testkit::wire::{DEADLINE, Slot, Way};

use crate::stage::Proxy;

/// What must follow.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// The connection ends: GOAWAY with one of these codes, or just the end.
    Conn(&'static [u32]),
    /// The stream ends with one of these codes, or the connection does.
    Stream(u32, &'static [u32]),
    /// An answer on this stream.
    Answer(u32),
    /// A PING is answered: the connection lives.
    Lives,
}

use Want::{Answer, Conn, Lives, Stream};

const PROTOCOL: &[u32] = &[1];
const FLOW: &[u32] = &[3];
const CLOSED: &[u32] = &[5];
const CLOSED_OR_PROTOCOL: &[u32] = &[5, 1];
const SIZE: &[u32] = &[6];
const COMPRESSION: &[u32] = &[9];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIO: u8 = 32;
const BOTH: u8 = END_STREAM | END_HEADERS;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let word = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], word(name), word(value)].concat()
}

/// A field list: the four pseudo-fields of a request, then more.
fn fields(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "a"),
    ];
    let all = pseudo.iter().chain(more);
    all.flat_map(|(name, value)| literal(name, value)).collect()
}

fn trailers(fields: &[(&str, &str)]) -> Vec<u8> {
    let all = fields.iter();
    all.flat_map(|(name, value)| literal(name, value)).collect()
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, BOTH, stream, &fields("GET", &[]))
}

/// The head of a request whose body follows.
fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields("POST", &[]))
}

fn post_of(length: &str) -> Vec<u8> {
    let fields = fields("POST", &[("content-length", length)]);
    frame(HEADERS, END_HEADERS, 1, &fields)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"areulive")
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW, 0, stream, &by.to_be_bytes())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST, 0, stream, &code.to_be_bytes())
}

type Row = (&'static str, Want, Vec<Vec<u8>>);

fn frames() -> Vec<Row> {
    let half = |n: usize| fields("GET", &[])[..n].to_vec();
    let rest = |n: usize| fields("GET", &[])[n..].to_vec();
    let begun = || frame(HEADERS, END_STREAM, 1, &half(9));
    vec![
        (
            "4.1 unknown type is ignored",
            Lives,
            vec![frame(0xb6, 0xff, 0, b"hello"), ping()],
        ),
        (
            "4.1 undefined flags are ignored",
            Lives,
            vec![frame(PING, 0xfe & !ACK, 0, b"areulive")],
        ),
        (
            "4.1 the reserved bit is ignored",
            Lives,
            vec![frame(PING, 0, 1 << 31, b"areulive")],
        ),
        (
            "4.2 the largest frame is taken",
            Answer(1),
            vec![post(1), frame(DATA, END_STREAM, 1, &[b'x'; 16_384])],
        ),
        (
            "4.2 DATA too large",
            Stream(1, SIZE),
            vec![post(1), frame(DATA, END_STREAM, 1, &[b'x'; 16_385])],
        ),
        (
            "4.2 HEADERS too large",
            Conn(SIZE),
            vec![frame(HEADERS, BOTH, 1, &[b'x'; 16_385])],
        ),
        (
            "4.3 a block that is no HPACK",
            Conn(COMPRESSION),
            vec![frame(HEADERS, BOTH, 1, &[1, 4])],
        ),
        (
            "4.3 PRIORITY inside a block",
            Conn(PROTOCOL),
            vec![begun(), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255])],
        ),
        (
            "4.3 another stream inside a block",
            Conn(PROTOCOL),
            vec![begun(), get(3)],
        ),
        (
            "5.1 idle: DATA",
            Conn(PROTOCOL),
            vec![frame(DATA, END_STREAM, 1, b"test")],
        ),
        ("5.1 idle: RST_STREAM", Conn(PROTOCOL), vec![reset(1, 8)]),
        (
            "5.1 idle: WINDOW_UPDATE",
            Conn(PROTOCOL),
            vec![window(1, 100)],
        ),
        (
            "5.1 idle: CONTINUATION",
            Conn(PROTOCOL),
            vec![frame(CONTINUATION, END_HEADERS, 1, &half(9))],
        ),
        (
            "5.1 half-closed: DATA",
            Stream(1, CLOSED),
            vec![get(1), frame(DATA, END_STREAM, 1, b"test")],
        ),
        (
            "5.1 half-closed: HEADERS",
            Stream(1, CLOSED),
            vec![get(1), get(1)],
        ),
        (
            "5.1 half-closed: CONTINUATION",
            Conn(CLOSED_OR_PROTOCOL),
            vec![get(1), frame(CONTINUATION, END_HEADERS, 1, &half(9))],
        ),
        (
            "5.1 reset: DATA",
            Stream(1, CLOSED),
            vec![post(1), reset(1, 8), frame(DATA, END_STREAM, 1, b"test")],
        ),
        (
            "5.1 reset: HEADERS",
            Stream(1, CLOSED),
            vec![post(1), reset(1, 8), get(1)],
        ),
        (
            "5.1 reset: CONTINUATION",
            Conn(CLOSED_OR_PROTOCOL),
            vec![
                post(1),
                reset(1, 8),
                frame(CONTINUATION, END_HEADERS, 1, &half(9)),
            ],
        ),
        ("5.1.1 even stream", Conn(PROTOCOL), vec![get(2)]),
        (
            "5.1.1 a lower stream",
            Conn(CLOSED_OR_PROTOCOL),
            vec![get(5), get(3)],
        ),
        (
            "5.3 HEADERS that depends on itself",
            Stream(1, PROTOCOL),
            vec![frame(
                HEADERS,
                BOTH | PRIO,
                1,
                &[vec![0, 0, 0, 1, 255], fields("GET", &[])].concat(),
            )],
        ),
        (
            "5.3 PRIORITY that depends on itself",
            Stream(2, PROTOCOL),
            vec![frame(PRIORITY, 0, 2, &[0, 0, 0, 2, 255]), ping()],
        ),
        (
            "5.5 unknown type inside a block",
            Conn(PROTOCOL),
            vec![begun(), frame(0xb6, 0, 1, b"hello")],
        ),
        (
            "6.1 DATA on stream 0",
            Conn(PROTOCOL),
            vec![frame(DATA, END_STREAM, 0, b"test")],
        ),
        (
            "6.1 padding as long as the frame",
            Conn(PROTOCOL),
            vec![
                post(1),
                frame(DATA, END_STREAM | PADDED, 1, &[6, b't', b'e', b's', b't']),
            ],
        ),
        (
            "6.1 padded DATA is taken",
            Answer(1),
            vec![
                post(1),
                frame(DATA, END_STREAM | PADDED, 1, &[2, b't', b'e', 0, 0]),
            ],
        ),
        ("6.2 HEADERS on stream 0", Conn(PROTOCOL), vec![get(0)]),
        (
            "6.2 padding longer than the block",
            Conn(PROTOCOL),
            vec![frame(
                HEADERS,
                BOTH | PADDED,
                1,
                &[vec![200], fields("GET", &[])].concat(),
            )],
        ),
        (
            "6.2 priority and padding are taken",
            Answer(1),
            vec![frame(
                HEADERS,
                BOTH | PADDED | PRIO,
                1,
                &[vec![2, 0, 0, 0, 0, 15], fields("GET", &[]), vec![0, 0]].concat(),
            )],
        ),
        (
            "6.3 PRIORITY on stream 0",
            Conn(PROTOCOL),
            vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 255])],
        ),
        (
            "6.3 PRIORITY of another length",
            Stream(1, SIZE),
            vec![post(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 1])],
        ),
        (
            "6.3 PRIORITY of an idle stream",
            Lives,
            vec![frame(PRIORITY, 0, 7, &[0, 0, 0, 1, 9]), ping()],
        ),
        (
            "6.4 RST_STREAM on stream 0",
            Conn(PROTOCOL),
            vec![reset(0, 8)],
        ),
        (
            "6.4 RST_STREAM of another length",
            Conn(SIZE),
            vec![post(1), frame(RST, 0, 1, &[0, 0, 8])],
        ),
        (
            "6.5 ACK with a payload",
            Conn(SIZE),
            vec![frame(SETTINGS, ACK, 0, &[0; 6])],
        ),
        (
            "6.5 SETTINGS on a stream",
            Conn(PROTOCOL),
            vec![frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 1])],
        ),
        (
            "6.5 SETTINGS of another length",
            Conn(SIZE),
            vec![frame(SETTINGS, 0, 0, &[0, 3, 0])],
        ),
        ("6.5.2 ENABLE_PUSH 2", Conn(PROTOCOL), vec![setting(2, 2)]),
        (
            "6.5.2 INITIAL_WINDOW_SIZE 2^31",
            Conn(FLOW),
            vec![setting(4, 1 << 31)],
        ),
        (
            "6.5.2 MAX_FRAME_SIZE 2^14-1",
            Conn(PROTOCOL),
            vec![setting(5, 16_383)],
        ),
        (
            "6.5.2 MAX_FRAME_SIZE 2^24",
            Conn(PROTOCOL),
            vec![setting(5, 1 << 24)],
        ),
        (
            "6.5.2 an unknown setting is ignored",
            Lives,
            vec![setting(0xff, 1), ping()],
        ),
        ("6.7 PING is answered", Lives, vec![ping()]),
        (
            "6.7 an answer to no PING is ignored",
            Lives,
            vec![frame(PING, ACK, 0, b"whatever"), ping()],
        ),
        (
            "6.7 PING on a stream",
            Conn(PROTOCOL),
            vec![frame(PING, 0, 1, b"areulive")],
        ),
        (
            "6.7 PING of another length",
            Conn(SIZE),
            vec![frame(PING, 0, 0, b"short")],
        ),
        (
            "6.8 GOAWAY on a stream",
            Conn(PROTOCOL),
            vec![frame(GOAWAY, 0, 1, &[0; 8])],
        ),
        (
            "6.9 no window for the connection",
            Conn(PROTOCOL),
            vec![window(0, 0)],
        ),
        (
            "6.9 no window for a stream",
            Stream(1, PROTOCOL),
            vec![post(1), window(1, 0)],
        ),
        (
            "6.9 WINDOW_UPDATE of another length",
            Conn(SIZE),
            vec![frame(WINDOW, 0, 0, &[0, 0, 1])],
        ),
        (
            "6.9.1 too much window for the connection",
            Conn(FLOW),
            vec![window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)],
        ),
        (
            "6.9.1 too much window for a stream",
            Stream(1, FLOW),
            vec![post(1), window(1, 0x7fff_ffff), window(1, 0x7fff_ffff)],
        ),
        (
            "6.9.2 too much by a setting",
            Conn(FLOW),
            vec![post(1), window(1, 0x7fff_0000), setting(4, 0x7fff_ffff)],
        ),
        (
            "6.10 several CONTINUATION",
            Answer(1),
            vec![
                begun(),
                frame(CONTINUATION, 0, 1, &rest(9)[..9]),
                frame(CONTINUATION, END_HEADERS, 1, &rest(18)),
            ],
        ),
        (
            "6.10 DATA inside a block",
            Conn(PROTOCOL),
            vec![begun(), frame(DATA, END_STREAM, 1, b"test")],
        ),
        (
            "6.10 CONTINUATION on stream 0",
            Conn(PROTOCOL),
            vec![begun(), frame(CONTINUATION, END_HEADERS, 0, &rest(9))],
        ),
        (
            "6.10 CONTINUATION behind a whole block",
            Conn(PROTOCOL),
            vec![post(1), frame(CONTINUATION, END_HEADERS, 1, &half(9))],
        ),
        (
            "6.10 CONTINUATION behind the last one",
            Conn(PROTOCOL),
            vec![
                frame(HEADERS, 0, 1, &half(9)),
                frame(CONTINUATION, END_HEADERS, 1, &rest(9)),
                frame(CONTINUATION, END_HEADERS, 1, &half(9)),
            ],
        ),
        (
            "6.10 CONTINUATION behind DATA",
            Conn(PROTOCOL),
            vec![
                post(1),
                frame(DATA, 0, 1, b"test"),
                frame(CONTINUATION, END_HEADERS, 1, &half(9)),
            ],
        ),
        (
            "7 unknown code in RST_STREAM",
            Lives,
            vec![post(1), reset(1, 0xff), ping()],
        ),
        (
            "8.1 second HEADERS without an end",
            Stream(1, PROTOCOL),
            vec![post(1), frame(HEADERS, END_HEADERS, 1, &literal("x", "y"))],
        ),
        (
            "8.1 a pseudo-field in trailers",
            Stream(1, PROTOCOL),
            vec![post(1), frame(HEADERS, BOTH, 1, &literal(":method", "GET"))],
        ),
        (
            "8.1 a pseudo-field before another one in trailers",
            Stream(1, PROTOCOL),
            vec![
                post(1),
                frame(DATA, 0, 1, b"a"),
                frame(HEADERS, BOTH, 1, &trailers(&[(":path", "/y"), ("x", "y")])),
            ],
        ),
        (
            "8.1 a pseudo-field in trailers that go on",
            Stream(1, PROTOCOL),
            vec![
                post(1),
                frame(HEADERS, END_STREAM, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, &literal(":path", "/y")),
            ],
        ),
        (
            "8.2.2 a field of connections in trailers",
            Stream(1, PROTOCOL),
            vec![
                post(1),
                frame(HEADERS, BOTH, 1, &literal("connection", "x")),
            ],
        ),
        (
            "7541 4.2 a size update before trailers",
            Answer(1),
            vec![
                post(1),
                frame(HEADERS, BOTH, 1, &[vec![0x20], literal("x", "y")].concat()),
            ],
        ),
        (
            "8.1 padded trailers with a priority",
            Answer(1),
            vec![
                post(1),
                frame(HEADERS, BOTH | PADDED | PRIO, 1, &{
                    let field = literal("x", "y");
                    [&[3, 0, 0, 0, 0, 9][..], &field, &[0; 3]].concat()
                }),
            ],
        ),
        (
            "8.1 trailers are taken",
            Answer(1),
            vec![
                post(1),
                frame(DATA, 0, 1, b"a"),
                frame(HEADERS, BOTH, 1, &literal("x", "y")),
            ],
        ),
        (
            "8.1.1 less than the length",
            Stream(1, PROTOCOL),
            vec![post_of("9"), frame(DATA, END_STREAM, 1, b"test")],
        ),
        (
            "8.1.1 more than the length",
            Stream(1, PROTOCOL),
            vec![post_of("1"), frame(DATA, END_STREAM, 1, b"test")],
        ),
        (
            "8.1.1 more in several frames",
            Stream(1, PROTOCOL),
            vec![
                post_of("5"),
                frame(DATA, 0, 1, b"test"),
                frame(DATA, END_STREAM, 1, b"test"),
            ],
        ),
        (
            "8.1.1 as long as said",
            Answer(1),
            vec![
                post_of("8"),
                frame(DATA, 0, 1, b"test"),
                frame(DATA, END_STREAM, 1, b"test"),
            ],
        ),
        (
            "8.4 PUSH_PROMISE by a client",
            Conn(PROTOCOL),
            vec![frame(
                PUSH,
                END_HEADERS,
                1,
                &[vec![0, 0, 0, 2], fields("GET", &[])].concat(),
            )],
        ),
    ]
}

/// Blocks of HPACK on stream 1.
fn compression() -> Vec<Row> {
    let block = |bytes: Vec<u8>| vec![frame(HEADERS, BOTH, 1, &bytes)];
    let with = |more: &[u8]| block([fields("GET", &[]), more.to_vec()].concat());
    vec![
        (
            "7541 2.3.3 an index beyond the table",
            Conn(COMPRESSION),
            with(&[0xc6]),
        ),
        (
            "7541 2.3.3 a name beyond the table",
            Conn(COMPRESSION),
            with(&[0x7f, 0x47, 1, b'x']),
        ),
        (
            "7541 4.2 a size update behind a field",
            Conn(COMPRESSION),
            with(&[0x20]),
        ),
        (
            "7541 5.2 padding of more than 7 bits",
            Conn(COMPRESSION),
            with(&[0, 1, b'x', 0x84, 0x49, 0x50, 0x9f, 0xff]),
        ),
        (
            "7541 5.2 padding by zeros",
            Conn(COMPRESSION),
            with(&[0, 1, b'x', 0x83, 0x49, 0x50, 0x90]),
        ),
        (
            "7541 5.2 the end of string as a symbol",
            Conn(COMPRESSION),
            with(&[0, 1, b'x', 0x86, 0x49, 0x50, 0x9f, 0xff, 0xff, 0xff]),
        ),
        ("7541 6.1 index 0", Conn(COMPRESSION), with(&[0x80])),
        (
            "7541 6.3 a size beyond the setting",
            Conn(COMPRESSION),
            block([vec![0x3f, 0xe1, 0xff, 0x03], fields("GET", &[])].concat()),
        ),
        (
            "7541 6.1 static entries",
            Answer(1),
            block(vec![0x82, 0x86, 0x84, 0x41, 1, b'a']),
        ),
        (
            "7541 6.3 a smaller size",
            Answer(1),
            block([vec![0x20], fields("GET", &[])].concat()),
        ),
    ]
}

/// What a client sends first.
pub(crate) fn opening() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(SETTINGS, 0, 0, &[])].concat()
}

/// The bytes of every row behind the opening.
pub(crate) fn bytes() -> Vec<Vec<u8>> {
    let rows = frames().into_iter().chain(compression());
    rows.map(|(_, _, sent)| sent.concat()).collect()
}

/// Sends the preface, settings and the frames; says what is wrong about what comes back.
fn play(way: &Way, want: Want, sent: &[Vec<u8>]) -> Result<(), String> {
    let mut stream = way.open(&["h2"]).map_err(|e| e.to_string())?;
    // It may be cut off while this is sent: what came back counts.
    let _ = stream.write_all(&[opening(), sent.concat()].concat());
    let deadline = Instant::now() + DEADLINE;
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    loop {
        while let Some((kind, flags, id, payload)) = take(&mut bytes) {
            let code = |at: usize| {
                let word = payload.get(at..at + 4)?;
                Some(u32::from_be_bytes(word.try_into().ok()?))
            };
            let shown = if kind == GOAWAY { code(4) } else { code(0) };
            seen.push(format!("{kind}/{flags}/{id}/{shown:?}"));
            let said = match (want, kind) {
                // With another code the connection must end: the library's GOAWAY mostly says
                // PROTOCOL_ERROR, which RFC 9113 7 lets anybody send instead.
                (Conn(codes) | Stream(_, codes), GOAWAY) => {
                    code(4).filter(|c| codes.contains(c)).map(|_| true)
                }
                (Stream(of, codes), RST) if of == id => code(0).map(|c| codes.contains(&c)),
                (Answer(of), HEADERS) if of == id => Some(true),
                (Answer(_) | Lives, GOAWAY) => Some(false),
                (Answer(of), RST) if of == id => Some(false),
                (Lives, PING) if flags & ACK != 0 => Some(payload == b"areulive"),
                _ => None,
            };
            match said {
                Some(true) => return Ok(()),
                Some(false) => return Err(format!("{seen:?}")),
                None => {}
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("nothing of it comes: {seen:?}"));
        }
        stream.set_read_timeout(left);
        let mut room = [0; 4096];
        match stream.read(&mut room) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&room[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ if matches!(want, Conn(_) | Stream(..)) => return Ok(()),
            _ => return Err(format!("it ends: {seen:?}")),
        }
    }
}

type Frame = (u8, u8, u32, Vec<u8>);

fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let &[a, b, c, kind, flags, d, e, f, g] = bytes.get(..9)?.first_chunk::<9>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if bytes.len() < 9 + length {
        return None;
    }
    let payload = bytes[9..9 + length].to_vec();
    bytes.drain(..9 + length);
    Some((
        kind,
        flags,
        u32::from_be_bytes([d & 0x7f, e, f, g]),
        payload,
    ))
}

fn all(rows: Vec<Row>) {
    let proxy = Proxy::start();
    let failure = |slot: &Slot, (name, want, sent): &Row| {
        let played = slot.exchange(&[], |way| play(way, *want, sent));
        let tls = slot.pairing.is_tls();
        let told = |why| format!("{name} (TLS: {tls}): wants {want:?}: {why}");
        played.err().map(told)
    };
    let of_slot = |slot| rows.iter().filter_map(move |row| failure(slot, row));
    let failures: Vec<String> = proxy.both().into_iter().flat_map(of_slot).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn frames_of_rfc_9113() {
    all(frames());
}

#[test]
fn compression_of_rfc_7541() {
    all(compression());
}

#[test]
fn a_preface_that_is_none_is_refused() {
    let proxy = Proxy::start();
    for slot in proxy.both() {
        let (got, _) = slot
            .exchange(&[], |way| {
                let mut stream = way.open(&["h2"]).map_err(|e| e.to_string())?;
                let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
                stream.set_read_timeout(DEADLINE);
                let mut got = Vec::new();
                stream.read_to_end(&mut got).map_err(|e| e.to_string())?;
                Ok(got)
            })
            .unwrap();
        assert!(!got.starts_with(b"HTTP/1.1 200"), "{got:?}");
    }
}
