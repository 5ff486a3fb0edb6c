//! The control task: the one writer of every backend's state.
//!
//! Whatever wants to change a state arrives here as a message: whole sets from the sources,
//! results of checks, evidence from the workers, orders of operators, a new configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_admin::command::Order;
use roundel_admin::status::{ConfigStatus, EventKind, Snapshot};
use roundel_balance::{
    CheckReport, CheckTicket, Director, DirectorConfig, DirectorEvent, DirectorOutput, Evidence,
    StartCheck,
};
use roundel_gossip_tokio::Event as GossipEvent;
use roundel_model::{BackendSet, Name};
use roundel_proxy::Proxy;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::collector::{Collector, GossipView, Sight};
use crate::config::{Backend, Discover, Settings};
use crate::event_log::EventLog;
use crate::loader::Loader;
use crate::managed::Managed;
use crate::sources::Sources;

mod cluster;
mod gossip;
mod orders;
mod reload;

/// A worker turns its loop many times a second; one that did not for so long hangs.
const STALLED: Duration = Duration::from_secs(3);

/// What the rest of the program asks of the control task.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the configuration again; says who asked.
    Reload(&'static str),
    /// The process is ending: say so in every snapshot.
    Draining,
    /// End the task.
    Stop(oneshot::Sender<()>),
}

/// The channels into the control task.
pub(crate) struct Inbox {
    pub(crate) sets: mpsc::Receiver<BackendSet>,
    pub(crate) evidence: mpsc::Receiver<Evidence>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) gossip: broadcast::Receiver<GossipEvent>,
}

/// What the control task works with.
pub(crate) struct Parts {
    pub(crate) loader: Loader,
    pub(crate) settings: Settings,
    pub(crate) node: String,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) gossip: Option<GossipView>,
    pub(crate) sources: Sources,
    pub(crate) collector: Collector,
    pub(crate) log: EventLog,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
}

/// Owns every director. Start with [`Control::new`], then [`Control::run`].
pub(crate) struct Control {
    parts: Parts,
    backends: BTreeMap<Name, Managed>,
    checks: JoinSet<(Name, CheckTicket, CheckReport)>,
    config: ConfigStatus,
    watched: gossip::Watched,
    draining: bool,
    stalled: bool,
}

impl Control {
    /// Makes the directors of the first configuration and starts their sources.
    pub(crate) fn new(parts: Parts, balancers: &crate::routes::Balancers) -> Self {
        let config = ConfigStatus {
            file: parts.settings.file.clone().unwrap_or_default(),
            last_reload_timestamp_seconds: crate::collector::unix_now(),
            ..ConfigStatus::default()
        };
        let mut control = Self {
            parts,
            backends: BTreeMap::new(),
            checks: JoinSet::new(),
            config,
            watched: gossip::Watched::default(),
            draining: false,
            stalled: false,
        };
        for settings in control.parts.settings.backends.clone() {
            control.add_backend(&settings, balancers);
        }
        control
    }

    fn add_backend(&mut self, settings: &Backend, balancers: &crate::routes::Balancers) {
        let now = Instant::now();
        let balancer = balancers.get(&settings.name);
        let balancer = Arc::clone(balancer.expect("every backend has a balancer"));
        let config = director_config(settings, &self.parts.settings);
        let director = Director::new(balancer, config, fastrand::u64(..));
        let id = self.parts.collector.next_id();
        let managed = Managed::new(id, director, now);
        self.backends.insert(settings.name.clone(), managed);
        self.parts.sources.start(settings, None);
    }

