//! The address at which others reach a node: found out, told, followed. On hosts of their own, with
//! the default bind, as in containers.

use std::net::{IpAddr, SocketAddr};

use roundel_testkit::{
    Host, Lan, Process, Signal, descendants, external, poll, send_signal, wait_for,
};

use crate::balancer::{Balancer, SOON, roundel};
use crate::cluster::new_key;
use crate::servers::{SerfServer, Toy};
use crate::turns::beside_others;

/// A balancer with every port as it is by default.
fn serve(host: &Host, flags: &[&str]) -> Balancer {
    let mut command = roundel(&["serve", "--node-name", "lb", "--access-log", "off"]);
    command.args(flags);
    let at = |port: u16| SocketAddr::from((host.ip, port));
    let balancer = Balancer {
        process: Process::spawn(&mut host.on(&command)),
        front: at(80),
        stats: at(1936),
        gossip: at(7946),
    };
    balancer.ready()
}

/// An agent around a toy, which joins this seed.
fn agent(host: &Host, name: &str, seed: &str, flags: &[&str]) -> Process {
    let mut command = roundel(&["agent", "--node-name", name, "--join", seed]);
    command.args(flags);
    command.args(["--", env!("CARGO_BIN_EXE_roundel"), "toy"]);
    Process::spawn(&mut host.on(&command))
}

/// Where a balancer says that others reach it, and why.
fn own_address(balancer: &Balancer) -> (String, String) {
    let gossip = &balancer.snapshot()["gossip"];
    let text = |key: &str| gossip[key].as_str().unwrap_or_default().to_owned();
    (text("address"), text("address_reason"))
}

fn wait_at(balancer: &Balancer, member: &str, ip: impl Into<IpAddr>) {
    let wanted = SocketAddr::new(ip.into(), 7946).to_string();
    let last = poll(SOON, || {
        (balancer.member_address(member) == wanted).then_some(())
    });
    assert!(
        last.is_some(),
        "{member} not at {wanted}\n{}",
        balancer.process
    );
}

#[test]
fn the_first_peer_corrects_an_address_guessed_by_the_default_route() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(3) else { return };
    let [lb, app, other] = lan.hosts() else {
        panic!("three hosts");
    };
    let wrong = lb.add_wrong_way();
    app.add_wrong_way();
    let balancer = serve(lb, &[]);
    let (address, why) = own_address(&balancer);
    assert_eq!(address, format!("{wrong}:7946"));
    assert!(why.contains("guess"), "{why}");
    let line = format!("others reach it at {address} ({why})");
    wait_for("the log to say so", SOON, || {
        balancer.process.stderr().contains(&line).then_some(())
    });

    let seed = lb.ip.to_string();
    let first = agent(app, "s1", &seed, &[]);
    balancer.wait_up(1, SOON);
    wait_at(&balancer, "lb", lb.ip);
    wait_at(&balancer, "s1", app.ip);
    let told = poll(SOON, || {
        let (address, why) = own_address(&balancer);
        (address == format!("{}:7946", lb.ip) && why.contains(&app.ip.to_string())).then_some(())
    });
    assert!(told.is_some(), "{:?}", own_address(&balancer));
    assert!(
        balancer.page("/").contains("reaches us"),
        "the page says why"
    );
    assert!(
        balancer.process.stderr().contains("reaches us"),
        "{}",
        balancer.process
    );

    // A stock agent, as anyone starts it, probes the balancer where it really is.
    if let Some(serf) = external("serf", "serf") {
        let mut command = std::process::Command::new(serf);
        command.args(["agent", "-node=s2", "-tag", "role=backend"]);
        command.arg(format!("-join={seed}"));
        let stock = Process::spawn(&mut other.on(&command));
        balancer.wait_member("s2", "alive", SOON);
        wait_for("the stock agent to know the balancer", SOON, || {
            let line = format!("EventMemberJoin: lb {}", lb.ip);
            stock.stdout().contains(&line).then_some(())
        });
        assert!(!stock.stdout().contains(&wrong.to_string()), "{stock}");
    }
    assert!(!first.stderr().contains("suspected"), "{first}");
}

#[test]
fn an_address_that_moves_is_followed_under_the_same_name() {
    let _turn = beside_others();
    let Some(mut lan) = Lan::new(2) else { return };
    let mut balancer = serve(&lan.hosts()[0].clone(), &[]);
    let app = agent(
        &lan.hosts()[1].clone(),
        "s1",
        &lan.hosts()[0].ip.to_string(),
        &[],
    );
    balancer.wait_up(1, SOON);

    lan.move_host(1);
    wait_at(&balancer, "s1", lan.hosts()[1].ip);
    balancer.wait_up(1, SOON);
    // Enough for each worker to keep a connection to the server.
    (0..16).for_each(|_| assert_eq!(balancer.get("/").status, 200));

    lan.move_host(0);
    let lb = lan.hosts()[0].ip;
    for address in [
        &mut balancer.front,
        &mut balancer.stats,
        &mut balancer.gossip,
    ] {
        address.set_ip(lb.into());
    }
    wait_at(&balancer, "lb", lb);
    // What was kept open to the server has the address that is gone.
    (0..16).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    let line = format!("address={lb}:7946");
    wait_for("the agent to see it join from there", SOON, || {
        let joined = |l: &str| l.contains("member joined") && l.contains(&line);
        app.stderr().lines().any(joined).then_some(())
    });
    balancer.wait_member("s1", "alive", SOON);
    balancer.wait_up(1, SOON);
    for process in [&app, &balancer.process] {
        let text = process.stderr();
        assert!(
            !text.contains("claim one name") && !text.contains("suffix"),
            "{text}"
        );
    }
}

