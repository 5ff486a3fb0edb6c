//! `roundel agent` as a server's process 1.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use roundel_testkit::{
    Process, Signal, descendants, external, free_address, poll, send_signal, skip, wait_for,
    wait_gone,
};

use crate::balancer::{Balancer, SOON, roundel};
use crate::servers::Agent;
use crate::turns::beside_others;

/// A seed that nobody answers at: the agent's own work must not depend on it.
fn nobody() -> SocketAddr {
    free_address()
}

/// An agent around a shell. It logs its command, so what a test waits for is spelt with quotes in
/// between: only the app's own output matches.
fn shell(script: &str) -> Agent {
    Agent::with("app", nobody(), &[], Some(&["sh", "-c", script]))
}

#[test]
fn the_apps_exit_code_is_passed_on() {
    let mut agent = shell("exit 42");
    assert_eq!(agent.process.wait_exit(SOON).code(), Some(42));
    let mut agent = shell("kill -9 $$");
    assert_eq!(agent.process.wait_exit(SOON).code(), Some(137));
}

#[test]
fn signals_are_passed_on() {
    let script = "trap 'echo got-h\"\"up' HUP; trap 'echo got-u\"\"sr1' USR1; trap 'exit 7' TERM; \
                  echo re''ady; while :; do sleep 0.02; done";
    let mut agent = shell(script);
    agent.process.wait_line("ready", SOON);
    agent.process.signal(Signal::HUP);
    agent.process.wait_line("got-hup", SOON);
    agent.process.signal(Signal::USR1);
    agent.process.wait_line("got-usr1", SOON);
    agent.process.signal(Signal::TERM);
    assert_eq!(agent.process.wait_exit(SOON).code(), Some(7));
}

#[test]
fn orphans_are_reaped_and_the_app_is_not_lost() {
    // The inner shell ends at once: its child becomes an orphan of the agent, and then a zombie.
    let script = "(sh -c 'sleep 0.2' &) ; (sh -c 'sleep 0.3' &) ; trap 'exit 5' TERM; \
                  sleep 0.6; echo o''ver; while :; do sleep 0.02; done";
    let mut agent = shell(script);
    agent.process.wait_line("over", SOON);
    let zombie = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(") Z ")
    };
    wait_for("all orphans to be reaped", SOON, || {
        let zombies = descendants(agent.process.id()).into_iter().filter(zombie);
        (zombies.count() == 0).then_some(())
    });
    agent.process.signal(Signal::TERM);
    assert_eq!(agent.process.wait_exit(SOON).code(), Some(5));
}

#[test]
fn it_is_process_1_of_a_container() {
    let Some(unshare) = external("unshare", "util-linux") else {
        return;
    };
    let inside = format!(
        "exec {} agent --node-name one --gossip-listen {} --join {} -- sh -c '{}'",
        env!("CARGO_BIN_EXE_roundel"),
        free_address(),
        nobody(),
        "(sleep 0.1 &); trap \"exit 9\" TERM; echo pid $PPID; while :; do sleep 0.02; done"
    );
    let mut command = std::process::Command::new(unshare);
    command.args([
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
        &inside,
    ]);
    let mut outer = Process::spawn(&mut command);
    if let Some(status) = poll(Duration::from_millis(500), || outer.try_exit()) {
        let why = outer.stderr();
        skip(&format!(
            "needs a process namespace of its own ({status}): {why}"
        ));
        return;
    }
    outer.wait_line("pid 1", SOON);
    let agent = wait_for("the agent", SOON, || {
        descendants(outer.id()).first().copied()
    });
    send_signal(agent, Signal::TERM);
    assert_eq!(outer.wait_exit(SOON).code(), Some(9), "{outer}");
}

#[test]
fn it_joins_only_when_the_port_accepts() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&["--check", "tcp"]);
    let sleeper = ["sleep", "600"];
    let agent = Agent::with("late", balancer.gossip, &[], Some(&sleeper));
    let seen = || {
        let snapshot = balancer.snapshot();
        let members = snapshot["members"].as_array().unwrap();
        members.iter().any(|member| member["name"] == "late")
    };
    let early = poll(Duration::from_secs(2), || seen().then_some(()));
    assert!(early.is_none(), "joined before the port was open");
    let _listener = TcpListener::bind(agent.app).unwrap();
    balancer.wait_up(1, SOON);
}

