//! The accept loop of port 1936.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::Admin;

/// How long a client may take to send a request's head; also ends idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may still bring a request after `stop`: it may be on its way.
const LAST: Duration = Duration::from_secs(1);

/// How long answers may go on then; streams to viewers would never end by themselves.
const GRACE: Duration = Duration::from_millis(500);

/// A pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end; a request's extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves the routes of `admin` on `listener` until `stop` is ready.
///
/// A failing accept is retried: running out of file descriptors passes. After `stop` every
/// connection that was accepted gets a second to bring its request, is closed with the answer, and
/// answers under way get half a second more. What waits on the listener is left to whoever else
/// has it.
pub async fn serve(
    admin: Admin,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(admin.shared.config.max_connections));
    let router = admin.router();
    let mut connections = JoinSet::new();
    let closing = watch::Sender::new(Closing::No);
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
                let connection = converse(stream, peer, router.clone(), closing.subscribe());
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
    closing.send_replace(Closing::AfterAnswer);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST, all).await.is_ok() {
        return Ok(());
    }
    closing.send_replace(Closing::Idle);
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

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Each with its next answer.
    AfterAnswer,
    /// Those that are idle at once.
    Idle,
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut closing: watch::Receiver<Closing>,
) {
    let _ = stream.set_nodelay(true);
    let phase = closing.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let answered = router.clone().oneshot(request.map(Body::new));
        let closing = phase.clone();
        async move {
            let mut response = answered.await?;
            if *closing.borrow() != Closing::No {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let idle = async {
        let _ = closing.wait_for(|c| *c == Closing::Idle).await;
    };
    let served = tokio::select! {
        served = &mut connection => served,
        () = idle => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "stats connection ended");
    }
}

#[cfg(test)]
mod tests;
