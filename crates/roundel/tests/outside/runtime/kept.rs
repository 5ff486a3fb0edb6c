//! Orders last until they are taken back.

use std::path::Path;

use roundel_testkit::{Process, Signal, free_address, wait_for};

use super::stage::say;
use crate::balancer::{Balancer, SOON, roundel};
use crate::servers::Agent;
use crate::turns::alone;

fn verb(words: &[&str]) -> (Option<i32>, String) {
    let mut process = Process::spawn(&mut roundel(words));
    let code = process.wait_exit(SOON).code();
    (code, process.stdout() + &process.stderr())
}

/// State, weight and reason of a server; `None` while it is not there.
fn server(balancer: &Balancer, name: &str) -> Option<(String, u64, String)> {
    let snapshot = balancer.snapshot();
    let servers = snapshot["backends"][0]["servers"].as_array()?.clone();
    let own = servers
        .into_iter()
        .find(|s| s["name"] == name && s["state"] != "left")?;
    let text = |key: &str| own[key].as_str().unwrap_or_default().to_owned();
    Some((text("state"), own["weight"].as_u64()?, text("reason")))
}

fn wait_state(balancer: &Balancer, name: &str, state: &str) -> String {
    wait_for(&format!("{name} {state}"), SOON, || {
        server(balancer, name).filter(|s| s.0 == state).map(|s| s.2)
    })
}

fn wait_gone(balancer: &Balancer, name: &str) {
    wait_for(&format!("{name} to go"), SOON, || {
        server(balancer, name).is_none().then_some(())
    });
}

#[test]
fn an_agent_that_restarts_comes_back_under_its_order() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let socket = socket.to_str().unwrap();
    let mut balancer = Balancer::serve(&["--cli-socket", socket]);
    let seed = balancer.gossip;
    let mut agent = Agent::start("g1", seed);
    let _other = Agent::start("g2", seed);
    balancer.wait_up(2, SOON);
    let (code, told) = verb(&["maint", "nodes/g1", "--cli-socket", socket]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = verb(&["maint", "nodes/g2", "--cli-socket", socket]);
    assert_ne!(
        code,
        Some(0),
        "the last server that serves is spared: {told}"
    );
    assert!(told.contains("--force"), "{told}");
    wait_state(&balancer, "g2", "up");

    agent.process.signal(Signal::TERM);
    agent.process.wait_exit(SOON);
    wait_gone(&balancer, "g1");
    let (_, told) = verb(&["stat", "--cli-socket", socket]);
    assert!(
        told.contains("g1 is away and under orders: maint"),
        "{told}"
    );
    let mut agent = Agent::start("g1", seed);
    let reason = wait_state(&balancer, "g1", "maint");
    assert!(reason.contains("before it came"), "{reason}");
    let line = balancer
        .process
        .wait_line("comes under orders: maint", SOON);
    assert!(line.contains("`roundel ready nodes/g1` ends it"), "{line}");

    // The next process knows it too, and so does one that starts while the server is away.
    agent.process.signal(Signal::TERM);
    agent.process.wait_exit(SOON);
    wait_gone(&balancer, "g1");
    balancer.process.signal(Signal::USR2);
    balancer.process.wait_exit(SOON);
    wait_for("the successor", SOON, || {
        roundel_testkit::get(balancer.stats, "/readyz")
            .is_ok_and(|r| r.status == 200)
            .then_some(())
    });
    let _agent = Agent::start("g1", seed);
    wait_state(&balancer, "g1", "maint");
    let (code, told) = verb(&["ready", "nodes/g1", "--cli-socket", socket]);
    assert_eq!(code, Some(0), "{told}");
    wait_state(&balancer, "g1", "up");
    let (code, told) = verb(&[
        "maint",
        "nodes/g1",
        "nodes/g2",
        "--force",
        "--cli-socket",
        socket,
    ]);
    assert_eq!(code, Some(0), "{told}");
    wait_state(&balancer, "g2", "maint");
    stop_successor(socket.as_ref());
}

/// Ends the process that has taken over, which is no child of the test.
fn stop_successor(socket: &Path) {
    let info = say(socket, "show info");
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
    let pid = pid.and_then(|pid| pid.parse().ok()).unwrap();
    roundel_testkit::send_signal(pid, Signal::KILL);
    roundel_testkit::wait_gone(pid, SOON);
}

#[test]
fn a_line_that_vanishes_from_a_file_and_a_reload_leave_the_order() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let socket = path("roundel.sock");
    let [front, stats] = [free_address(), free_address()];
    let both = "a 127.0.0.1:9\nb 127.0.0.1:9\n";
    std::fs::write(path("servers"), both).unwrap();
    let text = |name: &str| {
        format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\nsocket = \"{}\"\n[[frontend]]\nname = \"f\"\n\
             listen = \"{front}\"\ndefault_backend = \"{name}\"\n[[backend]]\nname = \"{name}\"\n\
             check = \"off\"\ndiscover = [{{ file = {{ path = \"{}\" }} }}]\n",
            socket.display(),
            path("servers").display()
        )
    };
    let file = path("roundel.toml");
    std::fs::write(&file, text("nodes")).unwrap();
    let balancer = Balancer::with_file(file.to_str().unwrap(), [front, stats]);
    wait_state(&balancer, "a", "up");
    assert_eq!(
        say(
            &socket,
            "set server nodes/a state maint; set weight nodes/a 0"
        ),
        "\n\n"
    );
    std::fs::write(path("servers"), "b 127.0.0.1:9\n").unwrap();
    wait_gone(&balancer, "a");
    std::fs::write(path("servers"), both).unwrap();
    wait_state(&balancer, "a", "maint");

    let reload = |name: &str| {
        std::fs::write(&file, text(name)).unwrap();
        let told = say(&socket, "reload");
        assert!(told.contains("reloaded"), "{told}");
    };
    reload("others");
    wait_state(&balancer, "a", "up");
    reload("nodes");
    wait_state(&balancer, "a", "maint");
    assert_eq!(say(&socket, "set server nodes/a state ready"), "\n");
    wait_state(&balancer, "a", "draining");
    assert_eq!(say(&socket, "get weight nodes/a"), "0 (initial 1)\n\n");

    std::fs::write(path("servers"), "b 127.0.0.1:9\n").unwrap();
    wait_gone(&balancer, "a");
    assert_eq!(say(&socket, "del server nodes/a"), "Server deleted.\n");
    std::fs::write(path("servers"), both).unwrap();
    wait_state(&balancer, "a", "up");
}
