//! The balancer from boot to end; reads as the boot order.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwapOption;
use roundel_admin::Admin;
use roundel_admin::cli::{self, Level};
use roundel_admin::status::Snapshot;
use roundel_balance::Evidence;
use roundel_cluster::Cluster;
use roundel_config::Settings;
use roundel_gossip_tokio::{DRAIN, Handle};
use roundel_model::EventKind;
use roundel_proxy::{AccessLog, Proxy};
use roundel_tls::{Challenges, TicketKeys};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::acme::Acme;
use crate::certificates::{self, Files};
use crate::collector::Collector;
use crate::control::{Ask, Control, Inbox, Parts, Wish};
use crate::descriptors;
use crate::event_log::EventLog;
use crate::handover::heir::{Heir, Inherited};
use crate::handover::successor::{Program, Successor};
use crate::limits;
use crate::loader::Loader;
use crate::manager;
use crate::routes::{self, Balancers};
use crate::sharing;
use crate::signals::{self, Signals};

pub(crate) mod bound;
mod meaning;
mod renewal;
mod tasks;
#[cfg(test)]
mod tests;

use bound::Bound;
use meaning::{
    admin_config, first_checks, log_format, node_name, open_log, sources, stays_on_this_machine,
    view, warn_of_open_gossip, warn_of_open_page,
};
use tasks::Tasks;

/// How long clients whose requests are cut off may take to read what they are told.
const CUT: Duration = Duration::from_millis(250);

/// How long everything but the requests may hold up the end.
const REST: Duration = Duration::from_millis(400);

/// How long what waits for the log's writer may hold up the end.
const FLUSH: Duration = Duration::from_millis(200);

/// The longest that the first exchange with other balancers holds up the start: who is alone waits that
/// long, everybody else then shows the certificate of all from the first connection on.
const FIRST_EXCHANGE: Duration = Duration::from_secs(1);

/// How long a reload may take until the service manager is told that we serve in any case.
const RELOAD: Duration = Duration::from_secs(5);

/// Makes the runtime of everything but requests: gossip, checks, sources, page.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // The control task runs on the calling thread; rendering pages does not hold it up.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
}

/// The runtime that renders: page, API, metrics, CSV. What is asked of it holds up neither checks
/// nor gossip.
struct Pages(Option<tokio::runtime::Runtime>);

impl Pages {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("pages")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        let runtime = self.0.as_ref().expect("taken by the drop only");
        runtime.handle().clone()
    }

    /// The admin plane, whose history is kept by the task that comes with it.
    fn admin(
        &self,
        config: roundel_admin::Config,
        newest: watch::Receiver<Arc<Snapshot>>,
        orders: roundel_admin::command::CommandSender,
        events: broadcast::Sender<Arc<roundel_admin::status::Event>>,
        tasks: &mut Tasks,
    ) -> Admin {
        let (admin, keeper) = Admin::new(config, newest, orders, events);
        tasks.spawn_on("the task that keeps the history", keeper, &self.handle());
        admin
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // What is being rendered must not hold up whoever drops it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The verb `serve`.
pub(crate) fn run(loader: Loader, settings: Settings) -> anyhow::Result<()> {
    let mut inherited = Inherited::from_manager();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let program = match loader.is_repeatable() {
            true => Some(Program::current()?),
            false => None,
        };
        let heir = Heir::called(&mut inherited)?;
        let mut serving = Serving::start_with(loader, settings, inherited, heir).await?;
        serving.program = program;
        serving.until_ended(&mut signals).await
    });
    // Whatever still blocks a thread must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// A balancer that serves. Dropping it ends everything at once; see [`Serving::until_ended`].
