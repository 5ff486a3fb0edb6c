//! Which connections to servers a client's requests go on.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::Duration;

use roundel_proxy::{Backend, Reuse};
use roundel_testkit::wait_for;

use crate::stage::*;

const CLOSED: &str = "closed";

/// Waits until so many connections were closed.
fn wait_closed(server: &Server, count: usize) {
    let heads = std::iter::repeat_with(|| server.head());
    assert_eq!(
        heads.filter(|told| told == CLOSED).take(count).count(),
        count
    );
}

/// A server that answers the number of its connection.
fn numbering() -> Server {
    Server::new(|n, peer| {
        while peer.head().is_some() {
            peer.client
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}"));
        }
        // Nor does it wait for ever.
        if matches!(peer.client.stream.read(&mut [0]), Ok(0)) {
            peer.told(CLOSED);
        }
    })
}

fn stage(server: &Server, reuse: Reuse) -> Stage {
    let backend = |b: &mut Backend| {
        b.reuse = reuse;
        b.timeouts.upstream_idle = 10 * PATIENCE;
    };
    Stage::with(&[server.address], backend, |_| {})
}

fn ask(client: &mut Client) -> String {
    client.send(GET);
    client.read_answer().1
}

#[test]
fn safe_has_a_first_request_go_on_a_connection_of_its_own() {
    let server = numbering();
    let stage = stage(&server, Reuse::Safe);
    let (mut a, mut b) = (stage.client(), stage.client());
    assert_eq!(
        ["0", "0"],
        [ask(&mut a), ask(&mut a)].each_ref().map(|s| &**s)
    );
    assert_eq!(ask(&mut b), "1");
    // Those that follow take the one that was used last, whoever's it was.
    assert_eq!(ask(&mut a), "1");
}

#[test]
fn always_has_it_go_on_any() {
    let server = numbering();
    let stage = stage(&server, Reuse::Always);
    let (mut a, mut b) = (stage.client(), stage.client());
    assert_eq!(ask(&mut a), "0");
    assert_eq!(ask(&mut b), "0");
}

#[test]
fn never_keeps_connections_to_their_client() {
    let server = numbering();
    let stage = stage(&server, Reuse::Never);
    let (mut a, mut b) = (stage.client(), stage.client());
    assert_eq!(ask(&mut a), "0");
    assert_eq!(ask(&mut b), "1");
    assert_eq!(ask(&mut a), "0");
    assert_eq!(ask(&mut b), "1");
    drop(b);
    wait_closed(&server, 1);
    assert_eq!(ask(&mut a), "0");
}

#[test]
fn safe_leaves_no_more_connections_than_there_are_clients() {
    let server = numbering();
    let stage = stage(&server, Reuse::Safe);
    for _ in 0..20 {
        let mut client = stage.client();
        ask(&mut client);
        drop(client);
        wait_for("its end", PATIENCE, || {
            (stage.proxy.connections() == 0).then_some(())
        });
    }
    // One is kept, all others were closed as soon as they were answered.
    wait_closed(&server, 19);
}

#[test]
fn of_more_connections_than_clients_the_oldest_goes() {
    let server = numbering();
    let stage = stage(&server, Reuse::Safe);
    let mut gone = stage.client();
    assert_eq!(ask(&mut gone), "0");
    drop(gone);
    wait_for("its end", PATIENCE, || {
        (stage.proxy.connections() == 0).then_some(())
    });
    let mut client = stage.client();
    assert_eq!(ask(&mut client), "1");
    wait_closed(&server, 1);
    // Its own is kept, not the one that was left before.
    assert_eq!(ask(&mut client), "1");
}

#[test]
fn a_second_answer_reaches_no_client_that_asks_for_the_first_time() {
    let server = Server::new(|_, peer| {
        while peer.head().is_some() {
            let answer = |body| format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}");
            peer.client.send(answer("mine"));
            sleep(Duration::from_millis(20));
            let _ = peer.client.stream.write_all(answer("evil").as_bytes());
        }
    });
    let stage = stage(&server, Reuse::Safe);
    for _ in 0..40 {
        assert_eq!(ask(&mut stage.client()), "mine");
    }
}
