//! Fake backends, fixtures and helpers that only tests use.
//!
//! Owns: child processes that never outlive their test, waiting on a condition with a deadline,
//! a blocking HTTP/1 client and origin and a WebSocket server that share no code with the product, a light load
//! generator, free loopback addresses, scripted cases on the wire ([`wire`]), and servers that die
//! under load ([`chaos`]). Does not own: any product logic; a helper that needs
//! a Roundel crate belongs beside that crate's tests.
//!
//! Start with [`Process`] and [`wait_for`].
//!
//! Invariants: everything binds to loopback or to a [`Lan`] of its own; nothing sleeps a fixed time and hopes; whatever is
//! started here is ended on drop, by its own process id.

pub mod chaos;
mod dice;
mod http;
mod lan;
mod load;
mod network;
mod origin;
mod pebble;
mod process;
mod town;
mod wait;
mod websocket;
pub mod wire;

pub use dice::{Dice, hash};
pub use http::{Connection, Response, get, request};
pub use lan::{Host, Lan};
pub use load::{Load, LoadReport, Reuse};
pub use network::{free_address, free_port, loopback};
pub use origin::{Origin, Received, Reply};
pub use pebble::Pebble;
pub use process::{Process, Signal, descendants, send_signal, wait_gone};
pub use town::{Client, Shown, Town, Townsman};
pub use wait::{poll, wait_for};
pub use websocket::{SocketServer, websocket_accept};

use std::io::Write as _;
use std::path::PathBuf;

/// Finds an external program that a test needs, or says loudly that the test is skipped.
///
/// Panics instead of skipping when `ROUNDEL_REQUIRE_EXTERNALS=1`, so that a gate cannot pass
/// by leaving tests out. `package` is the Debian package that brings `program`.
pub fn external(program: &str, package: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&paths)
        .chain(sbin)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(&format!(
            "needs `{program}`; install the Debian package `{package}`"
        ));
    }
    found
}

/// Says loudly that a test is skipped, and why; panics when `ROUNDEL_REQUIRE_EXTERNALS=1`.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("ROUNDEL_REQUIRE_EXTERNALS").is_none_or(|v| v != "1"),
        "SKIPPED: {why}"
    );
    // Not `eprintln!`: the test runner hides what passing tests print that way.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
