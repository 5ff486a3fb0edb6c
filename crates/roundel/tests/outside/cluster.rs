//! One encrypted cluster of stock Serf agents, our agents and balancers, and the verbs that all
//! members take part in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use roundel_testkit::{Process, external, free_port, loopback, poll, wait_for};

use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::{alone, beside_others};

/// Runs a program to its end and gives whether it succeeded and what it printed.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("the program runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Runs a verb of ours against a balancer; panics unless it succeeds.
pub(crate) fn verb(balancer: &Balancer, flags: &[&str], words: &[&str]) -> String {
    let stats = format!("http://{}", balancer.stats);
    let mut command = roundel(words);
    let (done, text) = run(command.args(["--stats", &stats]).args(flags));
    assert!(done, "{words:?}: {text}\n{}", balancer.process);
    text
}

pub(crate) fn new_key() -> String {
    let (done, text) = run(&mut roundel(&["keygen"]));
    assert!(done, "{text}");
    text.trim().to_owned()
}

/// Waits until the timeline of a balancer holds a text.
pub(crate) fn wait_told(balancer: &Balancer, needle: &str) {
    wait_for(needle, SOON, || {
        let snapshot = balancer.snapshot();
        let events = snapshot["events"].as_array()?;
        let told = |e: &serde_json::Value| e["text"].as_str().is_some_and(|t| t.contains(needle));
        events.iter().any(told).then_some(())
    });
}

#[test]
fn the_verbs_that_ask_all_members() {
    let _turn = beside_others();
    let (key, other) = (new_key(), new_key());
    assert_eq!(key.len(), 44);
    assert_ne!(key, other);
    let demo = Balancer::demo(
        2,
        &[
            "--gossip-key",
            &key,
            "--event-handler",
            "query:load=echo 0.4",
        ],
    );
    let text = verb(&demo, &[], &["query", "load", "--timeout", "1s"]);
    for line in [
        "Query 'load' dispatched",
        "Ack from 'webapp-1'",
        "Response from 'lb': 0.4",
        "Total Acks: 3",
        "Total Responses: 1",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let words = [
        "query",
        "load",
        "--timeout",
        "1s",
        "--node",
        "webapp-2",
        "--json",
    ];
    let json: serde_json::Value = serde_json::from_str(&verb(&demo, &[], &words)).unwrap();
    assert_eq!(json["Acks"], serde_json::json!(["webapp-2"]));
    let text = verb(&demo, &[], &["event", "deploy", "v2"]);
    assert_eq!(
        text.trim(),
        "Event 'deploy' dispatched! Coalescing enabled: true"
    );
    wait_told(&demo, "user event deploy, 2 bytes");

    verb(&demo, &[], &["keys", "install", &other]);
    verb(&demo, &[], &["keys", "use", &other]);
    verb(&demo, &[], &["keys", "remove", &key]);
    let text = verb(&demo, &[], &["keys", "list"]);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, [other.as_str(), "[3/3]", "primary", "on", "3"]);
    let stats = format!("http://{}", demo.stats);
    let (done, text) = run(&mut roundel(&["keys", "use", &key, "--stats", &stats]));
    assert!(!done && text.contains("3 of 3 members did not"), "{text}");
    assert!(!demo.process.stderr().contains(&other), "a key in the log");
}

/// A stock agent of the cluster.
struct Stock {
    program: PathBuf,
    name: String,
    gossip: SocketAddr,
    rpc: SocketAddr,
    keyring: PathBuf,
    process: Process,
}

impl Stock {
    fn start(program: &Path, folder: &Path, name: &str, key: &str, seed: SocketAddr) -> Self {
        let ip = loopback();
        let keyring = folder.join(format!("{name}.json"));
        std::fs::write(&keyring, format!("[\"{key}\"]")).unwrap();
        let gossip = SocketAddr::from((ip, free_port(ip)));
        let rpc = SocketAddr::from((ip, free_port(ip)));
        Self::spawn(program, name, keyring, [gossip, rpc], seed)
    }

