//! Servers that somebody announces who is no friend: where they may be, how much they get, how many
//! there may be.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_testkit::{free_address, get, wait_for};

use crate::balancer::{Balancer, SOON};
use crate::cluster::new_key;
use crate::servers::{Agent, Toy};
use crate::turns::{alone, beside_others};

/// Waits until the balancer says that of its sources, on the page too, and gives the names of its servers.
fn refused(balancer: &Balancer, needle: &str) -> Vec<String> {
    wait_for(needle, SOON, || {
        let snapshot = balancer.snapshot();
        let sources = snapshot["backends"][0]["sources"].as_array()?;
        let mut notices = sources.iter().filter_map(|s| s["notice"].as_str());
        notices.any(|text| text.contains(needle)).then_some(())
    });
    assert!(balancer.page("/").contains("not taken as a server"));
    let log = balancer.process.stderr();
    assert_eq!(log.matches(needle).count(), 1, "{log}");
    balancer
        .states()
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

fn tag(key: &str, value: impl std::fmt::Display) -> String {
    format!("{key}={value}")
}

#[test]
fn without_a_key_a_member_cannot_send_requests_to_somebody_else() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let honest = Agent::start("honest", balancer.gossip);
    balancer.wait_up(1, SOON);
    let victim = Toy::start("victim");
    let addr = tag("addr", victim.address);
    let thief = Agent::with("thief", balancer.gossip, &["--tag", &addr], None);
    balancer.wait_member("thief", "alive", SOON);
    assert_eq!(refused(&balancer, "`gossip.allow_addr`"), ["honest"]);
    thief.stop();
    honest.stop();
}

#[test]
fn with_a_key_or_where_it_is_allowed_a_member_names_another_host() {
    let _turn = beside_others();
    let app = Toy::start("app");
    let addr = tag("addr", app.address);
    let key = new_key();
    let keyed = Balancer::serve(&["--gossip-key", &key]);
    let flags = ["--tag", &addr, "--gossip-key", &key];
    let agent = Agent::with("elsewhere", keyed.gossip, &flags, None);
    keyed.wait_up(1, SOON);
    assert_eq!(
        keyed.get("/who").text(),
        get(app.address, "/who").unwrap().text()
    );
    agent.stop();

    let allowed = format!("allow_addr = [\"{}\"]", app.address.ip());
    let open = with_file(&allowed, "");
    let agent = Agent::with("elsewhere", open.balancer.gossip, &["--tag", &addr], None);
    open.balancer.wait_up(1, SOON);
    agent.stop();
}

/// A balancer by a file.
struct Filed {
    balancer: Balancer,
    folder: tempfile::TempDir,
}

/// Starts a balancer with these lines of `[gossip]` and of its backend.
fn with_file(gossip: &str, backend: &str) -> Filed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let [front, stats, port] = [(); 3].map(|()| free_address());
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[gossip]\nlisten = \"{port}\"\n{gossip}\n\
         [[frontend]]\nname = \"f\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{backend}\n"
    );
    let text = text.replace("FOLDER", folder.path().to_str().unwrap());
    fs::write(&path, text).unwrap();
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.gossip = port;
    Filed { balancer, folder }
}

#[test]
fn no_member_leads_to_what_is_not_for_servers() {
    let _turn = beside_others();
    let key = new_key();
    let balancer = Balancer::serve(&["--gossip-key", &key]);
    for (name, addr, why) in [
        (
            "metadata",
            "[fd00:ec2::254]:80".to_owned(),
            "cloud metadata",
        ),
        ("carrier", "100.64.0.1:80".to_owned(), "carrier-grade"),
        ("nat64", "[64:ff9b::a9fe:a9fe]:80".to_owned(), "NAT64"),
        ("front", balancer.front.to_string(), "this balancer's own"),
        ("page", balancer.stats.to_string(), "this balancer's own"),
    ] {
        let flags = ["--tag", &tag("addr", addr), "--gossip-key", &key];
        let agent = Agent::with(name, balancer.gossip, &flags, None);
        wait_for(name, SOON, || {
            let log = balancer.process.stderr();
            let mut lines = log.lines();
            lines
                .any(|line| line.contains(&format!("\"{name}\"")) && line.contains(why))
                .then_some(())
        });
        assert!(balancer.states().is_empty(), "{:?}", balancer.states());
        agent.stop();
    }
}

#[test]
fn the_networks_of_servers_can_be_named() {
    let _turn = beside_others();
    let away = with_file(
        "",
        "discover = [{ gossip = { from = [\"10.0.0.0/8\"] } }]\n",
    );
    let agent = Agent::start("local", away.balancer.gossip);
    assert!(refused(&away.balancer, "is in no network of `from`").is_empty());
    agent.stop();
    let here = with_file(
        "",
        "discover = [{ gossip = { from = [\"127.0.0.0/8\"] } }]\n",
    );
    let agent = Agent::start("local", here.balancer.gossip);
    here.balancer.wait_up(1, SOON);
    agent.stop();
}

