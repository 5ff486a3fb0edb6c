//! Servers that refuse: every other one is asked, and where there is none, clients wait for it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use roundel_testkit::{Load, Process, Reuse, Signal, external, free_address, get, wait_for};
use serde_json::Value;

use super::stage::{Client, GET, Http2, Keys, each, reset_stream, wait_log};
use crate::balancer::{Balancer, SOON};
use crate::servers::Toy;
use crate::turns::beside_others;

const POST: &[u8] =
    b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";

/// The toy knows no POST and no such path, and says so.
fn is_from_the_server(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 40")
}

/// How many requests wait, as the snapshot shows it.
fn wait_queued(balancer: &Balancer, count: u64) {
    let queued = |snapshot: &Value| snapshot["backends"][0]["queue_length"].as_u64();
    wait_for("requests that wait", SOON, || {
        (queued(&balancer.snapshot()) == Some(count)).then_some(())
    });
}

/// A balancer whose only server has served, and is gone.
fn lost(check: &str, queue: &str) -> (Balancer, SocketAddr) {
    let mut toy = Toy::start("only");
    let backend = format!("check = \"{check}\"\ntimeouts = {{ queue = \"{queue}\" }}\n");
    let keys = Keys {
        backend: &backend,
        global: "drain_timeout = \"1m\"",
        ..Keys::default()
    };
    let balancer = keys.serve(&[toy.address]);
    assert_eq!(balancer.get("/").status, 200);
    toy.process.kill();
    (balancer, toy.address)
}

#[test]
fn most_servers_are_killed_and_no_client_notices() {
    let _turn = beside_others();
    let mut toys: Vec<Toy> = (0..9).map(|n| Toy::start(&format!("t{n}"))).collect();
    let addresses: Vec<SocketAddr> = toys.iter().map(|toy| toy.address).collect();
    let keys = Keys {
        backend: "check = \"tcp\"",
        ..Keys::default()
    };
    let balancer = keys.serve(&addresses);
    let loads =
        [Reuse::PerRequest, Reuse::KeepAlive].map(|reuse| Load::start(balancer.front, 4, reuse));
    loads.iter().for_each(|load| load.wait_more(50, SOON));
    for toy in &toys[..6] {
        toy.process.signal(Signal::KILL);
    }
    loads.iter().for_each(|load| load.wait_more(200, SOON));
    for load in loads {
        load.stop().assert_clean();
    }
    toys.clear();
}

/// Requests at a steady pace while the server is away. Returns how many were not answered.
fn restart(front: SocketAddr, toy: &mut Toy) -> u64 {
    let failed = AtomicU64::new(0);
    let ask = |request: &'static [u8]| {
        let answer = Client::asking(front, request).read_to_end_or_answer();
        if !is_from_the_server(&answer) {
            println!("{answer}");
            failed.fetch_add(1, SeqCst);
        }
    };
    const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    ask(CLOSE);
    toy.process.kill();
    thread::scope(|scope| {
        for n in 0..20 {
            scope.spawn(move || ask(if n % 2 == 0 { CLOSE } else { POST }));
            thread::sleep(Duration::from_millis(50));
        }
        *toy = Toy::start_at("back", toy.address);
    });
    failed.into_inner()
}

#[test]
fn a_restart_of_the_only_server_costs_no_request_as_with_haproxy() {
    let _turn = beside_others();
    each(&["tcp", "off", "GET /healthz", "haproxy"], |check| {
        let mut toy = Toy::start("only");
        let server = toy.address;
        if *check != "haproxy" {
            let backend = format!("check = \"{check}\"");
            let keys = Keys {
                backend: &backend,
                ..Keys::default()
            };
            let balancer = keys.serve(&[server]);
            assert_eq!(
                restart(balancer.front, &mut toy),
                0,
                "{check}\n{}",
                balancer.process
            );
            return;
        }
        let Some(program) = external("haproxy", "haproxy") else {
            return;
        };
        let front = free_address();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  \
             timeout server 30s\nlisten f\n  bind {front}\n  server s1 {server} check\n"
        );
        std::fs::write(&path, text).unwrap();
        let process = Process::spawn(Command::new(program).arg("-db").arg("-f").arg(&path));
        wait_for("HAProxy to answer", SOON, || get(front, "/").ok());
        assert_eq!(restart(front, &mut toy), 0, "{process}");
    });
}

#[test]
fn who_waits_for_a_server_may_leave() {
    type Leave = fn(Client) -> Option<Client>;
    let reset: Leave = |client| {
        client.reset();
        None
    };
    let reset_one: Leave = |mut client| {
        client.send(&reset_stream());
        Some(client)
    };
    let (balancer, _) = lost("tcp", "1m");
    for (http2, leave) in [(false, reset), (true, reset), (true, reset_one)] {
        let client = match http2 {
            true => Http2::asking(balancer.front, true),
            false => Client::asking(balancer.front, POST),
        };
        wait_queued(&balancer, 1);
        let _kept = leave(client);
        wait_queued(&balancer, 0);
    }
    wait_log(&balancer, "client_abort", "CQ");
}

#[test]
fn who_waits_is_answered_although_the_balancer_is_told_to_end() {
    for check in ["tcp", "off"] {
        let (mut balancer, server) = lost(check, "1m");
        let mut clients = vec![
            Client::asking(balancer.front, POST),
            Client::asking(balancer.front, GET),
        ];
        let mut http2 = Http2::asking(balancer.front, false);
        wait_queued(&balancer, 3);
        balancer.process.signal(Signal::TERM);
        wait_for("readyz to say no", SOON, || {
            (get(balancer.stats, "/readyz").ok()?.status == 503).then_some(())
        });
        let _toy = Toy::start_at("back", server);
        for client in &mut clients {
            let answer = client.read_to_end();
            assert!(is_from_the_server(&answer), "{answer}");
        }
        let answer = http2.read_to_end();
        assert!(answer.contains("back"), "{answer:?}");
        assert!(balancer.process.wait_exit(SOON).success());
    }
}

#[test]
fn nobody_waits_for_a_server_that_never_was() {
    let keys = Keys {
        backend: "check = \"tcp\"\ntimeouts = { queue = \"1m\" }",
        ..Keys::default()
    };
    let balancer = keys.start(&[free_address()]);
    let answer = Client::asking(balancer.front, GET).read_to_end_or_answer();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    wait_log(&balancer, "no_server", "SC");
}

#[test]
fn after_its_time_who_waited_is_told_to_come_back() {
    let (balancer, _) = lost("tcp", "500ms");
    let answer = Client::asking(balancer.front, POST).read_to_end_or_answer();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    let line = wait_log(&balancer, "connect_error", "SC");
    assert!(line["t_queue"].as_f64() >= Some(0.5), "{line}");
    let answer = Client::asking(balancer.front, GET).read_to_end_or_answer();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let line = wait_log(&balancer, "no_server", "SC");
    assert_eq!(
        line["t_queue"].as_f64(),
        None,
        "nobody waits for long: {line}"
    );
    let metrics = balancer.page("/metrics");
    assert!(
        metrics.contains("roundel_backend_queue_timeouts_total{backend=\"nodes\"}"),
        "{metrics}"
    );
}
