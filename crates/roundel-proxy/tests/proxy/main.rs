//! The proxy from outside: raw clients, raw servers, real sockets on loopback.

// Every function here is part of a test, which is where unwrap belongs.
#![allow(clippy::unwrap_used)]

mod bodies;
mod connections;
mod costs;
mod cuts;
mod frames;
mod http2;
mod http2_memory;
mod ladder;
mod lifecycle;
mod lingering;
mod logins;
mod policy;
mod refusals;
mod reuse;
mod rewriting;
mod servers;
mod splice;
mod stage;
mod waiting;
mod websocket;
