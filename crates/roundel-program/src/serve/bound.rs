//! The addresses of the control side, bound before anything starts.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, anyhow};
use roundel_config::{Gossip, Settings};
use roundel_gossip_tokio::{ANSWERS, Estate, Handle};
use tokio::net::{TcpListener, UnixListener};

use crate::handover::heir::Inherited;
use crate::sharing;

/// What is listened on beside the frontends.
pub(super) struct Bound {
    /// Page, metrics, API.
    pub(super) stats: TcpListener,
    /// The read-only runtime API.
    pub(super) cli: Option<TcpListener>,
    /// For the other balancers; its own descriptor, taken by who answers.
    pub(super) cluster: Option<TcpListener>,
    /// The admin runtime API.
    pub(super) socket: Option<UnixListener>,
}

impl Bound {
    /// Takes or binds everything. Errors: the first address that cannot be bound, and how to choose
    /// another.
    ///
    /// Whoever connects is told to the runtime `pages`, so that no work of another's keeps them waiting.
    pub(super) fn all(
        settings: &Settings,
        inherited: &mut Inherited,
        pages: &tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let _pages = pages.enter();
        let process = &settings.process;
        let stats = match inherited.take(process.stats_listen) {
            Some(listener) => TcpListener::from_std(listener)?,
            None => bind(
                process.stats_listen,
                inherited,
                "the page",
                "--stats-listen",
            )?,
        };
        let cli = match process.cli_listen.map(|a| (a, inherited.take(a))) {
            Some((_, Some(listener))) => Some(TcpListener::from_std(listener)?),
            Some((address, None)) => {
                let (what, flag) = ("the runtime API", "--cli-listen");
                Some(bind(address, inherited, what, flag)?)
            }
            None => None,
        };
        let cluster = match settings
            .cluster
            .as_ref()
            .map(|c| (c.listen, inherited.take(c.listen)))
        {
            Some((_, Some(listener))) => Some(TcpListener::from_std(listener)?),
            Some((address, None)) => {
                let (what, key) = ("the port for other balancers", "listen of [cluster]");
                Some(bind(address, inherited, what, key)?)
            }
            None => None,
        };
        let path = process.cli_socket.as_deref();
        let socket = match path.map(|path| (path, inherited.take_path(path))) {
            Some((_, Some(listener))) => Some(UnixListener::from_std(listener)?),
            Some((path, None)) => Some(bind_socket(path)?),
            None => None,
        };
        Ok(Self {
            stats,
            cli,
            cluster,
            socket,
        })
    }

    /// Where TCP is listened on.
    pub(super) fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let all = [Some(&self.stats), self.cli.as_ref(), self.cluster.as_ref()];
        all.into_iter()
            .flatten()
            .map(TcpListener::local_addr)
            .collect()
    }

    /// A listener of its own for who answers the other balancers, and its port.
    pub(super) fn for_balancers(&self) -> std::io::Result<Option<(std::net::TcpListener, u16)>> {
        let Some(listener) = &self.cluster else {
            return Ok(None);
        };
        let port = listener.local_addr()?.port();
        let copy = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        Ok(Some((copy, port)))
    }

    /// Copies every descriptor, for a process that is to follow.
    pub(super) fn copies(&self) -> std::io::Result<Vec<OwnedFd>> {
        let cli = self.cli.as_ref().map(AsFd::as_fd);
        let socket = self.socket.as_ref().map(AsFd::as_fd);
        let cluster = self.cluster.as_ref().map(AsFd::as_fd);
        let all = [Some(self.stats.as_fd()), cli, cluster, socket];
        let all = all.into_iter().flatten();
        all.map(|socket| socket.try_clone_to_owned()).collect()
    }
}

/// Binds one address of the admin side, which may be wider or narrower than one that was
/// inherited; an error names the flag that chooses another.
fn bind(
    address: SocketAddr,
    inherited: &Inherited,
    what: &str,
    flag: &str,
) -> anyhow::Result<TcpListener> {
    let bound = roundel_proxy::listen_beside(address, &inherited.addresses());
    bound.and_then(TcpListener::from_std).map_err(|error| {
        let port = address.port();
        match error.kind() {
            ErrorKind::AddrInUse => anyhow!(
                "cannot open {what} on {address}: port {port} is taken by another program; \
                 stop it, or choose another port with {flag}"
            ),
            ErrorKind::PermissionDenied => anyhow!(
                "cannot open {what} on {address}: permission denied; choose a port above 1023 with {flag}"
            ),
            _ => anyhow!("cannot open {what} on {address}: {error}; choose another with {flag}"),
        }
    })
}

/// Binds the admin socket, readable by its owner only. A socket that nobody answers is removed.
pub(crate) fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
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

/// Starts the gossip node, which talks at once: last, when nothing else can fail any more.
///
/// It goes on from `estate`, and says at which port it `shares` with other balancers.
pub(super) async fn start_gossip(
    gossip: &Gossip,
    estate: Estate,
    shares: Option<u16>,
) -> anyhow::Result<Handle> {
    let mut tags = gossip.tags.clone();
    // What this program does is nothing to be configured.
    let (key, value) = ANSWERS;
    tags.insert(key.to_owned(), value.to_owned());
    tags.extend(shares.map(|port| (sharing::TAG.to_owned(), port.to_string())));
    if let Some(folder) = gossip.snapshot.as_ref().and_then(|path| path.parent()) {
        // Where that fails, the node says what it cannot keep.
        let _ = std::fs::create_dir_all(folder);
    }
    let config = roundel_gossip_tokio::Config {
        name: gossip.node_name.clone(),
        listen: gossip.listen,
        advertise: gossip.advertise.clone(),
        tags,
        join: gossip.join.clone(),
        keys: gossip.keys.clone(),
        keyring: gossip.keyring.clone(),
        snapshot: gossip.snapshot.clone(),
        handlers: gossip.handlers.clone(),
        limits: roundel_config::bounds::gossip(gossip.memory, gossip.max_members),
        ..roundel_gossip_tokio::Config::default()
    };
    let started = roundel_gossip_tokio::start_from(config, estate).await;
    started.map_err(|error| {
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