pub(crate) struct Serving {
    proxy: Arc<Proxy>,
    gossip: Option<Handle>,
    cluster: Option<Cluster>,
    admin: Admin,
    asks: mpsc::Sender<Ask>,
    access_log: AccessLog,
    log: EventLog,
    drain_timeout: Duration,
    stats: SocketAddr,
    /// `http` or `https`: what the page's port spoke at the start.
    scheme: &'static str,
    /// Removed at the end.
    socket: Option<PathBuf>,
    tasks: Tasks,
    /// Names what the control task found broken; empty before.
    broken_parts: watch::Receiver<String>,
    newest: watch::Receiver<Arc<Snapshot>>,
    /// The tasks that accept on the admin side, and their sockets for a process that follows.
    doors: Tasks,
    pages: Pages,
    /// Tells them to accept no more and to end what they have.
    closing: watch::Sender<bool>,
    /// Tells those who order certificates that requests are answered.
    opened: watch::Sender<bool>,
    door_sockets: Vec<OwnedFd>,
    /// What SIGUSR2 starts anew; `None` if this process cannot be replaced.
    program: Option<Program>,
    /// The process that took over; it is told the last counts.
    successor: Option<Successor>,
}

impl Serving {
    /// Binds everything, then starts everything. Errors: what could not be bound, and the cure.
    pub(crate) async fn start(loader: Loader, settings: Settings) -> anyhow::Result<Self> {
        Self::start_with(loader, settings, Inherited::default(), None).await
    }

    /// As [`Serving::start`], with sockets that another process opened; an heir lets that one go
    /// on until it can do as well.
    async fn start_with(
        loader: Loader,
        settings: Settings,
        mut inherited: Inherited,
        heir: Option<Heir>,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        descriptors::raise();
        let process = settings.process.clone();
        let first_checks = first_checks(&settings);
        let pages = Pages::new()?;
        let bound = Bound::all(&settings, &mut inherited, &pages.handle())?;
        let access_log = open_log(log_format(&settings))?;
        let (evidence_sender, evidence) = mpsc::channel(1024);
        let tickets = TicketKeys::new(SystemTime::now());
        let challenges = Challenges::default();
        let cluster = sharing::begin(&settings, &tickets, &challenges);
        let (asks_sender, asks) = mpsc::channel(16);
        let open = watch::Sender::new(false);
        let (asked, shared) = (asks_sender.clone(), cluster.clone());
        let mut acme = Acme::new(challenges, shared, asked, open.subscribe());
        acme.begin(&settings)?;
        let (proxy, balancers) = start_proxy(
            &settings,
            evidence_sender,
            access_log.clone(),
            inherited.rest(),
            (&tickets, &acme),
        )?;
        let (known, legacy, estate) = heir.as_ref().map(Heir::bound).unwrap_or_default();
        let for_balancers = bound.for_balancers()?;
        let shares = for_balancers.as_ref().map(|(_, port)| *port);
        let gossip = match &settings.gossip {
            Some(gossip) => Some(bound::start_gossip(gossip, estate, shares).await?),
            None => None,
        };

        let log = EventLog::new();
        let (sets_sender, sets) = mpsc::channel(64);
        let (orders_sender, orders) = mpsc::channel(64);
        let (broken_sender, broken_parts) = watch::channel(String::new());
        let (snapshots, newest) = watch::channel(Default::default());
        let (files, certificate_files) = watch::channel(Files::of(&settings));
        let events = gossip.as_ref().map(Handle::events);
        let questions = match &gossip {
            Some(handle) => handle.questions(DRAIN).await,
            None => mpsc::channel(1).1,
        };
        let inbox = Inbox {
            sets,
            evidence,
            orders,
            asks,
            gossip: events.unwrap_or_else(|| broadcast::channel(1).1),
            questions,
        };
        let wide = settings.gossip.as_ref();
        if let Some(gossip) = wide.filter(|gossip| !stays_on_this_machine(gossip)) {
            warn_of_open_gossip(gossip);
        }
        warn_of_open_page(&process);
        let scheme = settings.stats_tls.as_ref().map_or("http", |_| "https");
        let page_front = Arc::new(ArcSwapOption::new(routes::page(&settings, &tickets, &acme)));
        let of_admin = limits::admin(process.stats_memory);
        let sources = sources(&settings, gossip.as_ref(), &bound, sets_sender)?;
        let parts = Parts {
            node: node_name(&settings),
            proxy: Arc::clone(&proxy),
            gossip: gossip
                .clone()
                .map(|handle| view(handle, &settings, cluster.clone())),
            sources,
            collector: Collector::new(
                started,
                proxy.workers(),
                access_log.clone(),
                Arc::clone(&of_admin),
            ),
            log: log.clone(),
            snapshots,
            broken: broken_sender,
            cluster: cluster.clone(),
            tickets: tickets.clone(),
            acme,
            page_front: Arc::clone(&page_front),
            files,
            settings,
            loader: loader.clone(),
        };
        let mut tasks = Tasks::default();
        let control = Control::new(parts, &balancers, &legacy, heir.is_some());
        tasks.spawn("the control task", control.run(inbox));
        // The first snapshot is there before anybody can ask.
        let mut first = newest.clone();
        first.changed().await.context("the control task ended")?;
        let config = admin_config(&process, page_front, of_admin);
        let admin = pages.admin(
            config,
            newest.clone(),
            orders_sender,
            log.live(),
            &mut tasks,
        );
        let mut serving = Self {
            proxy,
            gossip,
            cluster,
            admin,
            asks: asks_sender,
            access_log,
            log,
            drain_timeout: process.drain_timeout,
            stats: bound.stats.local_addr()?,
            scheme,
            socket: process.cli_socket,
            tasks,
            broken_parts,
            newest,
            doors: Tasks::default(),
            pages,
            closing: watch::Sender::new(false),
            opened: open,
            door_sockets: Vec::new(),
            program: None,
            successor: None,
        };
        if loader.file().is_some() {
            let follow = certificates::follow(certificate_files, serving.asks.clone());
            let part = "the task that follows the certificates";
            serving.tasks.spawn(part, follow);
        }
        if let Some((listener, _)) = for_balancers {
            serving.share(listener, &tickets)?;
        }
        if let Some(cluster) = &serving.cluster {
            let exchanged = async {
                sharing::first_exchange(cluster).await;
                serving.tell(Wish::Shared).await;
            };
            let _ = tokio::time::timeout(FIRST_EXCHANGE, exchanged).await;
        }
        match heir {
            Some(_) => serving.find_servers(&known).await?,
            None => serving.check_servers(first_checks).await,
        }
        let serving = serving.open(bound, &loader)?;
        if let Some(heir) = heir {
            let asks = serving.asks.clone();
            let last_words = move || drop(asks.blocking_send(Ask::Inherit(Box::new(heir.ready()))));
            // A thread of the runtime would hold up our end until the old process has ended.
            let thread = std::thread::Builder::new().name("handover".to_owned());
            thread.spawn(last_words)?;
        }
        manager::ready();
        Ok(serving)
    }

