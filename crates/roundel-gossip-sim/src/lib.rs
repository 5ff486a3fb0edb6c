//! Clusters of gossip nodes in memory: thousands of real cores through the real codec, one heap
//! of events, one clock, one seed.
//!
//! Owns: the network between the nodes (loss, one-way loss, delay, duplication, reordering,
//! partition), what befalls nodes (crash, restart, slowness, clocks that run apart), and the count
//! of what they send, and the comparison of what nodes hold with the truth. Does not own: any rule of
//! the protocol. It is used by tests and benchmarks only.
//!
//! Start at [`World`]: add nodes, let them join, let time pass, look at `peers`.
//!
//! Invariants: the same seed and calls give the same run. With [`World::strict`] every packet fits
//! and is plain to the strictest receiver, no node's clock goes back, and no queue passes its limit:
//! the world panics otherwise.

mod checks;
mod clock;
mod link;
mod streams;
mod world;

pub use checks::{Fate, sees_all_alive};
pub use clock::Clock;
pub use link::Link;
pub use world::{Listener, Peer, World};
