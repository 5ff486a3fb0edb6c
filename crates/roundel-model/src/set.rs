//! A backend's servers at one moment.

use crate::{Name, Server};

/// Counts published backend sets; greater is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The whole set of servers of one backend, as its sources see it.
///
/// Shape: server names are unique; order is the order of rotation and of every table.
/// An empty set is a statement ("no servers"), not an absence of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSet {
    /// The backend it belongs to.
    pub backend: Name,
    /// Grows by one with each set that differs from the one before.
    pub generation: Generation,
    /// The servers.
    pub servers: Vec<Server>,
}
