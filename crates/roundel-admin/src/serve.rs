//! The accept loop of port 1936.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use roundel_tls::Front;
use roundel_tls::rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tower::ServiceExt;

use crate::Admin;
use crate::bounds::BUFFER;
use crate::places::Place;
use crate::pulse::{Answering, Paced, Pulse};
use crate::{guard, health, problem};

/// How long a client may take to send a request's head; also ends idle connections. As long it may
/// take for its body, and take nothing of an answer.
const SLOW: Duration = Duration::from_secs(30);

/// The same on a connection that is answered about health only.
const BRIEF: Duration = Duration::from_secs(2);

/// The most that the kernel holds of an answer that its client has not taken, which it counts twice;
/// every Linux permits as much. 10 MB take 10 s to the other side of the world, compressed ones less
/// than one, and what stays in the processor's cache costs half of what a larger buffer does.
const UNTAKEN: usize = 208 * 1024;

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
/// Each connection is accepted at once. When no place is left for it, it gets one where only health
/// is answered, so that whoever watches the process hears of it whatever others do here. A failing
/// accept is retried: running out of file descriptors passes. After `stop` every connection that was
/// accepted gets a second to bring its request, is closed with the answer, and answers under way get
/// half a second more. What waits on the listener is left to whoever else has it.
pub async fn serve(
    admin: Admin,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = admin.router();
    let mut connections = JoinSet::new();
    let closing = watch::Sender::new(Closing::No);
    tokio::pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let guest = Guest::admitted(&admin, peer);
                connections.spawn(guest.converse(stream, router.clone(), closing.subscribe()));
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

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Each with its next answer.
    AfterAnswer,
    /// Those that are idle at once.
    Idle,
}

/// A connection that was accepted.
struct Guest {
    peer: SocketAddr,
    /// What is shown over TLS; `None`: plain HTTP.
    front: Option<Arc<Front>>,
    pulse: Arc<Pulse>,
    /// None: even the places where health is answered are taken by others who came just now.
    place: Option<Place>,
    health_only: bool,
}

impl Guest {
    fn admitted(admin: &Admin, peer: SocketAddr) -> Self {
        // Both families come to one socket.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let config = &admin.shared.config;
        let bounds = &config.bounds;
        let pulse = Pulse::new();
        let place = bounds.connections.take(peer.ip(), &pulse);
        let health_only = place.is_none();
        Self {
            peer,
            front: config.tls.load_full(),
            place: place.or_else(|| bounds.health.take(peer.ip(), &pulse)),
            pulse,
            health_only,
        }
    }

    /// How long its client may take for each step.
    fn limit(&self) -> Duration {
        if self.health_only { BRIEF } else { SLOW }
    }

    async fn converse(self, stream: TcpStream, router: Router, closing: watch::Receiver<Closing>) {
        if self.place.is_none() {
            return;
        }
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(UNTAKEN);
        let Some(front) = &self.front else {
            let stream = (Box::new(stream) as Box<dyn Stream>, Words::Asked);
            return self.speak(stream, router, closing).await;
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.limit(), handshake(stream, front)) => shaken,
            () = self.pulse.closed() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream, router, closing).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no TLS with a reader"),
            Err(_) => tracing::debug!(peer = %self.peer, "a handshake took too long"),
        }
    }

    async fn speak(
        self,
        (stream, words): (Box<dyn Stream>, Words),
        router: Router,
        mut closing: watch::Receiver<Closing>,
    ) {
        let (peer, health_only, limit) = (self.peer, self.health_only, self.limit());
        let pulse = &self.pulse;
        let (of, phase) = (Arc::clone(pulse), closing.clone());
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (router, pulse, phase) = (router.clone(), Arc::clone(&of), phase.clone());
            async move {
                let mut response = match health_only && !health::is_asked(request.uri().path()) {
                    _ if words == Words::InClear => in_clear(&request),
                    true => no_place(),
                    false => answer(request, router, peer, &pulse).await,
                };
                if health_only || words == Words::InClear || *phase.borrow() != Closing::No {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                let _answering = pulse.answer();
                Ok::<_, Infallible>(response.map(|body| Watched { body, _answering }))
            }
        });
        let stream = Paced::new(stream, Arc::clone(pulse), limit);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limit)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let idle = async {
            let _ = closing.wait_for(|c| *c == Closing::Idle).await;
        };
        let served = tokio::select! {
            served = &mut connection => served,
            () = pulse.closed() => return,
            () = idle => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "stats connection ended");
        }
    }
}

/// A connection in clear or over TLS. One type, so that all behind it is compiled once.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a reader speaks where TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// As is asked for.
    Asked,
    /// HTTP in clear: it is told so.
    InClear,
}

/// Answers a reader's first words over TLS; one that speaks HTTP in clear is left to be told so.
/// Errors: as the reader's words deserve.
async fn handshake(stream: TcpStream, front: &Front) -> io::Result<(Box<dyn Stream>, Words)> {
    let mut first = [0];
    // A handshake begins with a byte that is no letter.
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        return Ok((Box::new(stream), Words::InClear));
    }
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let begun = (&mut acceptor).await?;
    let Some(shown) = front.answer(&begun.client_hello()) else {
        return Err(io::Error::other(
            "no certificate for the name that it asks for",
        ));
    };
    let stream = begun.into_stream(shown.config).await?;
    Ok((Box::new(stream), Words::Asked))
}

/// Said to whoever speaks HTTP in clear where TLS is spoken: the address to use instead.
fn in_clear(request: &Request<Incoming>) -> Response {
    let host = guard::text(request.headers(), HOST).unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    let cure = match !host.is_empty() && host.bytes().all(is_plain) {
        true => format!("use https://{host}/ instead."),
        false => "use https:// instead of http://.".to_owned(),
    };
    let text = format!("This port speaks HTTPS, and the request came in clear: {cure}\n");
    (StatusCode::BAD_REQUEST, text).into_response()
}

/// Reads the body, which is small or refused, and has the request answered.
async fn answer(
    request: Request<Incoming>,
    router: Router,
    peer: SocketAddr,
    pulse: &Arc<Pulse>,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, BUFFER).collect();
    let body = match tokio::time::timeout(SLOW, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let detail = "A body is a small form or a small JSON document.";
            return problem::response(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail);
        }
        Err(_) => {
            let detail = "The body did not come in time.";
            return problem::response(StatusCode::REQUEST_TIMEOUT, "Too slow", detail);
        }
    };
    let _answering = pulse.answer();
    parts.extensions.insert(Peer(peer));
    parts.extensions.insert(Arc::clone(pulse));
    let answered = router.oneshot(Request::from_parts(parts, Body::from(body)));
    answered.await.unwrap_or_else(|never| match never {})
}

/// Said to whoever asks for more than health where only that is answered.
fn no_place() -> Response {
    let detail = "All connections are taken; ask again. Health is answered all the same.";
    problem::response(
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many connections",
        detail,
    )
}

/// A body that knows when it has been handed over.
struct Watched {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
