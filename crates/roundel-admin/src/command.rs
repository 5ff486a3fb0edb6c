//! What an operator can ask for.
//!
//! This crate parses and guards; whoever receives the commands carries them out, one by one.

use std::net::SocketAddr;

use roundel_model::{AdminState, Name, Weight};
use tokio::sync::{mpsc, oneshot};

/// One act, with names that passed [`Name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Orders a server ready, drained or in maintenance.
    SetState {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
        /// What is ordered.
        state: AdminState,
    },
    /// Gives a server another weight.
    SetWeight {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
        /// The weight.
        weight: Weight,
    },
    /// Adds a server by hand.
    AddServer {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
        /// Where requests go.
        address: SocketAddr,
        /// Its weight.
        weight: Weight,
    },
    /// Removes a server added by hand.
    DelServer {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
    },
    /// Joins the gossip at these addresses, each `host[:port]`.
    Join {
        /// The addresses.
        addresses: Vec<String>,
    },
    /// Announces leave for this node, or removes a failed one.
    Leave {
        /// The failed member to remove; `None` means this node itself.
        member: Option<String>,
    },
    /// Reads the configuration again.
    Reload,
}

impl Command {
    /// The bounded word for metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SetState { state, .. } => state.as_str(),
            Self::SetWeight { .. } => "weight",
            Self::AddServer { .. } => "add",
            Self::DelServer { .. } => "del",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Reload => "reload",
        }
    }
}

/// Who asked, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub String);

/// A command on its way to the one writer.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Who asked: `http 127.0.0.1:5123`, `cli socket`, ….
    pub principal: Principal,
    /// Where the answer goes; may be gone when the asker went away.
    pub reply: oneshot::Sender<Result<Outcome, CommandError>>,
}

/// The channel to the one writer.
pub type CommandSender = mpsc::Sender<Order>;

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One sentence for people, such as `webapp-2 drains, 4 requests in flight`.
    pub text: String,
}

/// Why a command did nothing. The state is unchanged in every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No backend of that name.
    #[error("No such backend.")]
    NoBackend,
    /// No server of that name in that backend.
    #[error("No such server.")]
    NoServer,
    /// A server of that name exists.
    #[error("Already exists a server with the same name in backend.")]
    ServerExists,
    /// The state of things forbids it; the text says why.
    #[error("{0}")]
    Refused(String),
    /// Carrying it out failed; the text says how.
    #[error("{0}")]
    Failed(String),
    /// Nobody carries out commands: the process is ending.
    #[error("Roundel is shutting down.")]
    Closed,
}
