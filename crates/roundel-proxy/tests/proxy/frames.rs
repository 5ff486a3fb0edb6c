//! HTTP/2 clients that are unusual, and those that cost too much: frames written by hand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use roundel_proxy::Http2Excess;
use roundel_testkit::{poll, wait_for};
use socket2::{Domain, SockRef, Socket, Type};

use crate::stage::*;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The head of a request (RFC 7541 appendix A: method, http, `/`, and the authority as a literal).
fn head(stream: u32, method: u8, flags: u8) -> Vec<u8> {
    let fields = [method, 0x86, 0x84, 0x41, 1, b'a'];
    frame(HEADERS, END_HEADERS | flags, stream, &fields)
}

pub(crate) fn get(stream: u32) -> Vec<u8> {
    head(stream, 0x82, END_STREAM)
}

pub(crate) fn post(stream: u32) -> Vec<u8> {
    head(stream, 0x83, 0)
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// A client that keeps what the proxy sends.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stage: &Stage) -> Self {
        let stream = TcpStream::connect(stage.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream };
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(&frame(SETTINGS, 0, 0, b""));
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Reads until `streams` answers have ended; panics when the connection or a stream breaks.
    pub(crate) fn answers(&mut self, streams: usize) {
        let mut ended = 0;
        while ended < streams {
            let frame = self.next().expect("the connection goes on");
            assert!(![GOAWAY, RST_STREAM].contains(&frame.kind), "{frame:?}");
            let may_end = [HEADERS, DATA].contains(&frame.kind);
            ended += usize::from(may_end && frame.flags & END_STREAM != 0);
        }
    }

    /// Sends a PING and reads to its answer: what was sent before has been taken.
    pub(crate) fn is_served(&mut self) {
        self.send(&frame(PING, 0, 0, b"areulive"));
        loop {
            let frame = self.next().expect("the connection goes on");
            assert!(![GOAWAY, RST_STREAM].contains(&frame.kind), "{frame:?}");
            if frame.kind == PING {
                return;
            }
        }
    }

    /// Reads to a GOAWAY and gives its code.
    pub(crate) fn goaway(&mut self) -> Option<u32> {
        self.goaway_after(|_| {})
    }

    /// The same, with a look at each frame before it.
    pub(crate) fn goaway_after(&mut self, mut look: impl FnMut(&Frame)) -> Option<u32> {
        loop {
            let frame = self.next()?;
            look(&frame);
            if frame.kind == GOAWAY {
                let code = frame.payload.get(4..8)?;
                return Some(u32::from_be_bytes(code.try_into().unwrap()));
            }
        }
    }
}

/// A server that answers the size of each body.
fn counting() -> Server {
    Server::new(|_, peer| {
        while let Some(size) = read_body(peer) {
            let size = size.to_string();
            let length = size.len();
            peer.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{size}"
            ));
        }
    })
}

/// Reads a request with a body of any framing; gives the body's size.
fn read_body(peer: &mut Peer) -> Option<usize> {
    let head = peer.head()?;
    if field(&head, "transfer-encoding").is_none() {
        let length = field(&head, "content-length").map_or(0, |v| v.parse().unwrap());
        peer.client.stream.read_exact(&mut vec![0; length]).ok()?;
        return Some(length);
    }
    let mut size = 0;
    loop {
        let line = peer.client.read_until("\r\n");
        let n = usize::from_str_radix(line.trim(), 16).unwrap();
        peer.client.stream.read_exact(&mut vec![0; n + 2]).ok()?;
        size += n;
        if n == 0 {
            return Some(size);
        }
    }
}

#[test]
fn a_post_may_have_an_empty_frame_before_its_end() {
    let server = counting();
    let stage = Stage::new(&[server.address]);
    // All in one burst, and each frame by itself.
    for size in [usize::MAX, 9, 1] {
        let mut client = Client::new(&stage);
        client.stream.set_nodelay(true).unwrap();
        for n in 0..250 {
            let stream = 2 * n + 1;
            let all = [
                post(stream),
                frame(DATA, 0, stream, b""),
                frame(DATA, 0, stream, b""),
                frame(DATA, END_STREAM, stream, b""),
            ];
            let all = all.concat();
            for piece in all.chunks(size.min(all.len())) {
                client.send(piece);
            }
            client.answers(1);
        }
    }
}

#[test]
fn small_frames_in_a_burst_are_taken() {
    let server = counting();
    let stage = Stage::new(&[server.address]);
    // All of a window, by one stream and by many that take turns.
    for (streams, size) in [(1u32, 10), (1, 1), (64, 10), (64, 1)] {
        let mut client = Client::new(&stage);
        let mut burst = Vec::new();
        for n in 0..streams {
            burst.extend(post(2 * n + 1));
        }
        let piece = vec![b'x'; size];
        let each = 60_000 / streams as usize / size;
        for _ in 0..each {
            for n in 0..streams {
                burst.extend(frame(DATA, 0, 2 * n + 1, &piece));
            }
        }
        for n in 0..streams {
            burst.extend(frame(DATA, END_STREAM, 2 * n + 1, b""));
        }
        client.send(&burst);
        client.answers(streams as usize);
    }
}