#[test]
fn a_newcomer_with_a_great_weight_gets_no_more_than_the_others() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&["--sticky", "off"]);
    let honest = Agent::start("honest", balancer.gossip);
    let greedy = Agent::with("greedy", balancer.gossip, &["--weight", "256"], None);
    balancer.wait_up(2, SOON);
    for _ in 0..40 {
        assert_eq!(balancer.get("/").status, 200);
    }
    let even = [("greedy", 20), ("honest", 20)].map(|(name, n)| (name.to_owned(), n));
    wait_for("twenty requests each", SOON, || {
        let mut requests = balancer.requests();
        requests.sort();
        (requests == even).then_some(())
    });
    let snapshot = balancer.snapshot();
    let servers = snapshot["backends"][0]["servers"].as_array().unwrap();
    let greedy_row = servers.iter().find(|s| s["name"] == "greedy").unwrap();
    let reason = greedy_row["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("weight 256 announced and 1 counts"),
        "{reason}"
    );
    greedy.stop();
    honest.stop();
}

#[test]
fn ten_thousand_made_up_servers_hinder_nobody() {
    let _turn = alone();
    let toys = ["s1", "s2"].map(Toy::start);
    let nobody = free_address();
    let filed = with_file("", "discover = [{ file = { path = \"FOLDER/nodes/\" } }]\n");
    let nodes = filed.folder.path().join("nodes");
    fs::create_dir(&nodes).unwrap();
    let write = |name: &str, text: &str| fs::write(nodes.join(name), text).unwrap();
    write("a", &format!("s1 {}\n", toys[0].address));
    let balancer = &filed.balancer;
    balancer.wait_up(1, SOON);
    let mut made_up = String::new();
    for n in 0..10_000 {
        let [high, low] = u16::to_be_bytes(n);
        let at = SocketAddr::from(([127, 200, high, low], nobody.port()));
        writeln!(made_up, "m{n} {at}").unwrap();
    }
    write("flood", &made_up);
    let bound = |what: &str| {
        let metrics = balancer.page("/metrics");
        let start = format!("roundel_bound_{what}{{bound=\"servers\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap().parse::<u64>().unwrap()
    };
    wait_for("the bound to be reached", SOON, || {
        (bound("used") >= 1_000).then_some(())
    });
    assert_eq!(bound("limit"), 1_000);
    write("b", &format!("s2 {}\n", toys[1].address));
    let begun = Instant::now();
    wait_for(
        "the real newcomer to serve",
        Duration::from_secs(60),
        || {
            let answer = balancer.get("/").text();
            answer.contains("s2").then_some(())
        },
    );
    println!("the newcomer served after {:?}", begun.elapsed());
    assert!(bound("used") <= 1_000 && bound("hits_total") >= 8_000);
    for _ in 0..20 {
        assert_eq!(balancer.get("/").status, 200);
        assert_eq!(get(balancer.stats, "/readyz").unwrap().status, 200);
    }
    assert!(balancer.page("/").contains("servers wait for a place"));
    fs::remove_file(nodes.join("flood")).unwrap();
    balancer.wait_up(2, Duration::from_secs(30));
}

#[test]
fn a_balancer_that_is_its_own_server_answers_a_loop_once() {
    let _turn = beside_others();
    let at = [(); 3].map(|()| free_address());
    let own = format!("own={}", at[0]);
    let flags = ["--static", &own, "--check", "off", "--sticky", "off"];
    let balancer = Balancer::start_at(&["serve"], &flags, at).ready();
    assert_eq!(balancer.get("/").status, 508);
    wait_for("both log lines", SOON, || {
        let log = balancer.process.stdout();
        (log.lines().count() >= 2).then_some(())
    });
    let log = balancer.process.stdout();
    let looped = log.lines().filter(|line| line.contains("\"loop\""));
    assert_eq!((looped.count(), log.lines().count()), (1, 2), "{log}");
    // Its check finds the same, so it never serves where checks are on.
    drop(balancer);
    let checked = Balancer::start_at(&["serve"], &["--static", &own], at).ready();
    wait_for("it to be down", SOON, || {
        let snapshot = checked.snapshot();
        let server = &snapshot["backends"][0]["servers"][0];
        let reason = server["reason"].as_str()?;
        (server["state"] == "down" && reason.contains("leads back to this balancer")).then_some(())
    });
}

#[test]
fn a_circle_of_balancers_is_answered_where_it_closes() {
    let _turn = beside_others();
    let [first, second] = [(); 2].map(|()| [(); 3].map(|()| free_address()));
    let towards = |name: &str, front: SocketAddr, at| {
        let server = format!("{name}={front}");
        let flags = ["--static", &server, "--check", "off", "--sticky", "off"];
        Balancer::start_at(&["serve"], &flags, at).ready()
    };
    let one = towards("two", second[0], first);
    let two = towards("one", first[0], second);
    assert_eq!(one.get("/").status, 508);
    wait_for("one round", SOON, || {
        let went = [&one, &two].map(|balancer| balancer.requests()[0].1);
        (went == [1, 1]).then_some(())
    });
}