#[test]
fn an_interface_or_a_network_says_which_address_is_meant() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(3) else { return };
    let [lb, app, other] = lan.hosts() else {
        panic!("three hosts");
    };
    for host in [lb, app, other] {
        host.add_wrong_way();
    }
    let balancer = serve(lb, &["--advertise", "10.198.0.0/16"]);
    let (address, why) = own_address(&balancer);
    assert_eq!(
        (address, why.as_str()),
        (format!("{}:7946", lb.ip), "eth0's in 10.198.0.0/16")
    );
    let seed = lb.ip.to_string();
    let _app = agent(app, "s1", &seed, &["--advertise", "eth0"]);
    let _other = agent(other, "s2", &seed, &["--advertise", "away"]);
    balancer.wait_member("s1", "alive", SOON);
    wait_at(&balancer, "s1", app.ip);
    balancer.wait_member("s2", "alive", SOON);
    wait_at(&balancer, "s2", [172, 31, 99, 2]);

    for flag in ["eth7", "192.0.2.0/24"] {
        let listen = ["--gossip-listen", ":7950"];
        let words = [
            &["agent", "--advertise", flag][..],
            &listen,
            &["--", "sleep", "60"],
        ];
        let words = words.concat();
        let mut process = Process::spawn(&mut app.on(&roundel(&words)));
        let code = process.wait_exit(SOON).code();
        assert_eq!(code, Some(1), "{process}");
        let text = process.stderr();
        assert!(
            text.contains(flag) && text.contains("away 172.31.99.2"),
            "{text}"
        );
    }
}

#[test]
fn a_peer_that_comes_by_ipv6_teaches_an_ipv6_address() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(2) else { return };
    let [lb, app] = lan.hosts() else {
        panic!("two hosts");
    };
    let (lb6, app6) = (lb.add_v6(), app.add_v6());
    let balancer = serve(lb, &[]);
    let app = agent(app, "s1", &format!("[{lb6}]:7946"), &[]);
    balancer.wait_up(1, SOON);
    wait_at(&balancer, "lb", lb6);
    wait_at(&balancer, "s1", app6);
    assert!(!app.stderr().contains("suspected"), "{app}");
}

#[test]
fn a_process_that_takes_over_keeps_the_address_that_was_learnt() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(2) else { return };
    let [lb, app] = lan.hosts() else {
        panic!("two hosts");
    };
    lb.add_wrong_way();
    let mut balancer = serve(lb, &[]);
    let app = agent(app, "s1", &lb.ip.to_string(), &[]);
    balancer.wait_up(1, SOON);
    let before = own_address(&balancer);
    assert_eq!(before.0, format!("{}:7946", lb.ip));
    balancer.process.signal(Signal::USR2);
    balancer.process.wait_exit(SOON);
    balancer.wait_up(1, SOON);
    assert_eq!(own_address(&balancer), before);
    assert!(!app.stderr().contains("suspected"), "{app}");
    let end = balancer.snapshot()["process"]["pid"]
        .as_u64()
        .expect("a pid");
    send_signal(end as u32, Signal::TERM);
}

#[test]
fn what_answers_at_a_dead_servers_address_gets_no_requests() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(3) else { return };
    let [lb, dead, other] = lan.hosts() else {
        panic!("three hosts");
    };
    let balancer = serve(lb, &[]);
    let seed = lb.ip.to_string();
    let first = agent(dead, "s1", &seed, &[]);
    let _second = agent(other, "s2", &seed, &[]);
    balancer.wait_up(2, SOON);
    let app = descendants(first.id());
    first.signal(Signal::KILL);
    app.into_iter()
        .for_each(|pid| send_signal(pid, Signal::KILL));
    balancer.wait_member("s1", "failed", SOON);

    // A container of another service, which has its port in common.
    let words = ["toy", "--node-name", "stranger"];
    let _stranger = Process::spawn(&mut dead.on(&roundel(&words)));
    let reason = poll(SOON, || {
        let snapshot = balancer.snapshot();
        let servers = snapshot["backends"][0]["servers"].as_array()?.clone();
        let s1 = servers.iter().find(|s| s["name"] == "s1")?;
        let reason = s1["reason"].as_str()?.to_owned();
        reason
            .contains("another may answer at its address")
            .then_some(reason)
    });
    assert!(
        reason.is_some(),
        "{:?}\n{}",
        balancer.states(),
        balancer.process
    );
    for _ in 0..10 {
        let text = balancer.get("/").text();
        assert!(!text.contains("stranger"), "{text}");
    }
    // Its agent is back, and with it the word of gossip.
    drop(_stranger);
    let _again = agent(dead, "s1", &seed, &[]);
    balancer.wait_up(2, SOON);
}

