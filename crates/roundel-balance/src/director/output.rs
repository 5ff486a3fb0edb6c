//! What a director asks for and tells.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roundel_model::{EventKind, Name};

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
