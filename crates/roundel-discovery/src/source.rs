//! What a source is and what it says.

use std::path::PathBuf;

use roundel_model::{Name, Server, SourceKind};

use crate::{DnsConfig, GossipConfig};

/// One entry of a backend's list of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// Servers written in the configuration, in that order.
    Static(Vec<Server>),
    /// A file, or a directory of files, of lines `name ip[:port] [weight]`; watched.
    File(PathBuf),
    /// A name asked of DNS every second.
    Dns(DnsConfig),
    /// The members of the gossip that carry a role.
    Gossip(GossipConfig),
}

impl SourceConfig {
    /// The kind that its servers carry.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Static(_) => SourceKind::Static,
            Self::File(_) => SourceKind::File,
            Self::Dns(_) => SourceKind::Dns,
            Self::Gossip(_) => SourceKind::Gossip,
        }
    }
}

/// The whole set of servers of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUpdate {
    /// The backend.
    pub backend: Name,
    /// The index of the source in the backend's list.
    pub source: usize,
    /// Every server it knows, in its order.
    pub servers: Vec<Server>,
}
