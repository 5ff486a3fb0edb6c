//! The addresses of the control side, bound before anything starts.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use roundel_gossip_tokio::Handle;
use tokio::net::{TcpListener, UnixListener};

use crate::config::{Gossip, Settings};

/// What is listened on beside the frontends.
pub(super) struct Bound {
    /// Page, metrics, API.
    pub(super) stats: TcpListener,
    /// The read-only runtime API.
    pub(super) cli: Option<TcpListener>,
    /// The admin runtime API.
    pub(super) socket: Option<UnixListener>,
}

impl Bound {
    /// Binds everything. Errors: the first address that cannot be bound, and how to choose
    /// another.
    pub(super) async fn all(settings: &Settings) -> anyhow::Result<Self> {
        let process = &settings.process;
        let stats = bind(process.stats_listen, "the page", "--stats-listen").await?;
        let cli = match process.cli_listen {
            Some(address) => Some(bind(address, "the runtime API", "--cli-listen").await?),
            None => None,
        };
        let socket = process.cli_socket.as_deref().map(bind_socket).transpose()?;
        Ok(Self { stats, cli, socket })
    }
}

/// Binds one address of the admin side; an error names the flag that chooses another.
async fn bind(address: SocketAddr, what: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
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

/// Starts the gossip node, which talks at once: last, when nothing else can fail any more.
pub(super) async fn start_gossip(gossip: &Gossip) -> anyhow::Result<Handle> {
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