#[test]
fn a_port_that_is_open_for_tcp_only_is_told_of_once_and_a_stop_tells_the_truth() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(2) else { return };
    let [lb, app] = lan.hosts() else {
        panic!("two hosts");
    };
    app.block_udp(7946);
    let balancer = serve(lb, &[]);
    let flags = ["--drain-timeout", "3s"];
    let mut agent = agent(app, "s1", &lb.ip.to_string(), &flags);
    balancer.wait_up(1, SOON);
    for process in [&balancer.process, &agent] {
        wait_for("a word about UDP", SOON, || {
            process
                .stderr()
                .contains("UDP does not get through")
                .then_some(())
        });
    }
    wait_for("the page's word", SOON, || {
        let page = balancer.page("/");
        page.contains("UDP does not get through").then_some(())
    });
    let probes = "roundel_gossip_probes_total{result=\"stream\"}";
    let metrics = balancer.page("/metrics");
    let line = metrics.lines().find(|l| l.starts_with(probes));
    assert!(line.is_some_and(|l| !l.ends_with(" 0")), "{line:?}");
    assert_eq!(balancer.states(), [("s1".to_owned(), "up".to_owned())]);
    // A connection that stays, as a balancer's may that has not heard of the leave.
    let _open = std::net::TcpStream::connect((app.ip, 3000)).expect("the app answers");
    agent.signal(Signal::TERM);
    agent.wait_exit(SOON);
    let told = agent.stderr();
    let told = told
        .lines()
        .find(|line| line.contains("not drained in time"));
    let told = told.unwrap_or_else(|| panic!("{agent}"));
    assert!(
        told.contains("lb did not answer") && told.contains("UDP"),
        "{told}"
    );
    assert!(!told.contains("requests are still under way"), "{told}");
}

#[test]
fn a_seed_that_nobody_answers_at_is_named_until_one_does() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(2) else { return };
    let [lb, app] = lan.hosts() else {
        panic!("two hosts");
    };
    let wrong = app.ip.to_string();
    let balancer = serve(lb, &["--join", &wrong]);
    let line = format!("{wrong}:7946 (Connection refused");
    wait_for("the seed to be named", SOON, || {
        let text = balancer.process.stderr();
        (text.contains("no seed has answered") && text.contains(&line)).then_some(())
    });
    wait_for("the page to name it", SOON, || {
        let page = balancer.page("/");
        (page.contains("No seed has answered.") && page.contains(&line)).then_some(())
    });
    let _late = agent(app, "s1", &lb.ip.to_string(), &[]);
    balancer.wait_up(1, SOON);
    wait_for("the page to forget it", SOON, || {
        (!balancer.page("/").contains("No seed has answered.")).then_some(())
    });
    let text = balancer.process.stderr();
    assert_eq!(text.matches("no seed has answered").count(), 1, "{text}");
}

#[test]
fn a_balancer_that_is_stopped_and_started_finds_stock_agents_by_itself() {
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    // It need not be there.
    let state = folder.path().join("state");
    let flags = ["--node-name", "lb", "--state-dir", state.to_str().unwrap()];
    let mut balancer = Balancer::serve(&flags);
    let at = [balancer.front, balancer.stats, balancer.gossip];
    let server = SerfServer::start(&serf, "s1", Toy::start("s1"), balancer.gossip);
    balancer.wait_up(1, SOON);
    wait_for("the member to be kept", SOON, || {
        let file = std::fs::read_dir(&state).ok()?.next()?.ok()?.path();
        let kept = std::fs::read_to_string(file).ok()?;
        kept.contains("alive: s1 ").then_some(())
    });
    balancer.process.signal(Signal::TERM);
    balancer.process.wait_exit(SOON);
    wait_for("the agent to see it leave", SOON, || {
        let left = |l: &&str| l.starts_with("lb ") && l.contains("left");
        server.members(&serf).lines().find(left).map(drop)
    });
    let balancer = Balancer::start_at(&["serve"], &flags, at).ready();
    balancer.wait_up(1, SOON);
    assert_eq!(balancer.get("/").status, 200);
}

#[test]
fn an_open_gossip_is_warned_of_and_a_key_ends_that() {
    let _turn = beside_others();
    let Some(lan) = Lan::new(1) else { return };
    let [lb] = lan.hosts() else {
        panic!("one host");
    };
    for (flags, open) in [(&[][..], true), (&["--gossip-key", &new_key()], false)] {
        let balancer = serve(lb, flags);
        assert_eq!(balancer.page("/").contains("Not encrypted:"), open);
        let told = balancer.process.stderr();
        let warned = told.contains("whoever reaches port 7946 can join and bring servers");
        assert_eq!(warned, open, "{told}");
    }
}
