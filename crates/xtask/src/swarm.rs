//! A real overlay network: a Swarm of this one engine, which it leaves again.
//!
//! A task has two interfaces: that of the overlay, and that of `docker_gwbridge` with the default
//! route, which leads to no member. Seeds are given by address, since names need a kernel with
//! IP_VS. Containers are started by hand on an attachable network.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use roundel_testkit::poll;
use serde_json::Value;

use crate::step::{command, output, run};

const PATIENCE: Duration = Duration::from_secs(60);

/// The Swarm with its network and containers; all of it goes on drop, whatever happened.
struct Swarm {
    /// Names of containers and of the network begin with it.
    id: String,
    image: String,
    containers: Vec<String>,
}

/// Tries balancer and agents of this image on an overlay network.
pub(crate) fn run_on_overlay(image: &str) -> Result<()> {
    let mut swarm = Swarm::new(image)?;
    let outcome = try_out(&mut swarm);
    if outcome.is_err() {
        swarm.show_logs();
    }
    outcome
}

fn try_out(swarm: &mut Swarm) -> Result<()> {
    let lb = swarm.start("lb", &["serve", "--node-name", "lb"])?;
    let seed = swarm.address(&lb, &swarm.overlay())?;
    let toy = ["--", "/roundel", "toy"];
    for name in ["a1", "a2", "a3"] {
        let words = [&["agent", "--node-name", name, "--join", &seed][..], &toy].concat();
        swarm.start(name, &words)?;
    }
    swarm.wait_up(&lb, 3)?;
    let gossip = &swarm.snapshot(&lb)?["gossip"];
    let (address, why) = (&gossip["address"], &gossip["address_reason"]);
    println!("the balancer is at {address}: {why}");
    ensure!(
        *address == format!("{seed}:7946"),
        "the balancer takes {address} for its own, not {seed}"
    );
    for name in ["a1", "a2", "a3"] {
        let ip = swarm.address(&swarm.named(name), &swarm.overlay())?;
        swarm.wait_at(&lb, name, &ip)?;
        let logs = swarm.logs(&swarm.named(name));
        ensure!(
            !logs.contains("suspected"),
            "{name} doubts somebody:\n{logs}"
        );
    }
    move_one(swarm, &lb, "a2")
}

/// A container that leaves the network and comes back elsewhere is followed: `docker network
/// disconnect` and `connect`.
fn move_one(swarm: &mut Swarm, lb: &str, name: &str) -> Result<()> {
    let (container, overlay) = (swarm.named(name), swarm.overlay());
    let before = swarm.address(&container, &overlay)?;
    let network = |act: &str, of: &str| {
        output(&mut command("docker", &["network", act, &overlay, of])).map(drop)
    };
    network("disconnect", &container)?;
    // Takes the place, so that the engine cannot give the same address again.
    swarm.start("squatter", &["toy"])?;
    network("connect", &container)?;
    let after = swarm.address(&container, &overlay)?;
    ensure!(before != after, "the engine gave {before} again");
    swarm.wait_at(lb, name, &after)?;
    swarm.wait_up(lb, 3)?;
    println!("{name} moved from {before} to {after} and serves");
    Ok(())
}

impl Swarm {
    fn new(image: &str) -> Result<Self> {
        let state = ["info", "-f", "{{.Swarm.LocalNodeState}}"];
        let state = output(&mut command("docker", &state))?;
        ensure!(
            state == "inactive",
            "this engine is part of a Swarm already ({state}): it is left alone"
        );
        let init = ["swarm", "init", "--advertise-addr", "127.0.0.1"];
        output(&mut command("docker", &init))?;
        let swarm = Self {
            id: format!("roundel-swarm-{}", std::process::id()),
            image: image.to_owned(),
            containers: Vec::new(),
        };
        let overlay = swarm.overlay();
        let create = [
            "network",
            "create",
            "-d",
            "overlay",
            "--attachable",
            &overlay,
        ];
        output(&mut command("docker", &create))?;
        Ok(swarm)
    }

    fn overlay(&self) -> String {
        format!("{}-net", self.id)
    }

    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    /// Starts a container on the overlay, with a way out as tasks have, and gives its name.
    fn start(&mut self, name: &str, words: &[&str]) -> Result<String> {
        let (full, overlay) = (self.named(name), self.overlay());
        let sysctl = "net.ipv4.ip_unprivileged_port_start=0";
        let mut docker = command("docker", &["run", "-d", "--name", &full]);
        docker.args(["--network", &overlay, "--sysctl", sysctl, &self.image]);
        output(docker.args(words))?;
        self.containers.push(full.clone());
        Ok(full)
    }

    /// A container's address in a network.
    fn address(&self, container: &str, network: &str) -> Result<String> {
        let what = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
        let ip = output(&mut command("docker", &["inspect", "-f", &what, container]))?;
        if ip.is_empty() {
            bail!("{container} has no address in {network}");
        }
        Ok(ip)
    }

    /// What a balancer tells by the program in its own image.
    fn snapshot(&self, balancer: &str) -> Result<Value> {
        let words = ["exec", balancer, "/roundel", "stat", "--json"];
        let text = output(&mut command("docker", &words))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn wait_up(&self, balancer: &str, count: usize) -> Result<()> {
        let mut last = Vec::new();
        let up = poll(PATIENCE, || {
            let snapshot = self.snapshot(balancer).ok()?;
            let servers = snapshot["backends"][0]["servers"].as_array()?.clone();
            last = servers.iter().map(|s| s["state"].to_string()).collect();
            let up = last.iter().filter(|state| *state == "\"up\"").count();
            (up == count && last.len() == count).then_some(())
        });
        up.with_context(|| format!("not {count} servers up: {last:?}"))
    }

    fn wait_at(&self, balancer: &str, member: &str, ip: &str) -> Result<()> {
        let wanted = format!("{ip}:7946");
        let mut last = None;
        let there = poll(PATIENCE, || {
            let snapshot = self.snapshot(balancer).ok()?;
            let members = snapshot["members"].as_array()?.clone();
            let found = members.iter().find(|m| m["name"] == member)?;
            last = Some(found["address"].clone());
            (found["address"] == wanted && found["status"] == "alive").then_some(())
        });
        there.with_context(|| format!("{member} is not at {wanted} but at {last:?}"))
    }

    fn logs(&self, container: &str) -> String {
        let logs = command("docker", &["logs", "--tail", "60", container]).output();
        logs.map_or_else(
            |error| error.to_string(),
            |logs| String::from_utf8_lossy(&logs.stderr).into_owned(),
        )
    }

    fn show_logs(&self) {
        for container in &self.containers {
            eprintln!("== {container}\n{}", self.logs(container));
        }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let mut remove = command("docker", &["rm", "-f"]);
        let containers = output(remove.args(&self.containers));
        let network = output(&mut command("docker", &["network", "rm", &self.overlay()]));
        let left = run(&mut command("docker", &["swarm", "leave", "--force"]));
        for result in [containers.map(drop), network.map(drop), left] {
            if let Err(error) = result {
                eprintln!("cleaning up: {error:#}");
            }
        }
    }
}
