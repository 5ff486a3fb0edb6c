//! What a director asks for and tells.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roundel_model::Name;

use crate::{CheckSpec, ServerId};

/// What a director wants done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectorOutput {
    /// Start a probe.
    StartCheck(StartCheck),
    /// Tell people.
    Event(DirectorEvent),
}

/// A probe that is due. Its report comes back with the ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartCheck {
    /// Identifies the probe.
    pub ticket: CheckTicket,
    /// The server's name, for logs.
    pub server: Name,
    /// Where to connect.
    pub address: SocketAddr,
    /// What to do, and how long it may take.
    pub spec: Arc<CheckSpec>,
}

/// Identifies one probe of one server; the report of an outdated one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckTicket {
    /// The server.
    pub server: ServerId,
    /// Counts the probes of that server.
    pub number: u64,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorEvent {
    /// What happened.
    pub kind: EventKind,
    /// The backend.
    pub backend: Name,
    /// The server; `None` when the backend as a whole is meant.
    pub server: Option<Name>,
    /// The cause in words, with its numbers; one line.
    pub text: String,
    /// How long the thing ended by this took (joining, being down, draining).
    pub duration: Option<Duration>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A server became known, or came back, or changed its address.
    Join,
    /// A server began to serve.
    Serving,
    /// Gossip about a server fell silent, or an attempt could not connect.
    Suspect,
    /// The doubt about a server ended well.
    Refuted,
    /// The cluster holds a server for failed.
    Failed,
    /// A server announced that it leaves, or vanished from its source.
    Leave,
    /// A leaving server is gone.
    Drained,
    /// A server passes its checks again.
    CheckUp,
    /// A server was put down.
    CheckDown,
    /// Passive errors put a server out for a while.
    Ejected,
    /// That while is over.
    Returned,
    /// A weight changed.
    Weight,
    /// An operator ordered something.
    Admin,
    /// A backend is without a usable server.
    NoServer,
    /// A source said something that was not followed.
    Warning,
}

impl EventKind {
    /// The word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Serving => "serving",
            Self::Suspect => "suspect",
            Self::Refuted => "refuted",
            Self::Failed => "failed",
            Self::Leave => "leave",
            Self::Drained => "drained",
            Self::CheckUp => "check-up",
            Self::CheckDown => "check-down",
            Self::Ejected => "ejected",
            Self::Returned => "returned",
            Self::Weight => "weight",
            Self::Admin => "admin",
            Self::NoServer => "no-server",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
