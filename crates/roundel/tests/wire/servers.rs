//! RFC 9113 towards servers, frame by frame: what a server may do that few libraries do, and what the program
//! does with its connections. The whole program is between a client and a server by hand.

mod heads;
mod line;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use line::*;
use roundel_testkit::{Connection, wait_for};

#[test]
fn an_answer_that_has_ended_is_whole_whatever_reset_follows() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    for code in [NO_ERROR, CANCEL, INTERNAL_ERROR] {
        // The request has not ended: the server wants no more of it.
        let mut client = Connection::open_within(proxy.front, PATIENCE).unwrap();
        client
            .put(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart")
            .unwrap();
        let mut line = Line::take(&listener);
        let stream = line.until(HEADERS);
        line.send(&[whole(stream, b"hello"), reset(stream, code)].concat());
        let answer = client.take("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        drop(client);
        // It has ended: the reset says nothing more.
        let asked = proxy.ask("GET", "");
        let stream = line.request();
        line.send(&[whole(stream, b"again"), reset(stream, code)].concat());
        let answer = asked.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "again"));
        // The end may be that of trailers.
        let asked = proxy.ask("GET", "");
        let stream = line.request();
        let [head, data] = [
            frame(HEADERS, END_HEADERS, stream, &[OK]),
            frame(DATA, 0, stream, b"third"),
        ];
        let trailers = literal("x-t", "y", false);
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers);
        line.send(&[head, data, trailers, reset(stream, code)].concat());
        assert_eq!(asked.join().unwrap().text(), "third");
        // The connection goes with the server's word, so that the next round has one of its own.
        line.send(&goaway(stream));
        line.end();
    }
}

#[test]
fn an_answer_without_its_end_is_broken_by_a_reset() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    let mut first = None;
    for code in [NO_ERROR, CANCEL, INTERNAL_ERROR] {
        let mut client = TcpStream::connect(proxy.front).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
            .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let line = first.get_or_insert_with(|| Line::take(&listener));
        let stream = line.request();
        let head = frame(HEADERS, END_HEADERS, stream, &[OK]);
        line.send(&[head, frame(DATA, 0, stream, b"hello")].concat());
        let mut got = Vec::new();
        while !got.ends_with(b"hello\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            got.extend(byte);
        }
        line.send(&reset(stream, code));
        let mut rest = Vec::new();
        // However it ends.
        let _ = client.read_to_end(&mut rest);
        assert_eq!(String::from_utf8(rest).unwrap(), "", "code {code}");
    }
}

/// Serves all connections: the request of this number, each with the body `body`, gets these frames.
///
/// Gives how many there were.
fn serve(
    listener: TcpListener,
    say: impl Fn(usize, u32) -> Vec<u8> + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let (count, say) = (Arc::new(AtomicUsize::new(0)), Arc::new(say));
    let counted = count.clone();
    thread::spawn(move || {
        loop {
            let mut line = Line::take(&listener);
            let (say, count) = (say.clone(), count.clone());
            thread::spawn(move || {
                while let Some(frame) = line.next() {
                    if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                        assert_eq!(frame.payload, b"body");
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        line.send(&say(number, frame.stream));
                    }
                }
            });
        }
    });
    counted
}

#[test]
fn what_was_refused_or_not_looked_at_is_asked_again_with_its_body() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    let count = serve(listener, |number, stream| match number {
        0 => reset(stream, REFUSED_STREAM),
        2 | 4 => goaway(stream - 1),
        // What was looked at may have been done: POST is not said twice.
        6 => reset(stream, INTERNAL_ERROR),
        _ => whole(stream, b"hello"),
    });
    for (status, asked) in [(200, 2), (200, 4), (200, 6), (502, 7)] {
        let answer = proxy.ask("POST", "body").join().unwrap();
        assert_eq!(
            (answer.status, count.load(Ordering::SeqCst)),
            (status, asked)
        );
    }
}

#[test]
fn what_one_server_refuses_always_goes_to_another() {
    const REQUESTS: usize = 10;
    let [(refuses, one), (answers, two)] = [server(), server()];
    let proxy = Proxy::start(&[one, two], "");
    let refused = serve(refuses, |_, stream| reset(stream, REFUSED_STREAM));
    let answered = serve(answers, |_, stream| whole(stream, b"hello"));
    for _ in 0..REQUESTS {
        let answer = proxy.ask("POST", "body").join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert_eq!(answered.load(Ordering::SeqCst), REQUESTS);
    assert!(refused.load(Ordering::SeqCst) > 0, "both were asked");
}

/// RFC 9113 8.7: only REFUSED_STREAM says that nothing was done.
#[test]
fn what_a_server_may_have_done_is_not_asked_again() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    let mut line = None;
    let mut streams = Vec::new();
    for code in [NO_ERROR, INTERNAL_ERROR, CANCEL] {
        let asked = proxy.ask("POST", "ab");
        let line = line.get_or_insert_with(|| Line::take(&listener));
        let stream = line.request();
        line.send(&reset(stream, code));
        assert_eq!(asked.join().unwrap().status, 502, "{code}");
        streams.push(stream);
    }
    // None came between these.
    assert!(streams.is_sorted_by(|a, b| a + 2 == *b), "{streams:?}");
}

