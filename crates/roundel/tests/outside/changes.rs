//! Servers come and go while clients see nothing of it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use roundel_testkit::{Load, Process, Reuse, external};

use crate::balancer::{Balancer, SOON};
use crate::servers::Agent;
use crate::turns::alone;

/// Starts wrk for some seconds with 64 connections.
fn wrk(program: &Path, balancer: &Balancer, seconds: u32) -> Process {
    let url = format!("http://{}/", balancer.front);
    let duration = format!("-d{seconds}s");
    Process::spawn(Command::new(program).args(["-t2", "-c64", &duration, &url]))
}

/// wrk names errors only if there are any.
fn assert_no_failure(mut wrk: Process) {
    let status = wrk.wait_exit(Duration::from_secs(30));
    assert!(status.success(), "{wrk}");
    let told = wrk.stdout();
    assert!(told.contains("requests in"), "{wrk}");
    assert!(
        !told.contains("Socket errors") && !told.contains("Non-2xx"),
        "{wrk}"
    );
}

#[test]
fn wrk_sees_no_failure_while_servers_come_and_go() {
    let Some(program) = external("wrk", "wrk") else {
        return;
    };
    let _turn = alone();
    let mut demo = Balancer::demo(3, &["--access-log", "off"]);
    let pid = demo.process.id();
    let load = wrk(&program, &demo, 10);
    let added: Vec<_> = (1..=3)
        .map(|i| Agent::start(&format!("added-{i}"), demo.gossip))
        .collect();
    demo.wait_up(6, SOON);
    for agent in added {
        agent.stop();
    }
    demo.wait_up(3, SOON);
    assert_no_failure(load);
    assert!(demo.process.try_exit().is_none() && demo.process.id() == pid);
}

#[test]
fn a_stopped_server_loses_no_request() {
    let _turn = alone();
    let balancer = Balancer::serve(&["--access-log", "off"]);
    let mut agents: Vec<_> = (1..=3)
        .map(|i| Agent::start(&format!("s{i}"), balancer.gossip))
        .collect();
    balancer.wait_up(3, SOON);
    let loads = [Reuse::KeepAlive, Reuse::PerRequest].map(|r| Load::start(balancer.front, 4, r));
    loads.iter().for_each(|load| load.wait_more(100, SOON));
    for left in [2, 1] {
        let started = Instant::now();
        agents.remove(0).stop();
        // Idle connections of the balancer do not hold it up: their limit is four seconds.
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
        balancer.wait_up(left, SOON);
        loads.iter().for_each(|load| load.wait_more(100, SOON));
    }
    balancer.wait_member("s1", "left", SOON);
    for load in loads {
        load.stop().assert_clean();
    }
}

#[test]
fn a_killed_server_costs_no_idempotent_request_but_its_own() {
    let _turn = alone();
    let balancer = Balancer::serve(&["--access-log", "off"]);
    let mut agents: Vec<_> = (1..=3)
        .map(|i| Agent::start(&format!("s{i}"), balancer.gossip))
        .collect();
    balancer.wait_up(3, SOON);
    let load = Load::start(balancer.front, 4, Reuse::KeepAlive);
    load.wait_more(100, SOON);
    agents[0].process.kill();
    load.wait_more(500, SOON);
    let report = load.stop();
    assert!(report.ok > 0 && report.failed <= 4, "{report:#?}");
    balancer.wait_up(2, SOON);
}
