//! What balancers alone tell one another: a small replicated store on streams of their own.
//!
//! Owns: the store and how two of them become one, who of the balancers leads in a matter, who has
//! confirmed what, the streams between balancers and the proof that each end makes.
//! Does not own: who the other balancers are and where (the gossip tells, and is not believed
//! without the proof), what the entries mean (certificates, keys of tickets), the configuration's
//! syntax.
//! Start at [`Cluster`]. `store`, `peers` and `wire` are rules without I/O and clock, `identity` is the
//! proof, `link` one stream, `node` what dials and accepts.
//!
//! Invariants:
//! - Nothing is told to, or taken from, an end that has not proven within the handshake that it holds
//!   the cluster's key.
//! - Two stores that were told the same are the same, in whatever order they were told.
//! - What a balancer has put before it took another's change reaches that one before the
//!   confirmation of the change does. So when all live balancers have confirmed an entry, whoever
//!   put it has seen what they had put meanwhile, and all agree on the one that stays.
//! - Nobody waits for a member that has not proven itself longer than a grace of 5 s (`peers::GRACE`).

mod cluster;
mod identity;
mod limits;
mod link;
mod node;
mod peers;
mod store;
mod turns;
mod wire;

pub use cluster::{Balancer, Cluster, Effect, Lead, Neighbours, PutError, Sharing};
pub use identity::{Identity, KEY};
pub use limits::{ENTRIES, NAME, TOTAL, VALUE};
