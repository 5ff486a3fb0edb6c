//! The client's side of an exchange, by protocol.

pub(crate) mod h1;
pub(crate) mod h2;
