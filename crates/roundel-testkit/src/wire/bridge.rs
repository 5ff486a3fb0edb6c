//! The same cases over HTTP/2: a translator on either side of the proxy under test.
//!
//! Clients and servers of a case go on speaking HTTP/1. In front of the proxy a bridge takes their
//! requests and asks the proxy by HTTP/2; behind it another one is an HTTP/2 server that asks the scripted
//! origin. The `h2` crate is the other end of the proxy on both.
//!
//! What a peer says and HTTP/2 cannot say (bytes that are no message, fields of the connection) makes
//! the case one of HTTP/1 only: it is skipped with the reason. Only what a case's own peers say can do
//! that, and never what the proxy says.

mod back;
mod front;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

use super::message::Message;
use super::origin::{Shared, reset};

/// What a bridge does with a connection: its far end and the case that is played.
#[derive(Clone)]
struct Span {
    to: SocketAddr,
    shared: Arc<Shared>,
    round: u64,
}

impl Span {
    /// The case makes no sense over HTTP/2.
    fn skip(&self, why: impl Into<String>) {
        self.shared.skip(self.round, why.into());
    }
}

/// A thread in which bridges run.
#[derive(Debug, Clone)]
pub(super) struct Bridges {
    runtime: Handle,
}

impl Bridges {
    /// Starts the thread, which lives as long as the process.
    pub(super) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self { runtime: handle }
    }

    /// Takes HTTP/1 and asks `to` by HTTP/2; gives where it listens.
    pub(super) fn front(&self, to: SocketAddr, shared: &Arc<Shared>) -> SocketAddr {
        self.listen(to, shared, front::serve)
    }

    /// Takes HTTP/2 and asks `to` by HTTP/1; gives where it listens.
    pub(super) fn back(&self, to: SocketAddr, shared: &Arc<Shared>) -> SocketAddr {
        self.listen(to, shared, back::serve)
    }

    fn listen<F>(
        &self,
        to: SocketAddr,
        shared: &Arc<Shared>,
        serve: impl Fn(TcpStream, Span) -> F + Send + 'static,
    ) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::clone(shared);
        self.runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a runtime");
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let round = shared.round();
                let shared = Arc::clone(&shared);
                tokio::spawn(serve(stream, Span { to, shared, round }));
            }
        });
        address
    }
}

/// Fields of one connection, which HTTP/2 has no place for.
const OF_CONNECTION: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "upgrade"];

/// The fields of a message but for those that HTTP/2 says in another way. Errors: why they cannot be
/// said.
fn fields(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        if OF_CONNECTION.contains(&name.as_str()) {
            return Err(format!("the field {name}"));
        }
        if name == "te" && value != "trailers" {
            return Err(format!("te: {value}"));
        }
        if name == "host" || name == "transfer-encoding" {
            continue;
        }
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("{name}: {e}"))?;
        let value = HeaderValue::from_bytes(&latin(value)).map_err(|e| format!("{name}: {e}"))?;
        map.append(key, value);
    }
    Ok(map)
}

/// Bytes that were shown as Latin-1 text.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

/// The lines of fields, with trailers or a head's.
fn lines(map: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in map {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Whether a message's body comes in chunks.
fn is_chunked(message: &Message) -> bool {
    message.first("transfer-encoding").is_some()
}

/// Lets the task of the connection write what is waiting: on this one thread it has its turn.
async fn flushed() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Ends a connection by a reset.
fn abort(stream: TcpStream) {
    if let Ok(stream) = stream.into_std() {
        reset(&stream);
    }
}