    /// Works until told to stop.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gossip_open = self.parts.gossip.is_some();
        loop {
            self.work_off();
            let wake = self
                .backends
                .values()
                .filter_map(|m| m.director().poll_timeout());
            let wake = wake.min().map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(set) = inbox.sets.recv() => self.handle_set(set),
                Some(evidence) = inbox.evidence.recv() => self.handle_evidence(&evidence),
                Some(order) = inbox.orders.recv() => self.handle_order(order),
                Some(ask) = inbox.asks.recv() => match ask {
                    Ask::Reload(why) => { let _ = self.reload(why); }
                    Ask::Draining => { self.draining = true; self.publish(); }
                    Ask::Stop(done) => {
                        let _ = done.send(());
                        return;
                    }
                },
                Some(done) = self.checks.join_next() => {
                    // A probe that panicked reports nothing; its timeout stands in the director.
                    if let Ok((backend, ticket, report)) = done {
                        self.handle_check(&backend, ticket, report);
                    }
                }
                event = inbox.gossip.recv(), if gossip_open => match event {
                    Ok(event) => self.handle_gossip(&event).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => gossip_open = false,
                },
                () = sleep_until(wake) => self.handle_timeouts(),
                _ = second.tick() => {
                    self.watch_silent_servers().await;
                    self.watch_workers();
                    self.publish();
                }
            }
        }
    }

    /// Does what the directors ask for.
    fn work_off(&mut self) {
        for (name, managed) in &mut self.backends {
            while let Some(output) = managed.poll_output() {
                match output {
                    DirectorOutput::StartCheck(check) => start(&mut self.checks, name, check),
                    DirectorOutput::Event(event) => tell(&self.parts.log, event),
                }
            }
        }
    }

    fn handle_set(&mut self, set: BackendSet) {
        if let Some(managed) = self.backends.get_mut(&set.backend) {
            managed.handle_set(Instant::now(), set);
        }
    }

    fn handle_evidence(&mut self, evidence: &Evidence) {
        if let Some(managed) = self.backends.get_mut(&evidence.backend) {
            managed.handle_evidence(Instant::now(), evidence);
        }
    }

    fn handle_check(&mut self, backend: &Name, ticket: CheckTicket, report: CheckReport) {
        if let Some(managed) = self.backends.get_mut(backend) {
            managed.handle_check(Instant::now(), ticket, report);
        }
    }

    fn handle_timeouts(&mut self) {
        let now = Instant::now();
        for managed in self.backends.values_mut() {
            if managed
                .director()
                .poll_timeout()
                .is_some_and(|at| at <= now)
            {
                managed.handle_timeout(now);
            }
        }
    }

    /// Tells once when a worker stops turning its loop, and once when it turns again.
    fn watch_workers(&mut self) {
        let stalled_for = self.parts.proxy.stalled_for();
        let stalled = stalled_for > STALLED;
        if stalled != self.stalled {
            self.stalled = stalled;
            let text = match stalled {
                true => format!("a worker has not turned for {} s", stalled_for.as_secs()),
                false => "every worker turns again".to_owned(),
            };
            self.parts.log.add(EventKind::Other, "workers", text, None);
        }
    }

    /// Makes the snapshot of this second.
    fn publish(&mut self) {
        let parts = &mut self.parts;
        let snapshot = parts.collector.collect(Sight {
            settings: &parts.settings,
            node: &parts.node,
            proxy: &parts.proxy,
            backends: &mut self.backends,
            gossip: parts.gossip.as_ref(),
            events: &parts.log,
            config: &self.config,
            draining: self.draining,
        });
        parts.snapshots.send_replace(snapshot);
    }
}

fn director_config(backend: &Backend, settings: &Settings) -> DirectorConfig {
    DirectorConfig {
        check: backend.check.clone(),
        drain_timeout: settings.process.drain_timeout,
        slow_start: backend.slow_start,
        outlier: backend.outlier,
        maxconn: backend.maxconn,
        maxconns: own_limits(backend),
    }
}

/// The limits of servers that have one of their own.
fn own_limits(backend: &Backend) -> BTreeMap<Name, u32> {
    let servers = backend.discover.iter().flat_map(|source| match source {
        Discover::Static(servers) => servers.as_slice(),
        _ => &[],
    });
    servers
        .filter_map(|s| Some((s.name.clone(), s.maxconn?)))
        .collect()
}

fn start(
    checks: &mut JoinSet<(Name, CheckTicket, CheckReport)>,
    backend: &Name,
    check: StartCheck,
) {
    let backend = backend.clone();
    checks.spawn(async move {
        let report = roundel_proxy::check::probe(check.address, &check.spec).await;
        (backend, check.ticket, report)
    });
}

fn tell(log: &EventLog, event: DirectorEvent) {
    let subject = match &event.server {
        Some(server) => format!("{}/{server}", event.backend),
        None => event.backend.to_string(),
    };
    log.add(kind(event.kind), subject, event.text, event.duration);
}

fn kind(kind: roundel_balance::EventKind) -> EventKind {
    use roundel_balance::EventKind as Theirs;
    match kind {
        Theirs::Join => EventKind::Join,
        Theirs::Serving => EventKind::Serving,
        Theirs::Suspect => EventKind::Suspect,
        Theirs::Refuted => EventKind::Refuted,
        Theirs::Failed => EventKind::Failed,
        Theirs::Leave => EventKind::Leave,
        Theirs::Drained => EventKind::Drained,
        Theirs::CheckUp => EventKind::CheckUp,
        Theirs::CheckDown => EventKind::CheckDown,
        Theirs::Ejected => EventKind::Ejected,
        Theirs::Returned => EventKind::Returned,
        Theirs::Weight => EventKind::Weight,
        Theirs::Admin => EventKind::Admin,
        Theirs::NoServer => EventKind::NoServer,
        Theirs::Warning => EventKind::Other,
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
