//! One server, as a source describes it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

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

/// A share of traffic, 0 to 256 (HAProxy's range).
///
/// Zero takes no new clients and keeps the sticky ones, whatever else was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

/// A weight outside 0 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightError(pub u64);

impl Weight {
    /// The weight of a server of which nothing else was said.
    pub const ONE: Self = Self(1);
    /// The greatest weight.
    pub const MAX: u16 = 256;

    /// Makes a weight of 0 to 256. Errors: anything else.
    pub fn new(value: u64) -> Result<Self, WeightError> {
        u16::try_from(value)
            .ok()
            .filter(|v| *v <= Self::MAX)
            .map(Self)
            .ok_or(WeightError(value))
    }

    /// The weight as a number.
    pub fn get(self) -> u16 {
        self.0
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
        write!(f, "{} is not a weight; use 0 to {}", self.0, Weight::MAX)
    }
}

impl std::error::Error for WeightError {}

/// A weight as an operator writes it: `100`, or `50%` of what its source gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightOrder {
    /// A weight.
    Absolute(Weight),
    /// Per cent of the weight that its source gave it; what is beyond 256 counts as 256.
    Percent(u16),
}

/// Says why a text is no weight, in HAProxy's sentences, since scripts read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightOrderError {
    /// Nothing was given.
    Missing,
    /// It does not begin with a number.
    NoNumber,
    /// Something follows the number.
    Garbage,
    /// A number outside 0 to 256.
    Absolute,
    /// A percentage below zero.
    Relative,
}

impl WeightOrder {
    /// The greatest percentage that makes a difference.
    const MOST: i64 = 25_600;

    /// Whether it says that no new clients come.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Absolute(Weight(0)) | Self::Percent(0))
    }
}

impl FromStr for WeightOrder {
    type Err = WeightOrderError;

    /// Reads `N` or `N%`. Errors: see [`WeightOrderError`]. Source: HAProxy's `set weight`.
    fn from_str(text: &str) -> Result<Self, WeightOrderError> {
        if text.is_empty() {
            return Err(WeightOrderError::Missing);
        }
        let sign = usize::from(text.starts_with(['-', '+']));
        let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(WeightOrderError::NoNumber);
        }
        let (number, rest) = text.split_at(sign + digits);
        // More digits than a number holds are too many for a weight anyway.
        let number: i64 = number.parse().unwrap_or(match number.starts_with('-') {
            true => i64::MIN,
            false => i64::MAX,
        });
        match rest {
            "" => u64::try_from(number)
                .ok()
                .and_then(|n| Weight::new(n).ok())
                .map(Self::Absolute)
                .ok_or(WeightOrderError::Absolute),
            "%" if number < 0 => Err(WeightOrderError::Relative),
            "%" => Ok(Self::Percent(number.min(Self::MOST) as u16)),
            _ => Err(WeightOrderError::Garbage),
        }
    }
}

impl fmt::Display for WeightOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(weight) => write!(f, "{weight}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for WeightOrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Require <weight> or <weight%>.",
            Self::NoNumber => "Empty weight string empty or preceded by garbage",
            Self::Garbage => "Trailing garbage in weight string",
            Self::Absolute => "Absolute weight can only be between 0 and 256 inclusive.",
            Self::Relative => "Relative weight must be positive.",
        })
    }
}

impl std::error::Error for WeightOrderError {}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_haproxy_reads_them() {
        use WeightOrderError::{Absolute, Garbage, Missing, NoNumber, Relative};
        let absolute = |n| Ok(WeightOrder::Absolute(Weight::new(n).unwrap()));
        for (text, expected) in [
            ("0", absolute(0)),
            ("256", absolute(256)),
            ("257", Err(Absolute)),
            ("-1", Err(Absolute)),
            ("99999999999999999999", Err(Absolute)),
            ("0%", Ok(WeightOrder::Percent(0))),
            ("150%", Ok(WeightOrder::Percent(150))),
            ("99999%", Ok(WeightOrder::Percent(25_600))),
            ("-5%", Err(Relative)),
            ("", Err(Missing)),
            ("x", Err(NoNumber)),
            ("-", Err(NoNumber)),
            ("5x", Err(Garbage)),
            ("5%%", Err(Garbage)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }
}
