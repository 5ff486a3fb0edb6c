//! The proxy from outside: raw clients, raw servers, real sockets on loopback.

mod bodies;
mod connections;
mod http2;
mod lifecycle;
mod refusals;
mod rewriting;
mod servers;
mod stage;
