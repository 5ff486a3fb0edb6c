//! What a source is and what it says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use roundel_model::{Name, Server, SourceKind};

use crate::{DnsConfig, GossipConfig};

/// One entry of a backend's list of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// Servers written in the configuration, in that order.
    Static(Vec<Server>),
    /// A file, or a directory of files, of lines `name ip[:port] [weight]`, or of
    /// JSON as Prometheus' `file_sd` has it; watched.
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

/// What was heard last of a source that is asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// What kind it is.
    pub kind: SourceKind,
    /// What it is asked for.
    pub name: String,
    /// When it last answered; `None` if it never did.
    pub answered: Option<Instant>,
    /// Why the last question has no answer; `None` if it has.
    pub error: Option<String>,
    /// What it says that is not taken, in words; `None` if all is.
    pub notice: Option<String>,
}

/// A state that its source writes and others read.
#[derive(Debug, Clone)]
pub(crate) struct Heard(Arc<Mutex<SourceState>>);

impl Heard {
    pub(crate) fn new(kind: SourceKind, name: String) -> Self {
        Self(Arc::new(Mutex::new(SourceState {
            kind,
            name,
            answered: None,
            error: None,
            notice: None,
        })))
    }

    /// Notes an answer at `now`, or why there is none.
    pub(crate) fn note(&self, now: Instant, error: Option<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_none() {
            state.answered = Some(now);
        }
        state.error = error;
    }

    /// Notes what of its last answer is not taken.
    pub(crate) fn remark(&self, notice: Option<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.notice = notice;
    }

    pub(crate) fn state(&self) -> SourceState {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }
}
