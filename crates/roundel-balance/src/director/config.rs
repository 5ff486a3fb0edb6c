//! What a director is told by the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use roundel_model::Name;

use crate::{CheckSpec, OutlierSpec};

/// What a director needs to know beyond the servers. Changes with a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorConfig {
    /// How servers are probed.
    pub check: CheckSpec,
    /// The longest a leaving server waits for its requests in flight. Default 8 s.
    pub drain_timeout: Duration,
    /// The time over which a server that begins to serve reaches its weight; zero (the default)
    /// gives it the whole weight at once.
    pub slow_start: Duration,
    /// When passive errors put a server out.
    pub outlier: OutlierSpec,
    /// The most requests in flight on one server; 0 (the default) for any number.
    pub maxconn: u32,
    /// The same for some of the servers, by name.
    pub maxconns: BTreeMap<Name, u32>,
    /// The most servers of each kind of source that finds them; what the operator names has no
    /// bound. Default 1,000.
    pub max_servers: usize,
    /// Whether anybody may announce servers by gossip: then no weight counts that is above those of
    /// the servers that have passed their checks for a minute.
    pub open_gossip: bool,
}

impl Default for DirectorConfig {
    fn default() -> Self {
        Self {
            check: CheckSpec::default(),
            drain_timeout: Duration::from_secs(8),
            slow_start: Duration::ZERO,
            outlier: OutlierSpec::default(),
            maxconn: 0,
            maxconns: BTreeMap::new(),
            max_servers: 1_000,
            open_gossip: false,
        }
    }
}
