//! Who plays in the cluster, and what each of them sees.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use roundel_testkit::{Host, Lan, Process, external, get, poll, wait_for};

use super::{APP, BALANCERS, GOSSIP, OURS, STOCK};
use crate::balancer::{Balancer, SOON, roundel};
use crate::cluster::{new_key, run, verb};

/// The network, and what the nodes have in common.
pub(super) struct Stage {
    pub(super) lan: Lan,
    serf: PathBuf,
    folder: tempfile::TempDir,
    pub(super) key: String,
    token: String,
}

/// A stock agent and the app beside it.
pub(super) struct Stock {
    host: Host,
    serf: PathBuf,
    pub(super) agent: Process,
    pub(super) app: Process,
}

/// An agent of ours, which runs its app.
pub(super) struct Ours {
    pub(super) process: Process,
    /// By which it is asked.
    socket: String,
}

impl Stage {
    pub(super) fn new() -> Option<Self> {
        let serf = external("serf", "serf")?;
        let lan = Lan::new(12)?;
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token").display().to_string();
        std::fs::write(&token, "0123456789abcdef-secret").unwrap();
        let stage = Self {
            lan,
            serf,
            folder,
            key: new_key(),
            token,
        };
        std::fs::write(stage.file("key"), &stage.key).unwrap();
        Some(stage)
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        &self.lan.hosts()[index]
    }

    pub(super) fn ip(&self, index: usize) -> Ipv4Addr {
        self.host(index).ip
    }

    /// The flags of a node of ours: everything else is default, the address too.
    fn node(&self, name: &str, seed: Ipv4Addr) -> Vec<String> {
        let ring = self.file(&format!("{name}.json"));
        let key = self.file("key");
        let flags = ["--node-name", name, "--join", &seed.to_string()];
        let keys = ["--gossip-key-file", &key, "--gossip-keyring-file", &ring];
        flags.into_iter().chain(keys).map(String::from).collect()
    }

    pub(super) fn ours(&self, index: usize, seed: Ipv4Addr) -> Ours {
        let name = name(index);
        let socket = self.file(&format!("{name}.sock"));
        let mut agent = roundel(&["agent"]);
        agent
            .args(self.node(&name, seed))
            .args(["--cli-socket", &socket])
            .args(["--", env!("CARGO_BIN_EXE_roundel"), "toy"])
            .args(["--listen", &format!("0.0.0.0:{APP}"), "--node-name", &name]);
        Ours {
            process: Process::spawn(&mut self.host(index).on(&agent)),
            socket,
        }
    }

    /// As users run it: on its default bind.
    pub(super) fn stock(&self, index: usize, seed: Ipv4Addr) -> Stock {
        let (name, host) = (name(index), self.host(index).clone());
        let listen = format!("0.0.0.0:{APP}");
        let toy = roundel(&["toy", "--listen", &listen, "--node-name", &name]);
        let app = Process::spawn(&mut host.on(&toy));
        let at = SocketAddr::from((host.ip, APP));
        wait_for("the app to answer", SOON, || get(at, "/healthz").ok());
        let ring = self.file(&format!("{name}.json"));
        if !std::fs::exists(&ring).unwrap() {
            std::fs::write(&ring, format!("[\"{}\"]", self.key)).unwrap();
        }
        let mut agent = Command::new(&self.serf);
        agent
            .args(["agent", &format!("-node={name}")])
            .args([&format!("-retry-join={seed}"), "-retry-interval=1s"])
            .args(["-tag", "role=backend", "-tag", &format!("port={APP}")])
            .arg(format!("-keyring-file={ring}"));
        Stock {
            agent: Process::spawn(&mut host.on(&agent)),
            serf: self.serf.clone(),
            host,
            app,
        }
    }

