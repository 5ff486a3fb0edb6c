//! The balancer from boot to end; reads as the boot order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use roundel_admin::Admin;
use roundel_admin::cli::Level;
use roundel_admin::status::EventKind;
use roundel_gossip_tokio::Handle;
use roundel_proxy::{AccessLog, Proxy};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::collector::{Collector, GossipView};
use crate::config::{Acts, Gossip, Settings};
use crate::control::{Ask, Control, Inbox, Parts};
use crate::event_log::EventLog;
use crate::loader::Loader;
use crate::routes;
use crate::signals::{self, Signals};
use crate::sources::Sources;
use crate::watch as file_watch;

/// How long what waits for the log's writer may hold up the end.
const FLUSH: Duration = Duration::from_millis(500);

/// Makes the runtime of everything but requests: gossip, checks, sources, page.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // The control task runs on the calling thread; rendering pages does not hold it up.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
}

/// The verb `serve`.
pub(crate) fn run(loader: Loader, settings: Settings) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let serving = Serving::start(loader, settings).await?;
        serving.until_ended(&mut signals).await;
        Ok(())
    })
}

/// A balancer that serves. Dropping it ends everything at once; see [`Serving::until_ended`].
pub(crate) struct Serving {
    proxy: Arc<Proxy>,
    gossip: Option<Handle>,
    admin: Admin,
    asks: mpsc::Sender<Ask>,
    access_log: AccessLog,
    log: EventLog,
    drain_timeout: Duration,
    stats: SocketAddr,
    tasks: JoinSet<()>,
}

impl Serving {
    /// Binds everything, then starts everything. Errors: what could not be bound, and the cure.
    pub(crate) async fn start(loader: Loader, settings: Settings) -> anyhow::Result<Self> {
        let started = Instant::now();
        let process = settings.process.clone();
        let log = EventLog::new();
        let stats = bind(process.stats_listen, "the page", "--stats-listen").await?;
        let stats_address = stats.local_addr()?;
        let cli = match process.cli_listen {
            Some(address) => Some(bind(address, "the runtime API", "--cli-listen").await?),
            None => None,
        };
        let socket = process.cli_socket.as_deref().map(bind_socket).transpose()?;
        let gossip = match &settings.gossip {
            Some(gossip) => Some(start_gossip(gossip).await?),
            None => None,
        };
        let access_log = match routes::log_format(process.access_log) {
            Some(format) => AccessLog::new(format, std::io::stdout())?,
            None => AccessLog::off(),
        };
        let config = roundel_proxy::Config {
            threads: process.threads,
        };
        let balancers = routes::balancers(&settings, &Default::default(), config.workers());
        let (evidence_sender, evidence) = mpsc::channel(1024);
        let proxy = roundel_proxy::start(
            config,
            routes::build(&settings, &balancers),
            evidence_sender,
            access_log.clone(),
        )?;
        let proxy = Arc::new(proxy);

        let (sets_sender, sets) = mpsc::channel(64);
        let (orders_sender, orders) = mpsc::channel(64);
        let (asks_sender, asks) = mpsc::channel(16);
        let (snapshots, newest) = watch::channel(Default::default());
        let inbox = Inbox {
            sets,
            evidence,
            orders,
            asks,
            gossip: match &gossip {
                Some(handle) => handle.events(),
                None => broadcast::channel(1).1,
            },
        };
        let node = settings.gossip.as_ref().map(|g| g.node_name.clone());
        let loopback = settings.gossip.as_ref().is_some_and(stays_on_this_machine);
        let parts = Parts {
            node: node.unwrap_or_else(|| crate::host::node_name().to_string()),
            proxy: Arc::clone(&proxy),
            gossip: gossip.clone().map(|handle| view(handle, &settings)),
            sources: Sources::new(gossip.as_ref().map(Handle::members), loopback, sets_sender),
            collector: Collector::new(started, proxy.workers(), access_log.clone()),
            log: log.clone(),
            snapshots,
            settings,
            loader: loader.clone(),
        };
        let control = Control::new(parts, &balancers);
        // The first snapshot is there before anybody can ask.
        let mut tasks = JoinSet::new();
        tasks.spawn(control.run(inbox));
        let mut first = newest.clone();
        first.changed().await.context("the control task ended")?;
        let config = roundel_admin::Config {
            acts: acts(&process.acts),
            ..roundel_admin::Config::default()
        };
        let admin = Admin::start(config, newest, orders_sender, log.live());
        let serving = Self {
            proxy,
            gossip,
            admin,
            asks: asks_sender,
            access_log,
            log,
            drain_timeout: process.drain_timeout,
            stats: stats_address,
            tasks,
        };
        Ok(serving.open(stats, cli, socket, &loader))
    }

