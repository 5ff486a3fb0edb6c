//! roundel-discovery.
