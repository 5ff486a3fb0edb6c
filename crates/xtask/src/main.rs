//! Chores of this repository.
//!
//! `cargo xtask ci` runs what a change must pass on any machine with Rust: format, clippy, tests,
//! docs, example configurations. `cargo xtask containers` builds the image and tries it under
//! Compose; it needs a Docker engine but no registry. `.ci/run` calls both.
//!
//! `cargo xtask peers` plays the wire suite's cases on Roundel and on Debian's HAProxy and nginx
//! and writes the table of who passes what.

mod ci;
mod cluster;
mod containers;
mod image;
mod peers;
mod step;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["ci"] => ci::all(),
        ["lint"] => ci::lint(),
        ["docs"] => ci::docs(),
        ["containers"] => containers::run(),
        ["peers"] => peers::run(),
        _ => bail!("usage: cargo xtask ci|lint|docs|containers|peers"),
    }
}