    pub(super) fn balancer(&self, index: usize, seed: Ipv4Addr) -> Balancer {
        let at = |port| SocketAddr::from((self.ip(index), port));
        let [front, stats, gossip] = [at(80), at(1936), at(GOSSIP)];
        let mut serve = roundel(&["serve", "--access-log", "off", "--cli-listen", "off"]);
        serve
            .args(self.node(&name(index), seed))
            .args(["--admin-token-file", &self.token]);
        Balancer {
            process: Process::spawn(&mut self.host(index).on(&serve)),
            front,
            stats,
            gossip,
        }
    }

    pub(super) fn verb(&self, balancer: &Balancer, words: &[&str]) -> String {
        verb(balancer, &["--admin-token-file", &self.token], words)
    }
}

pub(super) fn name(index: usize) -> String {
    match index {
        0..5 => format!("stock-{index}"),
        5..10 => format!("ours-{}", index - 5),
        _ => format!("lb-{}", index - 9),
    }
}

impl Stock {
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.serf);
        command.args(words);
        self.host.on(&command)
    }

    pub(super) fn run(&self, words: &[&str]) -> String {
        let (done, text) = run(&mut self.command(words));
        assert!(done, "serf {words:?}: {text}\n{}", self.agent);
        text
    }

    pub(super) fn kill(&mut self) {
        self.agent.kill();
        self.app.kill();
    }
}

/// What a node sees: names and addresses of the members that are alive.
trait Sees {
    fn view(&self) -> BTreeSet<String>;
}

impl Sees for Stock {
    fn view(&self) -> BTreeSet<String> {
        let (_, text) = run(&mut self.command(&["members", "-status=alive"]));
        listed(&text)
    }
}

impl Sees for Ours {
    fn view(&self) -> BTreeSet<String> {
        let (_, text) = run(&mut roundel(&["members", "--cli-socket", &self.socket]));
        let alive = |line: &&str| line.split_whitespace().nth(2) == Some("alive");
        listed(&text.lines().filter(alive).collect::<Vec<_>>().join("\n"))
    }
}

impl Sees for Balancer {
    fn view(&self) -> BTreeSet<String> {
        let snapshot = self.snapshot();
        let members = snapshot["members"].as_array().cloned().unwrap_or_default();
        let alive = members.iter().filter(|m| m["status"] == "alive");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        alive
            .map(|m| format!("{} {}", text(&m["name"]), text(&m["address"])))
            .collect()
    }
}

/// The first two words of each line.
fn listed(text: &str) -> BTreeSet<String> {
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    text.lines().filter_map(pair).collect()
}

/// All nodes.
pub(super) struct Cast {
    pub(super) balancers: [Balancer; 2],
    pub(super) stocks: Vec<Stock>,
    pub(super) ours: Vec<Ours>,
}

impl Cast {
    fn node(&self, index: usize) -> &dyn Sees {
        match index {
            0..5 => &self.stocks[index - STOCK[0]],
            5..10 => &self.ours[index - OURS[0]],
            _ => &self.balancers[index - BALANCERS[0]],
        }
    }

    pub(super) fn view(&self, index: usize) -> BTreeSet<String> {
        self.node(index).view()
    }

    /// Waits until the nodes on these hosts hold the same members for alive, as many as they are,
    /// and gives those.
    pub(super) fn wait_agreed(&self, hosts: &[usize], within: Duration) -> BTreeSet<String> {
        let begun = Instant::now();
        let mut views = Vec::new();
        let agreed = poll(within, || {
            views = hosts.iter().map(|host| self.view(*host)).collect();
            let one = &views[0];
            (one.len() == hosts.len() && views.iter().all(|v| v == one)).then_some(())
        });
        let shown = hosts.iter().zip(&views);
        let shown: Vec<_> = shown.map(|(host, view)| (name(*host), view)).collect();
        assert!(agreed.is_some(), "not all alike: {shown:#?}");
        println!(
            "{} members in all views after {:?}",
            hosts.len(),
            begun.elapsed()
        );
        views.swap_remove(0)
    }
}
