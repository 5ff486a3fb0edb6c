//! Clusters of gossip nodes in memory: thousands of real cores through the real codec, one heap
//! of events, one clock, one seed.
//!
//! Owns: the network between the nodes (loss, one-way loss, delay, duplication, reordering,
//! partition), what befalls nodes (crash, restart, slowness, clocks that run apart), and the count
//! of what they send. Does not own: any rule of the protocol, and any verdict on what happened.
//! It is used by tests and benchmarks only.
//!
//! Start at [`World`]: add nodes, let them join, let time pass, look at `peers`.
//!
//! Invariants: the same seed and calls give the same run; every packet fits and is plain to the
//! strictest receiver ([`World::strict`] panics otherwise).

mod clock;
mod link;
mod streams;
mod world;

pub use clock::Clock;
pub use link::Link;
pub use world::{Listener, Peer, World};
