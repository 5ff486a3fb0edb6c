//! The verbs that read and steer a running balancer.

use std::collections::BTreeMap;

use roundel_testkit::{Process, request, wait_for};
use serde_json::Value;

use crate::balancer::{Balancer, SOON, roundel};
use crate::servers::Agent;
use crate::turns::beside_others;

/// Runs a verb against a balancer and gives its exit code and what it printed.
fn verb(balancer: &Balancer, words: &[&str]) -> (Option<i32>, String) {
    let stats = format!("http://{}", balancer.stats);
    let mut process = Process::spawn(roundel(words).args(["--stats", &stats]));
    let code = process.wait_exit(SOON).code();
    // Both readers end a moment after the process.
    wait_for("the output", SOON, || {
        (!process.stdout().is_empty() || !process.stderr().is_empty()).then_some(())
    });
    (code, process.stdout() + &process.stderr())
}

fn act(balancer: &Balancer, words: &[&str]) {
    let (code, told) = verb(balancer, words);
    assert_eq!(code, Some(0), "{words:?}: {told}");
}

/// The state that the snapshot shows for a server.
fn state(balancer: &Balancer, server: &str) -> String {
    let states: BTreeMap<_, _> = balancer.states().into_iter().collect();
    states.get(server).cloned().unwrap_or_default()
}

fn wait_state(balancer: &Balancer, server: &str, wanted: &str) {
    wait_for(&format!("{server} {wanted}"), SOON, || {
        (state(balancer, server) == wanted).then_some(())
    });
}

/// One GET with a sticky cookie; gives the server's name and the cookie to go on with.
fn sticky(balancer: &Balancer, cookie: Option<&str>) -> (String, Option<String>) {
    let headers: Vec<_> = cookie.into_iter().map(|pair| ("Cookie", pair)).collect();
    let response = request(balancer.front, "GET", "/", &headers, b"").unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let json: Value = serde_json::from_slice(&response.body).unwrap();
    let host = json["host"].as_str().unwrap_or_default().to_string();
    (host, response.cookie("SERVERID"))
}

#[test]
fn a_drained_server_keeps_its_clients_and_takes_no_new_ones() {
    let _turn = beside_others();
    let demo = Balancer::demo(2, &[]);
    let (first, cookie) = sticky(&demo, None);
    let cookie = cookie.expect("a first answer sets the cookie");
    act(&demo, &["drain", &format!("nodes/{first}")]);
    wait_state(&demo, &first, "draining");
    for _ in 0..4 {
        let (kept, renewed) = sticky(&demo, Some(&cookie));
        assert_eq!(
            (kept, renewed),
            (first.clone(), None),
            "a sticky client stays"
        );
        assert_ne!(sticky(&demo, None).0, first, "a new client goes elsewhere");
    }
    act(&demo, &["maint", &format!("nodes/{first}")]);
    wait_state(&demo, &first, "maint");
    let (other, renewed) = sticky(&demo, Some(&cookie));
    assert_ne!(other, first);
    assert!(
        renewed.is_some_and(|new| new != cookie),
        "the cookie is renewed"
    );
    // Each first answer had set one, too.
    for (reason, count) in [("none", 5), ("down", 1), ("valid", 0)] {
        let line = format!(
            "roundel_sticky_cookies_set_total{{backend=\"nodes\",reason=\"{reason}\"}} {count}\n"
        );
        wait_for(&line, SOON, || {
            demo.page("/metrics").contains(&line).then_some(())
        });
    }
    act(&demo, &["ready", &format!("nodes/{first}")]);
    wait_state(&demo, &first, "up");
}

#[test]
fn a_leaving_servers_client_is_given_another_at_once() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let mut agents: BTreeMap<_, _> = ["s1", "s2"]
        .map(|name| (name.to_string(), Agent::start(name, balancer.gossip)))
        .into();
    balancer.wait_up(2, SOON);
    let (first, cookie) = sticky(&balancer, None);
    let cookie = cookie.expect("a first answer sets the cookie");
    agents.remove(&first).expect("one of the two").stop();
    let (other, renewed) = sticky(&balancer, Some(&cookie));
    assert_ne!(other, first);
    assert!(
        renewed.is_some_and(|new| new != cookie),
        "the cookie is renewed"
    );
}

#[test]
fn a_weight_changes_the_share() {
    let _turn = beside_others();
    let demo = Balancer::demo(2, &["--sticky", "off"]);
    act(&demo, &["weight", "nodes/webapp-1", "3"]);
    let mut seen = BTreeMap::new();
    for _ in 0..80 {
        *seen.entry(sticky(&demo, None).0).or_insert(0) += 1;
    }
    assert_eq!(
        seen,
        BTreeMap::from([("webapp-1".into(), 60), ("webapp-2".into(), 20)])
    );
}

#[test]
fn readers_print_tables_and_json() {
    let _turn = beside_others();
    let demo = Balancer::demo(2, &[]);
    let (code, table) = verb(&demo, &["stat"]);
    assert_eq!(code, Some(0), "{table}");
    for word in ["localnodes", "nodes", "webapp-1", "webapp-2", "up"] {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }
    let (_, json) = verb(&demo, &["stat", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON for programs");
    assert_eq!(
        json["backends"][0]["servers"].as_array().map(Vec::len),
        Some(2)
    );
    let (_, events) = verb(&demo, &["events"]);
    assert!(events.contains("webapp-1"), "{events}");
}

#[test]
fn a_health_check_says_yes_or_no() {
    let _turn = beside_others();
    let demo = Balancer::demo(0, &[]);
    for (address, code) in [(demo.stats, 0), (roundel_testkit::free_address(), 1)] {
        let url = format!("http://{address}/readyz");
        let mut process = Process::spawn(&mut roundel(&["healthcheck", &url]));
        assert_eq!(process.wait_exit(SOON).code(), Some(code), "{process}");
    }
}

#[test]
fn acts_are_refused_where_nobody_allowed_them() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let agent = Agent::start("s1", balancer.gossip);
    balancer.wait_up(1, SOON);
    let (code, told) = verb(&balancer, &["drain", "nodes/s1"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("admin"), "the refusal names no cure: {told}");
    assert_eq!(state(&balancer, "s1"), "up");
    agent.stop();
}
