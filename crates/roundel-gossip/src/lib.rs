//! roundel-gossip.