    fn spawn(
        program: &Path,
        name: &str,
        keyring: PathBuf,
        [gossip, rpc]: [SocketAddr; 2],
        seed: SocketAddr,
    ) -> Self {
        let mut command = Command::new(program);
        command
            .arg("agent")
            .args([format!("-node={name}"), format!("-bind={gossip}")])
            .args([format!("-rpc-addr={rpc}"), format!("-retry-join={seed}")])
            .args(["-retry-interval=1s", "-tag", "role=stock"])
            .arg(format!("-keyring-file={}", keyring.display()));
        let process = Process::spawn(&mut command);
        process.wait_line("Serf agent starting", SOON);
        Self {
            program: program.to_owned(),
            name: name.to_owned(),
            gossip,
            rpc,
            keyring,
            process,
        }
    }

    /// Kills it, and starts it again at the same place with another seed.
    fn again(mut self, seed: SocketAddr) -> Self {
        self.process.kill();
        let at = [self.gossip, self.rpc];
        Self::spawn(&self.program, &self.name, self.keyring.clone(), at, seed)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(words[0])
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(&words[1..]);
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let (done, text) = run(&mut self.command(words));
        assert!(done, "serf {words:?}: {text}\n{}", self.process);
        text
    }

    fn alive(&self) -> usize {
        let (_, text) = run(&mut self.command(&["members", "-status=alive"]));
        text.lines().filter(|line| line.contains("alive")).count()
    }
}

/// Nobody is told that a node did not what it did, or did what it will have forgotten.
#[test]
fn keys_that_cannot_be_kept_are_not_taken() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("kept");
    let away = folder.path().join("away");
    std::fs::create_dir(&at).unwrap();
    let ring = at.join("ring.json").display().to_string();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef-secret").unwrap();
    let acts = ["--admin-token-file", token.to_str().unwrap()];
    let (key, other) = (new_key(), new_key());
    let flags = ["--gossip-key", &key, "--gossip-keyring-file", &ring];
    let balancer = Balancer::serve(&[&flags[..], &acts[..]].concat());
    let listed = || verb(&balancer, &acts, &["keys", "list"]);
    // A file stands where the folder was: no disk is fuller.
    std::fs::rename(&at, &away).unwrap();
    std::fs::write(&at, "").unwrap();
    let stats = format!("http://{}", balancer.stats);
    let mut install = roundel(&["keys", "install", &other, "--stats", &stats]);
    let (done, text) = run(install.args(acts));
    assert!(!done && text.contains("1 of 1 members did not"), "{text}");
    assert!(text.contains("cannot save the keys"), "{text}");
    assert!(!listed().contains(&other), "it did what it says it did not");
    // With room again it does, and keeps it.
    std::fs::remove_file(&at).unwrap();
    std::fs::rename(&away, &at).unwrap();
    verb(&balancer, &acts, &["keys", "install", &other]);
    assert!(listed().contains(&other));
    let kept = std::fs::read_to_string(&ring).unwrap();
    assert!(kept.contains(&key) && kept.contains(&other));
}

/// One of our agents, without an app.
fn ours(name: &str, at: SocketAddr, seed: SocketAddr, flags: &[&str]) -> Process {
    let mut command = roundel(&["agent", "--node-name", name, "--role", "ours"]);
    command
        .args(["--gossip-listen", &at.to_string()])
        .args(["--join", &seed.to_string()])
        .args(flags);
    Process::spawn(&mut command)
}

/// How many members a balancer holds for alive.
fn alive(balancer: &Balancer) -> usize {
    let snapshot = balancer.snapshot();
    let members = snapshot["members"].as_array().cloned().unwrap_or_default();
    members.iter().filter(|m| m["status"] == "alive").count()
}

