//! Real Serf agents as servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use roundel_testkit::{Load, Process, Reuse, Signal, external, poll, wait_for};
use serde_json::Value;

use crate::balancer::{Balancer, SOON, roundel};
use crate::cluster::wait_told;
use crate::servers::{SerfServer, Toy};
use crate::turns::{alone, beside_others};

#[test]
fn a_serf_agent_joins_is_served_and_leaves() {
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let _turn = beside_others();
    let balancer = Balancer::serve(&["--node-name", "lb"]);
    let mut server = SerfServer::start(&serf, "s1", Toy::start("s1"), balancer.gossip);
    balancer.wait_up(1, SOON);
    assert!(balancer.get("/").text().contains("s1"));

    let theirs = server.members(&serf);
    let ours = theirs
        .lines()
        .find(|line| line.starts_with("lb "))
        .unwrap_or_default();
    assert!(
        ours.contains("alive") && ours.contains("role=balancer"),
        "{theirs}"
    );
    assert!(ours.contains(&balancer.gossip.to_string()), "{theirs}");

    let stats = format!("http://{}", balancer.stats);
    let mut members = Process::spawn(&mut roundel(&["members", "--stats", &stats]));
    assert!(members.wait_exit(SOON).success(), "{members}");
    let words = |text: &str| -> BTreeSet<Vec<String>> {
        let split = |line: &str| line.split_whitespace().map(String::from).take(3).collect();
        text.lines().map(split).collect()
    };
    assert_eq!(
        words(&members.stdout()),
        words(&theirs),
        "{members}\n{theirs}"
    );

    // Each key that Serf's JSON has is in ours, with the same value.
    let mut members = Process::spawn(&mut roundel(&["members", "--json", "--stats", &stats]));
    assert!(members.wait_exit(SOON).success(), "{members}");
    let ours = by_name(&members.stdout());
    let theirs = by_name(&server.command(&serf, &["members", "-format=json"]));
    assert_eq!(ours.len(), theirs.len());
    for (name, member) in &theirs {
        for (key, value) in member {
            assert_eq!(ours[name].get(key), Some(value), "{key} of {name}");
        }
    }

    server.serf.signal(Signal::INT);
    server.serf.wait_exit(SOON);
    balancer.wait_member("s1", "left", SOON);
    balancer.wait_up(0, SOON);
    assert_eq!(balancer.get("/").status, 503);
}

/// The members in JSON as Serf and we print them, each with what is said of it.
fn by_name(text: &str) -> BTreeMap<String, serde_json::Map<String, Value>> {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let members = json["members"].as_array().cloned().unwrap_or_default();
    let member = |m: Value| {
        let name = m["name"].as_str()?.to_owned();
        Some((name, m.as_object()?.clone()))
    };
    members.into_iter().filter_map(member).collect()
}

#[test]
fn a_balancer_that_comes_back_elsewhere_takes_another_name() {
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let _turn = beside_others();
    let mut before = Balancer::serve(&["--node-name", "lb"]);
    let server = SerfServer::start(&serf, "s1", Toy::start("s1"), before.gossip);
    before.wait_up(1, SOON);
    let seed = before.member_address("s1");
    before.process.kill();

    // The cluster holds the old one for alive, then for failed: it keeps the name either way.
    let after = Balancer::serve(&["--node-name", "lb", "--join", &seed]);
    after.wait_up(1, SOON);
    assert!(after.get("/").text().contains("s1"));
    let told = "the name lb belongs to another member: this node goes on as lb-";
    wait_told(&after, told);
    let page = after.page("/");
    assert!(
        page.contains("<code>lb</code> belongs to another member"),
        "{page}"
    );
    wait_for("the agent to see both", SOON, || {
        let theirs = server.members(&serf);
        let lines: Vec<&str> = theirs.lines().filter(|l| l.starts_with("lb")).collect();
        let at = |line: &&str, gossip: std::net::SocketAddr| line.contains(&gossip.to_string());
        let old = lines
            .iter()
            .any(|l| l.starts_with("lb ") && at(l, before.gossip));
        let new = lines
            .iter()
            .any(|l| l.starts_with("lb-") && at(l, after.gossip));
        (old && new && lines.len() == 2).then_some(())
    });
}

/// Counters that were seen once are never lower afterwards, whatever happens to their servers.
#[derive(Default)]
struct Counters(BTreeMap<String, u64>);

impl Counters {
    fn look(&mut self, balancer: &Balancer) {
        for (name, now) in balancer.requests() {
            let before = self.0.insert(name.clone(), now).unwrap_or(0);
            assert!(now >= before, "{name} went back from {before} to {now}");
        }
    }
}

/// Waits until requests have been answered by so many servers, none of them seen twice in a row.
fn wait_served(balancer: &Balancer, count: usize, within: Duration) {
    let mut servers = BTreeSet::new();
    let all = poll(within, || {
        for _ in 0..count {
            let response = balancer.get("/");
            servers.extend(response.header("x-backend-ip").map(String::from));
        }
        (servers.len() == count).then_some(())
    });
    assert!(
        all.is_some(),
        "{} of {count} servers answer after {within:?}",
        servers.len()
    );
}

#[test]
fn twenty_five_join_five_die_five_stop() {
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let _turn = alone();
    let balancer = Balancer::serve(&["--access-log", "off"]);
    let toys: Vec<_> = (1..=25).map(|i| Toy::start(&format!("s{i}"))).collect();
    let mut servers = Vec::new();
    for (toy, i) in toys.into_iter().zip(1..) {
        servers.push(SerfServer::start(
            &serf,
            &format!("s{i}"),
            toy,
            balancer.gossip,
        ));
    }
    let last_start = Instant::now();
    wait_served(&balancer, 25, Duration::from_secs(2));
    println!(
        "25 servers answer {:?} after the last start",
        last_start.elapsed()
    );
    balancer.wait_up(25, SOON);

    let mut counters = Counters::default();
    counters.look(&balancer);
    let loads = [Reuse::KeepAlive, Reuse::PerRequest].map(|r| Load::start(balancer.front, 4, r));
    loads.iter().for_each(|load| load.wait_more(200, SOON));
    for mut server in servers.drain(..5) {
        server.toy.process.kill();
        server.serf.kill();
    }
    counters.look(&balancer);
    for server in servers.drain(..5) {
        let SerfServer {
            mut serf,
            toy,
            name,
            ..
        } = server;
        serf.signal(Signal::INT);
        serf.wait_exit(SOON);
        balancer.wait_member(&name, "left", SOON);
        // A stock agent's app goes on for a while, as its supervisor has it.
        wait_idle(&balancer, &name);
        drop(toy);
        counters.look(&balancer);
    }
    balancer.wait_up(15, Duration::from_secs(30));
    counters.look(&balancer);
    loads.iter().for_each(|load| load.wait_more(200, SOON));
    for load in loads {
        let report = load.stop();
        // A killed app can take along only what was on its wire: one request per client.
        assert!(report.ok > 0 && report.failed <= 4, "{report:#?}");
        let on_its_wire = |why: &String| why.contains("status 502") || why.contains("exchange");
        assert!(report.failures.iter().all(on_its_wire), "{report:#?}");
    }
    counters.look(&balancer);
}

/// Waits until a server is out of the set.
fn wait_idle(balancer: &Balancer, name: &str) {
    let gone = poll(SOON, || {
        let states = balancer.states();
        let state = states
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, s)| s.as_str());
        matches!(state, None | Some("left" | "leaving")).then_some(())
    });
    assert!(
        gone.is_some(),
        "{name} still serves: {:?}",
        balancer.states()
    );
}
