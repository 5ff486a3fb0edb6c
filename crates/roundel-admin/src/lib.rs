//! Port 1936 and the runtime API: the page, SSE, JSON, CSV, metrics, health, operator acts.
//!
//! Owns: how one [`status::Snapshot`] a second is shown to people and programs, the history
//! kept of it, and how an operator's act is parsed, guarded and handed on as a
//! [`command::Command`].
//! Does not own: where the numbers come from, who decides on a server's state, how an act is
//! carried out. It never sees a balancer, a gossip node or a proxy.
//! Start at [`Admin`], then [`status`]. Invariants: every view of one sequence number shows
//! the same numbers, because all read one [`status::Snapshot`]; no text from the network
//! reaches an output unescaped; acts are refused unless they were turned on.

pub mod cli;
pub mod command;
pub mod status;

mod acts;
mod admin;
mod answers;
mod api;
mod bounds;
mod csv;
mod door;
#[cfg(test)]
mod fixture;
mod form;
mod guard;
mod guesses;
mod health;
mod history;
mod json;
mod memory;
mod metrics;
mod moment;
mod page;
mod places;
mod problem;
mod pulse;
mod routes;
mod serve;
mod sse;

pub use admin::{Acts, Admin, Config};
pub use bounds::{Bounds, Limits};
pub use door::{Read, Users, UsersError};
pub use history::{
    BackendRates, FrontendRates, Means, Rates, ServerRates, ServersRates, TotalRates,
};
pub use serve::serve;
