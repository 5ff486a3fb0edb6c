//! What streams of HTTP/2 may hold: taken before they are answered, given back with their last byte.

use std::net::SocketAddr;

use roundel_proxy::{Listen, Routes};
use roundel_testkit::wait_for;

use crate::frames::{Client, DATA, END_STREAM, RST_STREAM, frame, get, mute, post, reset};
use crate::stage::*;

/// Of a stream without a body.
const STREAM: u64 = 40 * 1024;

/// A proxy whose streams may hold so much.
fn with_memory(servers: &[SocketAddr], bytes: u64) -> Stage {
    let stage = Stage::new(servers);
    let address = stage.address;
    let routes = routes(
        &stage.balancer,
        |_| {},
        |f| f.listen = vec![Listen::new(address)],
    );
    let routes = Routes {
        http2_memory: bytes,
        ..routes
    };
    stage.proxy.reload(routes).unwrap();
    stage
}

fn wait_used(stage: &Stage, bytes: u64) {
    wait_for("memory in use", PATIENCE, || {
        (stage.proxy.http2_memory().used == bytes).then_some(())
    });
}

/// Reads to a RST_STREAM; gives its stream and code.
fn next_reset(client: &mut Client) -> (u32, u32) {
    loop {
        let frame = client.next().expect("the connection goes on");
        if frame.kind == RST_STREAM {
            let code = frame.payload.try_into().unwrap();
            return (frame.stream, u32::from_be_bytes(code));
        }
    }
}

#[test]
fn streams_beyond_the_memory_are_refused_and_may_come_again() {
    const REFUSED_STREAM: u32 = 7;
    let server = mute(Default::default());
    let stage = with_memory(&[server.address], 3 * STREAM);
    let mut client = Client::new(&stage);
    client.send(&[get(1), get(3), get(5)].concat());
    wait_used(&stage, 3 * STREAM);
    // Whichever connection they come on.
    let mut other = Client::new(&stage);
    other.send(&get(1));
    assert_eq!(next_reset(&mut other), (1, REFUSED_STREAM));
    client.send(&get(7));
    assert_eq!(next_reset(&mut client), (7, REFUSED_STREAM));
    assert_eq!(stage.proxy.http2_memory().refused, 2);
    client.send(&reset(3));
    wait_used(&stage, 2 * STREAM);
    other.send(&get(3));
    wait_used(&stage, 3 * STREAM);
    drop((client, other));
    wait_used(&stage, 0);
    assert_eq!(stage.proxy.http2_memory().refused, 2);
}

#[test]
fn bodies_count_with_what_their_windows_let_come() {
    const WINDOW: u64 = 64 * 1024;
    let server = mute(Default::default());
    let stage = with_memory(&[server.address], u64::MAX);
    let mut client = Client::new(&stage);
    client.send(&post(1));
    wait_used(&stage, STREAM + WINDOW);
    for n in 1..32 {
        client.send(&post(2 * n + 1));
    }
    // The window of the connection bounds all of them.
    wait_used(&stage, 32 * STREAM + 16 * WINDOW);
    for n in 0..32 {
        client.send(&frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    wait_used(&stage, 0);
    client.send(&[post(101), frame(DATA, END_STREAM, 101, b"x")].concat());
    wait_used(&stage, STREAM + WINDOW);
}

#[test]
fn an_answer_that_waits_for_its_client_keeps_its_memory() {
    const SIZE: usize = 16 * 1024;
    let server = Server::new(|_, peer| {
        while peer.head().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            peer.client.send(head);
            peer.client.send(vec![b'x'; SIZE]);
        }
    });
    let stage = with_memory(&[server.address], u64::MAX);
    let mut client = Client::new(&stage);
    // A window for everything, and nothing is read: the kernel takes some megabytes.
    client.send(&frame(8, 0, 0, &0x7000_0000u32.to_be_bytes()));
    let counters = &stage.proxy.frontends()[0].counters;
    let answered = || counters.sum(|c| c.responses[0][2].get());
    let mut asked = 0;
    while stage.proxy.http2_memory().used < 8 * STREAM {
        let more = asked..asked + 4;
        client.send(
            &more
                .clone()
                .flat_map(|n| get(2 * n + 1))
                .collect::<Vec<_>>(),
        );
        asked = more.end;
        // For the exchange each is over.
        wait_for("the answers", PATIENCE, || {
            (answered() == u64::from(asked)).then_some(())
        });
    }
    assert_eq!(stage.proxy.in_flight(), 0);
    client.answers(asked as usize);
    wait_used(&stage, 0);
}

#[test]
fn what_a_client_never_took_is_given_back_when_it_goes() {
    const SIZE: usize = 4 * 1024 * 1024;
    const STREAMS: u32 = 8;
    let server = Server::new(|_, peer| {
        if peer.head().is_some() {
            peer.client
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
            peer.client.send(vec![b'x'; SIZE]);
        }
    });
    let stage = with_memory(&[server.address], u64::MAX);
    let mut client = Client::new(&stage);
    // Windows for everything: it is the socket that takes no more.
    client.send(&frame(8, 0, 0, &0x7000_0000u32.to_be_bytes()));
    for stream in (0..STREAMS).map(|n| 2 * n + 1) {
        client.send(&get(stream));
        client.send(&frame(8, 0, stream, &0x7000_0000u32.to_be_bytes()));
    }
    let counters = &stage.proxy.frontends()[0].counters;
    let mut before = 0;
    wait_for("the socket to be full", PATIENCE, || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let sent = counters.sum(|c| c.bytes_out.get());
        (std::mem::replace(&mut before, sent) == sent && stage.proxy.http2_memory().used > 0)
            .then_some(())
    });
    drop(client);
    wait_used(&stage, 0);
}

#[test]
fn a_connection_has_no_more_than_so_many_exchanges_at_once() {
    const OPEN: u32 = 128;
    let server = mute(Default::default());
    let stage = with_memory(&[server.address], 2 * u64::from(OPEN) * STREAM);
    let streams = |round: u32| (0..OPEN).map(move |n| 2 * (round * OPEN + n) + 1);
    let wait_open = || {
        wait_for("the requests", PATIENCE, || {
            (stage.proxy.in_flight() == u64::from(OPEN)).then_some(())
        });
        wait_used(&stage, u64::from(OPEN) * STREAM);
    };
    // In one burst, so that none of those given up has ended when the next ones come: most bursts are
    // read at once.
    let burst = [
        streams(0).flat_map(reset).collect::<Vec<_>>(),
        streams(1).flat_map(get).collect(),
        streams(1).flat_map(reset).collect(),
        streams(2).flat_map(get).collect(),
    ];
    let burst = burst.concat();
    for _ in 0..8 {
        let mut client = Client::new(&stage);
        client.send(&streams(0).flat_map(get).collect::<Vec<_>>());
        wait_open();
        client.send(&burst);
        client.is_served();
        wait_open();
        drop(client);
        wait_used(&stage, 0);
    }
    assert_eq!(stage.proxy.http2_memory().refused, 0);
}
