//! The requests at one server are cut; all others go on.

use std::io::Read;

use http::Request;
use roundel_model::ServerState;

use crate::http2::{collect, talk};
use crate::lifecycle::block_on;
use crate::stage::*;

/// Answers by the path: `/wait` not at all, `/begin` in part, `/switch` with a 101; else whole.
fn app() -> Server {
    Server::new(|_, peer| {
        while let Some((head, _)) = peer.request() {
            match head.split(' ').nth(1) {
                Some("/wait") => {}
                Some("/begin") => peer.client.send(&HELLO[..HELLO.len() - 2]),
                Some("/switch") => peer.client.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                ),
                _ => {
                    peer.client.send(HELLO);
                    continue;
                }
            }
            // Until the proxy closes.
            let _ = peer.client.stream.read(&mut [0]);
            return peer.told("closed");
        }
    })
}

/// A client whose request is at the server.
fn asking(stage: &Stage, server: &Server, path: &str) -> Client {
    let mut client = stage.client();
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    ));
    assert!(server.head().starts_with(&format!("GET {path} ")));
    client
}

/// Has another server take what comes from now on.
fn leave(stage: &Stage, servers: [&Server; 2]) {
    let addresses = servers.map(|server| server.address);
    let states = [ServerState::Draining, ServerState::Up];
    publish_each(&stage.balancer, &addresses, &states);
}

#[test]
fn what_a_server_answers_is_cut_and_nothing_else() {
    let (one, two) = (app(), app());
    let stage = Stage::with(
        &[one.address],
        |_| {},
        |frontend| frontend.timeouts.tunnel = PATIENCE,
    );
    let mut waits = asking(&stage, &one, "/wait");
    let mut begun = asking(&stage, &one, "/begin");
    begun.read_until("hel");
    let mut switched = asking(&stage, &one, "/switch");
    assert!(switched.read_head().contains(" 101 "));
    let mut idle = stage.client();
    idle.send(GET);
    idle.read_answer();
    leave(&stage, [&one, &two]);
    let mut other = asking(&stage, &two, "/begin");
    other.read_until("hel");

    let live = stage.balancer.live(&name("s1"));
    // The one who was answered counts for a moment more.
    roundel_testkit::wait_for("three requests", PATIENCE, || {
        (live.in_flight() == 3).then_some(())
    });
    block_on(stage.proxy.cut_server(live.clone()));
    assert_eq!((live.in_flight(), stage.proxy.in_flight()), (0, 1));
    assert_eq!(stage.balancer.live(&name("s2")).in_flight(), 1);
    let (head, _) = waits.read_answer();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    for mut client in [begun, switched] {
        let (rest, _) = client.read_to_any_end();
        assert_eq!(rest, "");
    }
    // Those who are between two requests, or were told, go on; at another server, too.
    for mut client in [waits, idle] {
        client.send(GET);
        assert_eq!(client.read_answer().1, "hello");
    }
    drop(other);
    for path in ["/wait", "/begin", "/switch"] {
        let line = stage.log_line_of(path);
        assert!(line.contains("\"server\":\"s1\""), "{line}");
        assert!(line.contains("\"term\":\"cut\""), "{line}");
    }
}

#[test]
fn streams_are_cut_and_their_connection_lives() {
    let (one, two) = (app(), app());
    let stage = Stage::new(&[one.address]);
    let balancer = stage.balancer.clone();
    talk(&stage, async |mut client| {
        let mut ask = |path: &str| {
            let request = Request::get(format!("http://a{path}")).body(()).unwrap();
            client.send_request(request, true).unwrap().0
        };
        let (waits, begun) = (ask("/wait"), ask("/begin"));
        let begun = begun.await.unwrap();
        // The other one is there as well: the head of each was told of.
        let _heads = [one.head(), one.head()];
        leave(&stage, [&one, &two]);
        let live = balancer.live(&name("s1"));
        assert_eq!(live.in_flight(), 2);
        stage.proxy.cut_server(live.clone()).await;
        assert_eq!(live.in_flight(), 0);
        assert_eq!(waits.await.unwrap().status(), 502);
        let error = collect(begun).await.unwrap_err();
        assert!(error.is_reset(), "{error}");
        assert_eq!(ask("/").await.unwrap().status(), 200);
    });
    let counters = &stage.proxy.frontends()[0].counters;
    assert_eq!(counters.sum(|c| c.connections.get()), 1);
}

#[test]
fn a_request_that_went_on_to_another_server_is_not_cut() {
    // The first one ends without an answer.
    let silent = Server::new(|_, peer| drop(peer.request()));
    let other = app();
    let stage = Stage::new(&[silent.address, other.address]);
    let mut client = stage.client();
    client.send("GET /begin HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("hel");
    let asked = [&silent, &other].map(|server| server.heads.try_iter().count());
    assert_eq!(asked, [1, 1]);
    block_on(stage.proxy.cut_server(stage.balancer.live(&name("s1"))));
    assert_eq!(stage.proxy.in_flight(), 1);
    block_on(stage.proxy.cut_server(stage.balancer.live(&name("s2"))));
    assert_eq!(stage.proxy.in_flight(), 0);
}

/// A cut is over when it is: an answer that comes after it is passed on.
#[test]
fn a_new_request_on_a_cut_connection_has_all_its_time() {
    let app = app();
    let stage = Stage::new(&[app.address]);
    let mut client = asking(&stage, &app, "/wait");
    block_on(stage.proxy.cut_server(stage.balancer.live(&name("s1"))));
    assert!(client.read_answer().0.contains(" 502 "));
    client.send("GET /begin HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("hel");
    assert_eq!(stage.proxy.in_flight(), 1);
}