    /// Begins to share with the other balancers, beside the pages: what strangers send there holds up
    /// neither checks nor gossip.
    fn share(
        &mut self,
        listener: std::net::TcpListener,
        tickets: &TicketKeys,
    ) -> std::io::Result<()> {
        let (Some(cluster), Some(gossip)) = (&self.cluster, &self.gossip) else {
            return Ok(());
        };
        sharing::offer_tickets(cluster, tickets, SystemTime::now());
        let pages = self.pages.handle();
        let follow = sharing::follow(cluster.clone(), gossip.clone());
        self.tasks
            .spawn_on("the task that follows balancers", follow, &pages);
        let _pages = pages.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let run = cluster.clone().run(listener);
        self.tasks
            .spawn_on("the sharing among balancers", run, &pages);
        Ok(())
    }

    /// Waits until something has come true.
    async fn tell(&self, wish: Wish) {
        let (done, granted) = oneshot::channel();
        let _ = self.asks.send(Ask::Tell(wish, done)).await;
        let _ = granted.await;
    }

    /// Waits for the first check of every server that the configuration names, so that no request
    /// comes before there is a server to answer it.
    async fn check_servers(&self, limit: Duration) {
        let checked = self.tell(Wish::Checked);
        if tokio::time::timeout(limit, checked).await.is_err() {
            tracing::info!("not every server has answered its first check; accepting requests");
        }
    }

