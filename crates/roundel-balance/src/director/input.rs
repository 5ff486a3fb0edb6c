//! What a director is told besides sets and check reports.

use std::fmt;
use std::net::SocketAddr;

use roundel_model::{AdminState, Name, WeightOrder};

use crate::ServerId;

/// What a worker saw when it tried to reach a server. Sent once per failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The backend, by which the control task finds the director.
    pub backend: Name,
    /// The server.
    pub server: ServerId,
    /// The address tried; evidence about an address the server no longer has is ignored.
    pub address: SocketAddr,
    /// What happened.
    pub kind: EvidenceKind,
}

/// The kinds of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// The connect was refused: nobody listens.
    Refused,
    /// The connect has no answer yet, though it is time for one.
    Unanswered,
    /// The same, and the member behind the server does not answer gossip either.
    Unheard,
    /// The connect got no answer in time.
    ConnectTimeout,
    /// The network said that there is no way.
    Unreachable,
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Unanswered => "connect unanswered",
            Self::Unheard => "connect unanswered and gossip silent",
            Self::ConnectTimeout => "connect timed out",
            Self::Unreachable => "host unreachable",
        })
    }
}

/// An operator's order for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCommand {
    /// The server.
    pub server: Name,
    /// What is ordered.
    pub act: ServerAct,
}

/// What an operator can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAct {
    /// Serve, drain, or take nothing.
    State(AdminState),
    /// Change the weight.
    Weight(WeightOrder),
    /// Limit the requests in flight; 0 for any number.
    Maxconn(u32),
    /// Take the server for up or down until a check says something else.
    Health(bool),
    /// Check the server, or leave it as it is.
    Checks(bool),
    /// Check it at this port.
    CheckPort(u16),
}

/// Says why an order was refused; nothing changed. Texts are HAProxy's, since scripts read them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No server of that name in the backend, or it has left.
    #[error("No such server.")]
    NoSuchServer,
    /// The backend has no checks.
    #[error("Health check was not configured on this server, cannot enable.")]
    NoCheck,
}
