//! What strangers may take of the admin side, and what was refused for it.

use std::sync::Arc;
use std::time::Duration;

use crate::memory::Memory;
use crate::places::Places;
use crate::status::Bound;

/// What a connection may have of a request's head, and of its body.
pub(crate) const BUFFER: usize = 16 * 1024;

/// A connection whose client has been waited for so long may be closed for another.
const PATIENCE: Duration = Duration::from_secs(1);

/// The numbers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that all of the page's port may take: what is rendered, and the connections' buffers.
    pub memory: usize,
    /// Connections to the page's port at a time.
    pub connections: usize,
    /// Those from one address, or one network of 64 bits of IP version 6.
    pub connections_per_address: usize,
    /// Connections beside them that are answered about health only.
    pub health_connections: usize,
    /// Viewers of `/events` at a time.
    pub viewers: usize,
    /// Connections to a listener of the runtime API at a time.
    pub cli_connections: usize,
    /// Those from one address.
    pub cli_connections_per_address: usize,
}

/// What is taken at the moment; shared by the admin side and who shows it.
#[derive(Debug)]
pub struct Bounds {
    limits: Limits,
    pub(crate) connections: Arc<Places>,
    pub(crate) health: Arc<Places>,
    pub(crate) viewers: Arc<Places>,
    pub(crate) cli: Arc<Places>,
    pub(crate) memory: Arc<Memory>,
}

impl Bounds {
    /// Nothing is taken yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        let l = &limits;
        let buffers = (l.connections + l.health_connections) * 2 * BUFFER;
        Arc::new(Self {
            connections: Places::new(l.connections, l.connections_per_address, PATIENCE),
            health: Places::new(l.health_connections, l.health_connections, Duration::ZERO),
            viewers: Places::new(l.viewers, l.viewers, PATIENCE),
            cli: Places::new(l.cli_connections, l.cli_connections_per_address, PATIENCE),
            memory: Memory::new(l.memory.saturating_sub(buffers)),
            limits,
        })
    }

    /// Whether something may be rendered; readers who take nothing may be closed for it.
    pub(crate) async fn room(&self) -> bool {
        let free = || {
            self.connections.close_stuck(PATIENCE);
            self.cli.close_stuck(PATIENCE);
        };
        self.memory.room(free).await
    }

    /// Places of its own for a listener of the runtime API that its owner alone can reach.
    pub(crate) fn private(&self) -> Arc<Places> {
        let most = self.limits.cli_connections;
        Places::new(most, most, PATIENCE)
    }

    /// For the status.
    pub fn shown(&self) -> Vec<Bound> {
        let places = |name: &str, places: &Places| Bound {
            name: name.to_owned(),
            used: Some(places.used() as u64),
            limit: places.limit() as u64,
            hits_total: places.full(),
        };
        let of_one = |name: &str, places: &Places| Bound {
            name: name.to_owned(),
            used: Some(places.most() as u64),
            limit: places.per_address() as u64,
            hits_total: places.full_of_one(),
        };
        let buffers = (self.connections.used() + self.health.used()) * 2 * BUFFER;
        vec![
            Bound {
                name: "stats_memory".to_owned(),
                used: Some((self.memory.used() + buffers) as u64),
                limit: self.limits.memory as u64,
                hits_total: self.memory.refused(),
            },
            places("stats_connections", &self.connections),
            of_one("stats_connections_per_address", &self.connections),
            places("stats_health_connections", &self.health),
            places("stats_viewers", &self.viewers),
            places("cli_connections", &self.cli),
            of_one("cli_connections_per_address", &self.cli),
        ]
    }
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 96 << 20,
            connections: 512,
            connections_per_address: 256,
            health_connections: 64,
            viewers: 64,
            cli_connections: 64,
            cli_connections_per_address: 64,
        }
    }
}
