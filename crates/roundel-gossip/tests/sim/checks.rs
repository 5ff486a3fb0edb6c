//! What must hold of a cluster that was left in peace for a while.

use std::collections::BTreeSet;
use std::fmt::Write;

use roundel_gossip::{DropReason, Event, Member, Status};

use crate::world::World;

/// What became of nodes that no longer run.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Must be failed everywhere.
    pub(crate) failed: BTreeSet<usize>,
    /// Must have left everywhere.
    pub(crate) left: BTreeSet<usize>,
    /// Must be failed or have left everywhere.
    pub(crate) either: BTreeSet<usize>,
}

impl Fate {
    pub(crate) fn dead(&mut self, index: usize) {
        self.either.insert(index);
    }

    pub(crate) fn alive(&mut self, index: usize) {
        self.either.remove(&index);
    }
}

/// What the node at `index` holds of `name`.
pub(crate) fn status_at(world: &World, index: usize, name: &str) -> Option<Status> {
    let node = world.peers[index].node.as_ref()?;
    node.member(name).map(|member| member.status)
}

/// Whether every running node sees exactly `count` members, all alive.
pub(crate) fn sees_all_alive(world: &World, count: usize) -> bool {
    world.running().iter().all(|index| {
        let node = world.peers[*index].node.as_ref().unwrap();
        let alive = |m: &&Member| m.status == Status::Alive && !m.suspect;
        node.members().filter(alive).count() == count
    })
}

/// How often a failure was announced to anybody.
pub(crate) fn failures_seen(world: &World) -> usize {
    let events = world.peers.iter().flat_map(|peer| &peer.events);
    events
        .filter(|(_, e)| matches!(e, Event::Failed(_)))
        .count()
}

/// Panics unless all running nodes agree with the truth, and with nothing left to say.
pub(crate) fn assert_agreement(world: &World, fate: &Fate) {
    for observer in world.running() {
        let node = world.peers[observer].node.as_ref().unwrap();
        let stats = node.stats();
        assert_eq!(stats.queued, 0, "node-{observer} has broadcasts left");
        // A stream that was cut by a partition times out; nothing else is ever refused.
        let refused = stats.dropped.keys().find(|r| **r != DropReason::Timeout);
        assert_eq!(refused, None, "{:?}", stats.dropped);
        for (index, peer) in world.peers.iter().enumerate() {
            let seen = node.member(&peer.name);
            let what = || format!("node-{observer} of {}: {seen:?}", peer.name);
            match &peer.node {
                Some(there) => {
                    let own = there.member(&peer.name).unwrap();
                    let seen = seen.unwrap_or_else(|| panic!("{}", what()));
                    assert_eq!(seen.status, own.status, "{}", what());
                    assert_eq!(seen.tags, own.tags, "{}", what());
                    assert_eq!(seen.incarnation, own.incarnation, "{}", what());
                    assert!(!seen.suspect, "{}", what());
                }
                None => {
                    let status = seen.map(|member| member.status);
                    let failed = status == Some(Status::Failed);
                    let left = status == Some(Status::Left);
                    // Who came after the death never heard of it.
                    let fits = (fate.failed.contains(&index) && failed)
                        || (fate.left.contains(&index) && left)
                        || (fate.either.contains(&index) && (failed || left || status.is_none()));
                    assert!(fits, "{}", what());
                }
            }
        }
    }
}

/// Everything that was announced, as one text.
pub(crate) fn digest(world: &World) -> String {
    let mut text = String::new();
    for peer in &world.peers {
        for (at, event) in &peer.events {
            let kind = match event {
                Event::Join(m) => format!("join {}", m.name),
                Event::Failed(m) => format!("failed {}", m.name),
                Event::Suspect { name, from } => format!("suspect {name} {from}"),
                Event::Refuted { name } => format!("refuted {name}"),
                _ => continue,
            };
            let _ = writeln!(text, "{} {at:?} {kind}", peer.name);
        }
    }
    let _ = writeln!(text, "{} {}", world.datagrams, world.bytes);
    text
}
