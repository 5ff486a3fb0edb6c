//! Where servers come from: the sources, and the aggregator that makes one set of them.
//!
//! Owns: static lists, watched files and directories, DNS, the reading of gossip members; the
//! merging of several sources of one backend.
//! Does not own: what becomes of a server (`roundel-balance` decides), the gossip itself
//! (`roundel-gossip-tokio`), HTTP, the configuration's syntax.
//! Start at [`start`], which runs all sources of one backend, and at [`Aggregator`].
//!
//! Invariants:
//! - A source always says its whole set; losing or repeating one update does no harm.
//! - A source that fails keeps its last good set in force; an explicit empty set is honoured.
//! - Nothing from a file or from the network becomes a name without passing
//!   [`roundel_model::Name`]; what is refused is logged once, not each time it is seen.
//! - A set equal to the one before is not sent.

mod aggregator;
mod claims;
mod dns;
mod file;
mod gossip;
mod line;
mod notices;
mod own;
mod run;
mod source;
mod special;

pub use aggregator::{Aggregator, Clash};
pub use dns::DnsConfig;
pub use gossip::{AddrTag, GossipConfig};
pub use own::Own;
pub use run::{Config, Discovery, Gossip, start};
pub use source::{SourceConfig, SourceState, SourceUpdate};
pub use special::Permitted;
