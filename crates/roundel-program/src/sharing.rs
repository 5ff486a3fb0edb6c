//! What this balancer shares with the others, and who they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

use roundel_acme::Proofs;
use roundel_cluster::{Cluster, Effect, Identity, Lead, Neighbours};
use roundel_config::Settings;
use roundel_gossip_tokio::{Handle, Member, Status};
use roundel_tls::{Challenges, TicketKeys};

/// The tag by which a balancer says that it shares; its value is the port, at the member's address.
pub(crate) const TAG: &str = "rc";

/// The entry with the keys of tickets.
const TICKETS: &str = "tickets";

/// Begins to share what `settings` say, with nobody yet; `None` if they say nothing.
pub(crate) fn begin(
    settings: &Settings,
    tickets: &Arc<TicketKeys>,
    challenges: &Challenges,
) -> Option<Cluster> {
    let (cluster, gossip) = (settings.cluster.as_ref()?, settings.gossip.as_ref()?);
    let effects = Effects {
        tickets: tickets.clone(),
        proofs: Proofs::new(challenges.clone()),
    };
    let identity = Identity::new(&cluster.key);
    Some(Cluster::new(identity, &gossip.node_name, effects))
}

/// What entries of others do here.
struct Effects {
    tickets: Arc<TicketKeys>,
    proofs: Proofs,
}

impl Effect for Effects {
    fn apply(&self, name: &str, value: Option<&[u8]>) {
        if name != TICKETS {
            return self.proofs.apply(name, value);
        }
        if value.is_some_and(|keys| !self.tickets.inherit(keys)) {
            tracing::warn!("cluster: the keys of tickets that came cannot be read");
        }
    }
}

/// Offers this balancer's keys of tickets: those of the cluster stay if there are any.
pub(crate) fn offer_tickets(cluster: &Cluster, tickets: &TicketKeys, now: SystemTime) {
    // Of two sets of keys the one that began earlier stays: clients have its tickets.
    let began = now.duration_since(SystemTime::UNIX_EPOCH);
    let began = began.map_or(0, |since| since.as_millis() as u64);
    let version = (u64::MAX / 2).saturating_sub(began);
    let offered = cluster.offer(TICKETS, version, tickets.export().to_vec());
    offered.expect("an empty store has room for them");
}

/// Turns the keys of tickets when it is time, if that is this balancer's.
pub(crate) fn turn_tickets(cluster: &Cluster, tickets: &TicketKeys, now: SystemTime) {
    if cluster.lead(TICKETS, None) != Lead::Own {
        return;
    }
    tickets.advance(now);
    let keys = tickets.export();
    let is_known = cluster.get(TICKETS).is_some_and(|(_, known)| known == keys);
    if !is_known && let Err(error) = cluster.put(TICKETS, Some(keys.to_vec())) {
        tracing::warn!("cluster: the keys of tickets are not shared: {error}");
    }
}

/// Waits until another balancer has told its whole store.
pub(crate) async fn first_exchange(cluster: &Cluster) {
    let mut changes = cluster.changes();
    while !cluster
        .sharing()
        .balancers
        .iter()
        .any(|other| other.is_told)
    {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the cluster who the others are, as long as there is gossip.
pub(crate) async fn follow(cluster: Cluster, gossip: Handle) {
    let mut members = gossip.members();
    loop {
        let me = gossip.name().to_string();
        let others = others(&members.borrow_and_update(), &me);
        cluster.set_neighbours(&Neighbours { me, others });
        if members.changed().await.is_err() {
            return;
        }
    }
}

fn others(members: &[Member], me: &str) -> BTreeMap<String, SocketAddr> {
    let alive = members
        .iter()
        .filter(|m| m.status == Status::Alive && m.name != me);
    let shares = alive.filter_map(|member| {
        // Tags come from the network: this is where somebody is asked for a proof, no more.
        let port: NonZeroU16 = member.tags.get(TAG)?.parse().ok()?;
        Some((
            member.name.clone(),
            SocketAddr::new(member.address.ip(), port.get()),
        ))
    });
    shares.collect()
}
