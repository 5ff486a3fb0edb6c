//! The running sources of every backend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use roundel_admin::status::Source;
use roundel_config::{Backend, Discover, StaticServer};
use roundel_discovery::{Config, Discovery, DnsConfig, GossipConfig, SourceConfig, SourceState};
use roundel_gossip_tokio::Member;
use roundel_model::{BackendSet, Name, Presence, Server, SourceKind};
use tokio::sync::{mpsc, watch};

/// Starts and stops the sources of backends; their sets all go to one channel.
pub(crate) struct Sources {
    running: BTreeMap<Name, Discovery>,
    members: Option<watch::Receiver<Arc<Vec<Member>>>>,
    allow_loopback: bool,
    sets: mpsc::Sender<BackendSet>,
}

impl Sources {
    /// `allow_loopback` lets members with loopback addresses be servers.
    pub(crate) fn new(
        members: Option<watch::Receiver<Arc<Vec<Member>>>>,
        allow_loopback: bool,
        sets: mpsc::Sender<BackendSet>,
    ) -> Self {
        Self {
            running: BTreeMap::new(),
            members,
            allow_loopback,
            sets,
        }
    }

    /// Starts the sources of a backend, in place of those that ran for it. `inherited` is what
    /// those said, which stays in force until the new ones have spoken.
    pub(crate) fn start(&mut self, backend: &Backend, inherited: Option<BackendSet>) {
        self.stop(&backend.name);
        let sources = backend.discover.iter().map(|d| self.source(d));
        let config = Config {
            backend: backend.name.clone(),
            sources: sources.collect(),
            default_port: backend.server_port,
            inherited,
        };
        let running = roundel_discovery::start(config, self.members.as_ref(), self.sets.clone());
        self.running.insert(backend.name.clone(), running);
    }

    /// What has panicked of what finds servers, if a part has.
    pub(crate) fn broken(&mut self) -> Option<String> {
        self.running.values_mut().find_map(Discovery::broken)
    }

    /// Has every aggregator panic, for the tests of what follows that.
    #[cfg(debug_assertions)]
    pub(crate) fn panic(&self) {
        self.running.values().for_each(Discovery::panic);
    }

    /// Stops the sources of a backend.
    pub(crate) fn stop(&mut self, backend: &Name) {
        self.running.remove(backend);
    }

    /// What was heard of the sources of a backend that are asked.
    pub(crate) fn heard(&self, backend: &Name, now: Instant) -> Vec<Source> {
        let source = |state: SourceState| Source {
            kind: state.kind.as_str().to_owned(),
            name: state.name,
            age_seconds: state
                .answered
                .map(|at| now.saturating_duration_since(at).as_secs()),
            error: state.error.unwrap_or_default(),
        };
        let running = self.running.get(backend);
        let states = running.map(Discovery::states).unwrap_or_default();
        states.into_iter().map(source).collect()
    }

    fn source(&self, discover: &Discover) -> SourceConfig {
        match discover {
            Discover::Static(servers) => {
                SourceConfig::Static(servers.iter().map(static_server).collect())
            }
            Discover::File { path } => SourceConfig::File(path.clone()),
            Discover::Dns(dns) => SourceConfig::Dns(DnsConfig {
                hold: dns.hold,
                nameservers: dns.nameservers.clone(),
                ..DnsConfig::new(&dns.name)
            }),
            Discover::Gossip { role } => SourceConfig::Gossip(GossipConfig {
                role: role.clone(),
                allow_loopback: self.allow_loopback,
            }),
        }
    }
}

fn static_server(server: &StaticServer) -> Server {
    Server {
        name: server.name.clone(),
        address: server.address,
        weight: server.weight,
        backup: server.backup,
        source: SourceKind::Static,
        presence: Presence::Present,
    }
}
