//! Settings of a gossip node on sockets.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use roundel_gossip::{ConfigError, Limits, Timings};

use crate::advertise::Advertise;
use crate::handler::Handler;
use crate::keyring::KeyringError;

/// The port of Serf and memberlist, used where an address names none.
pub const DEFAULT_PORT: u16 = 7946;

/// Settings of a gossip node on sockets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name, unique in the cluster. No default: an empty name is refused.
    pub name: String,
    /// Where to listen, UDP and TCP alike. Port 0 takes one that is free for both. Default
    /// `[::]:7946`, which takes IPv4 too.
    pub listen: SocketAddr,
    /// The address that others shall use. Default: the address listened on if it is a specific
    /// one, else found out: a guess by the routes, corrected by the first peer that reaches us
    /// elsewhere, and followed when it moves.
    pub advertise: Option<Advertise>,
    /// What we say about ourselves, such as `role=balancer`.
    pub tags: BTreeMap<String, String>,
    /// Seeds: `host`, `host:port`, `ip`, `ip:port`, `[ip6]:port`. A DNS name means all its
    /// addresses. Retried for ever with back-off, and looked at each few seconds when joined,
    /// which finds a seed that moved and heals a cluster that fell apart.
    pub join: Vec<String>,
    /// Keys of 16, 24 or 32 bytes; the first encrypts, all decrypt. Default none: no encryption.
    pub keys: Vec<Vec<u8>>,
    /// File that keeps the keys over restarts when they are rotated: a JSON list in base64,
    /// primary first, mode 0600. Once it exists it counts, not `keys`, which it begins with.
    /// Default none: rotated keys are lost at the end.
    pub keyring: Option<PathBuf>,
    /// File that keeps the known members over restarts, in Serf's format, so that the cluster is
    /// found again without any seed. Default none.
    pub snapshot: Option<PathBuf>,
    /// What peers can make the node hold.
    pub limits: Limits,
    /// Scripts to run for events.
    pub handlers: Vec<Handler>,
    /// Whether to compress what we send. Default true, as Serf agents do.
    pub compress: bool,
    /// Intervals and factors of the protocol. Default [`Timings::lan`].
    pub timings: Timings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            advertise: None,
            tags: BTreeMap::new(),
            join: Vec::new(),
            keys: Vec::new(),
            keyring: None,
            snapshot: None,
            limits: Limits::default(),
            handlers: Vec::new(),
            compress: true,
            timings: Timings::lan(),
        }
    }
}

/// Says why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen for gossip on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No interface has an address as it is to be advertised.
    #[error("{0}")]
    Advertise(String),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A seed is not written as an address.
    #[error("{0:?} is no seed: write host, host:port, ip or ip:port")]
    Seed(String),
    /// The file of keys cannot be used.
    #[error("cannot use the gossip keyring {}: {source}", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyringError,
    },
    /// The file of members cannot be read.
    #[error("cannot read the gossip snapshot {}: {source}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gives no randomness.
    #[error("no randomness from the system: {0}")]
    Random(getrandom::Error),
}
