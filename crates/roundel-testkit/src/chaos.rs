//! Servers that die, pause, leave and come back under a constant load, and what came of it.
//!
//! A [`Fleet`] is one proxy with servers of its own, each a child process that writes every
//! request it receives into a file. [`Fleet::run`] plays a [`Plan`] on it beside an open-loop
//! load and gives a [`Report`]. The plan comes from a seed, so that several proxies live through
//! the same. Only `proxies` knows which proxy it is.

mod fleet;
mod load;
mod plan;
mod proxies;
mod report;
mod server;

pub use fleet::{Fleet, Member, Proxy};
pub use plan::{Act, Plan};
pub use proxies::{haproxy, roundel};
pub use report::Report;
pub use server::serve;

use std::time::Duration;

/// Requests that wait on a paused server fail when the proxy's time for it is up: not later ones.
pub const PAUSE_NOTICED: Duration = Duration::from_secs(3);
