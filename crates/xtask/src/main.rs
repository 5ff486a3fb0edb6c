//! Chores of this repository.
//!
//! `cargo xtask ci` runs what a change must pass on any machine with Rust: format, clippy, tests,
//! docs, example configurations. `cargo xtask containers` builds the image and tries it under
//! Compose and on an overlay network (`cargo xtask overlay IMAGE` does the latter alone); it needs a
//! Docker engine but no registry. `.ci/run` calls both.
//!
//! `cargo xtask peers` plays the wire suite's cases on Roundel and on Debian's HAProxy and nginx
//! and writes the table of who passes what.
//!
//! `cargo xtask chaos --peer haproxy` kills, pauses and restarts servers under load before Roundel
//! and before Debian's HAProxy, and prints what each lost. `cargo xtask soak` measures memory after a
//! million requests, a hundred thousand connections, a thousand changes, and floods; `--churn 10` looks
//! for ten minutes whether a request is lost while 150 agents come and go.
//!
//! `cargo xtask attack` does to a balancer what strangers on its network can do, while a polite client
//! asks, and says what it came to; `--short` is the form for the gate.
//!
//! `cargo xtask certificates` has three balancers order and renew of Debian's Pebble, kills the one that orders at
//! each step, and says how many orders that took; `--runs N` of them.
//!
//! `cargo xtask loom` goes through every order of events at the queue of a full backend; `cargo xtask fuzz`
//! runs each fuzz target for a few seconds; `cargo xtask deny` looks at licences, sources and banned crates.
//!
//! `cargo xtask long` runs what takes too long for the gate: many random sequences, chaos, soak.
//!
//! `cargo xtask instructions` counts what one exchange costs and fails when one got dearer.

mod attack;
mod certificates;
mod chaos;
mod ci;
mod cluster;
mod containers;
mod drill;
mod fuzz;
mod image;
mod instructions;
mod lifecycle;
mod peers;
mod soak;
mod step;
mod stock;
mod swarm;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["ci"] => ci::all(),
        ["lint"] => ci::lint(),
        ["docs"] => ci::docs(),
        ["deny"] => ci::deny(),
        ["loom"] => ci::loom(),
        ["fuzz"] => fuzz::run_all(),
        ["long"] => ci::long(),
        ["containers"] => containers::run(),
        ["overlay", image] => swarm::run_on_overlay(image),
        ["peers"] => peers::run(),
        ["chaos", ref options @ ..] => chaos::run(options),
        ["soak", ref options @ ..] => soak::run(options),
        ["certificates", ref options @ ..] => certificates::run(options),
        ["attack", ref options @ ..] => attack::run(options),
        [chaos::SERVER, address, log] => chaos::serve(address, log),
        ["instructions"] => instructions::check(),
        ["instructions", "write"] => instructions::write(),
        ["instructions", "of", binary] => instructions::show(binary),
        _ => bail!(
            "usage: cargo xtask ci|lint|docs|deny|loom|fuzz|long|containers|overlay IMAGE|peers|chaos|soak|attack|certificates|instructions \
             [write | of BINARY]"
        ),
    }
}