    /// Starts answering on the admin side, and following the file.
    fn open(
        mut self,
        stats: TcpListener,
        cli: Option<TcpListener>,
        socket: Option<UnixListener>,
        loader: &Loader,
    ) -> Self {
        for frontend in self.proxy.frontends() {
            for address in &frontend.addresses {
                tracing::info!("frontend {} listens on {address}", frontend.name);
            }
        }
        tracing::info!("the page is at http://{}/", self.stats);
        let admin = self.admin.clone();
        self.tasks.spawn(async move {
            let served = roundel_admin::serve(admin, stats, std::future::pending()).await;
            complain("the page", served);
        });
        if let Some(listener) = cli {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("the runtime API listens on {address}");
            }
            let admin = self.admin.clone();
            self.tasks.spawn(async move {
                let stop = std::future::pending();
                let served = roundel_admin::cli::serve_tcp(admin, listener, Level::User, stop);
                complain("the runtime API", served.await);
            });
        }
        if let Some(listener) = socket {
            let admin = self.admin.clone();
            self.tasks.spawn(async move {
                let stop = std::future::pending();
                let served = roundel_admin::cli::serve_unix(admin, listener, Level::Admin, stop);
                complain("the runtime API", served.await);
            });
        }
        if let Some(handle) = &self.gossip {
            tracing::info!(
                "gossip {} listens on {}",
                handle.name(),
                handle.local_addr()
            );
        }
        if let Some(file) = loader.file() {
            let asks = self.asks.clone();
            self.tasks.spawn(file_watch::follow(file.to_owned(), asks));
        }
        self
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
    pub(crate) async fn until_ended(self, signals: &mut Signals) {
        let signal = loop {
            match signals.next().await {
                signals::Ask::Reload => {
                    let _ = self.asks.send(Ask::Reload("SIGHUP")).await;
                }
                signals::Ask::End(signal) => break signal,
            }
        };
        let limit = crate::value::show_duration(self.drain_timeout);
        let text = format!("ending after {signal}: requests in flight have up to {limit}");
        self.log.add(EventKind::Listener, "roundel", text, None);
        tokio::select! {
            left = self.drain() => match left {
                0 => tracing::info!("every connection ended by itself"),
                n => tracing::warn!("{n} connections were still open after {limit}"),
            },
            () = second(signals) => tracing::warn!("ended at once by a second signal"),
        }
        self.stop().await;
    }

    /// Not ready, out of the gossip, no new connections, until those open have ended.
    async fn drain(&self) -> u64 {
        let deadline = Instant::now() + self.drain_timeout;
        self.admin.set_draining();
        let _ = self.asks.send(Ask::Draining).await;
        let leave = async {
            if let Some(gossip) = &self.gossip {
                let _ = tokio::time::timeout_at(deadline.into(), gossip.leave()).await;
            }
        };
        let ((), left) = tokio::join!(leave, self.proxy.drain(deadline));
        left
    }

    /// Ends what is left: the control task first, so that nothing is decided any more.
    pub(crate) async fn stop(mut self) {
        let (done, stopped) = oneshot::channel();
        if self.asks.send(Ask::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
        if let Some(gossip) = self.gossip.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), gossip.shutdown()).await;
        }
        self.tasks.shutdown().await;
        let (proxy, access_log) = (self.proxy, self.access_log);
        // Ending the workers waits for their threads.
        let ended = tokio::task::spawn_blocking(move || {
            drop(proxy);
            access_log.flush(FLUSH);
        });
        let _ = ended.await;
    }
}

async fn second(signals: &mut Signals) {
    while signals.next().await == signals::Ask::Reload {}
}

fn complain(what: &str, served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!("{what} ended: {error}");
    }
}

/// Binds one address of the admin side; an error names the flag that chooses another.
async fn bind(address: SocketAddr, what: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let port = address.port();
        match error.kind() {
            std::io::ErrorKind::AddrInUse => anyhow!(
                "cannot open {what} on {address}: port {port} is taken by another program; \
                 stop it, or choose another port with {flag}"
            ),
            std::io::ErrorKind::PermissionDenied => anyhow!(
                "cannot open {what} on {address}: permission denied; choose a port above 1023 with {flag}"
            ),
            _ => anyhow!("cannot open {what} on {address}: {error}; choose another with {flag}"),
        }
    })
}

/// Binds the admin socket, readable by its owner only. A socket that nobody answers is removed.
fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound.with_context(|| {
        format!(
            "cannot open the runtime API at {}; choose another path with --cli-socket",
            path.display()
        )
    })
}

async fn start_gossip(gossip: &Gossip) -> anyhow::Result<Handle> {
    let config = roundel_gossip_tokio::Config {
        name: gossip.node_name.clone(),
        listen: gossip.listen,
        advertise: gossip.advertise,
        tags: gossip.tags.clone(),
        join: gossip.join.clone(),
        keys: gossip.keys.clone(),
        ..roundel_gossip_tokio::Config::default()
    };
    roundel_gossip_tokio::start(config).await.map_err(|error| {
        let port = gossip.listen.port();
        let cure = match error {
            roundel_gossip_tokio::StartError::Bind { .. } => {
                format!("; if port {port} is taken, choose another with --gossip-listen")
            }
            _ => String::new(),
        };
        anyhow!("{error}{cure}")
    })
}

fn view(handle: Handle, settings: &Settings) -> GossipView {
    let gossip = settings.gossip.as_ref();
    let seeds = gossip.map_or_else(Vec::new, |g| g.join.clone());
    GossipView::new(handle, seeds, gossip.is_some_and(|g| !g.keys.is_empty()))
}

/// Whether the gossip cannot reach beyond this machine, so that loopback servers are meant.
fn stays_on_this_machine(gossip: &Gossip) -> bool {
    let shown = gossip.advertise.unwrap_or(gossip.listen);
    shown.ip().to_canonical().is_loopback()
}

fn acts(acts: &Acts) -> roundel_admin::Acts {
    match acts {
        Acts::Off => roundel_admin::Acts::Off,
        Acts::Loopback => roundel_admin::Acts::Loopback,
        Acts::Token(token) => roundel_admin::Acts::Token(token.clone()),
    }
}
