//! Every channel reads its own writes.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use roundel_testkit::{free_address, request};
use serde_json::Value;

use super::stage::say;
use crate::balancer::Balancer;
use crate::turns::beside_others;

const SERVERS: usize = 300;
const PAIRS: usize = 40;

/// A balancer of many servers that nobody checks.
fn crowd(folder: &Path) -> (Balancer, String) {
    let [front, stats] = [free_address(), free_address()];
    let socket = folder.join("roundel.sock").display().to_string();
    let mut text = format!(
        "[stats]\nlisten = \"{stats}\"\nadmin = \"loopback\"\n[cli]\nlisten = \"off\"\nsocket = \"{socket}\"\n\
         [[frontend]]\nname = \"f\"\nlisten = \"{front}\"\ndefault_backend = \"b\"\n\
         [[backend]]\nname = \"b\"\ncheck = \"off\"\nserver = [\n"
    );
    for n in 0..SERVERS {
        text += &format!("{{ name = \"s{n}\", address = \"127.0.0.1:9\" }},\n");
    }
    text += "]\n";
    let file = folder.join("roundel.toml");
    std::fs::write(&file, text).unwrap();
    let balancer = Balancer::with_file(file.to_str().unwrap(), [front, stats]);
    (balancer, socket)
}

fn post(stats: SocketAddr, path: &str, body: &str) {
    let path = format!("/api/v1/backends/b/servers/{path}");
    let headers = [("Content-Type", "application/json"), ("Host", "127.0.0.1")];
    let answer = request(stats, "POST", &path, &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn read(stats: SocketAddr, server: &str) -> Value {
    let path = format!("/api/v1/backends/b/servers/{server}");
    let answer = request(stats, "GET", &path, &[], b"").unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn whoever_acts_reads_what_was_done() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let (balancer, socket) = crowd(folder.path());
    let stats = balancer.stats;
    let (one, two, three) = (socket.clone(), socket.clone(), socket);
    let by_socket = thread::spawn(move || {
        for n in 0..PAIRS {
            let weight = n % 7;
            let set = say(one.as_ref(), &format!("set weight b/s1 {weight}"));
            let got = say(one.as_ref(), "get weight b/s1");
            assert_eq!(
                (set.as_str(), got),
                ("\n", format!("{weight} (initial 1)\n\n"))
            );
        }
    });
    let by_http = thread::spawn(move || {
        for n in 0..PAIRS {
            let weight = n % 7;
            post(stats, "s2:weight", &format!("{{\"weight\":{weight}}}"));
            assert_eq!(read(stats, "s2")["user_weight"], weight);
        }
    });
    let across = thread::spawn(move || {
        for n in 0..PAIRS {
            let (verb, state) = [("drain", "draining"), ("ready", "up")][n % 2];
            post(stats, &format!("s3:{verb}"), "");
            let table = say(two.as_ref(), "show servers state b");
            let row = table
                .lines()
                .find(|line| line.split(' ').nth(3) == Some("s3"));
            let mask = row.and_then(|line| line.split(' ').nth(6)).unwrap();
            assert_eq!(mask, if verb == "drain" { "8" } else { "0" });
            say(two.as_ref(), &format!("set server b/s3 state {verb}"));
            assert_eq!(read(stats, "s3")["state"], state);
        }
    });
    let of_one_line = thread::spawn(move || {
        for n in 0..PAIRS {
            let line = format!(
                "add server b/n{n} 127.0.0.1:9; set server b/n{n} weight 2; get weight b/n{n}; \
                 disable server b/n{n}; del server b/n{n}; add server b/n{n} 127.0.0.1:9; \
                 get weight b/n{n}"
            );
            let added = "New server registered.\n\n";
            let expected =
                format!("{added}\n2 (initial 1)\n\n\nServer deleted.\n{added}1 (initial 1)\n\n");
            assert_eq!(say(three.as_ref(), &line), expected);
        }
    });
    for channel in [by_socket, by_http, across, of_one_line] {
        channel.join().unwrap();
    }
}

#[test]
fn statuses_that_acts_ask_for_are_no_seconds() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let (balancer, socket) = crowd(folder.path());
    let before = balancer.snapshot();
    for n in 0..30 {
        say(socket.as_ref(), &format!("set weight b/s1 {n}"));
    }
    let after = balancer.snapshot();
    let number = |snapshot: &Value, key: &str| snapshot[key].as_u64().unwrap();
    let grown = |key: &str| number(&after, key) - number(&before, key);
    assert!(grown("seq") >= 30, "each act has its snapshot");
    let rows: Value = serde_json::from_str(&balancer.page("/api/v1/series")).unwrap();
    let rows = rows.as_array().map_or(0, Vec::len) as u64;
    assert!(rows <= number(&balancer.snapshot(), "second") + 1, "{rows}");
    assert!(grown("second") < grown("seq"), "acts make no seconds");
}
