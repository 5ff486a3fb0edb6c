//! `roundel demo`: the whole thing in one command.

use std::collections::BTreeSet;

use roundel_testkit::{Connection, Process, Signal, request};
use serde_json::Value;

use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::beside_others;

fn host(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).expect("the toy answers with JSON");
    json["host"].as_str().expect("a host").to_string()
}

#[test]
fn without_a_jar_each_server_answers_in_turn() {
    let _turn = beside_others();
    let demo = Balancer::demo(3, &[]);
    let hosts: Vec<_> = (0..6).map(|_| host(&demo.get("/").body)).collect();
    let distinct: BTreeSet<_> = hosts[..3].iter().collect();
    assert_eq!(distinct.len(), 3, "{hosts:?}");
    assert_eq!(hosts[..3], hosts[3..], "{hosts:?}");
}

#[test]
fn one_connection_goes_in_turn_too() {
    let _turn = beside_others();
    let demo = Balancer::demo(3, &[]);
    let mut connection = Connection::open(demo.front).unwrap();
    let mut next = || host(&connection.send("GET", "/", &[], b"").unwrap().body);
    let hosts: Vec<_> = (0..6).map(|_| next()).collect();
    assert_eq!(hosts[..3], hosts[3..], "{hosts:?}");
}

#[test]
fn with_a_jar_the_session_stays() {
    let _turn = beside_others();
    let demo = Balancer::demo(3, &[]);
    let mut jar: Vec<String> = Vec::new();
    let mut hosts = BTreeSet::new();
    for views in 1..=6 {
        let cookies = jar.join("; ");
        let headers = [("Cookie", cookies.as_str())];
        let headers = if jar.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let response = request(demo.front, "GET", "/", headers, b"").unwrap();
        let json: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(json["sessionViews"], views, "{json}");
        hosts.insert(host(&response.body));
        for name in ["SERVERID", "NODESESSID"] {
            if let Some(pair) = response.cookie(name) {
                jar.retain(|kept| !kept.starts_with(&format!("{name}=")));
                jar.push(pair);
            }
        }
        assert_eq!(jar.len(), 2, "both cookies are set: {jar:?}");
    }
    assert_eq!(hosts.len(), 1, "{hosts:?}");
}

#[test]
fn members_joined_by_gossip_and_ctrl_c_ends_all() {
    let _turn = beside_others();
    let mut demo = Balancer::demo(2, &[]);
    let snapshot = demo.snapshot();
    let members = snapshot["members"].as_array().unwrap();
    let roles = |role: &str| members.iter().filter(|m| m["tags"]["role"] == role).count();
    assert_eq!(
        (roles("balancer"), roles("backend")),
        (1, 2),
        "{members:#?}"
    );
    demo.process.wait_line(&demo.front.to_string(), SOON);
    demo.process.wait_line(&demo.stats.to_string(), SOON);
    demo.process.signal(Signal::INT);
    let status = demo.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", demo.process);
    assert!(
        !demo.process.stderr().contains("panicked"),
        "{}",
        demo.process
    );
}

#[test]
fn a_taken_port_is_named_with_the_cure() {
    let _turn = beside_others();
    let first = Balancer::demo(1, &[]);
    let taken = [("--listen", first.front), ("--stats-listen", first.stats)];
    for (flag, address) in taken {
        let mut second = roundel(&[
            "demo",
            "--cli-listen",
            "off",
            "--gossip-listen",
            "127.0.0.1:0",
        ]);
        for other in ["--listen", "--stats-listen"] {
            let at = if other == flag {
                address.to_string()
            } else {
                "127.0.0.1:0".into()
            };
            second.args([other, &at]);
        }
        let mut second = Process::spawn(&mut second);
        let status = second.wait_exit(SOON);
        assert_eq!(status.code(), Some(1), "{second}");
        let told = second.stderr();
        assert!(told.contains(&address.port().to_string()), "{second}");
        assert!(told.contains(flag), "{second}");
    }
}
