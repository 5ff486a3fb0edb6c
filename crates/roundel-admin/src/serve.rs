//! The accept loop of port 1936.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::Admin;

/// How long a client may take to send a request's head; also ends idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long answers may go on after `stop`; streams to viewers would never end by themselves.
const GRACE: Duration = Duration::from_millis(500);

/// A pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end; a request's extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves the routes of `admin` on `listener` until `stop` is ready.
///
/// A failing accept is retried: running out of file descriptors passes. Answers under way get
/// half a second after `stop`.
pub async fn serve(
    admin: Admin,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(admin.shared.config.max_connections));
    let router = admin.router();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let connection = converse(stream, peer, router.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "stats listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // What is left after the grace time is a stream to a viewer; dropping the set ends it.
    let _ = tokio::time::timeout(GRACE, all).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    // Both families come to one socket.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    Ok((stream, peer, slot))
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "stats connection ended");
    }
}

#[cfg(test)]
mod tests;
