//! What a balancer is told: by a TOML file, by flags, by variables.
//!
//! Owns: the words of the file and of the flags that say the same, their defaults, every message
//! about a mistake, which of several values wins, and how all that is shown.
//! Does not own: what the values do; that is in the crates whose types they become.
//! Start at [`load`]. `reader` walks the parsed file and collects every problem with its place;
//! `file` has the tables, with each key described once (`key`, `kind`); `resolve` lets flags and
//! variables win over the file and the file over defaults, and checks what only makes sense
//! together. Of the descriptions are made the text of a file (`write`), the example with every key
//! (`reference`) and the schema for editors (`schema`).
//! A key is added by a field and a `key!` in its table, and where its value goes: a field of the
//! settings and a line in `resolve`. `UPDATE=1 cargo test -p roundel-config --test generated` then
//! writes `config/reference.toml` and the schema anew. What reads another notation (`convert`) makes a
//! [`File`] and prints it.
//! Invariants: all mistakes of a file are reported at once, each with its place; no secret is shown.

pub mod bounds;
pub mod flags;
pub mod host;
pub mod list;
pub mod value;

mod effective;
mod file;
mod given;
mod interpolate;
mod json;
mod key;
mod kind;
mod problem;
mod reader;
mod reference;
mod resolve;
mod schema;
mod settings;
mod source;
mod state;
mod write;

pub use effective::Effective;
pub use file::File;
pub use given::Given;
pub use problem::{Problem, Problems};
pub use reference::reference;
pub use resolve::{LoadError, load, read_key, read_text};
pub use schema::schema;
pub use settings::*;
pub use source::Source;

#[cfg(test)]
mod tests;
