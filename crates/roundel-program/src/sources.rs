//! The running sources of every backend.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use roundel_admin::status::Source;
use roundel_config::{Backend, Discover, StaticServer};
use roundel_discovery::{
    AddrTag, Config, Discovery, DnsConfig, Gossip, GossipConfig, Own, Permitted, SourceConfig,
    SourceState,
};
use roundel_gossip_tokio::Member;
use roundel_model::{BackendSet, Name, Presence, Server, SourceKind};
use roundel_proxy::FrontendStatus;
use tokio::sync::{mpsc, watch};

/// Starts and stops the sources of backends; their sets all go to one channel.
pub(crate) struct Sources {
    running: BTreeMap<Name, Discovery>,
    gossip: Option<Members>,
    listens: watch::Sender<Arc<[SocketAddr]>>,
    /// Where this process listens besides its frontends.
    beside: Vec<SocketAddr>,
    sets: mpsc::Sender<BackendSet>,
}

/// The members of the gossip, and what of their words is believed.
pub(crate) struct Members {
    pub(crate) all: watch::Receiver<Arc<Vec<Member>>>,
    /// Members with loopback addresses may be servers.
    pub(crate) allow_loopback: bool,
    pub(crate) addr: AddrTag,
}

impl Sources {
    /// `beside` is where this process listens besides its frontends.
    pub(crate) fn new(
        gossip: Option<Members>,
        beside: Vec<SocketAddr>,
        sets: mpsc::Sender<BackendSet>,
    ) -> Self {
        Self {
            running: BTreeMap::new(),
            gossip,
            listens: watch::channel(Arc::from(&beside[..])).0,
            beside,
            sets,
        }
    }

    /// Takes where the frontends listen: no member is a server there.
    pub(crate) fn keep_off(&self, frontends: &[FrontendStatus]) {
        let fronts = frontends.iter().flat_map(|f| &f.addresses);
        let listens = self.beside.iter().chain(fronts).copied().collect();
        self.listens.send_replace(listens);
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
        let gossip = self.gossip.as_ref().map(|members| Gossip {
            members: members.all.clone(),
            listens: self.listens.subscribe(),
        });
        let running = roundel_discovery::start(config, gossip.as_ref(), self.sets.clone());
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
            notice: state.notice.unwrap_or_default(),
        };
        let running = self.running.get(backend);
        let states = running.map(Discovery::states).unwrap_or_default();
        states.into_iter().map(source).collect()
    }

    /// Where Prometheus finds what a member counts, by its own word, if it may say so.
    pub(crate) fn metrics_of(&self) -> impl Fn(&Member, bool) -> Option<SocketAddr> {
        let own = Own::new(Arc::clone(&self.listens.borrow()));
        let config = self.gossip_config(String::new(), self.permitted());
        move |member, is_me| config.metrics(member, &own, is_me)
    }

    fn gossip_config(&self, role: String, permitted: Permitted) -> GossipConfig {
        let members = self.gossip.as_ref();
        GossipConfig {
            role,
            permitted,
            addr: members.map_or(AddrTag::Any, |g| g.addr.clone()),
        }
    }

    fn permitted(&self) -> Permitted {
        Permitted {
            from: Vec::new(),
            loopback: self.gossip.as_ref().is_some_and(|g| g.allow_loopback),
        }
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
            Discover::Gossip { role, from } => {
                let permitted = Permitted {
                    from: from.clone(),
                    ..self.permitted()
                };
                SourceConfig::Gossip(self.gossip_config(role.clone(), permitted))
            }
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
