//! What one line of the access log says, in six formats.
//!
//! Bytes from clients and servers are escaped so that no line can be forged or broken.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ending::{Phase, Term};

mod haproxy;
mod ncsa;
mod put;
mod structured;
mod text;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// HAProxy's `option httplog`; over TLS that of `option httpslog`.
    Haproxy,
    /// The NCSA common format.
    Common,
    /// The NCSA combined format: common, referer and user agent.
    Combined,
    /// `key=value` pairs.
    Logfmt,
    /// A short line for people: when, how, what, who answered, how long it took.
    Text,
}

/// One exchange as the log tells it. Times that were not reached are `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// When the first byte of the request came, since the Unix epoch.
    pub(crate) at: Duration,
    pub(crate) frontend: &'a str,
    pub(crate) backend: &'a str,
    /// Empty when no server was reached.
    pub(crate) server: &'a str,
    /// Whoever is connected.
    pub(crate) peer: SocketAddr,
    /// The client that trusted proxies name, where that is not the peer.
    pub(crate) named: Option<IpAddr>,
    pub(crate) method: &'a [u8],
    pub(crate) host: &'a [u8],
    /// The request target, query included.
    pub(crate) target: &'a [u8],
    pub(crate) proto: &'static str,
    /// The status sent to the client; 0 when none was.
    pub(crate) status: u16,
    /// How a gRPC call ended.
    pub(crate) grpc_status: Option<u32>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// From the first byte of the request to the end.
    pub(crate) total: Duration,
    /// From the first byte of the request to its whole head.
    pub(crate) wait: Option<Duration>,
    /// Waiting for a place, and attempts that came to nothing.
    pub(crate) queue: Option<Duration>,
    /// Its places in the queues of the server and of the backend, from 1; 0 without a wait.
    pub(crate) queue_place: (u32, u32),
    /// Connecting; zero for a connection opened earlier.
    pub(crate) connect: Option<Duration>,
    /// From the request sent to the head of the answer.
    pub(crate) first: Option<Duration>,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    /// The verdict on the sticky cookie: `none`, `valid`, `down`, …
    pub(crate) sticky: &'static str,
    /// HAProxy's third and fourth letter: cookie seen, cookie set.
    pub(crate) sticky_letters: [u8; 2],
    pub(crate) term: Term,
    pub(crate) phase: Phase,
    /// Open connections: of the frontend on this worker, and of the server.
    pub(crate) connections: (u64, u64),
    pub(crate) user_agent: &'a [u8],
    pub(crate) referer: &'a [u8],
    /// Empty when there is none.
    pub(crate) request_id: &'a [u8],
    /// Empty when there is none.
    pub(crate) trace_id: &'a [u8],
    /// The generation of the backend set that was read last.
    pub(crate) set_version: u64,
    /// How the client's connection is encrypted, where it is.
    pub(crate) tls: Option<Encryption<'a>>,
}

/// How a client's connection is encrypted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encryption<'a> {
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
    /// The name that the client asked for; empty when it named none.
    pub(crate) name: &'a [u8],
    pub(crate) resumed: bool,
    /// Subject and fingerprint of the client's certificate, which was verified.
    pub(crate) client: Option<(&'a str, &'a str)>,
}

/// Appends one line, newline included.
pub(crate) fn write(format: LogFormat, record: &Record<'_>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => structured::json(record, out),
        LogFormat::Haproxy => haproxy::write(record, out),
        LogFormat::Common => ncsa::write(record, out, false),
        LogFormat::Combined => ncsa::write(record, out, true),
        LogFormat::Logfmt => structured::logfmt(record, out),
        LogFormat::Text => text::write(record, out),
    }
    out.push(b'\n');
}

/// HAProxy's four letters of an end.
fn letters(r: &Record<'_>) -> [u8; 4] {
    let [cause, phase] = r.term.letters(r.phase);
    let [seen, set] = r.sticky_letters;
    [cause, phase, seen, set]
}

#[cfg(test)]
pub(super) fn sample() -> Record<'static> {
    Record {
        at: Duration::new(1_234_567_890, 655_123_000),
        frontend: "localnodes",
        backend: "nodes",
        server: "webapp-1",
        peer: SocketAddr::from(([192, 0, 2, 7], 4711)),
        named: None,
        method: b"GET",
        host: b"example.org",
        target: b"/a?b=c",
        proto: "HTTP/1.1",
        status: 200,
        grpc_status: None,
        request_bytes: 80,
        response_bytes: 2750,
        total: Duration::from_millis(44),
        wait: Some(Duration::from_millis(1)),
        queue: Some(Duration::ZERO),
        queue_place: (0, 0),
        connect: Some(Duration::from_millis(3)),
        first: Some(Duration::from_millis(30)),
        retries: 0,
        redispatched: false,
        sticky: "none",
        sticky_letters: *b"NI",
        term: Term::Ok,
        phase: Phase::Last,
        connections: (5, 2),
        user_agent: b"curl/8",
        referer: b"",
        request_id: b"",
        trace_id: b"",
        set_version: 9,
        tls: None,
    }
}

#[cfg(test)]
mod tests;
