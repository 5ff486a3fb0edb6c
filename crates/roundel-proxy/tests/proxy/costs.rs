//! Bounds of an HTTP/2 connection by what it costs, and what has to stay free.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use roundel_proxy::{Frontend, Http2Excess};
use roundel_testkit::wait_for;

use crate::frames::{
    Client, DATA, ENHANCE_YOUR_CALM, HEADERS, RST_STREAM, SETTINGS, frame, get, mute, post,
};
use crate::stage::*;

const PRIORITY: u8 = 2;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn ended_for(stage: &Stage, why: Http2Excess) -> u64 {
    let counters = &stage.proxy.frontends()[0].counters;
    counters.sum(|c| c.http2_calmed[why as usize].get())
}

/// Sends this up to so many times; the connection ends before, for `why`.
fn check_flood(begin: &[u8], again: &[u8], times: usize, why: Http2Excess) {
    let server = mute(Arc::default());
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    client.send(begin);
    let mut reader = Client {
        stream: client.stream.try_clone().unwrap(),
    };
    let code = std::thread::spawn(move || reader.goaway());
    let burst = again.repeat(100);
    // All that is sent may find its place in buffers.
    let _ = (0..times / 100).all(|_| client.stream.write_all(&burst).is_ok());
    assert_eq!(code.join().unwrap(), Some(ENHANCE_YOUR_CALM), "{why:?}");
    wait_for("the count", PATIENCE, || {
        (ended_for(&stage, why) == 1).then_some(())
    });
    let others = Http2Excess::ALL.iter().filter(|other| **other != why);
    assert_eq!(others.map(|why| ended_for(&stage, *why)).sum::<u64>(), 0);
    // Nobody else is troubled.
    Client::new(&stage).is_served();
}

#[test]
fn frames_that_do_nothing_end_the_connection() {
    let few = [
        frame(PING, 0, 0, b"areulive"),
        // An answer to nothing.
        frame(PING, 1, 0, b"areulive"),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(77, 0, 0, b""),
        frame(DATA, 0, 1, b""),
    ];
    for again in few {
        check_flood(&post(1), &again, 200_000, Http2Excess::Frames);
    }
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]);
    check_flood(b"", &settings, 20_000, Http2Excess::Frames);
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let begin = frame(HEADERS, END_STREAM, 1, &[0x82]);
    let again = frame(CONTINUATION, 0, 1, b"");
    check_flood(&begin, &again, 1_000, Http2Excess::LargeHeads);
}

/// A head of 60 kB that later ones repeat in a few bytes.
fn large_heads() -> (Vec<u8>, Vec<u8>) {
    // The fields of a GET, and a name and value of 3 kB for the table (RFC 7541 6.2.1).
    let value = [b'v'; 3_000];
    let (low, high) = ((3_000 - 127) % 128 + 128, (3_000 - 127) / 128);
    let name = [0x40, 1, b'x', 127, low as u8, high as u8];
    let first = [&[0x82, 0x86, 0x84, 0x41, 1, b'a'][..], &name, &value].concat();
    // Of the table: the authority is the older entry of two.
    let again = [&[0x82, 0x86, 0x84, 0xbf][..], &[0xbe; 20]].concat();
    (first, again)
}

