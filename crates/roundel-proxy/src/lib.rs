//! The data path: worker threads, listeners, the exchange, upstream pools, access log.
//!
//! Owns: everything that touches a client's or a server's connection once the program runs.
//! Does not own: which servers exist or serve (`roundel-balance` decides, fed by the control
//! side), the grammar of HTTP/1 (`roundel-http1`), the configuration's syntax.
//! Start at [`start`] and [`Proxy`]; inside, at `exchange.rs`, which is one request.
//!
//! Invariants:
//! - Workers never wait for the control side. What a request of a backend with room writes to
//!   shared memory is the rotation's cursor, the in-flight count of its server and the retry
//!   budget; places for connections, limits of rate, connections that workers pass to each other
//!   and the queue of a full backend are shared too, where they are used.
//! - What cannot be finished is broken off visibly, never ended as if it were whole.
//! - A connection, on either side, is used again only if request and answer both ended exactly
//!   where their framing said.
//! - Memory per connection is bounded: a fixed number of blocks while a request lives, none
//!   while idle. A pipe is held only while there is something in it.

mod accept;
mod answer;
mod blocks;
mod body;
mod bonds;
mod budget;
pub mod check;
mod complaints;
mod config;
mod connect;
mod connection;
mod control;
mod counters;
mod date;
mod deadline;
mod downstream;
mod ending;
mod ends;
mod error;
mod exchange;
mod handle;
mod headers;
mod http2;
mod key;
mod lent;
mod linger;
mod lingering;
mod listener;
mod listening;
mod log;
mod maxconn;
mod memory;
mod pages;
mod peer;
mod pool;
mod proxy_header;
mod rate;
mod retry;
mod route;
mod rules;
mod scene;
mod search;
mod secured;
mod shared;
mod shortage;
mod sides;
mod splice;
#[cfg(test)]
mod stand;
mod status;
mod sticky;
mod store;
mod story;
mod transport;
mod tunnel;
mod turns;
mod upstream;
mod vacancies;
mod websocket;
mod worker;

pub use config::{
    Backend, ClientTimeouts, Config, Frontend, HashOn, Limits, Listen, Proto, Reuse, Route,
    RouteTimeouts, Routes, SendProxy, ServerTimeouts, Sticky, Target,
};
pub use counters::{
    FrontendCounters, GRPC_CODES, HandshakeError, Http2Excess, METHODS, RequestError, TLS_VERSIONS,
};
pub use ends::WorkerEnds;
pub use error::StartError;
pub use handle::{Proxy, start, start_held};
pub use headers::Marks;
pub use headers::rules::{HeaderRule, HeaderRules, Place, Template};
pub use listener::{covers, listen_beside};
pub use log::{AccessLog, LineWriter, LogFormat};
pub use pages::{ErrorPages, Page};
pub use rate::{Limiter, RateLimit};
pub use roundel_http1::proxy_protocol::Version as ProxyVersion;
pub use route::host::HostPattern;
pub use route::redirect::{NewPath, Redirect};
pub use status::{FrontendStatus, MemoryStatus, PipeStatus};
