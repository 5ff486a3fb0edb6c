//! Clients that take their time: others do not notice, and what they cost is bounded.

use std::thread;
use std::time::Duration;

use super::stage::{Client, Does, GET, Http2, Keys, Server, each, wait_log};
use crate::balancer::Balancer;

/// Slow clients at the same time.
const MANY: usize = 100;
/// Those whose answers fill every buffer of the kernel.
const FEW: usize = 16;

/// How they are slow, and what becomes of them.
#[derive(Debug, Clone, Copy)]
struct Slow {
    /// What they send first.
    begins: &'static [u8],
    /// What they send again and again.
    drips: &'static [u8],
    does: Does,
    /// What the log says of each in the end; nothing for those who never asked.
    word: &'static str,
    letters: &'static str,
    /// Bytes that each may cost while it lasts.
    cost: u64,
}

#[rustfmt::skip]
const CASES: [Slow; 6] = [
    Slow { begins: b"", drips: b"", does: Does::Answers, word: "", letters: "", cost: 32 << 10 },
    Slow { begins: b"GET / HTTP/1.1\r\nHost: a\r\nX: ", drips: b"y", does: Does::Answers, word: "request_timeout", letters: "cR", cost: 64 << 10 },
    Slow { begins: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n", drips: b"z", does: Does::Waits, word: "total_timeout", letters: "sH", cost: 256 << 10 },
    Slow { begins: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n", drips: b"", does: Does::Waits, word: "body_timeout", letters: "cH", cost: 256 << 10 },
    Slow { begins: GET, drips: b"", does: Does::Floods, word: "client_timeout", letters: "cD", cost: 512 << 10 },
    Slow { begins: b"PIPELINE", drips: GET, does: Does::Floods, word: "client_timeout", letters: "cD", cost: 512 << 10 },
];

/// Memory that is no part of the program's file: code that is read in meanwhile is no cost of clients.
fn private(balancer: &Balancer) -> u64 {
    let path = format!("/proc/{}/status", balancer.process.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}

#[test]
fn slow_clients_cost_little_and_hold_up_nobody() {
    each(&CASES, |slow| check(*slow));
}

fn check(slow: Slow) {
    println!("{slow:?}");
    let server = Server::that(slow.does);
    let good = Server::that(Does::Answers);
    let limits = "http_request = \"3s\", request_body = \"3s\", client = \"3s\"";
    let frontend = format!(
        "timeouts = {{ {limits} }}\nroute = [{{ path_prefix = \"/good\", backend = \"good\" }}]"
    );
    let backend = format!(
        "timeouts = {{ total = \"{}\" }}\n[[backend]]\nname = \"good\"\nsticky = \"off\"\ncheck = \"off\"\n\
         server = [{{ name = \"g\", address = \"{}\" }}]",
        if slow.word == "total_timeout" {
            "3s"
        } else {
            "0s"
        },
        good.address
    );
    let keys = Keys {
        frontend: &frontend,
        backend: &backend,
        ..Keys::default()
    };
    let balancer = keys.serve(&[server.address]);
    let mut others = Client::new(balancer.front);
    let mut others_are_answered = || {
        others.send(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n");
        others.read_until("hello");
    };
    // What the program itself needs for a request is no cost of those who are slow.
    others_are_answered();
    let before = private(&balancer);
    let count = if slow.does == Does::Floods { FEW } else { MANY };
    let many: Vec<Client> = (0..count)
        .map(|_| {
            let mut client = Client::new(balancer.front);
            match slow.begins {
                b"PIPELINE" => client.send(&GET.repeat(50)),
                bytes => client.send(bytes),
            }
            client
        })
        .collect();
    for _ in 0..15 {
        for client in &many {
            // Those who were sent away already take no more.
            let _ = std::io::Write::write(&mut &client.stream, slow.drips);
        }
        others_are_answered();
        thread::sleep(Duration::from_millis(100));
    }
    let cost = private(&balancer).saturating_sub(before) / count as u64;
    println!(
        "{} bytes each: {:?}",
        cost,
        slow.begins.escape_ascii().to_string()
    );
    assert!(cost <= slow.cost, "{cost} bytes each\n{slow:?}");
    if !slow.word.is_empty() {
        wait_log(&balancer, slow.word, slow.letters);
    }
}

#[test]
fn clients_of_http2_that_read_nothing_are_let_go() {
    let server = Server::that(Does::Floods);
    let keys = Keys {
        frontend: "timeouts = { client = \"500ms\" }",
        ..Keys::default()
    };
    let balancer = keys.serve(&[server.address]);
    let _many: Vec<Client> = (0..FEW)
        .map(|_| Http2::asking(balancer.front, false))
        .collect();
    wait_log(&balancer, "client_timeout", "cD");
    server.wait_busy(0);
}
