//! The shared state behind every view.

use std::sync::Arc;

use axum::Router;
use tokio::sync::{broadcast, oneshot, watch};

use crate::command::{Command, CommandError, CommandSender, Order, Outcome, Principal};
use crate::status::{Event, Snapshot};

/// Who may act over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Acts {
    /// Nobody: acts answer 405.
    #[default]
    Off,
    /// Whoever connects from a loopback address.
    Loopback,
    /// Whoever brings this bearer token.
    Token(String),
}

/// Static settings of the admin plane.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who may act over HTTP. Default: nobody.
    pub acts: Acts,
    /// The most viewers of `/events` at a time; one more gets 503. Default 64.
    pub max_viewers: usize,
    /// The most connections to one listener at a time; more wait. Default 512.
    pub max_connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            acts: Acts::Off,
            max_viewers: 64,
            max_connections: 512,
        }
    }
}

/// The admin plane: a cheap handle that all listeners share.
#[derive(Clone)]
pub struct Admin {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) commands: CommandSender,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
}

impl Admin {
    /// Starts the task that keeps history; it ends when the snapshot's sender is dropped.
    ///
    /// `events` carries timeline events at the moment they happen, so that the page shows
    /// them at once; whoever makes events sends on a clone of it (and may ignore that nobody
    /// listens).
    /// Panics: outside a tokio runtime.
    pub fn start(
        config: Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        commands: CommandSender,
        events: broadcast::Sender<Arc<Event>>,
    ) -> Self {
        let shared = Shared {
            config,
            snapshots,
            commands,
            events,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The routes of port 1936.
    pub fn router(&self) -> Router {
        Router::new()
    }

    /// Hands one act to the one writer and waits for its answer.
    pub(crate) async fn order(
        &self,
        command: Command,
        principal: Principal,
    ) -> Result<Outcome, CommandError> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            command,
            principal,
            reply,
        };
        let sent = self.shared.commands.send(order).await;
        sent.map_err(|_| CommandError::Closed)?;
        answer.await.map_err(|_| CommandError::Closed)?
    }
}
