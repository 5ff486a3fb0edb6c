//! What strangers can make the process keep.

use serde::{Deserialize, Serialize};

/// One bound on what strangers can make the process keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bound {
    /// Of what, such as `gossip_streams`.
    pub name: String,
    /// How much of it is kept now; `None` where nobody counts.
    pub used: Option<u64>,
    /// The most that may be kept.
    pub limit: u64,
    /// How often something was refused for it.
    pub hits_total: u64,
}
