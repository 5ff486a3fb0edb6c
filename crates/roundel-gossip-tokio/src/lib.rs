//! roundel-gossip-tokio.
