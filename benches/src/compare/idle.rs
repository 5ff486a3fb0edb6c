//! What an idle keep-alive connection costs: private memory with none and with many.

use std::process::Stdio;

use anyhow::Result;
use serde::Serialize;

use super::Setting;
use super::peer::Peer;
use super::row::Bound;
use crate::machine::private_kib;
use crate::process::{Running, myself};

pub(crate) const KEY: &str = "idle";
/// KiB per connection.
pub(crate) const BOUND: Bound = Bound {
    must: Some(2.0),
    goal: 1.2,
};
/// As many as are held, if this process may have so many files.
const CONNECTIONS: u64 = 9_900;

/// What one peer took.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) peer: String,
    pub(crate) connections: u64,
    /// KiB that the process shares with nobody: before the first request, and with all
    /// connections idle after one request each.
    pub(crate) empty_kib: u64,
    pub(crate) full_kib: u64,
}

impl Idle {
    pub(crate) fn kib_per_connection(&self) -> f64 {
        self.full_kib.saturating_sub(self.empty_kib) as f64 / self.connections as f64
    }
}

/// Starts the peer anew, for what it used before is not given back, and fills it.
pub(crate) fn measure(peer: &Peer, setting: &Setting<'_>) -> Result<Idle> {
    let connections = CONNECTIONS.min((setting.files / 2).saturating_sub(100));
    let started = peer.start(&setting.cores.proxy)?;
    let empty_kib = private_kib(started.process.pid())?;
    let mut command = myself(&setting.cores.load)?;
    command
        .args(["load", &started.plain.to_string(), "/128", "--hold"])
        .arg(format!("--connections={connections}"))
        .stdout(Stdio::piped());
    let mut holder = Running::start_held(&mut command)?;
    holder.wait_line("holding")?;
    Ok(Idle {
        peer: peer.name.clone(),
        connections,
        empty_kib,
        full_kib: private_kib(started.process.pid())?,
    })
}
