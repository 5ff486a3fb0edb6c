//! Rows in which Roundel is compared with itself: logging, swapping sets, with two workers.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::peer::{Place, Started, Variant, socket, variant};
use super::rounds::pairs;
use super::row::{Bound, Handshake, Work, handshakes};
use super::sample::{self, Sample};
use super::{Setting, peer};
use crate::stat::Spread;
use crate::swapper::Swapper;

/// Sets published a second while the row of swaps runs.
const SWAPS: u32 = 100;

/// One of these rows.
pub(crate) struct OwnRow {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) bound: Option<Bound>,
    /// Whether more is better.
    pub(crate) rises: bool,
    /// Samples are so many times longer than others: tails need many requests.
    pub(crate) stretch: u32,
}

/// What such a row gave.
#[derive(Serialize)]
pub(crate) struct OwnResult {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// Of the pairs.
    pub(crate) ratio: Spread,
    /// The two figures that are compared, in `unit`.
    pub(crate) without: Spread,
    pub(crate) with: Spread,
    pub(crate) unit: &'static str,
    pub(crate) failed: u64,
    pub(crate) note: String,
}

const fn row(key: &'static str, title: &'static str, must: f64, goal: f64) -> OwnRow {
    let must = Some(must);
    OwnRow {
        key,
        title,
        bound: Some(Bound { must, goal }),
        rises: false,
        stretch: 1,
    }
}

pub(crate) const ALL: [OwnRow; 4] = [
    OwnRow {
        rises: true,
        ..row(
            "threads",
            "requests per CPU second, 2 workers on 2 cores to 1 worker on 1",
            0.95,
            0.98,
        )
    },
    OwnRow {
        stretch: 2,
        ..row(
            "swaps",
            "p99 during 100 set swaps a second to p99 without, at full load",
            1.10,
            1.02,
        )
    },
    row("log", "JSON access log, on to off", 1.25, 1.12),
    OwnRow {
        key: "tls-hybrid",
        title: "full handshake with X25519MLKEM768 to one with X25519",
        bound: None,
        rises: false,
        stretch: 1,
    },
];

/// Runs one row; `plain` is the Roundel that the others are compared with.
pub(crate) fn run(row: &OwnRow, plain: &Started, setting: &Setting<'_>) -> Result<OwnResult> {
    let time = setting.sample * row.stretch;
    match row.key {
        "threads" => threads(row, setting, time),
        "swaps" => swaps(row, plain, setting, time),
        "log" => log(row, plain, setting, time),
        "tls-hybrid" => hybrid(row, plain, setting, time),
        other => bail!("there is no row {other}"),
    }
}

/// Both kinds of load run beside two workers' cores, so that only the workers differ.
fn threads(row: &OwnRow, setting: &Setting<'_>, time: Duration) -> Result<OwnResult> {
    let start = |port, threads, cores: &str| {
        let place = place(setting, port);
        let two = Variant {
            threads,
            ..Variant::default()
        };
        variant(setting.roundel, &place, two)?.start(cores)
    };
    let one = start(18_300, 1, &setting.cores.proxy)?;
    let two = start(18_310, 2, &setting.cores.two)?;
    let take =
        |peer: &Started, time| sample::take(peer, &Work::SMALL, &setting.cores.beside_two, time);
    take(&one, setting.warm)?;
    take(&two, setting.warm)?;
    let pairs = pairs(setting.rounds, |with| {
        take(if with { &two } else { &one }, time)
    })?;
    let per_second = |sample: &Sample| 1e6 / sample.cpu_us_per_request;
    Ok(result(row, "requests per CPU second", &pairs, per_second))
}

/// The same process, with and without an operator who changes weights.
fn swaps(
    row: &OwnRow,
    plain: &Started,
    setting: &Setting<'_>,
    time: Duration,
) -> Result<OwnResult> {
    let socket = socket(&place(setting, plain.plain.port()));
    let (mut done, mut seconds) = (0, 0.0);
    let pairs = pairs(setting.rounds, |with| {
        let begun = std::time::Instant::now();
        let swapper = with
            .then(|| Swapper::start(&socket, "b_plain/b1", SWAPS))
            .transpose()?;
        let sample = sample::take(plain, &Work::SMALL, &setting.cores.load, time)?;
        if let Some(swapper) = swapper {
            done += swapper.end()?;
            seconds += begun.elapsed().as_secs_f64();
        }
        Ok(sample)
    })?;
    let mut result = result(row, "µs", &pairs, |s| s.latency_us.p99);
    result.note = format!("{:.0} sets a second were published", done as f64 / seconds);
    Ok(result)
}

fn log(row: &OwnRow, plain: &Started, setting: &Setting<'_>, time: Duration) -> Result<OwnResult> {
    let place = place(setting, 18_320);
    let logging = Variant {
        log: true,
        ..Variant::default()
    };
    let logging = variant(setting.roundel, &place, logging)?.start(&setting.cores.proxy)?;
    let mut requests = 0;
    let mut take = |peer: &Started, with: bool, time| {
        let sample = sample::take(peer, &Work::SMALL, &setting.cores.load, time)?;
        if with {
            requests += sample.completed;
        }
        Ok(sample)
    };
    take(&logging, true, setting.warm)?;
    let pairs = pairs(setting.rounds, |with| {
        take(if with { &logging } else { plain }, with, time)
    })?;
    let size = std::fs::metadata(peer::log(&place))?.len() as f64;
    let mut result = result(row, "µs", &pairs, |s| s.cpu_us_per_request);
    result.note = format!(
        "into a file, {:.0} bytes for each request",
        size / requests as f64
    );
    Ok(result)
}

/// HAProxy 2.6 and nginx 1.22 with OpenSSL 3.0 do not know the hybrid exchange.
fn hybrid(
    row: &OwnRow,
    plain: &Started,
    setting: &Setting<'_>,
    time: Duration,
) -> Result<OwnResult> {
    let take = |hybrid: bool, time| {
        let kind = match hybrid {
            true => Handshake::Hybrid,
            false => Handshake::Full,
        };
        sample::take(plain, &handshakes(kind), &setting.cores.load, time)
    };
    take(true, setting.warm)?;
    let pairs = pairs(setting.rounds, |hybrid| take(hybrid, time))?;
    Ok(result(row, "µs", &pairs, |s| s.cpu_us_per_request))
}

fn place<'a>(setting: &Setting<'a>, port: u16) -> Place<'a> {
    let scratch = setting.scratch;
    Place { port, scratch }
}

fn result(
    row: &OwnRow,
    unit: &'static str,
    pairs: &[(Sample, Sample)],
    figure: impl Fn(&Sample) -> f64,
) -> OwnResult {
    OwnResult {
        key: row.key,
        title: row.title,
        ratio: Spread::of(pairs.iter().map(|(a, b)| figure(b) / figure(a))),
        without: Spread::of(pairs.iter().map(|(a, _)| figure(a))),
        with: Spread::of(pairs.iter().map(|(_, b)| figure(b))),
        unit,
        failed: pairs.iter().map(|(a, b)| a.failed() + b.failed()).sum(),
        note: String::new(),
    }
}
