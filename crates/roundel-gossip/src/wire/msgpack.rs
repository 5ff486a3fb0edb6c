//! Msgpack as agents speak it: the old specification, where text and bytes are one kind, `raw`.
//!
//! Writes only old markers. Reads the newer ones too (`str8`, the `bin` family, signed integers),
//! since newer agents and other programs use them.
//!
//! Source: hashicorp/go-msgpack `codec/msgpack.go` with `WriteExt` unset.

mod read;
mod write;

pub(super) use read::read_map;
pub use read::{ReadError, Reader, is_old_spec};
pub use write::Writer;

#[cfg(test)]
mod tests;
