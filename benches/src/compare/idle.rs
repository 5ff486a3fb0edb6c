//! What an idle keep-alive connection costs: private memory with none and with many.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Setting;
use super::peer::Peer;
use super::row::Bound;
use crate::machine::private_kib;
use crate::process::{Running, myself};

/// One kind of idle connection.
pub(crate) struct IdleRow {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// KiB per connection.
    pub(crate) bound: Bound,
    /// As many as are held, if this process may have so many files.
    connections: u64,
    tls: bool,
}

pub(crate) const ALL: [IdleRow; 2] = [
    IdleRow {
        key: "idle",
        title: "private memory per idle keep-alive connection",
        bound: Bound {
            must: Some(2.0),
            goal: 1.2,
        },
        connections: 9_900,
        tls: false,
    },
    IdleRow {
        key: "tls-idle",
        title: "private memory per idle connection over TLS 1.3",
        bound: Bound {
            must: Some(7.0),
            goal: 7.0,
        },
        connections: 4_000,
        tls: true,
    },
];

impl IdleRow {
    /// Whether the peer has such connections.
    pub(crate) fn fits(&self, peer: &Peer) -> bool {
        !self.tls || peer.tls.is_some()
    }
}

/// What one peer took.
#[derive(Serialize)]
pub(crate) struct Idle {
    /// The row's.
    pub(crate) key: &'static str,
    #[serde(skip)]
    pub(crate) row: &'static IdleRow,
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
pub(crate) fn measure(row: &'static IdleRow, peer: &Peer, setting: &Setting<'_>) -> Result<Idle> {
    let connections = row.connections.min((setting.files / 2).saturating_sub(100));
    let started = peer.start(&setting.cores.proxy)?;
    let empty_kib = private_kib(started.process.pid())?;
    let address = match row.tls {
        true => started.tls.context("it does not speak TLS")?,
        false => started.plain,
    };
    let mut command = myself(&setting.cores.load)?;
    command
        .args(["load", &address.to_string(), "/128", "--hold"])
        .arg(format!("--connections={connections}"))
        .stdout(Stdio::piped());
    if row.tls {
        command.arg("--tls").arg(&started.trusted);
    }
    let mut holder = Running::start_held(&mut command)?;
    holder.wait_line("holding")?;
    Ok(Idle {
        key: row.key,
        row,
        peer: peer.name.clone(),
        connections,
        empty_kib,
        full_kib: private_kib(started.process.pid())?,
    })
}
