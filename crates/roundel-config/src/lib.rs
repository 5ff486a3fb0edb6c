//! What a balancer is told: by a TOML file, by flags, by variables.
//!
//! Owns: the words of the file and of the flags that say the same, their defaults, every message
//! about a mistake, which of several values wins, and how all that is shown.
//! Does not own: what the values do; that is in the crates whose types they become.
//! Start at [`load`]. `reader` walks the parsed file and collects every problem with its place;
//! `file` holds what the file says, typed and with spans; `resolve` merges flag over variable over
//! file over default and checks what only makes sense together; `print` shows the result.
//! Invariants: all mistakes of a file are reported at once, each with its place; no secret is shown.

pub mod flags;
pub mod host;
pub mod list;
pub mod value;

mod file;
mod given;
mod interpolate;
mod json;
mod print;
mod problem;
mod reader;
mod resolve;
mod settings;
mod source;
mod state;

pub use given::Given;
pub use problem::{Problem, Problems};
pub use resolve::{LoadError, load, read_key, read_text};
pub use settings::*;
pub use source::Source;

#[cfg(test)]
mod tests;