/// An answer whose head is its end has no length of its own, and HTTP/1 clients need one.
#[test]
fn an_answer_that_ends_with_its_head_keeps_the_connection() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    let mut client = Connection::open_within(proxy.front, PATIENCE).unwrap();
    let mut line = None;
    for _ in 0..2 {
        client.put(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let line = line.get_or_insert_with(|| Line::take(&listener));
        let stream = line.request();
        line.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[OK]));
        let answer = client.take("GET").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    }
}

#[test]
fn a_server_that_answers_no_ping_is_left() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "retries = 0\ntimeouts = { server = \"60s\" }");
    let asked = proxy.ask("GET", "");
    let mut line = Line::take(&listener);
    let stream = line.request();
    // It was heard of a moment ago, so it is asked before it is given up.
    line.send(&frame(HEADERS, END_HEADERS, stream, &[OK]));
    assert_eq!(line.until(PING), 0);
    line.end();
    let answer = asked.join();
    assert!(
        answer.is_err(),
        "an answer without its end is none: {answer:?}"
    );
    // The next one gets a connection that lives.
    let asked = proxy.ask("GET", "");
    let mut line = Line::take(&listener);
    let stream = line.request();
    line.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &[NO_CONTENT],
    ));
    assert_eq!(asked.join().unwrap().status, 204);
}

/// One request on a connection that stays.
fn ask_again(client: &mut Connection, line: &mut Line) {
    client.put(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let stream = line.request();
    line.send(&whole(stream, b"hello"));
    assert_eq!(client.take("GET").unwrap().text(), "hello");
}

#[test]
fn a_connection_that_is_never_for_others_serves_its_client_only() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "reuse = \"never\"");
    let open = || Connection::open_within(proxy.front, PATIENCE).unwrap();
    let (mut one, mut two) = (open(), open());
    for client in [&mut one, &mut two] {
        client.put(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    let mut lines = [(); 2].map(|()| Line::take(&listener));
    for line in &mut lines {
        let stream = line.request();
        let body = if stream == 1 {
            &b"hello"[..]
        } else {
            b"shared"
        };
        line.send(&whole(stream, body));
    }
    for client in [&mut one, &mut two] {
        assert_eq!(client.take("GET").unwrap().text(), "hello");
    }
    // Each goes on with its own: a third connection would not be answered.
    let [first, second] = &mut lines;
    one.put(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mine, other) = match has_come(first, second) {
        true => (first, second),
        false => (second, first),
    };
    let stream = mine.request();
    assert_eq!(stream, 3);
    mine.send(&whole(stream, b"again"));
    assert_eq!(one.take("GET").unwrap().text(), "again");
    ask_again(&mut two, other);
}

/// Whether it is on the first that something has come, and not on the second.
fn has_come(first: &Line, second: &Line) -> bool {
    // SETTINGS and what acknowledges ours come at once, HEADERS only with a request.
    let has = |line: &Line| {
        let mut bytes = [0; 4096];
        let n = line.0.peek(&mut bytes).unwrap_or(0);
        let mut rest = &bytes[..n];
        while let [a, b, c, kind, _, _, _, _, _, more @ ..] = rest {
            if *kind == HEADERS {
                return true;
            }
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            rest = more.get(length..).unwrap_or_default();
        }
        false
    };
    for line in [first, second] {
        line.0.set_nonblocking(true).unwrap();
    }
    let is_first = wait_for("a request", PATIENCE, || match (has(first), has(second)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    });
    for line in [first, second] {
        line.0.set_nonblocking(false).unwrap();
    }
    is_first
}

#[test]
fn as_many_clients_as_come_have_connections_of_their_own() {
    const CLIENTS: usize = 300;
    let (listener, address) = server();
    let proxy = Proxy::start(
        &[address],
        "reuse = \"never\"\ntimeouts = { connect = \"20s\" }",
    );
    let mut clients = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Connection::open_within(proxy.front, PATIENCE).unwrap();
        client.put(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        clients.push(client);
        lines.push(Line::take(&listener));
    }
    for line in &mut lines {
        let stream = line.request();
        line.send(&whole(stream, b"hello"));
    }
    for client in &mut clients {
        assert_eq!(client.take("GET").unwrap().text(), "hello");
    }
}

#[test]
fn the_proxy_header_comes_before_the_preface_and_each_client_has_its_own() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "send_proxy = \"v1\"");
    let mut ports = Vec::new();
    for _ in 0..3 {
        let mut client = Connection::open_within(proxy.front, PATIENCE).unwrap();
        client.put(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut line = Line::accept(&listener);
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            let mut byte = [0];
            line.0.read_exact(&mut byte).unwrap();
            header.extend(byte);
        }
        let header = String::from_utf8(header).unwrap();
        let words: Vec<&str> = header.trim_end().split(' ').collect();
        let [_, _, from, to, port, front] = words[..] else {
            panic!("{header:?}");
        };
        let front_is = [proxy.front.ip().to_string(), proxy.front.port().to_string()];
        assert_eq!(
            (from, [to, front]),
            ("127.0.0.1", front_is.each_ref().map(String::as_str))
        );
        assert!(header.starts_with("PROXY TCP4 "), "{header:?}");
        ports.push(port.to_owned());
        line.greet();
        let stream = line.request();
        line.send(&whole(stream, b"hello"));
        assert_eq!(client.take("GET").unwrap().text(), "hello");
        // The same client goes on with the same connection, and says nothing before.
        ask_again(&mut client, &mut line);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "each client by its own port");
}
