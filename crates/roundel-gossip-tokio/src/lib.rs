//! Drives [`roundel_gossip`] over UDP and TCP with tokio.
//!
//! Owns: the two sockets on one port, the one timer, name resolution of seeds, and the one task
//! that feeds the state machine and carries out what it asks for. Does not own: any rule of the
//! protocol (those are in `roundel-gossip`), and knows neither backends nor balancing.
//!
//! Start at [`start`], which gives a [`Handle`].
//!
//! Invariants: one task owns the [`roundel_gossip::Node`]; the clock is read once per wake-up; the
//! work per wake-up is bounded; a slow subscriber never slows the node down.

mod config;
mod handle;

pub use config::{Config, DEFAULT_PORT, StartError};
pub use handle::{Handle, JoinError};
pub use roundel_gossip::{
    ConfigError, DropReason, Event, Limits, Member, Stats, Status, Timings, is_valid_name,
};

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, watch};

use crate::handle::{Command, Shared};

/// Starts a node on the current runtime: binds UDP and TCP on one port, spawns one task.
///
/// Errors: see [`StartError`]; nothing is left behind. Seeds that do not answer are no error.
pub async fn start(config: Config) -> Result<Handle, StartError> {
    let socket = tokio::net::UdpSocket::bind(config.listen)
        .await
        .map_err(|source| StartError::Bind {
            address: config.listen,
            source,
        })?;
    let local = socket.local_addr().map_err(|source| StartError::Bind {
        address: config.listen,
        source,
    })?;
    let (members_tx, members) = watch::channel(Arc::new(Vec::new()));
    let (stats_tx, stats) = watch::channel(Stats::default());
    let (events_tx, _) = broadcast::channel(1024);
    let (commands, mut inbox) = mpsc::channel(64);
    let shared = Shared {
        name: config.name,
        local,
        members,
        stats,
        events: events_tx.downgrade(),
        commands,
    };
    tokio::spawn(async move {
        let _keep = (members_tx, stats_tx, events_tx, socket);
        while let Some(command) = inbox.recv().await {
            if let Command::Shutdown(reply) = command {
                let _ = reply.send(());
                return;
            }
        }
    });
    Ok(Handle {
        shared: Arc::new(shared),
    })
}
