//! A new process in place of the old one, while clients see nothing of it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use roundel_testkit::{
    Load, Origin, Process, Reuse, Signal, external, free_port, get, loopback, poll, send_signal,
    wait_for, wait_gone,
};
use serde_json::Value;

use crate::balancer::{Balancer, SOON};
use crate::servers::Agent;
use crate::turns::{alone, beside_others};

/// The process that took over; ended with the test.
struct Successor(u32);

impl Drop for Successor {
    fn drop(&mut self) {
        send_signal(self.0, Signal::KILL);
    }
}

fn pid_of(stats: SocketAddr) -> Option<u64> {
    let answer = get(stats, "/api/v1/snapshot").ok()?;
    let snapshot: Value = serde_json::from_str(&answer.text()).ok()?;
    snapshot["process"]["pid"].as_u64()
}

/// Asks for a renewal and waits until the old process has ended.
fn renew(balancer: &mut Balancer) -> Successor {
    balancer.process.signal(Signal::USR2);
    let line = balancer.process.wait_line("is to take over", SOON);
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| *w == "process").unwrap();
    let successor = Successor(words[at + 1].parse().unwrap());
    let status = balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", balancer.process);
    successor
}

#[test]
fn a_renewal_under_load_loses_no_request_and_keeps_the_gossip() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let flags = [
        "--access-log",
        "off",
        "--cli-socket",
        socket.to_str().unwrap(),
    ];
    let mut balancer = Balancer::serve(&flags);
    let agents: Vec<_> = (1..=2)
        .map(|i| Agent::start(&format!("s{i}"), balancer.gossip))
        .collect();
    balancer.wait_up(2, SOON);
    let loads = [Reuse::KeepAlive, Reuse::PerRequest].map(|r| Load::start(balancer.front, 8, r));
    let wrk = external("wrk", "wrk").map(|wrk| {
        let url = format!("http://{}/", balancer.front);
        Process::spawn(Command::new(wrk).args(["-t1", "-c32", "-d6s", &url]))
    });
    loads.iter().for_each(|load| load.wait_more(100, SOON));

    let successor = renew(&mut balancer);
    loads.iter().for_each(|load| load.wait_more(200, SOON));
    assert_eq!(pid_of(balancer.stats), Some(successor.0.into()));
    balancer.wait_up(2, SOON);
    UnixStream::connect(&socket).unwrap();
    // The gossip lives on under the same name and port: a third server finds it there.
    let third = Agent::start("s3", balancer.gossip);
    balancer.wait_up(3, SOON);
    loads.iter().for_each(|load| load.wait_more(100, SOON));
    for load in loads {
        load.stop().assert_clean();
    }
    if let Some(mut wrk) = wrk {
        assert!(wrk.wait_exit(Duration::from_secs(30)).success(), "{wrk}");
        let told = wrk.stdout();
        assert!(told.contains("requests in"), "{wrk}");
        assert!(
            !told.contains("Socket errors") && !told.contains("Non-2xx"),
            "{wrk}"
        );
    }
    drop((agents, third));
    send_signal(successor.0, Signal::TERM);
    wait_gone(successor.0, SOON);
    assert!(!socket.exists());
}

#[test]
fn a_successor_can_be_renewed_too() {
    let _turn = beside_others();
    let origin = Origin::named("a");
    let server = format!("s1={}", origin.address());
    let mut balancer = Balancer::serve(&["--static", &server]);
    balancer.wait_up(1, SOON);
    let first = renew(&mut balancer);
    send_signal(first.0, Signal::USR2);
    let second = wait_for("the second successor", SOON, || {
        pid_of(balancer.stats).filter(|pid| *pid != u64::from(first.0))
    });
    let second = Successor(second.try_into().unwrap());
    wait_gone(first.0, SOON);
    assert_eq!(get(balancer.front, "/").unwrap().text(), "a");
    drop(second);
}

#[test]
fn a_successor_that_cannot_start_leaves_the_old_one_serving() {
    let _turn = beside_others();
    let origin = Origin::named("a");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[[frontend]]\nname = \"f\"\n\
         listen = [\"{front}\"]\ndefault_backend = \"b\"\n[[backend]]\nname = \"b\"\n\
         [[backend.server]]\nname = \"a\"\naddress = \"{}\"\n",
        origin.address()
    );
    fs::write(&path, &text).unwrap();
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(1, SOON);
    let load = Load::start(front, 2, Reuse::PerRequest);
    fs::write(&path, "[globule]\n").unwrap();
    balancer.process.signal(Signal::USR2);
    balancer.process.wait_line("did not take over", SOON);
    load.wait_more(50, SOON);
    assert!(balancer.process.try_exit().is_none());
    assert_eq!(pid_of(stats), Some(balancer.process.id().into()));

    // With the mistake mended, the next try succeeds.
    fs::write(&path, &text).unwrap();
    let successor = poll(SOON, || {
        balancer.process.signal(Signal::USR2);
        poll(Duration::from_secs(5), || {
            pid_of(stats).filter(|pid| *pid != u64::from(balancer.process.id()))
        })
    });
    let successor = Successor(successor.expect("a successor").try_into().unwrap());
    load.wait_more(50, SOON);
    load.stop().assert_clean();
    drop(successor);
}
