//! The `roundel` program as a library: all but `main`.
//!
//! Owns: the command line, the translation of the configuration into the settings of the other
//! crates, the wiring of all parts, signals and shutdown, `demo` and `toy`.
//! Does not own: any rule of the gossip protocol, of balancing or of HTTP.
//! Start at [`run`], then [`cli`] for the words and `serve` for the boot order.
//! Invariants: one task, the control task, is the only writer of every backend's state; a
//! configuration is taken over as a whole or not at all; requests never wait for anything here.

pub mod cli;

mod acme;
mod agent;
mod alarm;
mod certificates;
mod client;
mod collector;
mod control;
mod demo;
mod descriptors;
#[cfg(debug_assertions)]
mod drill;
mod env;
mod event_log;
mod handover;
mod help;
mod limits;
mod loader;
mod logging;
mod managed;
mod manager;
mod operator;
mod out;
mod proc;
mod program;
mod routes;
mod screen;
mod serve;
mod sharing;
mod signals;
mod sources;
mod table;
mod toy;
mod watch;

pub use program::run;
