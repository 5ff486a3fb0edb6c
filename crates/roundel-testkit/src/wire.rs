//! Wire-level cases against a proxy: raw bytes in, raw bytes out, on both of its sides.
//!
//! A [`Case`] is data: what a raw client does, what a scripted origin answers, and which
//! [`Outcome`]s are right. A [`Stage`] holds the lanes (addresses of the proxy under test) and
//! the origins behind them; [`Stage::run`] plays cases on a few threads and judges them. Nothing
//! here knows which proxy it is, and no code is shared with one.
//!
//! In further slots HTTP/2 is spoken on one side or both: a bridge translates what the case's peers say.
//!
//! Invariants judged in every case: what origins receive is well-formed HTTP/1, what clients
//! receive is well-formed HTTP/1, and everything ends before the case's deadline.

mod bridge;
mod case;
mod client;
mod judge;
pub mod message;
mod origin;
mod render;
mod stage;
mod way;

pub use case::{Act, Case, Ends, Lane, Level, Outcome, Saw, Step, Want};
pub use client::{Answer, Link};
pub use judge::Verdict;
pub use origin::{End, Seen, Site, echo};
pub use stage::{Pairing, Slot, Stage, Topology};
pub use way::{Shown, Way, Wire};

use std::time::Duration;

/// Time after which a case counts as hanging: long beside every timeout that cases wait for.
pub const DEADLINE: Duration = Duration::from_secs(6);