fn wait_all(balancers: &[&Balancer], stocks: &[Stock], count: usize) {
    let mut seen = Vec::new();
    let agreed = poll(Duration::from_secs(40), || {
        seen = balancers.iter().map(|b| alive(b)).collect();
        seen.extend(stocks.iter().map(Stock::alive));
        seen.iter().all(|n| *n == count).then_some(())
    });
    assert!(agreed.is_some(), "not {count} everywhere: {seen:?}");
}

#[test]
fn an_encrypted_cluster_of_stock_agents_our_agents_and_balancers() {
    let _turn = alone();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (key, next, wrong) = (new_key(), new_key(), new_key());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (key_file, token) = (file("key", &key), file("token", "0123456789abcdef-secret"));
    let keyring = |name: &str| folder.path().join(name).display().to_string();
    let acts = ["--admin-token-file", token.as_str()];
    let place = || {
        let ip = loopback();
        SocketAddr::from((ip, free_port(ip)))
    };

    // The first seed is an agent of ours that has no seed itself but one that comes later.
    let first = place();
    let later = place();
    let mut agents = Vec::new();
    for i in 0..5 {
        let at = if i == 0 { first } else { place() };
        let seed = if i == 0 { later } else { first };
        let (name, ring) = (format!("ours-{i}"), keyring(&format!("ours-{i}.json")));
        let flags = [
            "--gossip-key-file",
            &key_file,
            "--gossip-keyring-file",
            &ring,
        ];
        agents.push((at, ours(&name, at, seed, &flags)));
    }
    let mut stocks: Vec<Stock> = Vec::new();
    for i in 0..5 {
        let seed = stocks.last().map_or(agents[4].0, |s| s.gossip);
        stocks.push(Stock::start(
            &serf,
            folder.path(),
            &format!("stock-{i}"),
            &key,
            seed,
        ));
    }
    let balancer = |name: &str, seed: SocketAddr| {
        let (seed, ring) = (seed.to_string(), keyring(&format!("{name}.json")));
        let flags = [
            "--node-name",
            name,
            "--join",
            &seed,
            "--gossip-key-file",
            &key_file,
        ];
        let more = ["--gossip-keyring-file", &ring];
        Balancer::serve(&[&flags[..], &more[..], &acts[..]].concat())
    };
    let (one, two) = (
        balancer("lb-1", stocks[4].gossip),
        balancer("lb-2", agents[2].0),
    );
    wait_all(&[&one, &two], &stocks, 12);

    // Whoever has another key never appears, and the page says why.
    let flags = ["--gossip-key", wrong.as_str()];
    let stranger = ours("stranger", place(), one.gossip, &flags);
    wait_told(&one, "not encrypted with a key of this cluster");
    assert_eq!(alive(&one), 12);
    drop(stranger);

    // Serf's tools see ours as full members.
    let text = stocks[0].run(&["reachability"]);
    assert!(
        text.contains("Successfully contacted all live nodes"),
        "{text}"
    );
    let text = stocks[1].run(&["query", "-timeout=3s", "load"]);
    assert!(text.contains("Total Acks: 12"), "{text}");
    let monitor = Process::spawn(&mut stocks[2].command(&["monitor"]));
    // The monitor tells of nothing that was before it, and not when it begins.
    wait_for("our event at serf monitor", SOON, || {
        verb(&two, &acts, &["event", "deploy", "v2"]);
        monitor.stdout().contains("Name: \"deploy\"").then_some(())
    });
    stocks[3].run(&["event", "rollback", "v1"]);
    for lb in [&one, &two] {
        wait_told(lb, "user event rollback, 2 bytes");
    }
    let text = verb(&one, &acts, &["query", "load", "--timeout", "3s"]);
    assert!(text.contains("Total Acks: 12"), "{text}");

    // Keys are rotated by Serf's tool, and back by ours.
    stocks[0].run(&["keys", &format!("-install={next}")]);
    stocks[0].run(&["keys", &format!("-use={next}")]);
    stocks[0].run(&["keys", &format!("-remove={key}")]);
    let text = verb(&one, &acts, &["keys", "list"]);
    assert!(text.contains(&next) && text.contains("[12/12]"), "{text}");
    verb(&two, &acts, &["keys", "install", &key]);
    verb(&two, &acts, &["keys", "use", &key]);
    verb(&two, &acts, &["keys", "remove", &next]);
    let text = stocks[4].run(&["keys", "-list"]);
    assert!(text.contains(&key) && text.contains("[12/12]"), "{text}");
    assert!(!text.contains(&next), "{text}");

    // The first seed and a stock agent are killed; both come back through any member.
    let (at, mut process) = agents.remove(0);
    process.kill();
    let stock = stocks.remove(0).again(two.gossip);
    stocks.insert(0, stock);
    let ring = keyring("ours-0.json");
    let flags = [
        "--gossip-key-file",
        key_file.as_str(),
        "--gossip-keyring-file",
        &ring,
    ];
    agents.push((at, ours("ours-0", at, stocks[3].gossip, &flags)));
    wait_all(&[&one, &two], &stocks, 12);
}

