//! The same work with 10, 1,000 and 10,000 servers, and while their sets are swapped.

use std::time::Duration;

use anyhow::Result;

use super::{Options, Table, failed, load, place, servers, start};
use crate::compare::peer::{Started, Variant, socket};
use crate::compare::rounds::{Cell, interleave, pairs};
use crate::compare::{Setting, row::Work};
use crate::gossip::grouped;
use crate::machine::{cpu_ns, private_kib, threads_ns};
use crate::stat::Spread;
use crate::swapper::Swapper;

const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// Each size has its ports.
const PORT: u16 = 18_400;
/// Sets published a second.
const SWAPS: u32 = 100;
/// How the threads that carry requests are named.
const WORKER: &str = "worker-";
/// For how long the idle process is watched: a few of its seconds.
const IDLE: Duration = Duration::from_secs(4);

fn port(at: usize) -> u16 {
    PORT + 10 * at as u16
}

fn start_all(setting: &Setting<'_>) -> Result<Vec<Started>> {
    let with = |(at, n): (usize, &usize)| {
        let many = Variant {
            servers: servers(*n),
            ..Variant::default()
        };
        start(setting, port(at), many)
    };
    SIZES.iter().enumerate().map(with).collect()
}

/// CPU per request, the fewest servers as reference, and memory per server.
pub(super) fn cost(setting: &Setting<'_>, _: &Options, table: &mut Table) -> Result<()> {
    let started = start_all(setting)?;
    let empty = started
        .iter()
        .map(|one| private_kib(one.process.pid()))
        .collect::<Result<Vec<_>>>()?;
    let (few, many) = (empty[0] as f64, empty[SIZES.len() - 1] as f64);
    let added = (SIZES[SIZES.len() - 1] - SIZES[0]) as f64;
    for one in &started {
        load(setting, one, setting.warm)?;
    }
    // Connections to servers rest for 4 s at most, so each size is warmed before it is measured.
    let mut workers = vec![Vec::new(); SIZES.len()];
    let rounds = interleave(SIZES.len(), setting.rounds, |index| {
        let one = &started[index];
        load(setting, one, setting.sample / 2)?;
        let before = threads_ns(one.process.pid(), WORKER)?;
        let sample = load(setting, one, setting.sample)?;
        let spent = threads_ns(one.process.pid(), WORKER)? - before;
        workers[index].push(spent as f64 / 1e3 / sample.completed as f64);
        Ok(sample)
    })?;
    let idle = started.iter().map(idle_share).collect::<Result<Vec<_>>>()?;
    for (index, n) in SIZES.iter().enumerate() {
        let cell = Cell::of(&grouped(*n), &rounds, index, (0, 0));
        table.row(
            &format!("CPU per request, round robin over {} servers", grouped(*n)),
            if index == 0 { "" } else { "O(1) pick" },
            &format!(
                "{:.1} µs at {:.0} requests/s, {:.2} ({:.2}–{:.2}) of that with {}; of the worker alone {:.1} µs; \
                 the process while idle {:.2} % of a core; {}",
                cell.cpu_us.median,
                cell.requests_per_second.median,
                cell.ratio.median,
                cell.ratio.low,
                cell.ratio.high,
                SIZES[0],
                Spread::of(workers[index].iter().copied()).median,
                100.0 * idle[index],
                failed(cell.failed)
            ),
        );
    }
    table.row(
        "private memory per server, two backends know each",
        "",
        &format!("{:.2} KiB", (many - few) / added),
    );
    Ok(())
}

/// The part of a core that a process takes while nobody asks it anything.
fn idle_share(one: &Started) -> Result<f64> {
    let before = cpu_ns(one.process.pid())?;
    std::thread::sleep(IDLE);
    let spent = cpu_ns(one.process.pid())? - before;
    Ok(spent as f64 / IDLE.as_nanos() as f64)
}

/// p99 at full load while sets are swapped, to p99 without.
pub(super) fn swaps(setting: &Setting<'_>, _: &Options, table: &mut Table) -> Result<()> {
    for (at, n) in SIZES.iter().enumerate() {
        let many = Variant {
            servers: servers(*n),
            ..Variant::default()
        };
        let one = start(setting, port(at), many)?;
        load(setting, &one, setting.warm)?;
        let socket = socket(&place(setting, port(at)));
        let (mut done, mut seconds) = (0, 0.0);
        let pairs = pairs(setting.rounds, |with| {
            let begun = std::time::Instant::now();
            let swapper = with
                .then(|| Swapper::start(&socket, "b_plain/b1", SWAPS))
                .transpose()?;
            let sample = load(setting, &one, setting.sample)?;
            if let Some(swapper) = swapper {
                done += swapper.end()?;
                seconds += begun.elapsed().as_secs_f64();
            }
            Ok(sample)
        })?;
        let spread = |of: &dyn Fn(&crate::compare::sample::Sample) -> f64| {
            Spread::of(pairs.iter().map(|(a, b)| of(b) / of(a)))
        };
        let p99 = spread(&|s| s.latency_us.p99);
        let cpu = spread(&|s| s.cpu_us_per_request);
        let all = pairs.iter().map(|(a, b)| a.failed() + b.failed()).sum();
        table.row(
            &format!(
                "{:.0} set swaps a second of {} servers at full load ({} connections): p99 to p99 without",
                done as f64 / seconds,
                grouped(*n),
                Work::SMALL.connections
            ),
            if *n == SIZES[0] { "<= 1.10" } else { "" },
            &format!(
                "{:.2} ({:.2}–{:.2}); CPU per request {:.2}; {}",
                p99.median,
                p99.low,
                p99.high,
                cpu.median,
                failed(all)
            ),
        );
    }
    Ok(())
}
