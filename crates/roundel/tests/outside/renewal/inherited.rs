//! What nobody else could tell the new process.

use std::fs;
use std::net::SocketAddr;
use std::thread;

use roundel_testkit::{Signal, descendants, free_address, get, send_signal, wait_for};
use serde_json::Value;

use super::{renew, say};
use crate::balancer::{Balancer, SOON};
use crate::servers::{Agent, Toy};
use crate::turns::{alone, beside_others};

/// An entry of the page's snapshot by its name.
fn named(list: &Value, name: &str) -> Option<Value> {
    let list = list.as_array()?;
    list.iter().find(|entry| entry["name"] == name).cloned()
}

fn server(balancer: &Balancer, name: &str) -> Option<Value> {
    named(&balancer.snapshot()["backends"][0]["servers"], name)
}

/// A member that ends without a word while its server goes on serving.
fn failed_member(balancer: &Balancer, name: &str) -> Toy {
    let agent = Agent::with(name, balancer.gossip, &[], Some(&["sleep", "600"]));
    let toy = Toy::start_at(name, agent.app);
    wait_for("the server", SOON, || {
        server(balancer, name).filter(|s| s["state"] == "up")
    });
    let mut family = descendants(agent.process.id());
    family.push(agent.process.id());
    for pid in family {
        send_signal(pid, Signal::KILL);
    }
    balancer.wait_member(name, "failed", 2 * SOON);
    toy
}

#[test]
fn failed_members_and_orders_about_checks_pass_to_the_successor() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let mut balancer = Balancer::serve(&["--cli-socket", socket.to_str().unwrap()]);
    let _agent = Agent::start("s1", balancer.gossip);
    let _other = Agent::start("s2", balancer.gossip);
    let _toy = failed_member(&balancer, "s3");
    balancer.wait_up(3, SOON);
    // Nobody listens at that port.
    for order in [
        "disable health nodes/s1",
        // Nobody listens there.
        "set server nodes/s1 check-port 1",
    ] {
        assert_eq!(say(&socket, order), "\n", "{order}");
    }
    let member = |name: &str| named(&balancer.snapshot()["members"], name).unwrap();
    let failed_for = |member: &Value| member["since_seconds"].as_u64().unwrap();
    let before = failed_for(&member("s3"));

    let successor = renew(&mut balancer);
    balancer.wait_up(3, SOON);
    let member = named(&balancer.snapshot()["members"], "s3").unwrap();
    assert_eq!(member["status"], "failed", "{member}");
    assert!(failed_for(&member) >= before, "{member}, {before} s before");
    let s3 = server(&balancer, "s3").unwrap();
    let reason = s3["reason"].as_str().unwrap();
    assert!(reason.starts_with("failed by gossip for"), "{reason}");
    let s1 = server(&balancer, "s1").unwrap();
    assert_eq!(s1["reason"], "checks are off by operator", "{s1}");

    assert_eq!(say(&socket, "enable health nodes/s1"), "\n");
    let down = wait_for("the check at the other port", SOON, || {
        server(&balancer, "s1").filter(|s| s["state"] == "down")
    });
    assert!(down["reason"].to_string().contains("refused"), "{down}");
    drop(successor);
}

#[test]
fn requests_wait_for_a_server_that_was_lost_before() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let [front, stats, app] = [(); 3].map(|()| free_address());
    let text = |name: &str, app: SocketAddr| {
        format!(
            "[[backend]]\nname = \"{name}\"\n[[backend.server]]\nname = \"a\"\naddress = \"{app}\"\n"
        )
    };
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[defaults.timeouts]\nqueue = \"60s\"\n\
         [[frontend]]\nname = \"f\"\nlisten = \"{front}\"\ndefault_backend = \"b\"\n\
         route = [{{ path_prefix = \"/never\", backend = \"never\" }}]\n{}{}",
        text("b", app),
        text("never", free_address())
    );
    fs::write(&path, text).unwrap();
    let toy = Toy::start_at("a", app);
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(1, SOON);
    drop(toy);
    wait_for("the loss", SOON, || {
        server(&balancer, "a").filter(|s| s["state"] == "down")
    });
    let successor = renew(&mut balancer);
    let never = get(front, "/never").unwrap();
    assert_eq!(never.status, 503, "it never had a server");
    let waiting = thread::spawn(move || get(front, "/").unwrap());
    wait_for("the request to wait", SOON, || {
        let snapshot = balancer.snapshot();
        let backend = named(&snapshot["backends"], "b")?;
        assert!(!waiting.is_finished(), "answered without a server");
        (backend["queue_length"] == 1).then_some(())
    });
    let toy = Toy::start_at("a", app);
    let answer = waiting.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop((successor, toy));
}

#[test]
fn backups_are_not_waited_for_while_another_server_serves() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let [front, stats] = [(); 2].map(|()| free_address());
    let toys = ["a", "b"].map(Toy::start);
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[[frontend]]\nname = \"f\"\n\
         listen = \"{front}\"\ndefault_backend = \"b\"\n[[backend]]\nname = \"b\"\n\
         server = [{{ name = \"a\", address = \"{}\" }}, \
         {{ name = \"b\", address = \"{}\", backup = true }}]\n",
        toys[0].address, toys[1].address
    );
    fs::write(&path, text).unwrap();
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(2, SOON);
    let successor = renew(&mut balancer);
    let told = balancer.process.stderr();
    assert!(!told.contains("not all servers"), "{told}");
    drop(successor);
}
