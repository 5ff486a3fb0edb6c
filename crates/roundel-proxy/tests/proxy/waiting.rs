//! Refused connects, and waiting for a server of a backend that has lost its last one.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use roundel_model::ServerState;
use roundel_testkit::wait_for;

use crate::stage::*;

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// A backend whose only server served once and refuses by now.
fn lost(queue: Duration) -> (Stage, SocketAddr) {
    let address = refusing();
    let stage = Stage::with(&[address], |b| b.timeouts.queue = queue, |_| {});
    stage.balancer.note_served();
    (stage, address)
}

/// A server that comes up at this address and tells in its answer how many bytes it was sent.
fn come_up(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut client = Client { stream };
            let head = client.read_head();
            let length = field(&head, "content-length").unwrap_or("0").to_owned();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}",
                length.len()
            );
            client.send(answer);
        }
    });
}

/// What a line of the log says of the time waited.
fn seconds_queued(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("\"t_queue\":")?;
    rest.split(',').next()?.parse().ok()
}

fn wait_queued(stage: &Stage, count: u32) {
    wait_for("requests that wait", PATIENCE, || {
        (stage.balancer.queued() == count).then_some(())
    });
}

#[test]
fn every_server_is_asked_before_a_client_is_told_no() {
    let server = Server::always(HELLO);
    for retries in [0, 3] {
        let mut servers = vec![refusing(); 14];
        servers.push(server.address);
        let mut stage = Stage::with(&servers, |b| b.retries = retries, |_| {});
        // Nobody listens to what the workers learn: each request meets those that refuse anew.
        stage.evidence.close();
        for request in [GET_CLOSE, POST, POST, GET_CLOSE] {
            let answer = stage.once(request);
            assert!(answer.ends_with("hello"), "{answer}");
        }
    }
}

#[test]
fn what_one_request_learns_all_know_at_once() {
    let server = Server::always(HELLO);
    let (a, b) = (refusing(), refusing());
    let stage = Stage::with_threads(4, &[a, server.address, b], |_| {}, |_| {});
    for _ in 0..30 {
        assert!(stage.once(GET_CLOSE).ends_with("hello"));
    }
    let snapshot = stage.balancer.load();
    let errors = |i: usize| {
        let live = &snapshot.servers()[i].live;
        live.workers.sum(|w| w.connect_errors.get())
    };
    assert_eq!((errors(0), errors(2)), (1, 1), "asked once by one request");
    snapshot.servers()[0].live.clear_refused();
    for _ in 0..3 {
        assert!(stage.once(GET_CLOSE).ends_with("hello"));
    }
    assert_eq!((errors(0), errors(2)), (2, 1), "asked again once decided");
}

#[test]
fn a_request_waits_for_a_server_that_restarts_without_anybody_telling() {
    let (stage, address) = lost(PATIENCE);
    thread::scope(|scope| {
        let asking =
            [GET_CLOSE, POST, GET_CLOSE].map(|request| scope.spawn(|| stage.once(request)));
        wait_queued(&stage, 3);
        come_up(address);
        let bodies = asking.map(|asked| asked.join().unwrap());
        for (answer, length) in bodies.iter().zip(["0", "2", "0"]) {
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{length}")), "{answer}");
        }
    });
    let line = stage.log_line(0);
    assert!(line.contains("\"term\":\"ok\""), "{line}");
}

#[test]
fn who_waits_goes_on_when_a_server_is_published() {
    for gone in [ServerState::Down, ServerState::Leaving, ServerState::Maint] {
        let (stage, old) = lost(PATIENCE);
        let now = Instant::now();
        stage.balancer.note_lost(now);
        publish(&stage.balancer, &[old], gone);
        thread::scope(|scope| {
            let asking = scope.spawn(|| stage.once(POST));
            wait_queued(&stage, 1);
            let address = refusing();
            come_up(address);
            publish(&stage.balancer, &[address], ServerState::Up);
            let answer = asking.join().unwrap();
            assert!(answer.ends_with("\r\n\r\n2"), "{gone}: {answer}");
        });
    }
}

#[test]
fn a_backend_that_never_had_a_server_answers_at_once() {
    for state in [ServerState::Up, ServerState::Joining] {
        let stage = Stage::with(&[], |b| b.timeouts.queue = PATIENCE, |_| {});
        publish(&stage.balancer, &[refusing()], state);
        let answer = stage.once(GET_CLOSE);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(stage.balancer.queued_max(), 0);
    }
}

#[test]
fn in_the_end_the_client_is_told_to_come_back() {
    for (state, term) in [
        (ServerState::Up, "connect_error"),
        (ServerState::Down, "no_server"),
    ] {
        let (stage, address) = lost(Duration::from_millis(400));
        if state == ServerState::Down {
            stage.balancer.note_lost(Instant::now());
            publish(&stage.balancer, &[address], state);
        }
        let answer = stage.once(POST);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(field(&answer, "retry-after"), Some("1"), "{answer}");
        let line = stage.log_line(0);
        assert!(line.contains(&format!("\"term\":\"{term}\"")), "{line}");
        assert!(seconds_queued(&line) >= Some(0.4), "{line}");
        assert_eq!(stage.balancer.queued_max(), 1);
        wait_for("the loss to be old", PATIENCE, || {
            let lost = stage.balancer.lost_for(Instant::now())?;
            (lost > Duration::from_millis(400)).then_some(())
        });
        assert!(stage.once(GET_CLOSE).starts_with("HTTP/1.1 503 "));
        let line = stage.log_line(1);
        assert!(line.contains(&format!("\"term\":\"{term}\"")), "{line}");
        assert!(seconds_queued(&line) < Some(0.4), "did not wait: {line}");
        let timeouts = stage.balancer.counters().sum(|w| w.queue_timeouts.get());
        assert_eq!(timeouts, 1);
    }
}

#[test]
fn as_many_wait_as_may_and_who_leaves_makes_room() {
    let (stage, address) = lost(PATIENCE);
    stage.balancer.limit_queue(2);
    let mut waiting: Vec<Client> = (0..2).map(|_| stage.client()).collect();
    for client in &mut waiting {
        client.send(POST);
    }
    wait_queued(&stage, 2);
    let answer = stage.once(GET_CLOSE);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(stage.log_line(0).contains("\"term\":\"queue_full\""));
    let left = waiting.pop().unwrap();
    socket2::SockRef::from(&left.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(left);
    wait_queued(&stage, 1);
    let line = stage.log_line_of("client_abort");
    assert!(!line.contains("\"status\""), "nobody was answered: {line}");
    come_up(address);
    assert!(waiting[0].read_to_end().ends_with("\r\n\r\n2"));
}

#[test]
fn a_full_server_that_refuses_does_not_make_a_worker_spin() {
    // Its one place is taken; who is refused meets others that wait already.
    let (stage, address) = lost(Duration::from_millis(600));
    let live = stage.balancer.load().servers()[0].live.clone();
    live.set_limit(1);
    let answers: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| stage.once(GET_CLOSE)))
            .collect();
        asking.into_iter().map(|a| a.join().unwrap()).collect()
    });
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    assert_eq!((live.in_flight(), stage.balancer.queued()), (0, 0));
    come_up(address);
    assert!(stage.once(POST).ends_with("\r\n\r\n2"));
}
