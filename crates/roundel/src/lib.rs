//! The `roundel` program as a library, so that tests can run its parts in their own process.
//!
//! Owns: the command line, the configuration file and its translation into the settings of
//! the other crates, the wiring of all parts, signals and shutdown, `demo` and `toy`.
//! Does not own: any rule of the gossip protocol, of balancing or of HTTP.
//! Start at [`run`], then [`cli`] for the words and `serve` for the boot order.
//! Invariants: one task, the control task, is the only writer of every backend's state; a
//! configuration is taken over as a whole or not at all; nothing is read from the environment
//! after start.

pub mod cli;
pub mod config;
pub mod value;

mod env;
mod host;
mod logging;
mod program;
mod signals;
mod toy;

pub use program::run;
