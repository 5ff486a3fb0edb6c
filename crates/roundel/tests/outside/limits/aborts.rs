//! Clients that leave: whatever is done for them at that moment ends.

use roundel_testkit::wait_for;

use super::stage::{Client, Does, GET, Http2, Keys, Server, each, reset_stream, wait_log};
use crate::balancer::{Balancer, SOON};

/// What the client waits for when it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queue,
    Connect,
    FirstByte,
    Answer,
    /// The answer flows faster than it is read.
    Flood,
}

/// How it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// A reset.
    Reset,
    /// It ends its side first, and resets later.
    FinThenReset,
    /// As many requests as the balancer reads ahead and more, then a reset.
    PipelinedReset,
    /// In the middle of its body.
    FinInBody,
    /// It ends its side, which this backend takes for leaving.
    Fin,
    /// Over HTTP/2, it resets the stream.
    StreamReset,
    /// Over HTTP/2, it resets the connection.
    Http2Reset,
}

use Leaves::{Fin, FinInBody, FinThenReset, Http2Reset, PipelinedReset, Reset, StreamReset};
use Phase::{Answer, Connect, FirstByte, Flood, Queue};

const CASES: [(Phase, Leaves, &str); 25] = [
    (Queue, Reset, "CQ"),
    (Queue, FinThenReset, "CQ"),
    (Queue, PipelinedReset, "CQ"),
    (Queue, FinInBody, "CQ"),
    (Queue, Fin, "CQ"),
    (Connect, Reset, "CC"),
    (Connect, FinThenReset, "CC"),
    (Connect, PipelinedReset, "CC"),
    (Connect, FinInBody, "CC"),
    (Connect, Fin, "CC"),
    (FirstByte, Reset, "CH"),
    (FirstByte, FinThenReset, "CH"),
    (FirstByte, PipelinedReset, "CH"),
    (FirstByte, Fin, "CH"),
    (Answer, FinThenReset, "CD"),
    (Answer, Fin, "CD"),
    (Flood, FinThenReset, "CD"),
    (Queue, StreamReset, "CQ"),
    (Queue, Http2Reset, "CQ"),
    (Connect, StreamReset, "CC"),
    (Connect, Http2Reset, "CC"),
    (FirstByte, StreamReset, "CH"),
    (FirstByte, Http2Reset, "CH"),
    (Answer, StreamReset, "CD"),
    (Flood, Http2Reset, "CD"),
];

/// A backend whose requests stay in this phase.
fn stage(phase: Phase, leaves: Leaves) -> (Server, Balancer) {
    let server = Server::that(match phase {
        Queue | FirstByte => Does::Waits,
        Connect => Does::Nothing,
        Answer => Does::Begins,
        Flood => Does::Floods,
    });
    let mut backend = format!("abort_on_close = {}\n", leaves == Fin);
    backend += "timeouts = { queue = \"1m\", connect = \"1m\", server = \"1m\" }\nretries = 0\n";
    if phase == Queue {
        backend += "maxconn = 1\n";
    }
    let keys = Keys {
        backend: &backend,
        ..Keys::default()
    };
    let balancer = keys.serve(&[server.address]);
    (server, balancer)
}

/// Requests that wait and requests in flight, as the snapshot shows them.
fn wait_numbers(balancer: &Balancer, queued: u64, in_flight: u64) {
    let seen = |snapshot: &serde_json::Value| {
        let backend = &snapshot["backends"][0];
        let in_flight = backend["servers"][0]["in_flight"].as_u64();
        (backend["queue_length"].as_u64(), in_flight)
    };
    wait_for("queue and requests in flight", SOON, || {
        (seen(&balancer.snapshot()) == (Some(queued), Some(in_flight))).then_some(())
    });
}

fn check(phase: Phase, leaves: Leaves, letters: &str) {
    let (server, balancer) = stage(phase, leaves);
    // It holds the only place.
    let first = (phase == Queue).then(|| {
        let first = Client::asking(balancer.front, GET);
        server.wait_busy(1);
        first
    });
    let mut request = GET.to_vec();
    if leaves == FinInBody {
        request = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart".to_vec();
    }
    let mut client = match leaves {
        StreamReset | Http2Reset => Http2::asking(balancer.front, false),
        _ => Client::asking(balancer.front, &request),
    };
    match phase {
        Queue => wait_numbers(&balancer, 1, 1),
        Connect => wait_numbers(&balancer, 0, 1),
        FirstByte => server.wait_busy(1),
        Answer | Flood => drop(client.read_until("hello")),
    }
    match leaves {
        Fin | FinInBody => client.finish(),
        FinThenReset => client.finish(),
        PipelinedReset => client.send(&GET.repeat(4096)),
        StreamReset => client.send(&reset_stream()),
        Reset | Http2Reset => {}
    }
    let kept = match leaves {
        Reset | FinThenReset | PipelinedReset | Http2Reset => {
            client.reset();
            None
        }
        Fin | FinInBody | StreamReset => Some(client),
    };
    wait_log(&balancer, "client_abort", letters);
    drop(kept);
    let held = usize::from(first.is_some());
    wait_numbers(&balancer, 0, held as u64);
    server.wait_busy(held);
}

#[test]
fn whoever_leaves_is_not_served_any_longer() {
    each(&CASES, |(phase, leaves, letters)| {
        println!("{phase:?} {leaves:?}");
        check(*phase, *leaves, letters);
    });
}

#[test]
fn whoever_only_ends_its_side_is_answered() {
    let server = Server::that(Does::Answers);
    let balancer = Keys::default().serve(&[server.address]);
    for _ in 0..20 {
        let mut client = Client::asking(balancer.front, GET);
        client.finish();
        let answer = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(server.seen(), 20);
}
