//! Runs the sources of one backend and their aggregator as tasks.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use roundel_gossip_tokio::Member;
use roundel_model::{BackendSet, Name, Server, SourceKind};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

use crate::source::Heard;
use crate::{Aggregator, SourceConfig, SourceState, SourceUpdate, dns, file, gossip};

/// What a gossip source reads.
#[derive(Debug, Clone)]
pub struct Gossip {
    /// The members of the cluster, whenever something in them differs.
    pub members: watch::Receiver<Arc<Vec<Member>>>,
    /// Where this process listens, with the ports in force: nobody is a server there.
    pub listens: watch::Receiver<Arc<[SocketAddr]>>,
}

/// The sources of one backend.
#[derive(Debug, Clone)]
pub struct Config {
    /// The backend.
    pub backend: Name,
    /// Where its servers come from; the first one wins when two name a server alike.
    pub sources: Vec<SourceConfig>,
    /// The port of servers that say none.
    pub default_port: u16,
    /// The set published by a predecessor, when sources change while running.
    pub inherited: Option<BackendSet>,
}

/// The running sources of one backend; dropping it stops them.
#[derive(Debug)]
pub struct Discovery {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
    heard: Vec<Heard>,
    #[cfg(debug_assertions)]
    drill: Arc<tokio::sync::Notify>,
}

impl Discovery {
    /// What was heard of the sources that are asked, in their order.
    pub fn states(&self) -> Vec<SourceState> {
        self.heard.iter().map(Heard::state).collect()
    }

    /// What has panicked, if a part has: its servers stay as they are, for ever.
    ///
    /// A source that has said all that it will ends by itself.
    pub fn broken(&mut self) -> Option<String> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            if let Err(error) = ended
                && error.is_panic()
            {
                return self.names.remove(&error.id());
            }
        }
        None
    }

    /// Has the aggregator panic, for the tests of what follows that. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        self.drill.notify_one();
    }

    fn spawn(&mut self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), name);
    }
}

/// Starts the sources of a backend; each set that differs from the one before goes to `sets`.
///
/// `gossip` is needed by gossip sources only; without it they say nothing.
/// Panics: outside a tokio runtime.
pub fn start(config: Config, gossip: Option<&Gossip>, sets: mpsc::Sender<BackendSet>) -> Discovery {
    let (updates, inbox) = mpsc::channel(16);
    let mut discovery = Discovery {
        tasks: JoinSet::new(),
        names: HashMap::new(),
        heard: Vec::new(),
        #[cfg(debug_assertions)]
        drill: Arc::default(),
    };
    let kinds = config.sources.iter().map(SourceConfig::kind);
    let inherited = config.inherited.iter().flat_map(|set| &set.servers);
    let bridged = inherited.filter(|s| s.source == SourceKind::Dns).count() > 0;
    let aggregator = Aggregator::new(config.backend.clone(), kinds, config.inherited);
    for (index, source) in config.sources.into_iter().enumerate() {
        let outlet = Outlet {
            backend: config.backend.clone(),
            source: index,
            updates: updates.clone(),
        };
        let port = config.default_port;
        let name = format!("source {} of backend {}", source.kind(), config.backend);
        match source {
            SourceConfig::Static(servers) => discovery.spawn(name, async move {
                outlet.say(servers).await;
            }),
            SourceConfig::File(path) => discovery.spawn(name, file::follow(path, port, outlet)),
            SourceConfig::Dns(config) => {
                let heard = Heard::new(SourceKind::Dns, config.name.clone());
                discovery.heard.push(heard.clone());
                discovery.spawn(name, dns::follow(config, port, bridged, heard, outlet));
            }
            SourceConfig::Gossip(config) => match gossip {
                Some(read) => {
                    let heard = Heard::new(SourceKind::Gossip, config.role.clone());
                    discovery.heard.push(heard.clone());
                    let follow = gossip::follow(config, port, read.clone(), heard, outlet);
                    discovery.spawn(name, follow);
                }
                None => tracing::warn!("a gossip source is configured, and gossip is off"),
            },
        }
    }
    let name = format!("the aggregator of backend {}", config.backend);
    let aggregate = aggregate(aggregator, inbox, sets);
    #[cfg(debug_assertions)]
    let aggregate = {
        let drill = Arc::clone(&discovery.drill);
        async move {
            tokio::select! {
                () = aggregate => {}
                () = drill.notified() => panic!("a panic that was asked for"),
            }
        }
    };
    discovery.spawn(name, aggregate);
    discovery
}

/// Where a source says its sets.
#[derive(Debug)]
pub(crate) struct Outlet {
    backend: Name,
    source: usize,
    updates: mpsc::Sender<SourceUpdate>,
}

impl Outlet {
    /// Says the whole set; false once nobody listens.
    pub(crate) async fn say(&self, servers: Vec<Server>) -> bool {
        let update = SourceUpdate {
            backend: self.backend.clone(),
            source: self.source,
            servers,
        };
        self.updates.send(update).await.is_ok()
    }
}

/// Feeds the aggregator until every source has ended and nothing is pending.
async fn aggregate(
    mut aggregator: Aggregator,
    mut inbox: mpsc::Receiver<SourceUpdate>,
    sets: mpsc::Sender<BackendSet>,
) {
    let mut notices = crate::notices::Notices::default();
    let mut open = true;
    while open || aggregator.poll_timeout().is_some() {
        let due = aggregator.poll_timeout();
        tokio::select! {
            update = inbox.recv(), if open => match update {
                Some(update) => {
                    let now = clock();
                    aggregator.handle_servers(now, update.source, update.servers);
                }
                None => open = false,
            },
            () = sleep_until(due), if due.is_some() => {}
        }
        if let Some((set, clashes)) = aggregator.poll_set(clock()) {
            let complaint = |c: crate::Clash| {
                let text = format!("named by {} and by {}; the first counts", c.kept, c.dropped);
                (format!("server {}", c.name), text)
            };
            let complaints: BTreeMap<_, _> = clashes.into_iter().map(complaint).collect();
            notices.renew("aggregator", complaints);
            if sets.send(set).await.is_err() {
                return;
            }
        }
    }
    // The sources have said all they will; the set stays in force until this task is dropped.
    std::future::pending::<()>().await;
}

/// The runtime's clock, so that tests can pause it.
pub(crate) fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}
