//! What strangers may take of the parts that the binary puts together.

use std::sync::Arc;

use roundel_admin::{Bounds, Limits};
use roundel_config::bounds;

use crate::descriptors;

/// Of the admin side, with so many bytes for what it renders.
pub(crate) fn admin(memory: u64) -> Arc<Bounds> {
    // A small part of the descriptors: whoever floods the page must not starve the rest.
    let connections = (descriptors::limit() / 8).min(bounds::STATS_CONNECTIONS as u64) as usize;
    Bounds::new(Limits {
        memory: memory as usize,
        connections,
        connections_per_address: bounds::STATS_CONNECTIONS_PER_ADDRESS.min(connections),
        health_connections: bounds::STATS_HEALTH_CONNECTIONS,
        viewers: bounds::STATS_VIEWERS,
        cli_connections: bounds::CLI_CONNECTIONS,
        cli_connections_per_address: bounds::CLI_CONNECTIONS_PER_ADDRESS,
    })
}