#[test]
fn an_app_that_ends_takes_its_membership_along() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let mut agent = Agent::start("s1", balancer.gossip);
    balancer.wait_up(1, SOON);
    let toy = descendants(agent.process.id())[0];
    send_signal(toy, Signal::KILL);
    assert_eq!(
        agent.process.wait_exit(SOON).code(),
        Some(137),
        "{}",
        agent.process
    );
    balancer.wait_member("s1", "left", SOON);
    wait_gone(toy, SOON);
}

#[test]
fn without_a_command_it_stands_for_an_app_of_somebody_else() {
    let _turn = beside_others();
    // Without a key its weight would count after a minute only.
    let key = crate::cluster::new_key();
    let balancer = Balancer::serve(&["--gossip-key", &key]);
    let app = roundel_testkit::Origin::start_on(free_address(), |_| {
        roundel_testkit::Reply::text("theirs")
    });
    let ip = app.address().ip();
    let words = [
        "agent",
        "--gossip-key",
        &key,
        "--node-name",
        "side",
        "--weight",
        "3",
        "--tag",
        "zone=a",
        "--wait-port",
    ];
    let mut agent = Process::spawn(
        roundel(&words)
            .args(["--gossip-listen", &format!("{ip}:0")])
            .args(["--join", &balancer.gossip.to_string()])
            .args(["--port", &app.address().port().to_string()]),
    );
    balancer.wait_up(1, SOON);
    assert_eq!(balancer.get("/").text(), "theirs");
    let snapshot = balancer.snapshot();
    assert_eq!(
        snapshot["backends"][0]["servers"][0]["weight"], 3,
        "{snapshot}"
    );
    let members = snapshot["members"].as_array().unwrap();
    let side = members
        .iter()
        .find(|member| member["name"] == "side")
        .unwrap();
    assert_eq!(side["tags"]["zone"], "a");
    assert_eq!(side["tags"]["role"], "backend");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_exit(SOON).code(), Some(0), "{agent}");
    balancer.wait_member("side", "left", SOON);
}

#[test]
fn a_taken_name_is_given_a_suffix() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let _first = Agent::start("twin", balancer.gossip);
    balancer.wait_up(1, SOON);
    let _second = Agent::start("twin", balancer.gossip);
    balancer.wait_up(2, SOON);
    let states = balancer.states();
    let twins = states.iter().filter(|(name, _)| name.starts_with("twin"));
    assert_eq!(twins.count(), 2, "{states:?}");
}

#[test]
fn an_agent_that_loses_the_vote_about_its_name_goes_on_under_another() {
    let _turn = beside_others();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let started = Instant::now();
    let places: [SocketAddr; 5] = std::array::from_fn(|_| free_address());
    let [front, stats, gossip, twin, other] = places;
    // It has had its name for long when it meets the other one.
    let mut agent = Agent::start("twin", gossip);
    let stock = |name: &str, at: SocketAddr, seed: SocketAddr| {
        let mut command = std::process::Command::new(&serf);
        command
            .args(["agent", &format!("-node={name}"), &format!("-bind={at}")])
            .arg(format!("-rpc-addr={}", free_address()))
            .args([&format!("-retry-join={seed}"), "-retry-interval=1s"]);
        Process::spawn(&mut command)
    };
    let holder = stock("twin", twin, gossip);
    let voter = stock("other", other, twin);
    let old_enough = Duration::from_secs(11);
    wait_for("the name to be old", old_enough * 2, || {
        (started.elapsed() > old_enough).then_some(())
    });
    // The seed of all comes last, and knows the stock agent's claim by then or votes for none.
    let seed = twin.to_string();
    let balancer = Balancer::start_at(&["serve"], &["--join", &seed], [front, stats, gossip]);
    let balancer = balancer.ready();
    agent
        .process
        .wait_line("the vote about our name is lost", SOON);
    balancer.wait_up(1, SOON);
    let (name, _) = balancer.states().remove(0);
    assert!(name.starts_with("twin-") && name.len() == 11, "{name}");
    balancer.wait_member("twin", "alive", SOON);
    assert!(balancer.get("/").text().contains("twin"));
    assert!(agent.process.try_exit().is_none(), "the app was ended");
    drop((holder, voter));
    agent.stop();
}
