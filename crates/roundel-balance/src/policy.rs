//! The names of the balancing policies.

use std::fmt;
use std::str::FromStr;

/// How a backend chooses among its usable servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// In turn, exact and smooth for any weights.
    #[default]
    RoundRobin,
    /// The fewest requests in flight relative to the weight; ties in turn.
    LeastConn,
    /// The less loaded of two drawn at random, by latency and requests in flight.
    P2c,
    /// By the request's key on a ring of servers; a server loaded beyond 1.25 times its share
    /// (and 16 requests) passes keys on.
    Hash,
    /// By the request's key in a table of equal parts; loads are not looked at.
    Maglev,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 5] = [
        Self::RoundRobin,
        Self::LeastConn,
        Self::P2c,
        Self::Hash,
        Self::Maglev,
    ];

    /// Whether it picks by a key of the request.
    pub fn needs_key(self) -> bool {
        matches!(self, Self::Hash | Self::Maglev)
    }

    /// The word of configuration files, tables and the CSV column `algo`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::LeastConn => "leastconn",
            Self::P2c => "p2c",
            Self::Hash => "hash",
            Self::Maglev => "maglev",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or(())
    }
}
