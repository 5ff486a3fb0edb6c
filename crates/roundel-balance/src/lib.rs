//! Which server answers: backend sets behind one pointer, and who decides that a server serves.
//!
//! Owns: the immutable [`Snapshot`] that requests read, the policies that pick from it, the
//! sticky cookie's values, the live state of each server, the queue of a full backend
//! ([`Balancer::wait`]), the [`RetryBudget`], and the [`Director`] that turns sets, checks,
//! evidence, passive errors and orders into states.
//! Does not own: sockets, clocks, tokio, HTTP, or where sets come from. Probes are carried out
//! elsewhere; this crate says when one is due ([`StartCheck`]) and judges the [`CheckReport`].
//! Start at [`Balancer`] for the request side and at [`Director`] for the control side.
//!
//! Invariants:
//! - A snapshot never changes; whatever changes health, drain or weight publishes another.
//! - No rotation holds a server that takes no new traffic, so picking skips nothing but the
//!   servers already tried for the request at hand, and full ones.
//! - No limit is exceeded, not even for a moment, and a place that becomes free goes to who
//!   waited longest for it.
//! - A [`ServerId`] is never reused in one balancer, and a name keeps its [`ServerLive`] for as
//!   long as its row is shown.
//! - Each picked server has its in-flight count raised exactly once and lowered exactly once.

#![warn(clippy::iter_over_hash_type)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests need a first instant")
)]

mod balancer;
mod budget;
mod check;
mod director;
mod hash;
mod least_conn;
mod live;
mod loss;
mod maglev;
mod outlier;
mod p2c;
mod pick;
mod policy;
mod queue;
mod round_robin;
mod snapshot;
mod sticky;
mod sync;
mod turn;
mod view;

pub use balancer::{BackendConfig, Balancer, Placement};
pub use budget::RetryBudget;
pub use check::{CheckKind, CheckReport, CheckSpec, CheckStatus};
pub use director::{
    CheckState, CheckTicket, CommandError, Crowd, Director, DirectorConfig, DirectorEvent,
    DirectorOutput, Evidence, EvidenceKind, Heritage, ServerAct, ServerCommand, ServerOrders,
    ServerStatus, StartCheck,
};
pub use hash::hash_key;
pub use live::{BackendCounters, ServerCounters, ServerId, ServerLive};
pub use outlier::{EjectionCause, OutlierSpec};
pub use pick::{Pick, PickContext, PickError};
pub use policy::Policy;
pub use queue::{Grant, QueueFull, Ticket, Turn, Want};
pub use round_robin::{MAX_SCHEDULE, Rounding};
pub use snapshot::{Entry, Snapshot};
pub use sticky::{CookieValue, StickyKey, StickyVerdict};
pub use view::{Current, View};
