//! roundel-proxy.