#[test]
fn small_frames_may_wait_for_their_server() {
    // A listener whose queue is full answers no connect, so nothing of a body can go on.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = full.local_addr().unwrap();
    SockRef::from(&full).listen(0).unwrap();
    let connect = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&silent.into());
        socket
    };
    let _queued: Vec<_> = (0..3).map(|_| connect()).collect();
    let stage = Stage::with(
        &[silent],
        |backend| backend.timeouts.connect = PATIENCE,
        |_| {},
    );
    let mut client = Client::new(&stage);
    let mut burst = Vec::new();
    for n in 0..8 {
        burst.extend(post(2 * n + 1));
    }
    for _ in 0..6_000 {
        for n in 0..8 {
            burst.extend(frame(DATA, 0, 2 * n + 1, b"0123456789"));
        }
    }
    client.send(&burst);
    client.is_served();
    assert_eq!(stage.proxy.in_flight(), 8);
}

/// A server that never answers and counts its connections.
pub(crate) fn mute(connections: Arc<AtomicUsize>) -> Server {
    Server::new(move |_, peer| {
        connections.fetch_add(1, SeqCst);
        while peer.head().is_some() {}
    })
}

#[test]
fn streams_given_up_again_and_again_end_the_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = mute(connections.clone());
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    client.is_served();
    let counters = &stage.proxy.frontends()[0].counters;
    let mut asked = 0;
    for n in 0..2_000u32 {
        // Each is accepted before it is given up.
        if client.stream.write_all(&get(2 * n + 1)).is_err() {
            break;
        }
        let seen = poll(PATIENCE, || {
            let seen = counters.sum(|c| c.requests.get()) > asked;
            (seen || counters.sum(|c| c.http2_calmed[Http2Excess::Resets as usize].get()) > 0)
                .then_some(seen)
        });
        if seen != Some(true) || client.stream.write_all(&reset(2 * n + 1)).is_err() {
            break;
        }
        asked += 1;
    }
    assert!((500..1_500).contains(&asked), "{asked}");
    assert_eq!(client.goaway(), Some(ENHANCE_YOUR_CALM));
    assert_eq!(
        counters.sum(|c| c.http2_calmed[Http2Excess::Resets as usize].get()),
        1
    );
    let line = stage.log_line_of("client_abort");
    assert!(line.contains("HTTP/2.0"), "{line}");
    wait_for("no request", PATIENCE, || {
        (stage.proxy.in_flight() == 0).then_some(())
    });
}

#[test]
fn a_flood_of_them_costs_little_until_then() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = mute(connections.clone());
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    let mut reader = Client {
        stream: client.stream.try_clone().unwrap(),
    };
    let code = std::thread::spawn(move || reader.goaway());
    let mut most = 0;
    for n in 0..10_000u32 {
        let both = [get(2 * n + 1), reset(2 * n + 1)].concat();
        if client.stream.write_all(&both).is_err() {
            break;
        }
        most = most.max(stage.proxy.in_flight());
    }
    assert_eq!(code.join().unwrap(), Some(ENHANCE_YOUR_CALM));
    assert!(most <= 256, "{most} at once");
    assert!(connections.load(SeqCst) <= 700, "{connections:?}");
}

#[test]
fn a_page_that_is_left_gives_up_all_it_asked_for() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = mute(connections.clone());
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    // As many as may be open, four times over: in order.
    for round in 0..4u32 {
        let streams = (0..100).map(|n| 2 * (100 * round + n) + 1);
        let opened: Vec<u8> = streams.clone().flat_map(get).collect();
        client.send(&opened);
        wait_for("all requests", PATIENCE, || {
            (stage.proxy.in_flight() == 100).then_some(())
        });
        let given_up: Vec<u8> = streams.flat_map(reset).collect();
        client.send(&given_up);
        wait_for("their end", PATIENCE, || {
            (stage.proxy.in_flight() == 0).then_some(())
        });
    }
    client.is_served();
}

#[test]
fn an_early_answer_ends_its_stream_without_an_error() {
    let server = Server::new(|_, peer| {
        while peer.head().is_some() {
            peer.client
                .send("HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig");
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    client.send(&[post(1), frame(DATA, 0, 1, &[b'x'; 100])].concat());
    let mut seen = Vec::new();
    loop {
        let frame = client.next().expect("the connection goes on");
        if frame.stream == 1 {
            seen.push((frame.kind, frame.flags & END_STREAM, frame.payload));
        }
        if frame.kind == RST_STREAM {
            break;
        }
    }
    let kinds: Vec<u8> = seen.iter().map(|(kind, ..)| *kind).collect();
    assert!(kinds.starts_with(&[HEADERS, DATA]), "{kinds:?}");
    assert_eq!(seen.last().unwrap().2, [0; 4], "NO_ERROR");
    // Who ends its request when it has the answer is not reset at all.
    client.send(&[post(5), frame(DATA, 0, 5, b"x")].concat());
    client.answers(1);
    client.send(&frame(DATA, END_STREAM, 5, b""));
    client.is_served();
    // Its connection goes on, whatever is still on the way.
    client.send(&frame(DATA, END_STREAM, 1, &[b'x'; 100]));
    client.send(&get(7));
    client.answers(1);
}

/// `h2` ends these before any of them is accepted. The client stays, and may read the GOAWAY.
#[test]
fn a_burst_of_resets_is_counted_when_it_ends_the_connection() {
    let server = mute(Arc::default());
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    client.is_served();
    let burst = (0..2_000).flat_map(|n| [get(2 * n + 1), reset(2 * n + 1)].concat());
    client.send(&burst.collect::<Vec<_>>());
    assert_eq!(client.goaway(), Some(ENHANCE_YOUR_CALM));
    let counters = &stage.proxy.frontends()[0].counters;
    wait_for("the count", PATIENCE, || {
        let counted = counters.sum(|c| c.http2_calmed[Http2Excess::Resets as usize].get()) == 1;
        (counted && stage.proxy.lingering() == 1).then_some(())
    });
}
