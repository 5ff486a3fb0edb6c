//! Stock agents that leave as announced, and what Roundel's nodes say of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use roundel_gossip_tokio::{Config, Event, Handle, Status};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::cast::{Balancer, Player, Stage};
use super::{PATIENCE, row};

/// Agents that are there at a time.
const BATCH: usize = 20;

/// Nodes of ours that look on, beside the balancer.
const WATCHERS: usize = 4;

/// Pause between two signals of a batch: about as long as a leave takes to spread.
const APART: Duration = Duration::from_millis(37);

/// What was seen of all leaves.
#[derive(Default)]
struct Seen {
    /// Leaves times nodes that look on.
    all: usize,
    /// Those of them that were called a failure at any time.
    failed: usize,
    /// Those that were neither a leave nor a failure within the time.
    missed: usize,
}

/// Has so many agents leave and counts who is reported as failed by whom.
pub(super) fn rows(stage: &Stage, balancer: &Balancer, leaves: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let places = (0..BATCH).map(|_| stage.ip()).collect::<Result<Vec<_>>>()?;
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        let config = Config {
            name: format!("watcher-{number}"),
            listen: (stage.ip()?, 7946).into(),
            join: vec![balancer.gossip().to_string()],
            ..Config::default()
        };
        watchers.push(runtime.block_on(roundel_gossip_tokio::start(config))?);
    }
    let mut seen = Seen::default();
    let numbers: Vec<usize> = (0..leaves).collect();
    for batch in numbers.chunks(BATCH) {
        let names: Vec<String> = batch.iter().map(|n| format!("leaver-{n}")).collect();
        let mut agents = Vec::new();
        for (name, ip) in names.iter().zip(&places) {
            agents.push(stage.bare_agent(name, *ip, balancer)?);
        }
        runtime.block_on(wait_alive(&watchers, &names))?;
        let looks: Vec<_> = watchers
            .iter()
            .map(|watcher| runtime.spawn(look(watcher.events(), names.clone())))
            .collect();
        for agent in &mut agents {
            agent.signal_agent("INT")?;
            std::thread::sleep(APART);
        }
        for reports in looks {
            seen.add(&names, &runtime.block_on(reports)?);
        }
        agents.iter_mut().for_each(Player::wait_agent);
        seen.add(&names, &balancer.reports(&names)?);
    }
    row(
        &format!(
            "{leaves} stock agents leave before {} nodes of Roundel: reported failed",
            WATCHERS + 1
        ),
        "0 in 1,000 leaves",
        &format!(
            "{} of {} reports; {} without a report",
            seen.failed, seen.all, seen.missed
        ),
    );
    runtime.block_on(async {
        for watcher in watchers {
            watcher.leave().await;
            watcher.shutdown().await;
        }
    });
    Ok(())
}

/// Who was reported to have left, and who to have failed.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) left: BTreeSet<String>,
    pub(super) failed: BTreeSet<String>,
}

impl Seen {
    fn add(&mut self, names: &[String], reports: &Reports) {
        self.all += names.len();
        self.failed += reports.failed.len();
        let told =
            |name: &&String| !reports.left.contains(*name) && !reports.failed.contains(*name);
        self.missed += names.iter().filter(told).count();
    }
}

async fn wait_alive(watchers: &[Handle], names: &[String]) -> Result<()> {
    for watcher in watchers {
        let mut members = watcher.members();
        let all = members.wait_for(|members| {
            let is_alive = |name: &String| {
                let mut members = members.iter();
                members.any(|m| m.name == *name && m.status == Status::Alive)
            };
            names.iter().all(is_alive)
        });
        ensure!(timeout(PATIENCE, all).await.is_ok(), "agents do not join");
    }
    Ok(())
}

/// Collects what a node reports of these members until it has told of each.
async fn look(mut events: broadcast::Receiver<Arc<Event>>, names: Vec<String>) -> Reports {
    let mut reports = Reports::default();
    let all = async {
        while reports.left.len() < names.len() {
            match events.recv().await.as_deref() {
                Ok(Event::Leave(m)) if names.contains(&m.name) => {
                    reports.left.insert(m.name.clone());
                }
                Ok(Event::Failed(m)) if names.contains(&m.name) => {
                    reports.failed.insert(m.name.clone());
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    // One that was called a failure may never be called a leave.
    let _ = timeout(PATIENCE, all).await;
    reports
}
