//! roundel-balance.
