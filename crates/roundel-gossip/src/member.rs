//! Members of the cluster as this node sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// Describes one member: who it is, where it is, what it says about itself.
///
/// Shape: names and tags come from the network; a name here has passed [`is_valid_name`], tags
/// are any text of at most 512 bytes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name, unique in the cluster.
    pub name: String,
    /// Where the member takes gossip. IPv4-mapped addresses are held as IPv4.
    pub address: SocketAddr,
    /// What the member says about itself, such as `role=backend`.
    pub tags: BTreeMap<String, String>,
    /// The cluster's verdict.
    pub status: Status,
    /// Whether somebody suspects it to have failed. Always false unless alive or leaving.
    pub suspect: bool,
    /// The member's own version counter: only the member itself raises it.
    pub incarnation: u32,
    /// Protocol versions: PMin, PMax, PCur, DMin, DMax, DCur.
    pub versions: [u8; 6],
    /// When `status` last changed here.
    pub since: Instant,
    /// How `status` is known.
    pub known: Known,
}

/// Says how a member's status is known, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// The member said so itself, from its own address.
    Itself,
    /// The member was asked, and answered so or not at all.
    Asked,
    /// Others say so, and the member was not asked: it was never heard from, or not for long.
    Hearsay,
}

/// Says what the cluster holds of a member, in Serf's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It answers.
    Alive,
    /// It has announced that it leaves and still answers.
    Leaving,
    /// It has left as announced.
    Left,
    /// It stopped answering without a word.
    Failed,
}

impl Status {
    /// The lower-case word that `serf members` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Tells whether `name` is 1 to 128 characters out of `[A-Za-z0-9._:-]`.
///
/// Anything else from the network is refused, so that a member's name can be shown in a page,
/// a log line or a metric label as it is.
pub fn is_valid_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited_to_the_safe_alphabet() {
        for good in ["a", "web-1.lab:9_x", &"x".repeat(128)] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "a b", "a\n", "<b>", "é", "a/b", &"x".repeat(129)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
