//! The control task: the one writer of every backend's state.
//!
//! Whatever wants to change a state arrives here as a message: whole sets from the sources,
//! results of checks, evidence from the workers, orders of operators, a new configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use roundel_admin::command::Order;
use roundel_admin::status::{ConfigStatus, Frontend, Snapshot};
use roundel_balance::{
    CheckReport, CheckTicket, Director, DirectorConfig, DirectorEvent, DirectorOutput, Evidence,
    EvidenceKind, ServerOrders, StartCheck,
};
use roundel_cluster::Cluster;
use roundel_config::{Backend, Gossip, Settings};
use roundel_gossip_tokio::{Event as GossipEvent, Question};
use roundel_model::EventKind;
use roundel_model::{BackendSet, Name};
use roundel_proxy::{Proto, Proxy, ProxyVersion};
use roundel_tls::{Back, Front, TicketKeys};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::acme::Acme;
use crate::certificates::Files;
use crate::collector::{Collector, GossipView, Sight};
use crate::event_log::EventLog;
use crate::handover::Known;
use crate::handover::legacy::Legacy;
use crate::loader::Loader;
use crate::managed::Managed;
use crate::sources::Sources;
use reload::{Asked, Reloads};

mod certificates;
pub(crate) mod cluster;
mod drain;
mod frontends;
pub(crate) mod gossip;
mod legacy;
mod orders;
mod ping;
mod reload;
mod sets;
mod shown;

/// A worker turns its loop many times a second; one that did not for so long hangs.
const STALLED: Duration = Duration::from_secs(3);

/// Lost lines are told of this often at most.
const TELL_LOSSES: Duration = Duration::from_secs(60);

/// What the rest of the program asks of the control task.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the configuration again; says who asked.
    Reload(&'static str),
    /// Say what a process that follows goes on from, and publish nothing more.
    Bequeath(oneshot::Sender<(Known, Legacy)>),
    /// No process follows after all: publish again.
    Resume,
    /// What the process before has counted at its end: it has no requests any more.
    Inherit(Box<Legacy>),
    /// Tell when this has come true.
    Tell(Wish, oneshot::Sender<()>),
    /// The process is ending: say so in every snapshot.
    Draining,
    /// A CA has issued a certificate: show it.
    Certificates,
    /// End the task.
    Stop(oneshot::Sender<()>),
}

/// What a process that starts waits for.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Every server that the configuration names has had its first check.
    Checked,
    /// What other balancers have issued is shown.
    Shared,
    /// So many servers of each backend take new requests. A backend that the configuration does
    /// not have any more is not waited for.
    Usable(BTreeMap<String, usize>),
}

/// The channels into the control task.
pub(crate) struct Inbox {
    pub(crate) sets: mpsc::Receiver<BackendSet>,
    pub(crate) evidence: mpsc::Receiver<Evidence>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) gossip: broadcast::Receiver<Arc<GossipEvent>>,
    /// From servers that are about to end.
    pub(crate) questions: mpsc::Receiver<Question>,
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
    /// Where a part is named that this process cannot do without and that has ended.
    pub(crate) broken: watch::Sender<String>,
    /// What is shared with other balancers.
    pub(crate) cluster: Option<Cluster>,
    /// What seals the tickets of TLS.
    pub(crate) tickets: Arc<TicketKeys>,
    /// What is ordered of CAs.
    pub(crate) acme: Acme,
    /// What the page's port shows over TLS.
    pub(crate) page_front: Arc<ArcSwapOption<Front>>,
    /// The files of certificates, for the task that follows them.
    pub(crate) files: watch::Sender<Files>,
}

/// Owns every director. Start with [`Control::new`], then [`Control::run`].
pub(crate) struct Control {
    parts: Parts,
    backends: BTreeMap<Name, Managed>,
    checks: JoinSet<(Name, CheckTicket, CheckReport)>,
    config: ConfigStatus,
    sets: sets::Sets,
    watched: gossip::Watched,
    drains: drain::Drains,
    pings: ping::Pings,
    wishes: Vec<(Wish, oneshot::Sender<()>)>,
    draining: bool,
    /// Another process shows what there is to show.
    frozen: bool,
    /// The process before may still have requests in flight, at any server.
    follows: bool,
    stalled: bool,
    /// Workers replaced so far.
    replaced: u64,
    /// Frontends that were told of as full.
    full: BTreeSet<String>,
    /// When lines of the access log were told of as lost, and how many by then.
    losses: Option<(Instant, u64)>,
    acts: shown::Acts,
    reloads: Reloads,
    /// Frontends that an operator closed, and where they listened.
    closed: BTreeMap<Name, Vec<roundel_proxy::Listen>>,
    /// Orders for servers of backends that a reload has removed.
    absent: BTreeMap<Name, Vec<(Name, ServerOrders)>>,
    certificates: certificates::Told,
}