#[test]
fn an_agent_without_a_page_is_asked_through_its_socket() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock").display().to_string();
    let demo = Balancer::demo(2, &[]);
    let ip = loopback();
    let at = SocketAddr::from((ip, free_port(ip)));
    let agent = ours("lonely", at, at, &["--cli-socket", &path]);
    let ask = |words: &[&str]| run(roundel(words).args(["--cli-socket", &path]));
    let wait_text = |words: &[&str], needle: &str| {
        wait_for(needle, SOON, || {
            let (done, text) = ask(words);
            (done && text.contains(needle)).then_some(())
        });
    };
    wait_text(&["members"], "lonely");
    let seed = demo.gossip.to_string();
    let (done, text) = ask(&["join", &seed]);
    assert!(done && text.contains("joined through 1"), "{text}\n{agent}");
    wait_text(&["members", "--status", "alive"], "webapp-2");
    let (done, text) = ask(&["query", "load", "a b; c \\ d", "--timeout", "1s"]);
    assert!(done && text.contains("Total Acks: 4"), "{text}");
    let (done, text) = ask(&["event", "deploy", "v 2; now"]);
    assert!(
        done && text.contains("Event 'deploy' dispatched!"),
        "{text}"
    );
    wait_told(&demo, "user event deploy, 8 bytes");
    wait_text(&["events"], "user event deploy, 8 bytes");
    let (done, text) = ask(&["keys", "list"]);
    assert!(!done && text.contains("members did not"), "no keys: {text}");
    let (done, text) = ask(&["query", "_serf_ping"]);
    assert!(!done && text.contains("between nodes"), "{text}");
    let (done, text) = ask(&["drain", "nodes/webapp-1"]);
    assert!(!done && text.contains("No such backend"), "{text}");
    let (done, text) = ask(&["leave"]);
    assert!(done && text.contains("left the gossip"), "{text}");
    demo.wait_member("lonely", "left", SOON);
    assert!(
        agent.stdout().is_empty() || !agent.stdout().contains("ended"),
        "{agent}"
    );
    let (done, text) =
        run(roundel(&["members", "--cli-socket", "/nonexistent.sock"]).arg("--json"));
    assert!(
        !done && text.contains("cannot reach /nonexistent.sock"),
        "{text}"
    );
    // A balancer's socket knows the same lines.
    let path = folder.path().join("serve.sock").display().to_string();
    let balancer = Balancer::serve(&["--cli-socket", &path, "--join", &seed]);
    let (done, text) = run(&mut roundel(&["event", "x", "--cli-socket", &path]));
    assert!(done, "{text}\n{}", balancer.process);
    wait_told(&balancer, "user event x, 0 bytes");
}
