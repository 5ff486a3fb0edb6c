//! What must hold of a cluster that was left in peace for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use roundel_gossip::{DropReason, Member, Node, Status};

use crate::{link::Link, world::World};

/// What became of nodes that no longer run, by their places.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// Must be failed everywhere.
    pub failed: BTreeSet<usize>,
    /// Must have left everywhere.
    pub left: BTreeSet<usize>,
    /// Must be failed or have left everywhere, or be unknown.
    pub either: BTreeSet<usize>,
    /// Run, but started after the others' ends, so they need not know of those.
    pub late: BTreeSet<usize>,
}

/// Whether a running node sees exactly `count` members, all alive.
pub fn sees_all_alive(node: &Node, count: usize) -> bool {
    let alive = |m: &&Member| m.status == Status::Alive && !m.suspect;
    node.members().filter(alive).count() == count
}

impl World {
    /// What the node at `index` holds of `name`.
    pub fn status_at(&self, index: usize, name: &str) -> Option<Status> {
        let member = self.peers[index].node.as_ref()?.member(name)?;
        Some(member.status)
    }

    /// Whether every running node sees exactly `count` members, all alive.
    pub fn all_see_alive(&self, count: usize) -> bool {
        let mut nodes = self.peers.iter().filter_map(|peer| peer.node.as_ref());
        nodes.all(|node| sees_all_alive(node, count))
    }

    /// Crashes `count` members, has as many leave, restarts `again` of the crashed and changes the
    /// tags of as many others, all within seconds of each other; then lets the network be good and
    /// the cluster in peace until every verdict is due. Gives what became of them.
    ///
    /// Panics: if the world has fewer than four places for each of `count`.
    pub fn trouble(&mut self, count: usize, again: usize) -> Fate {
        const SECOND: Duration = Duration::from_secs(1);
        let step = self.peers.len() / (4 * count);
        assert!(step > 0, "too few places");
        let mut fate = Fate::default();
        for turn in 0..count {
            let [crashes, leaves, changes] = [1, 2, 3].map(|nth| (4 * turn + nth) * step);
            self.crash(crashes);
            fate.failed.insert(crashes);
            self.with(leaves, |node, now| node.leave(now));
            fate.left.insert(leaves);
            let tags = [("turn".to_owned(), turn.to_string())].into();
            self.with(changes, |node, now| {
                node.set_tags(now, tags).expect("the tags are short");
            });
            self.run(Duration::from_millis(300));
        }
        self.run(SECOND * 2);
        for index in &fate.left {
            self.crash(*index);
        }
        for turn in 0..again.min(count) {
            let index = (4 * turn + 1) * step;
            self.start(index, &[("role", "again")]);
            self.join(index, 0);
            fate.failed.remove(&index);
            fate.late.insert(index);
            self.run(Duration::from_millis(300));
        }
        self.link = Link::good();
        // The longest suspicion is six times the shortest; then a state exchange with everybody's
        // neighbours mends what loss has left.
        self.run(SECOND * 180);
        fate
    }

    /// Everything in which a running node differs from the truth, or that is left to say.
    pub fn disagreements(&self, fate: &Fate) -> Vec<String> {
        let mut found = Vec::new();
        for (observer, peer) in self.peers.iter().enumerate() {
            let Some(node) = &peer.node else {
                continue;
            };
            let stats = node.stats();
            if stats.queued > 0 {
                found.push(format!(
                    "node-{observer} has {} broadcasts left",
                    stats.queued
                ));
            }
            // A stream that was cut by a partition times out; nothing else is ever refused.
            for (reason, count) in &stats.dropped {
                if *reason != DropReason::Timeout {
                    found.push(format!("node-{observer} refused {count}: {reason:?}"));
                }
            }
            for index in 0..self.peers.len() {
                if let Some(seen) = self.wrong(observer, index, fate) {
                    found.push(format!("node-{observer} of node-{index}: {seen}"));
                }
            }
        }
        found
    }

    /// What the node at `observer` holds of the place `index`, if that is not the truth.
    fn wrong(&self, observer: usize, index: usize, fate: &Fate) -> Option<String> {
        let peer = &self.peers[index];
        let seen = self.peers[observer].node.as_ref()?.member(&peer.name);
        let right = match &peer.node {
            Some(there) => seen
                .zip(there.member(&peer.name))
                .is_some_and(|(seen, own)| {
                    seen.status == own.status
                        && seen.tags == own.tags
                        && seen.incarnation == own.incarnation
                        && !seen.suspect
                }),
            None => match seen.map(|member| member.status) {
                Some(Status::Failed) => {
                    fate.failed.contains(&index) || fate.either.contains(&index)
                }
                Some(Status::Left) => fate.left.contains(&index) || fate.either.contains(&index),
                // Who came after the end never heard of it.
                None => fate.either.contains(&index) || fate.late.contains(&observer),
                Some(_) => false,
            },
        };
        (!right).then(|| format!("{seen:?}"))
    }
}