impl Control {
    /// Makes the directors of the first configuration, gives them what another process left, and
    /// starts their sources. `follows` says that this other process may have requests in flight
    /// until [`Ask::Inherit`].
    pub(crate) fn new(
        parts: Parts,
        balancers: &crate::routes::Balancers,
        legacy: &Legacy,
        follows: bool,
    ) -> Self {
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
            sets: sets::Sets::default(),
            watched: gossip::Watched::default(),
            drains: drain::Drains::default(),
            pings: ping::Pings::default(),
            wishes: Vec::new(),
            draining: false,
            frozen: false,
            follows,
            stalled: false,
            replaced: 0,
            full: BTreeSet::new(),
            losses: None,
            acts: shown::Acts::new(),
            reloads: Reloads::new(),
            closed: BTreeMap::new(),
            absent: BTreeMap::new(),
            certificates: certificates::Told::default(),
        };
        let parts = &control.parts;
        parts.sources.keep_off(&parts.proxy.frontends());
        for settings in control.parts.settings.backends.clone() {
            control.add_backend(&settings, balancers);
        }
        control.inherit(legacy);
        control
    }

    fn add_backend(&mut self, settings: &Backend, balancers: &crate::routes::Balancers) {
        let now = Instant::now();
        let balancer = balancers.get(&settings.name);
        let balancer = Arc::clone(balancer.expect("every backend has a balancer"));
        let config = director_config(settings, &self.parts.settings);
        let director = Director::new(balancer, config, fastrand::u64(..));
        let id = self.parts.collector.next_id();
        let mut managed = Managed::new(id, director, now);
        managed.speak(settings);
        if let Some(orders) = self.absent.remove(&settings.name) {
            managed.keep_orders(orders);
        }
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
            self.grant_wishes();
            let wake = self
                .backends
                .values()
                .filter_map(|m| m.director().poll_timeout());
            let wake = wake.min().map(tokio::time::Instant::from_std);
            let drains = self
                .drains
                .poll_timeout()
                .map(tokio::time::Instant::from_std);
            let sets = self.sets.due().map(tokio::time::Instant::from_std);
            let shown = self.acts.due().map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(set) = inbox.sets.recv() => self.handle_set(set),
                Some(evidence) = inbox.evidence.recv() => self.handle_evidence(&evidence),
                Some(order) = inbox.orders.recv() => self.handle_order(order),
                Some(ask) = inbox.asks.recv() => match ask {
                    Ask::Reload(why) => self.begin_reload(Asked { why, reply: None }),
                    Ask::Bequeath(reply) => { let _ = reply.send(self.bequeath()); }
                    Ask::Resume => self.frozen = false,
                    Ask::Inherit(legacy) => {
                        self.inherit_counts(&legacy);
                        self.follows = false;
                        self.drains.soon();
                    }
                    Ask::Tell(wish, done) => self.wishes.push((wish, done)),
                    Ask::Draining => {
                        self.draining = true;
                        self.parts.acme.stop();
                        self.publish();
                    }
                    Ask::Certificates => self.show_certificates(),
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
                    Ok(event) => self.handle_gossip(event, &mut inbox.gossip),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => gossip_open = false,
                },
                Some(question) = inbox.questions.recv() => self.handle_question(question),
                Some((evidence, heard)) = self.pings.next() => self.handle_ping(evidence, heard),
                Some(loaded) = self.reloads.next() => self.reload(loaded),
                Some((reply, answer)) = self.acts.next() => self.answer(reply, answer),
                () = sleep_until(sets) => self.take_sets(),
                () = sleep_until(shown) => self.publish(),
                () = sleep_until(drains) => self.look_at_drains(),
                () = sleep_until(wake) => self.handle_timeouts(),
                _ = second.tick() => {
                    self.watch_silent_servers();
                    #[cfg(debug_assertions)]
                    crate::drill::panic_if_told(&self.parts).await;
                    self.watch_sources();
                    self.watch_workers();
                    self.watch_log();
                    self.watch_certificates();
                    self.parts.collector.begin_second();
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
                    DirectorOutput::StartCheck(check) => {
                        let send_proxy = managed.send_proxy.to(&check.server);
                        let tls = managed.tls.clone();
                        let proto = managed.proto;
                        start(&mut self.checks, name, check, (send_proxy, tls, proto));
                    }
                    DirectorOutput::Event(event) => tell(&self.parts.log, event),
                }
            }
        }
    }

    /// Tells of every wish that has come true.
    fn grant_wishes(&mut self) {
        let wishes = std::mem::take(&mut self.wishes);
        for (wish, done) in wishes {
            let granted = match &wish {
                Wish::Checked => self.parts.settings.backends.iter().all(|backend| {
                    let managed = self.backends.get(&backend.name);
                    managed.is_none_or(|m| m.has_checked(backend.static_servers()))
                }),
                Wish::Shared => {
                    let is_here = !self.parts.acme.is_behind();
                    if is_here {
                        // What it has may not have been asked to be shown yet.
                        self.show_certificates();
                    }
                    is_here
                }
                Wish::Usable(wanted) => self.backends.iter().all(|(name, managed)| {
                    let usable = managed.director().balancer().load().usable();
                    wanted.get(name.as_str()).is_none_or(|n| usable >= *n)
                }),
            };
            if granted {
                // Whoever asked may have given up.
                let _ = done.send(());
            } else {
                self.wishes.push((wish, done));
            }
        }
    }

    fn handle_evidence(&mut self, evidence: &Evidence) {
        if evidence.kind == EvidenceKind::Unanswered {
            self.ask_unanswered(evidence);
        }
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

    /// Tells of each worker that was replaced, once when a worker stops turning its loop, and once
    /// when it turns again.
    fn watch_workers(&mut self) {
        let ends = self.parts.proxy.worker_ends().borrow().clone();
        if std::mem::replace(&mut self.replaced, ends.replaced) != ends.replaced {
            let text = format!(
                "worker {} ended by a panic and was replaced; its connections are lost",
                ends.last
            );
            self.parts.log.add(EventKind::Other, "workers", text, None);
        }
        let (worker, stalled_for) = self.parts.proxy.slowest_worker();
        let stalled = stalled_for > STALLED;
        if stalled != self.stalled {
            self.stalled = stalled;
            let text = match stalled {
                true => format!(
                    "worker {worker} has not turned for {} s",
                    stalled_for.as_secs()
                ),
                false => "every worker turns again".to_owned(),
            };
            self.parts.log.add(EventKind::Other, "workers", text, None);
        }
    }

    /// Tells, once a minute at most, that lines of the access log were lost.
    fn watch_log(&mut self) {
        let log = self.parts.collector.access_log();
        let (lost, now) = (log.dropped(), Instant::now());
        let (told_at, told) = self.losses.unzip();
        let is_recent = told_at.is_some_and(|at| now.duration_since(at) < TELL_LOSSES);
        if is_recent || lost == told.unwrap_or_default() {
            return;
        }
        let why = log.last_error();
        let why = why.unwrap_or_else(|| "whoever reads them is too slow".to_owned());
        self.losses = Some((now, lost));
        tracing::warn!("{lost} lines of the access log are lost by now: {why}");
    }

    /// Makes a snapshot, and answers the acts that it shows.
    fn publish(&mut self) {
        if self.frozen {
            return;
        }
        let parts = &mut self.parts;
        let snapshot = parts.collector.collect(Sight {
            settings: &parts.settings,
            acme: &parts.acme,
            node: &parts.node,
            proxy: &parts.proxy,
            backends: &mut self.backends,
            gossip: parts.gossip.as_ref(),
            sources: &parts.sources,
            events: &parts.log,
            config: &self.config,
            draining: self.draining,
        });
        self.watch_room(&snapshot.frontends);
        let seq = snapshot.seq;
        self.parts.snapshots.send_replace(snapshot);
        self.acts.published(seq);
    }

    /// Tells whoever watches this process when what finds servers has panicked.
    fn watch_sources(&mut self) {
        if let Some(part) = self.parts.sources.broken() {
            self.parts.broken.send_replace(part);
        }
    }

    /// Tells once when a frontend is full, and once when a tenth of its room is free again.
    fn watch_room(&mut self, frontends: &[Frontend]) {
        for f in frontends {
            let limit = f.connections_limit.unwrap_or(u64::MAX);
            let text = if f.is_full && self.full.insert(f.name.clone()) {
                format!(
                    "full: {} connections are open, others wait (maxconn)",
                    f.connections
                )
            } else if f.connections < limit - limit.div_ceil(10) && self.full.remove(&f.name) {
                "takes connections again".to_owned()
            } else {
                continue;
            };
            self.parts.log.add(EventKind::Listener, &f.name, text, None);
        }
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
        max_servers: backend.max_servers as usize,
        open_gossip: settings.gossip.as_ref().is_some_and(Gossip::is_open),
    }
}

/// The limits of servers that have one of their own.
fn own_limits(backend: &Backend) -> BTreeMap<Name, u32> {
    let servers = backend.static_servers();
    servers
        .filter_map(|s| Some((s.name.clone(), s.maxconn?)))
        .collect()
}

fn start(
    checks: &mut JoinSet<(Name, CheckTicket, CheckReport)>,
    backend: &Name,
    check: StartCheck,
    (send_proxy, tls, proto): (Option<ProxyVersion>, Option<Arc<Back>>, Proto),
) {
    let backend = backend.clone();
    checks.spawn(async move {
        let (address, spec) = (check.address, &check.spec);
        let tls = tls.as_deref();
        let report = roundel_proxy::check::probe(address, spec, send_proxy, tls, proto).await;
        (backend, check.ticket, report)
    });
}

fn tell(log: &EventLog, event: DirectorEvent) {
    let subject = match &event.server {
        Some(server) => format!("{}/{server}", event.backend),
        None => event.backend.to_string(),
    };
    log.add(event.kind, subject, event.text, event.duration);
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
