//! The gossip node as the views show it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use roundel_admin::status::{Gossip, Member, MemberStatus, Sharing};
use roundel_cluster::Cluster;
use roundel_gossip_tokio::{Event, Handle, Status};

/// What is known of the gossip node beside its members: counts of events, round trips.
pub(crate) struct GossipView {
    handle: Handle,
    /// The name of the configuration.
    asked: String,
    seeds: Vec<String>,
    encrypted: bool,
    cluster: Option<Cluster>,
    events: BTreeMap<&'static str, u64>,
    joins: BTreeMap<&'static str, u64>,
    round_trips: BTreeMap<String, Duration>,
    udp_blocked: bool,
}

impl GossipView {
    pub(crate) fn new(
        handle: Handle,
        asked: String,
        seeds: Vec<String>,
        encrypted: bool,
        cluster: Option<Cluster>,
    ) -> Self {
        Self {
            handle,
            asked,
            seeds,
            encrypted,
            cluster,
            events: BTreeMap::new(),
            joins: BTreeMap::new(),
            round_trips: BTreeMap::new(),
            udp_blocked: false,
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Counts one event of the node.
    pub(crate) fn observe(&mut self, event: &Event) {
        let word = match event {
            Event::Join(_) => "join",
            Event::Update(_) => "update",
            Event::Leaving(_) => "leaving",
            Event::Leave(_) => "leave",
            Event::Failed(_) => "failed",
            Event::Reap(member) => {
                self.round_trips.remove(&member.name);
                "reap"
            }
            Event::Heard { name, round_trip } => {
                self.round_trips.insert(name.clone(), *round_trip);
                return;
            }
            Event::DatagramsLost { .. } => return self.udp_blocked = true,
            Event::DatagramsBack => return self.udp_blocked = false,
            Event::Joined { .. } => return *self.joins.entry("ok").or_default() += 1,
            Event::JoinFailed { .. } => return *self.joins.entry("fail").or_default() += 1,
            _ => return,
        };
        *self.events.entry(word).or_default() += 1;
    }

    /// `metrics` says where Prometheus is sent for those of a member, which may be this one.
    pub(crate) fn collect(
        &self,
        metrics: impl Fn(&roundel_gossip_tokio::Member, bool) -> Option<SocketAddr>,
    ) -> (Vec<Member>, Gossip) {
        let members = self.handle.members();
        let members = members.borrow();
        let name = self.handle.name();
        let member = |m: &roundel_gossip_tokio::Member| {
            let is_me = *m.name == *name;
            let metrics = metrics(m, is_me).map(|at| at.to_string());
            self.member(m, is_me, metrics)
        };
        let list = members.iter().map(member).collect();
        (list, self.gossip())
    }

    fn member(
        &self,
        member: &roundel_gossip_tokio::Member,
        me: bool,
        metrics: Option<String>,
    ) -> Member {
        let round_trip = self.round_trips.get(&member.name);
        Member {
            name: member.name.clone(),
            address: member.address.to_string(),
            status: match member.status {
                Status::Alive => MemberStatus::Alive,
                Status::Leaving => MemberStatus::Leaving,
                Status::Left => MemberStatus::Left,
                Status::Failed => MemberStatus::Failed,
            },
            tags: member.tags.clone(),
            suspect: member.suspect,
            incarnation: member.incarnation,
            since_seconds: member.since.elapsed().as_secs(),
            rtt_us: round_trip.map(|d| d.as_micros() as u64),
            me,
            metrics,
            protocol: member.versions[2],
            delegate: [member.versions[3], member.versions[4], member.versions[5]],
        }
    }

    fn gossip(&self) -> Gossip {
        let stats = self.handle.stats();
        let own = self.handle.own_address();
        let owned = |map: &BTreeMap<&'static str, u64>| {
            let pairs = map.iter().map(|(word, n)| ((*word).to_owned(), *n));
            pairs.collect::<BTreeMap<String, u64>>()
        };
        let flow = |dir: &str, what: &str, n: u64| (dir.to_owned(), what.to_owned(), n);
        Gossip {
            listen: self.handle.local_addr().to_string(),
            address: own.address.to_string(),
            address_reason: own.why,
            seed_trouble: self.handle.seed_trouble(),
            udp_blocked: self.udp_blocked,
            taken_name: Some(self.asked.clone()).filter(|name| **name != *self.handle.name()),
            sharing: self.cluster.as_ref().map(sharing),
            seeds: self.seeds.clone(),
            encrypted: self.encrypted,
            health_score: u64::from(stats.awareness),
            broadcast_queue: stats.queued as u64,
            events_total: owned(&self.events),
            probes_total: BTreeMap::from([
                (
                    "ack".to_owned(),
                    stats
                        .probes
                        .saturating_sub(stats.probes_failed + stats.probes_by_stream),
                ),
                ("stream".to_owned(), stats.probes_by_stream),
                ("fail".to_owned(), stats.probes_failed),
            ]),
            suspicions_total: stats.suspicions,
            refutations_total: stats.refutations,
            asked_back_total: stats.asked_back,
            hearsay_refuted_total: stats.hearsay_refuted,
            restarts_total: stats.restarts,
            messages_total: vec![
                flow("in", "datagram", stats.datagrams_in),
                flow("out", "datagram", stats.datagrams_out),
            ],
            bytes_total: vec![
                flow("in", "udp", stats.datagram_bytes_in),
                flow("out", "udp", stats.datagram_bytes_out),
            ],
            decode_errors_total: stats
                .dropped
                .iter()
                .map(|(reason, n)| (reason.to_string(), *n))
                .collect(),
            join_attempts_total: owned(&self.joins),
        }
    }
}

fn sharing(cluster: &Cluster) -> Sharing {
    let sharing = cluster.sharing();
    let names = sharing.balancers.into_iter().map(|other| other.name);
    Sharing {
        // Whoever proved the key is believed, and shown as anybody else.
        balancers: names
            .map(|name| name.escape_default().to_string())
            .collect(),
        entries: sharing.entries as u64,
        refused_total: sharing.refused_total,
    }
}