#[test]
fn large_heads_are_taken_until_they_are_a_flood() {
    let server = Server::new(|_, peer| {
        let mut room = [0; 64 * 1024];
        let mut seen = 0;
        while let Ok(n @ 1..) = peer.client.stream.read(&mut room) {
            seen += n;
            if room[..n].ends_with(b"\r\n\r\n") {
                assert!(!(4_000..60_000).contains(&seen), "{seen}");
                seen = 0;
                peer.client
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    let (first, again) = large_heads();
    let both = END_STREAM | END_HEADERS;
    client.send(&frame(HEADERS, both, 1, &first));
    client.answers(1);
    for n in 1..=100 {
        client.send(&frame(HEADERS, both, 2 * n + 1, &again));
        client.answers(1);
    }
    // As many at once as may be open.
    let mut reader = Client {
        stream: client.stream.try_clone().unwrap(),
    };
    let (ended, answered) = std::sync::mpsc::sync_channel(100);
    let code = std::thread::spawn(move || {
        reader.goaway_after(|frame| {
            let _ = ended.send(frame.kind == HEADERS);
        })
    });
    let mut open = 0;
    for n in 101..4_000 {
        let sent = client
            .stream
            .write_all(&frame(HEADERS, both, 2 * n + 1, &again));
        open += 1;
        while open == 100 {
            match answered.recv() {
                Ok(is_answer) => open -= usize::from(is_answer),
                Err(_) => break,
            }
        }
        if sent.is_err() || open == 100 {
            break;
        }
    }
    drop(answered);
    assert_eq!(code.join().unwrap(), Some(ENHANCE_YOUR_CALM));
    wait_for("the count", PATIENCE, || {
        (ended_for(&stage, Http2Excess::LargeHeads) == 1).then_some(())
    });
}

/// Sends a GET with so many crumbs of Cookie; gives the first byte of the answer's fields.
fn with_crumbs(client: &mut Client, stream: u32, crumbs: u8) -> u8 {
    let fields = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
    // The name is entry 32 of the static table.
    let crumb = |n| [0x0f, 17, 3, b'c', b'=', b'!' + n % 64];
    let crumbs = (0..crumbs).flat_map(crumb);
    let fields: Vec<u8> = fields.into_iter().chain(crumbs).collect();
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields));
    loop {
        let frame = client.next().expect("the connection goes on");
        if frame.kind == HEADERS && frame.stream == stream {
            // Behind changes of the table's size.
            return *frame.payload.iter().find(|b| **b & 0xe0 != 0x20).unwrap();
        }
    }
}

#[test]
fn crumbs_are_counted_before_they_are_joined() {
    let server = Server::new(|_, peer| {
        while let Some(head) = peer.head() {
            let cookie = field(&head, "cookie").unwrap();
            assert_eq!(cookie.split("; ").count(), 196);
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = Client::new(&stage);
    const OK: u8 = 0x88;
    // Twice the fields that HTTP/1 may have.
    assert_eq!(with_crumbs(&mut client, 1, 196), OK);
    assert_ne!(with_crumbs(&mut client, 3, 201), OK);
    assert!(stage.log_line(1).contains("431"));
    client.is_served();
}

/// A server whose answers are larger than a window that is small, and a client that opens none.
fn shut(streams: u32) -> (Stage, Client, Server) {
    let server = Server::new(|_, peer| {
        while peer.head().is_some() {
            let body = "x".repeat(1_000);
            peer.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{body}"
            ));
        }
    });
    // Many may wait for a third of that.
    let patient = |frontend: &mut Frontend| frontend.timeouts.client = Duration::from_secs(9);
    let stage = Stage::with(&[server.address], |_| {}, patient);
    let mut client = Client::new(&stage);
    // SETTINGS_INITIAL_WINDOW_SIZE.
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let asked: Vec<u8> = (0..streams).flat_map(|n| get(2 * n + 1)).collect();
    client.send(&asked);
    (stage, client, server)
}

#[test]
fn streams_without_a_window_end_when_too_many_wait() {
    let (stage, mut client, _server) = shut(40);
    for _ in 0..40 - 32 {
        let reset = loop {
            let frame = client.next().expect("the connection goes on");
            if frame.kind == RST_STREAM {
                break frame;
            }
        };
        assert!(reset.stream % 2 == 1, "{reset:?}");
    }
    let line = stage.log_line_of("client_timeout");
    assert!(line.contains("HTTP/2.0"), "{line}");
    // The others go on when they are let.
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    client.answers(32);
    assert_eq!(ended_for(&stage, Http2Excess::ShutWindows), 0);
}

#[test]
fn a_connection_of_nothing_but_such_streams_ends() {
    let (stage, mut client, _server) = shut(128);
    assert_eq!(client.goaway(), Some(ENHANCE_YOUR_CALM));
    wait_for("the count", PATIENCE, || {
        (ended_for(&stage, Http2Excess::ShutWindows) == 1).then_some(())
    });
}

#[test]
fn a_preface_that_is_none_is_answered_by_closing() {
    let server = Server::new(|_, peer| {
        while let Some(head) = peer.head() {
            assert!(head.starts_with("PRI /x HTTP/1.1\r\n"), "{head}");
            peer.client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let stage = Stage::new(&[server.address]);
    for sent in [
        "INVALID CONNECTION PREFACE\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(stage.once(sent), "", "{sent:?}");
    }
    // What is HTTP/1 is answered as that.
    for (sent, status) in [
        (
            "PRI /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "200",
        ),
        ("PRI / HTTP/2.0\r\nHost: a\r\n\r\n", "505"),
        ("GET / FTP/1.0\r\n\r\n", "400"),
        ("GET http://a/ x\r\n\r\n", "400"),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ] {
        let answer = stage.once(sent);
        let begin = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&begin), "{sent:?}: {answer}");
    }
}
