//! Stock agents as in a container: no `-bind` with an address, no `-advertise`. They write their
//! IPv4 address in 16 bytes, and are in conflict with themselves where somebody shortens it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::agent::{KEY, KEY_BASE64};
use common::{alive, config, until};
use roundel_gossip_tokio::{Config, Handle, start};
use roundel_testkit::{Host, Lan, Process, external, poll};

const SOON: Duration = Duration::from_secs(30);

/// All of them on one host, which has one address.
const AGENTS: u16 = 12;

struct Stock {
    process: Process,
    host: Host,
    rpc: String,
}

impl Stock {
    fn start(host: &Host, number: u16, seed: &str, flags: &[&str]) -> Self {
        let rpc = format!("127.0.0.1:{}", 20_000 + number);
        let mut agent = Command::new("serf");
        agent
            .args(["agent", &format!("-node=stock-{number}")])
            .arg(format!("-bind=0.0.0.0:{}", 10_000 + number))
            .args([&format!("-rpc-addr={rpc}"), &format!("-join={seed}")])
            .args(flags);
        Self {
            process: Process::spawn(&mut host.on(&agent)),
            host: host.clone(),
            rpc,
        }
    }

    fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new("serf");
        command.arg(words[0]).arg(format!("-rpc-addr={}", self.rpc));
        let output = self.host.on(command.args(&words[1..])).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until it knows so many as alive, and somebody by these words.
    fn wait_members(&self, count: usize, words: &str) {
        let mut text = String::new();
        let found = poll(SOON, || {
            text = self.run(&["members", "-status=alive"]);
            (text.lines().count() == count && text.contains(words)).then_some(())
        });
        assert!(found.is_some(), "{text}\n{}", self.process);
    }
}

async fn lead(lan: &Lan, change: impl FnOnce(&mut Config)) -> Handle {
    let mut config = config("lb");
    config.listen = (lan.here(), 0).into();
    change(&mut config);
    start(config).await.unwrap()
}

async fn check(change: impl FnOnce(&mut Config), flags: &[&str]) {
    if external("serf", "serf").is_none() {
        return;
    }
    let Some(lan) = Lan::new(1) else {
        return;
    };
    let host = &lan.hosts()[0];
    let lb = lead(&lan, change).await;
    let seed = lb.local_addr().to_string();
    let agents = (0..AGENTS).map(|number| Stock::start(host, number, &seed, flags));
    let mut agents: Vec<Stock> = agents.collect();
    let count = usize::from(AGENTS);
    until(&lb, "all are seen", SOON, |m| alive(m) == count + 1).await;
    agents.iter().for_each(|a| a.wait_members(count + 1, "lb"));
    // What one changes all others learn, which they do not of one that conflicts with itself.
    agents[0].run(&["tags", "-set", "weight=7"]);
    agents
        .iter()
        .for_each(|a| a.wait_members(count + 1, "weight=7"));
    // One that ends and comes back is alive again.
    agents[1].process.kill();
    agents[1] = Stock::start(host, 1, &seed, flags);
    agents
        .iter()
        .for_each(|a| a.wait_members(count + 1, "stock-1 "));
    // They need nobody of ours.
    lb.shutdown().await;
    agents[2].run(&["tags", "-set", "weight=8"]);
    agents[3].wait_members(count, "weight=8");
    for agent in &mut agents {
        let log = format!("{}", agent.process);
        assert!(!log.to_lowercase().contains("conflict"), "{log}");
        assert!(agent.process.try_exit().is_none(), "it ended: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_on_their_default_bind_agree_with_themselves() {
    check(|_| {}, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_when_encrypted() {
    let encrypted = format!("-encrypt={KEY_BASE64}");
    check(|c| c.keys = vec![KEY.to_vec()], &[&encrypted]).await;
}
