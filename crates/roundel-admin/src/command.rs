//! What an operator can ask for.
//!
//! This crate parses and guards; whoever receives the commands carries them out, one by one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use roundel_model::{AdminState, Name, Weight, WeightOrder};
use tokio::sync::{mpsc, oneshot};

mod words;

/// One act, with names that passed [`Name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Orders a server ready, drained or in maintenance; a server that is away but under orders
    /// too.
    SetState {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
        /// What is ordered.
        state: AdminState,
        /// Whether the last server that serves may go.
        force: bool,
    },
    /// Gives a server another weight.
    SetWeight {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
        /// The weight.
        weight: WeightOrder,
        /// Whether the last server that serves may go.
        force: bool,
    },
    /// Changes something else about a server.
    Change {
        /// The backend.
        backend: Name,
        /// The server.
        server: Name,
        /// What to change.
        change: Change,
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
        /// Serves only while no other server does.
        backup: bool,
        /// The most requests in flight; `None` for the backend's limit, 0 for any number.
        maxconn: Option<u32>,
        /// Whether it begins in maintenance.
        disabled: bool,
        /// HAProxy's words for what the backend decides here, to be told of.
        passed_over: Vec<String>,
    },
    /// Changes a frontend, until the next reload.
    Frontend {
        /// The frontend.
        frontend: Name,
        /// What to change.
        change: FrontendChange,
    },
    /// Forgets the greatest values seen.
    ClearCounters {
        /// The counters, too, where HAProxy's readers see them.
        all: bool,
    },
    /// Removes a server added by hand, or the orders kept for one that is away.
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
    /// Asks the members of the gossip something; the outcome's data are their answers.
    Query(Query),
    /// Announces a user event to the members of the gossip.
    UserEvent {
        /// What it is called.
        name: String,
        /// What it says.
        payload: String,
        /// Whether handlers may merge events of one name.
        coalesce: bool,
    },
    /// Has the members of the gossip change or list their keys; the outcome's data are their
    /// answers.
    Keys {
        /// What to do.
        act: KeyVerb,
        /// The key in base64; not needed to list.
        key: Secret,
    },
    /// Reads the configuration again.
    Reload,
}

/// What can be changed about a server, beside its state and its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The most requests in flight; 0 for any number.
    Maxconn(u32),
    /// Takes it for up or down until a check says something else.
    Health(bool),
    /// Switches its checks.
    Checks(bool),
    /// Checks it at another port.
    CheckPort(u16),
    /// Moves it; the port stays without another one.
    Address(IpAddr, Option<u16>),
    /// Ends the requests that it answers, tunnels too.
    Cut,
}

/// What can be changed about a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontendChange {
    /// The most connections; 0 for any number.
    Maxconn(u64),
    /// Opens or closes its listeners.
    Open(bool),
}

/// What to ask of the members of the gossip, and whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// What is asked.
    pub name: String,
    /// Arguments.
    pub payload: String,
    /// Only these members; empty for all.
    pub nodes: Vec<String>,
    /// Only members whose tags match these expressions.
    pub tags: Vec<(String, String)>,
    /// Whether acknowledgements are wanted.
    pub ack: bool,
    /// Members that pass each answer on a second time.
    pub relay_factor: u8,
    /// How long answers are waited for; `None` for the protocol's default.
    pub timeout: Option<Duration>,
}

/// What to do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyVerb {
    /// Add it.
    Install,
    /// Encrypt with it.
    Use,
    /// Remove it.
    Remove,
    /// List all.
    List,
}

impl KeyVerb {
    /// The verb's word, as in `serf keys`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Use => "use",
            Self::Remove => "remove",
            Self::List => "list",
        }
    }

    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Install, Self::Use, Self::Remove, Self::List];
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Command {
    /// The bounded word for metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SetState { state, .. } => state.as_str(),
            Self::SetWeight { .. } => "weight",
            Self::Change { .. } => "change",
            Self::Frontend { .. } => "frontend",
            Self::ClearCounters { .. } => "clear",
            Self::AddServer { .. } => "add",
            Self::DelServer { .. } => "del",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Query(_) => "query",
            Self::UserEvent { .. } => "event",
            Self::Keys { .. } => "keys",
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
    /// What was found out, for acts that ask something.
    pub data: Option<serde_json::Value>,
    /// The number of the snapshot that shows it; 0 when none needs to be waited for.
    pub seq: u64,
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
    /// Nobody would serve then.
    #[error(
        "{0} is the last server of {1} that serves; add --force, or \"force\": true over HTTP, to do it all the same."
    )]
    LastServer(Name, Name),
    /// No frontend of that name.
    #[error("No such frontend.")]
    NoFrontend,
    /// The state of things forbids it; the text says why.
    #[error("{0}")]
    Refused(String),
    /// What was asked for makes no sense, such as a configuration with mistakes; the text says why.
    #[error("{0}")]
    Invalid(String),
    /// Carrying it out failed; the text says how.
    #[error("{0}")]
    Failed(String),
    /// Others that it takes do not answer; the text says who and why.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody carries out commands: the process is ending.
    #[error("Roundel is shutting down.")]
    Closed,
}
