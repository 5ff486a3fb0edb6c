//! Members and the gossip node.

use std::collections::BTreeMap;

use super::families::{Families, Series};
use crate::status::{Gossip, Member, Snapshot};

/// The roles that get a label of their own; any other role is `other`, since roles come from
/// the network and a label must be bounded.
const ROLES: [&str; 3] = ["balancer", "backend", "client"];

pub(super) fn write(s: &Snapshot, out: &mut Families) {
    let Some(gossip) = &s.gossip else { return };
    out.gauge(
        "roundel_gossip_members",
        "Members known, by role and status.",
        |f| members(f, &s.members),
    );
    if let Some(sharing) = &gossip.sharing {
        out.gauge(
            "roundel_cluster_balancers",
            "Other balancers that have proven that they hold the cluster's key.",
            |f| f.count(&[], sharing.balancers.len() as u64),
        );
        out.gauge(
            "roundel_cluster_entries",
            "Certificates, keys and orders that balancers have in common.",
            |f| f.count(&[], sharing.entries),
        );
        out.counter(
            "roundel_cluster_refused_total",
            "Streams of strangers to the cluster's port.",
            |f| f.count(&[], sharing.refused_total),
        );
    }
    out.gauge(
        "roundel_gossip_suspects",
        "Members alive but suspected.",
        |f| {
            let suspects = s.members.iter().filter(|m| m.suspect).count();
            f.count(&[], suspects as u64);
        },
    );
    words(
        out,
        "roundel_gossip_events_total",
        "Member events.",
        "event",
        &gossip.events_total,
    );
    words(
        out,
        "roundel_gossip_probes_total",
        "Probes of members.",
        "result",
        &gossip.probes_total,
    );
    words(
        out,
        "roundel_gossip_decode_errors_total",
        "Packets and streams that could not be read.",
        "reason",
        &gossip.decode_errors_total,
    );
    words(
        out,
        "roundel_gossip_join_attempts_total",
        "Attempts to join.",
        "result",
        &gossip.join_attempts_total,
    );
    counts(gossip, out);
}

fn counts(gossip: &Gossip, out: &mut Families) {
    out.counter(
        "roundel_gossip_suspicions_total",
        "Suspicions begun.",
        |f| f.count(&[], gossip.suspicions_total),
    );
    out.counter(
        "roundel_gossip_refutations_total",
        "Suspicions refuted.",
        |f| f.count(&[], gossip.refutations_total),
    );
    out.counter(
        "roundel_gossip_asked_back_total",
        "Words of others about a member that the member was asked about.",
        |f| f.count(&[], gossip.asked_back_total),
    );
    out.counter(
        "roundel_gossip_hearsay_refuted_total",
        "Those of them that the member contradicted.",
        |f| f.count(&[], gossip.hearsay_refuted_total),
    );
    out.counter(
        "roundel_gossip_restarts_total",
        "Times the gossip's driver ended by a panic and was started again.",
        |f| f.count(&[], gossip.restarts_total),
    );
    out.gauge(
        "roundel_gossip_health_score",
        "Lifeguard's health score; 0 is healthy.",
        |f| f.count(&[], gossip.health_score),
    );
    out.gauge(
        "roundel_gossip_broadcast_queue",
        "Broadcasts waiting to be sent.",
        |f| f.count(&[], gossip.broadcast_queue),
    );
    out.counter(
        "roundel_gossip_messages_total",
        "Messages by direction and kind.",
        |f| {
            for (dir, kind, n) in &gossip.messages_total {
                f.count(&[("dir", dir), ("kind", kind)], *n);
            }
        },
    );
    out.counter(
        "roundel_gossip_bytes_total",
        "Bytes by direction and transport.",
        |f| {
            for (dir, transport, n) in &gossip.bytes_total {
                f.count(&[("dir", dir), ("transport", transport)], *n);
            }
        },
    );
}

fn members(f: &mut Series, members: &[Member]) {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for member in members {
        let role = ROLES
            .into_iter()
            .find(|r| *r == member.role())
            .unwrap_or("other");
        *counts.entry((role, member.status.as_str())).or_default() += 1;
    }
    for ((role, state), n) in counts {
        f.count(&[("role", role), ("state", state)], n);
    }
}

fn words(out: &mut Families, name: &str, help: &str, label: &str, of: &BTreeMap<String, u64>) {
    out.counter(name, help, |f| {
        for (word, n) in of {
            f.count(&[(label, word)], *n);
        }
    });
}
