//! Processor and memory of the gossip alone: two balancers with nothing to do, one of them in the
//! gossip, beside the process that does nothing but gossip.

use std::fs::read_to_string;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cast::{Balancer, Player, Stage};
use super::row;

/// Measures both balancers and an agent in the same time.
pub(super) fn rows(
    stage: &Stage,
    balancer: &Balancer,
    crowd: &[Player],
    seconds: u64,
) -> Result<()> {
    let agent = crowd.first().context("there is an agent")?;
    let with = stage.idle_balancer(Some(balancer))?;
    let without = stage.idle_balancer(None)?;
    with.wait_members(crowd.len() + 2)?;
    // Joining costs more than being there.
    std::thread::sleep(Duration::from_secs(5));
    let pids = [with.pid(), without.pid(), agent.agent_pid(), balancer.pid()];
    let before = pids.map(cpu_seconds);
    std::thread::sleep(Duration::from_secs(seconds));
    let after = pids.map(cpu_seconds);
    let mut share = [0.0; 4];
    for (share, (before, after)) in share.iter_mut().zip(before.into_iter().zip(after)) {
        *share = 100.0 * (after? - before?) / seconds as f64;
    }
    let [with_cpu, without_cpu, agent_cpu, whole_cpu] = share;
    let gossip = (with_cpu - without_cpu).max(0.0);
    row(
        "idle processor of gossip alone, beside a Serf agent's in the same time",
        "at most a quarter of the agent's",
        &format!(
            "{gossip:.3} % of a core ({with_cpu:.3} % with gossip, {without_cpu:.3} % without); \
             agent {agent_cpu:.3} %: {:.2} of it",
            gossip / agent_cpu
        ),
    );
    let mut memory = [0.0; 4];
    for (memory, pid) in memory.iter_mut().zip(pids) {
        *memory = resident_mb(pid)?;
    }
    let [with_mb, without_mb, agent_mb, whole_mb] = memory;
    row(
        "resident memory that gossip adds, beside a Serf agent's",
        "<= 2 MB",
        &format!(
            "{:.2} MB ({with_mb:.1} MB with gossip, {without_mb:.1} MB without); agent \
             {agent_mb:.1} MB",
            with_mb - without_mb
        ),
    );
    row(
        "the whole balancer of the other rows: page, and checks of all servers each 2 s",
        "",
        &format!("{whole_cpu:.2} % of a core, {whole_mb:.1} MB"),
    );
    Ok(())
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanos = 0u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(nanos as f64 / 1e9)
}

fn resident_mb(pid: u32) -> Result<f64> {
    let text = read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split(' ').nth(1).context("statm has a second field")?;
    Ok(pages.parse::<f64>()? * 4096.0 / 1e6)
}
