//! What an idle connection and a waiting stream cost: private memory with none and with many.

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
    kind: Kind,
}

/// What is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Connections of HTTP/1.1 after a request each.
    Plain,
    /// The same over TLS.
    Tls,
    /// Connections of HTTP/2 after a request each.
    Http2,
    /// Streams whose server does not answer, so many on a connection of HTTP/2.
    Streams(u64),
}

pub(crate) const ALL: [IdleRow; 4] = [
    IdleRow {
        key: "idle",
        title: "private memory per idle keep-alive connection",
        bound: Bound {
            must: Some(2.0),
            goal: 1.2,
        },
        connections: 9_900,
        kind: Kind::Plain,
    },
    IdleRow {
        key: "tls-idle",
        title: "private memory per idle connection over TLS 1.3",
        bound: Bound {
            must: Some(7.0),
            goal: 7.0,
        },
        connections: 4_000,
        kind: Kind::Tls,
    },
    IdleRow {
        key: "h2-idle",
        title: "private memory per idle connection of HTTP/2",
        bound: Bound {
            must: Some(6.0),
            goal: 6.0,
        },
        connections: 4_000,
        kind: Kind::Http2,
    },
    IdleRow {
        key: "h2-waiting",
        title: "private memory per stream of HTTP/2 that waits for its server, 50 on each connection",
        bound: Bound {
            must: Some(16.0),
            goal: 16.0,
        },
        connections: 2_000,
        kind: Kind::Streams(50),
    },
];

impl IdleRow {
    /// Whether the peer has such connections.
    pub(crate) fn fits(&self, peer: &Peer) -> bool {
        match self.kind {
            Kind::Plain => true,
            Kind::Tls => peer.tls.is_some(),
            Kind::Http2 | Kind::Streams(_) => peer.h2.is_some(),
        }
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
    /// Or streams.
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
    let address = match row.kind {
        Kind::Plain => started.plain,
        Kind::Tls => started.tls.context("it does not speak TLS")?,
        Kind::Http2 | Kind::Streams(_) => started.h2.context("it does not speak HTTP/2")?,
    };
    let mut command = myself(&setting.cores.load)?;
    command
        .args(["load", &address.to_string(), "/128", "--hold"])
        .stdout(Stdio::piped());
    let held = match row.kind {
        Kind::Streams(each) => connections / each,
        _ => connections,
    };
    command.arg(format!("--connections={held}"));
    match row.kind {
        Kind::Plain => {}
        Kind::Tls => {
            command.arg("--tls").arg(&started.trusted);
        }
        Kind::Http2 => {
            command.arg("--streams=0");
        }
        Kind::Streams(each) => {
            command.arg(format!("--streams={each}"));
        }
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
