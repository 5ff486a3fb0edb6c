//! What one core, one machine and several machines carry: computed from a comparison's figures.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::compare::peer::OURS;
use crate::compare::row::{ALL, Row};
use crate::gossip::grouped;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The figures of a comparison.
    #[arg(default_value = "target/compare/compare.json")]
    from: PathBuf,
    /// Cores of a machine, all of them workers.
    #[arg(long, default_value_t = 16)]
    cores: u32,
    /// Of a machine's network, in each direction.
    #[arg(long, default_value_t = 25.0)]
    gbit: f64,
    /// Memory of a machine for connections, in GiB.
    #[arg(long, default_value_t = 16.0)]
    gib: f64,
    /// Machines; one of them may be away.
    #[arg(long, default_value_t = 3)]
    machines: u32,
    /// How busy cores and network may be in the long run: queues are short below it.
    #[arg(long, default_value_t = 0.7)]
    busy: f64,
}

/// A head of an answer, a request's own, and headers of four packets in and out, in bytes.
const ANSWER_HEAD: f64 = 200.0;
const REQUEST: f64 = 100.0;
const PACKET: f64 = 78.0;
/// Payload of a full packet.
const SEGMENT: f64 = 1448.0;
/// What the kernel keeps for a connection of which nothing is under way, two sockets' worth, as
/// an assumption: it is not measured here.
const KERNEL_KIB: f64 = 5.0;

/// What the formulas start from.
struct Measured<'a> {
    outcome: &'a Value,
    /// Throughput per core with twice the workers, to that with one.
    doubling: f64,
    /// KiB of private memory per idle connection.
    idle_kib: Option<f64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let text = std::fs::read_to_string(&options.from).with_context(|| {
        format!(
            "cannot read {}; `compare` writes it",
            options.from.display()
        )
    })?;
    let outcome: Value = serde_json::from_str(&text)?;
    let measured = Measured::new(&outcome);
    let Options {
        cores,
        gbit,
        machines,
        busy,
        ..
    } = options;
    println!(
        "Efficiency of a doubling of the workers: e = {:.2}",
        measured.doubling
    );
    println!();
    println!(
        "| work | c, µs | one core | {cores} cores | {gbit} Gbit/s | {machines} machines, one away |"
    );
    println!("|---|---|---|---|---|---|");
    for row in ALL.iter().filter(|row| row.work.rate.is_none()) {
        let Some(cpu_us) = measured.cpu_us(row.key) else {
            continue;
        };
        let carried = carried(cpu_us, measured.doubling, wire_bytes(row), options);
        let whole = |rate: f64| grouped(rate as usize);
        println!(
            "| {} | {cpu_us:.1} | {} | {} | {} | {} |",
            row.title,
            whole(carried.core),
            whole(carried.machine),
            whole(carried.network),
            whole(carried.all)
        );
    }
    println!("\nRequests per second at {:.0} % busy.", 100.0 * busy);
    if let Some(kib) = measured.idle_kib {
        let each = kib + KERNEL_KIB;
        let connections = options.gib * 1024.0 * 1024.0 / each;
        println!(
            "Idle connections in {} GiB: {} ({kib:.2} KiB of the process, {KERNEL_KIB} KiB of the kernel).",
            options.gib,
            grouped(connections as usize)
        );
    }
    if let (Some(close), Some(get)) = (measured.cpu_us("close"), measured.cpu_us("get")) {
        println!(
            "A connection costs {:.1} µs beside its requests: {} new ones a second and core.",
            close - get,
            grouped((1e6 * busy / (close - get).max(0.1)) as usize)
        );
    }
    Ok(())
}

impl<'a> Measured<'a> {
    fn new(outcome: &'a Value) -> Self {
        let list = |key: &str| outcome[key].as_array().into_iter().flatten();
        let threads = list("own").find(|row| row["key"] == "threads");
        let idle = list("idle").find(|idle| idle["key"] == "idle" && idle["peer"] == OURS);
        let doubling = threads.and_then(|row| row["ratio"]["median"].as_f64());
        Self {
            outcome,
            doubling: doubling.unwrap_or(1.0).min(1.0),
            idle_kib: idle.and_then(|idle| {
                let kib = |key: &str| idle[key].as_f64();
                Some((kib("full_kib")? - kib("empty_kib")?) / kib("connections")?)
            }),
        }
    }

    /// Roundel's CPU time per request in a row.
    fn cpu_us(&self, key: &str) -> Option<f64> {
        let mut rows = self.outcome["rows"].as_array()?.iter();
        let mut cells = rows.find(|row| row["key"] == key)?["cells"]
            .as_array()?
            .iter();
        cells.find(|cell| cell["peer"] == OURS)?["cpu_us"]["median"].as_f64()
    }
}

/// Requests per second.
struct Carried {
    core: f64,
    machine: f64,
    network: f64,
    all: f64,
}

/// One core: `busy · 10⁶ / c`. A machine: `core · C · e^log₂C`. Its network: `busy · bit/s / 8 /
/// bytes sent per request`. All: `(n − 1) · min(machine, network)`.
fn carried(cpu_us: f64, doubling: f64, wire: f64, options: &Options) -> Carried {
    let core = options.busy * 1e6 / cpu_us;
    let cores = f64::from(options.cores);
    let machine = core * cores * doubling.powf(cores.log2());
    let network = options.busy * options.gbit * 1e9 / 8.0 / wire;
    let others = f64::from(options.machines.saturating_sub(1).max(1));
    Carried {
        core,
        machine,
        network,
        all: others * machine.min(network),
    }
}

/// Bytes that a balancer sends for a request: the answer to the client, the request to the server.
fn wire_bytes(row: &Row) -> f64 {
    let body = row.work.expect as f64 + f64::from(row.work.post.unwrap_or(0));
    body + ANSWER_HEAD + REQUEST + PACKET * (4.0 + body / SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_hold() {
        let options = Options {
            from: PathBuf::new(),
            cores: 4,
            gbit: 8.0,
            gib: 1.0,
            machines: 3,
            busy: 0.5,
        };
        let carried = carried(20.0, 0.9, 1000.0, &options);
        assert_eq!(carried.core, 25_000.0);
        assert!((carried.machine - 25_000.0 * 4.0 * 0.81).abs() < 1e-6);
        assert_eq!(carried.network, 500_000.0);
        assert!((carried.all - 2.0 * carried.machine).abs() < 1e-6);
    }

    #[test]
    fn figures_are_found_in_a_comparison() {
        let text = r#"{"own": [{"key": "threads", "ratio": {"median": 0.97}}],
            "idle": [{"key": "idle", "peer": "roundel", "connections": 100, "empty_kib": 10, "full_kib": 130}],
            "rows": [{"key": "get", "cells": [{"peer": "x", "cpu_us": {"median": 9.0}},
                      {"peer": "roundel", "cpu_us": {"median": 20.5}}]}]}"#;
        let outcome = serde_json::from_str(text).unwrap();
        let measured = Measured::new(&outcome);
        assert_eq!(measured.cpu_us("get"), Some(20.5));
        assert_eq!(measured.cpu_us("close"), None);
        assert_eq!((measured.doubling, measured.idle_kib), (0.97, Some(1.2)));
    }
}
