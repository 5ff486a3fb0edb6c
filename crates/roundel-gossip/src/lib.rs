//! A sans-IO peer of Serf and memberlist.
//!
//! Owns: the members of a cluster, probing and suspicion (SWIM with Lifeguard), dissemination,
//! Serf's layer of intents and tags, and the wire codec. Does not own: sockets, clocks, threads;
//! it knows neither backends nor HTTP, and what members say about themselves is opaque to it.
//!
//! Start at [`Node`]: hand in what happened (`handle_*`) and the time, then take what is to be
//! done (`poll_output`) until there is nothing, then wait for input or until `poll_timeout`.
//!
//! Invariants: the same seed, inputs and times give the same outputs; nothing that a peer sends
//! makes it panic or hold more than [`Limits`] allow; nothing is passed on that it would not
//! accept itself; no datagram is longer than [`MAX_PACKET`] bytes.
//!
//! Sources: "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol"
//! (Das, Gupta, Motivala 2002); "Lifeguard: Local Health Awareness for More Accurate Failure
//! Detection" (Dadgar, Phillips, Currey 2018); the documents of Serf and memberlist.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test begins at some instant, and all instants are alike"
    )
)]

pub mod wire;

mod config;
mod event;
mod keys;
mod member;
mod node;
mod query;
mod stats;

pub use config::{Clocks, Config, ConfigError, Limits, Timings};
pub use event::{DropReason, Event};
pub use keys::{KeyAct, KeyAnswer};
pub use member::{Known, Member, Status, is_valid_name};
pub use node::{Acquaintance, Crowd, Node, Output, StreamId, network};
pub use query::{
    Answer, EXTENSION, INTERNAL, MAX_EVENT, MAX_QUERY, QueryId, QueryParams, Question, SayError,
};
pub use stats::Stats;
pub use wire::drain::{ANSWERS, DRAIN, DRAINS, DrainAnswer, DrainRequest};

/// The most bytes in one datagram, so that no path fragments it.
pub const MAX_PACKET: usize = 1200;
