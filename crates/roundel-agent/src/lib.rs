//! A server's side of the cluster: joins when the app is ready, runs it, drains before it ends.
//!
//! Owns: waiting for the app's port, what the member announces about it, the app as a child of
//! process 1 (signals, orphans, exit code), and the order of things at the end. Does not own:
//! the gossip protocol (`roundel-gossip-tokio`), and knows nothing of balancing or proxying.
//!
//! Start at [`run`].
//!
//! Invariants: the member is announced only after the app's port accepts; the app is asked to end
//! only after every balancer has said that it has nothing left there, or after the leave was
//! announced and the app's connections have ended, or at the deadline; the app is never ended because of gossip; every
//! child that is handed to us by the kernel is reaped, and only then.

mod app;
mod config;
mod connections;
mod drain;
mod handshake;
mod life;
mod membership;
mod port;
mod signals;

pub use config::{AgentError, Config};
pub use life::run;
