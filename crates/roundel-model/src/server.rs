//! One server, as a source describes it.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use crate::Name;

/// One address that answers requests, as a source describes it.
///
/// What the balancer knows about it beyond that (state, counters, checks) lives elsewhere,
/// keyed by `name`, and outlives any one description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Unique in its backend, and the key of everything that outlives a set.
    pub name: Name,
    /// Where requests go.
    pub address: SocketAddr,
    /// The share of traffic relative to the other servers.
    pub weight: Weight,
    /// Serves only while no other server is usable.
    pub backup: bool,
    /// Who said that it exists.
    pub source: SourceKind,
    /// What that source says about its life.
    pub presence: Presence,
}

/// A share of traffic, 1 to 256 (HAProxy's range without zero).
///
/// "Takes no traffic" is a state, never a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU16);

/// A weight outside 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightError(pub u64);

impl Weight {
    /// The weight of a server of which nothing else was said.
    pub const ONE: Self = Self(NonZeroU16::MIN);
    /// The greatest weight.
    pub const MAX: u16 = 256;

    /// Makes a weight of 1 to 256. Errors: anything else.
    pub fn new(value: u64) -> Result<Self, WeightError> {
        u16::try_from(value)
            .ok()
            .filter(|v| *v <= Self::MAX)
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or(WeightError(value))
    }

    /// The weight as a number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a weight; use 1 to {}", self.0, Weight::MAX)
    }
}

impl std::error::Error for WeightError {}

/// The kind of source a server came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// Written in the configuration or on the command line.
    Static,
    /// Read from a watched file or directory.
    File,
    /// Answered by DNS.
    Dns,
    /// Announced by gossip.
    Gossip,
    /// Added by an operator at run time.
    Operator,
}

impl SourceKind {
    /// The word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::File => "file",
            Self::Dns => "dns",
            Self::Gossip => "gossip",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a source says about the life of a server. Evidence, never the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It exists.
    Present,
    /// Its gossip is silent or others suspect it: reason for a check at once.
    Suspect,
    /// It announced that it leaves: no new request at all.
    Leaving,
    /// The cluster holds it for failed.
    Failed,
    /// The cluster doubts it or holds it for failed, and another member is at its address.
    Claimed,
}
