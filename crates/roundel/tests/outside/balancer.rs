//! A running balancer and what it shows.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use roundel_testkit::{Process, Response, free_port, get, loopback, poll, wait_for};
use serde_json::Value;

/// Enough for anything that should happen at once, on a machine that does other things too.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The program under test without the caller's `ROUNDEL_` variables.
pub(crate) fn roundel(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
    command.args(words);
    without_variables(command)
}

/// A command without the caller's `ROUNDEL_` variables.
pub(crate) fn without_variables(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROUNDEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// A `roundel serve` or `roundel demo` on a loopback address of its own.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) process: Process,
    /// Where the frontend answers.
    pub(crate) front: SocketAddr,
    /// Where the page answers.
    pub(crate) stats: SocketAddr,
    /// Where it gossips.
    pub(crate) gossip: SocketAddr,
}

impl Balancer {
    /// Starts `serve` with these further flags and waits until it is ready.
    pub(crate) fn serve(flags: &[&str]) -> Self {
        Self::start(&["serve"], flags).ready()
    }

    /// Starts `demo` with so many servers and waits until they serve.
    pub(crate) fn demo(servers: usize, flags: &[&str]) -> Self {
        let count = servers.to_string();
        let demo = Self::start(&["demo", "--servers", &count], flags).ready();
        demo.wait_up(servers, SOON);
        demo
    }

    /// Starts `serve -c FILE` where the file says where to listen.
    pub(crate) fn with_file(file: &str, addresses: [SocketAddr; 2]) -> Self {
        let process = Process::spawn(&mut roundel(&["serve", "-c", file]));
        let [front, stats] = addresses;
        let balancer = Self {
            process,
            front,
            stats,
            gossip: stats,
        };
        balancer.ready()
    }

    /// Starts the program on three free ports of one address, which the flags name.
    pub(crate) fn start(verb: &[&str], flags: &[&str]) -> Self {
        let ip = loopback();
        let [front, stats, gossip] = [(); 3].map(|()| SocketAddr::from((ip, free_port(ip))));
        Self::start_at(verb, flags, [front, stats, gossip])
    }

    /// Starts the program with frontend, page and gossip at these addresses.
    pub(crate) fn start_at(verb: &[&str], flags: &[&str], at: [SocketAddr; 3]) -> Self {
        Self::spawn(roundel(verb), flags, at)
    }

    /// As [`Self::start`], with variables.
    pub(crate) fn start_with(verb: &[&str], flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let ip = loopback();
        let at = [(); 3].map(|()| SocketAddr::from((ip, free_port(ip))));
        let mut command = roundel(verb);
        command.envs(variables.iter().copied());
        Self::spawn(command, flags, at)
    }

    fn spawn(mut command: Command, flags: &[&str], at: [SocketAddr; 3]) -> Self {
        let [front, stats, gossip] = at;
        command
            .args(["--listen", &front.to_string()])
            .args(["--stats-listen", &stats.to_string()])
            .args(["--gossip-listen", &gossip.to_string()])
            .args(["--cli-listen", "off"])
            .args(flags);
        Self {
            process: Process::spawn(&mut command),
            front,
            stats,
            gossip,
        }
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn ready(mut self) -> Self {
        let ready = poll(SOON, || {
            if let Some(status) = self.process.try_exit() {
                panic!("ended early: {status}\n{}", self.process);
            }
            let response = get(self.stats, "/readyz").ok()?;
            (response.status == 200).then_some(())
        });
        assert!(ready.is_some(), "never ready\n{}", self.process);
        self
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        get(self.front, path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.process))
    }

    /// The text of a page of the admin port.
    pub(crate) fn page(&self, path: &str) -> String {
        let response = get(self.stats, path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.text()
    }

    /// The snapshot of this second.
    pub(crate) fn snapshot(&self) -> Value {
        serde_json::from_str(&self.page("/api/v1/snapshot")).expect("the snapshot is JSON")
    }

    /// Names and states of the first backend's servers.
    pub(crate) fn states(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let snapshot = self.snapshot();
        let servers = snapshot["backends"][0]["servers"].as_array();
        servers
            .expect("a backend has servers")
            .iter()
            .map(|server| (text(&server["name"]), text(&server["state"])))
            .collect()
    }

    /// Waits until exactly `count` servers serve and none is on its way in or out.
    pub(crate) fn wait_up(&self, count: usize, within: Duration) {
        let mut last = Vec::new();
        let settled = poll(within, || {
            last = self.states();
            let up = last.iter().filter(|(_, state)| state == "up").count();
            let passing = ["joining", "leaving", "warming"];
            let settled = last.iter().all(|(_, s)| !passing.contains(&s.as_str()));
            (up == count && settled).then_some(())
        });
        assert!(
            settled.is_some(),
            "not {count} servers up within {within:?}: {last:?}\n{}",
            self.process
        );
    }

    /// Waits until gossip says that about a member.
    pub(crate) fn wait_member(&self, name: &str, status: &str, within: Duration) {
        wait_for(&format!("member {name} {status}"), within, || {
            let snapshot = self.snapshot();
            let members = snapshot["members"].as_array()?.clone();
            members
                .iter()
                .find(|m| m["name"] == name && m["status"] == status)
                .map(drop)
        });
    }

    /// Where a member gossips.
    pub(crate) fn member_address(&self, name: &str) -> String {
        let snapshot = self.snapshot();
        let members = snapshot["members"].as_array().cloned().unwrap_or_default();
        let member = members.iter().find(|m| m["name"] == name);
        let address = member.and_then(|m| m["address"].as_str());
        address.expect("a member").to_owned()
    }

    /// Requests answered by the first backend's servers, by name.
    pub(crate) fn requests(&self) -> Vec<(String, u64)> {
        let snapshot = self.snapshot();
        let servers = snapshot["backends"][0]["servers"].as_array();
        let pair = |server: &Value| {
            let name = server["name"].as_str().unwrap_or_default().to_string();
            (name, server["requests_total"].as_u64().unwrap_or_default())
        };
        servers
            .expect("a backend has servers")
            .iter()
            .map(pair)
            .collect()
    }
}