    /// Starts answering on the admin side, and following the file.
    fn open(mut self, bound: Bound, loader: &Loader) -> anyhow::Result<Self> {
        self.proxy.open();
        self.opened.send_replace(true);
        self.door_sockets = bound.copies()?;
        tracing::info!(
            "at most {} clients at once, by {} descriptors",
            self.proxy.maxconn(),
            descriptors::limit()
        );
        for frontend in self.proxy.frontends() {
            for address in &frontend.addresses {
                let tls = match frontend.tls.contains(address) {
                    true => " (TLS)",
                    false => "",
                };
                tracing::info!("frontend {} listens on {address}{tls}", frontend.name);
            }
        }
        tracing::info!("the page is at {}://{}/", self.scheme, self.stats);
        if let Some(handle) = &self.gossip {
            let own = handle.own_address();
            tracing::info!(
                "gossip {} listens on {}; others reach it at {} ({})",
                handle.name(),
                handle.local_addr(),
                own.address,
                own.why
            );
        }
        let (admin, stop) = (self.admin.clone(), self.closing());
        let page = async move {
            complain(
                "the page",
                roundel_admin::serve(admin, bound.stats, stop).await,
            );
        };
        let pages = self.pages.handle();
        self.doors.spawn_on("the page", page, &pages);
        if let Some(listener) = bound.cli {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("the runtime API listens on {address}");
            }
            let (admin, stop) = (self.admin.clone(), self.closing());
            let api = async move {
                let served = cli::serve_tcp(admin, listener, Level::User, stop).await;
                complain("the runtime API", served);
            };
            self.doors.spawn_on("the runtime API", api, &pages);
        }
        if let Some(listener) = bound.socket {
            let (admin, stop) = (self.admin.clone(), self.closing());
            let api = async move {
                let served = cli::serve_unix(admin, listener, Level::Admin, stop).await;
                complain("the runtime API", served);
            };
            self.doors.spawn_on("the runtime API", api, &pages);
        }
        if let Some(file) = loader.file() {
            let asks = self.asks.clone();
            let follow = crate::watch::follow(file.to_owned(), asks);
            self.tasks.spawn("the task that follows the file", follow);
        }
        let keep_alive = manager::keep_alive(Arc::clone(&self.proxy));
        self.tasks
            .spawn("the task that keeps the watchdog calm", keep_alive);
        Ok(self)
    }

    /// Ready when the admin side is to accept no more.
    fn closing(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = self.closing.subscribe();
        async move {
            // Without a sender there is nobody to serve for either.
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Where the first frontend answers.
    pub(crate) fn front(&self) -> Option<SocketAddr> {
        let frontends = self.proxy.frontends();
        frontends.first()?.addresses.first().copied()
    }

    /// Where the page answers.
    pub(crate) fn stats(&self) -> SocketAddr {
        self.stats
    }

    /// The gossip node.
    pub(crate) fn gossip(&self) -> Option<&Handle> {
        self.gossip.as_ref()
    }

    /// Serves until a signal asks for the end, then ends gracefully; a second signal means now.
    ///
    /// Errors: a part ended that the process cannot do without. It serves with its last sets
    /// while it drains, and whoever watches the process starts it anew.
    pub(crate) async fn until_ended(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut failure = None;
        let signal = loop {
            let ask = tokio::select! {
                ask = signals.next() => ask,
                part = self.broken() => {
                    tracing::error!("{part} ended by a panic; ending");
                    failure = Some(anyhow::anyhow!("{part} ended by a panic"));
                    break "the end of a part";
                }
            };
            match ask {
                signals::Ask::Reload => {
                    self.reload().await;
                }
                signals::Ask::Renew => {
                    let taken = tokio::select! {
                        taken = self.hand_over() => taken,
                        () = second(signals) => break "a signal that came while it was renewed",
                    };
                    if taken {
                        break "SIGUSR2";
                    }
                }
                signals::Ask::End(signal) => break signal,
            }
        };
        let limit = roundel_config::value::show_duration(self.drain_timeout);
        let text = format!("ending after {signal}: requests in flight have up to {limit}");
        self.log.add(EventKind::Listener, "roundel", text, None);
        tokio::select! {
            left = self.drain() => match left {
                0 => tracing::info!("every connection ended by itself"),
                n => tracing::warn!("{n} connections were still open after {limit}"),
            },
            () = second(signals) => tracing::warn!("ended at once by a second signal"),
        }
        tokio::select! {
            () = self.stop() => {}
            () = second(signals) => tracing::warn!("ended at once by another signal"),
        }
        failure.map_or(Ok(()), Err)
    }

    /// Waits until a part has ended without which this process is not whole, and names it.
    async fn broken(&mut self) -> String {
        let mut workers = self.proxy.worker_ends();
        let members = self.gossip.as_ref().map(Handle::members);
        let gossip = async {
            match members {
                Some(mut members) => while members.changed().await.is_ok() {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            part = self.tasks.broken() => part.to_owned(),
            part = self.doors.broken() => part.to_owned(),
            () = gossip => "the gossip's driver, for the third time within a minute,".to_owned(),
            Ok(part) = self.broken_parts.wait_for(|part| !part.is_empty()) => part.clone(),
            lost = workers.wait_for(|ends| ends.is_lost) => match lost {
                Ok(ends) => format!("worker {}, as others within a minute,", ends.last),
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Has the configuration read again, and waits until it was.
    async fn reload(&self) {
        manager::reloading();
        let reloads = |s: &Snapshot| s.config.reloads_ok_total + s.config.reloads_failed_total;
        let mut newest = self.newest.clone();
        let before = reloads(&newest.borrow_and_update());
        let _ = self.asks.send(Ask::Reload("SIGHUP")).await;
        let done = newest.wait_for(|snapshot| reloads(snapshot) > before);
        let _ = tokio::time::timeout(RELOAD, done).await;
        manager::ready();
    }

    /// Not ready, out of the gossip, no new connections, until those open have ended.
    async fn drain(&mut self) -> u64 {
        let deadline = Instant::now() + self.drain_timeout;
        let handed_over = self.handed_over();
        if !handed_over {
            manager::stopping();
        }
        self.admin.set_draining();
        let _ = self.asks.send(Ask::Draining).await;
        let leave = async {
            // After a handover the node lives on in the process that follows.
            if let Some(gossip) = self.gossip.as_ref().filter(|_| !handed_over) {
                let _ = tokio::time::timeout_at(deadline.into(), gossip.leave()).await;
            }
        };
        let doors = &mut self.doors;
        let answered = async {
            // What asked the admin side before the handover is answered here.
            if handed_over {
                let _ = tokio::time::timeout_at(deadline.into(), doors.ended()).await;
            }
        };
        let ((), (), left) = tokio::join!(leave, answered, self.proxy.drain(deadline));
        left
    }

    /// Ends what is left, within a second whatever stands still.
    pub(crate) async fn stop(mut self) {
        self.proxy.cut(Instant::now() + CUT).await;
        let _ = tokio::time::timeout(REST, self.stop_rest()).await;
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
        let (proxy, access_log) = (self.proxy, self.access_log);
        // Ending the workers waits for their threads.
        let ended = tokio::task::spawn_blocking(move || {
            drop(proxy);
            access_log.flush(FLUSH);
        });
        let _ = tokio::time::timeout(2 * FLUSH, ended).await;
    }

    /// Ends everything but the workers: the control task first, so that nothing is decided any
    /// more.
    async fn stop_rest(&mut self) {
        self.closing.send_replace(true);
        self.leave_the_rest().await;
        let (done, stopped) = oneshot::channel();
        if self.asks.send(Ask::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
        if let Some(gossip) = self.gossip.take() {
            gossip.shutdown().await;
        }
        self.tasks.shutdown().await;
        self.doors.ended().await;
    }
}

async fn second(signals: &mut Signals) {
    while !matches!(signals.next().await, signals::Ask::End(_)) {}
}

fn complain(what: &str, served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!("{what} ended: {error}");
    }
}

/// Starts the workers, which accept nothing yet, with a balancer for each backend.
fn start_proxy(
    settings: &Settings,
    evidence: mpsc::Sender<Evidence>,
    access_log: AccessLog,
    inherited: Vec<std::net::TcpListener>,
    (tickets, acme): (&Arc<TicketKeys>, &Acme),
) -> anyhow::Result<(Arc<Proxy>, Balancers)> {
    let config = roundel_proxy::Config {
        threads: settings.process.threads,
        descriptors: descriptors::limit(),
        pipes: descriptors::pipes(descriptors::limit()),
    };
    let balancers = routes::balancers(settings, &Balancers::new(), config.workers());
    let routes = routes::build(settings, &balancers, tickets, acme);
    let proxy = roundel_proxy::start_held(config, routes, evidence, access_log, inherited)?;
    Ok((Arc::new(proxy), balancers))
}
