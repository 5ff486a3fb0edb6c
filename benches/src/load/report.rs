//! What a run of load gave.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Counts while a run goes on.
pub(super) struct Tally {
    latency: Histogram<u64>,
    failed: BTreeMap<String, u64>,
}

/// A finished run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    /// Requests with the right answer.
    pub(crate) completed: u64,
    /// Requests without it, by cause.
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) latency_us: Latency,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, LONGEST, 3)?,
            failed: BTreeMap::new(),
        })
    }

    pub(super) fn completed(&mut self, latency: Duration) {
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    pub(super) fn failed(&mut self, why: &str) {
        self.count(why, 1);
    }

    /// Requests that were due or sent and had no answer in time.
    pub(super) fn missed(&mut self, requests: u64) {
        self.count("no answer in time", requests);
    }

    fn count(&mut self, why: &str, requests: u64) {
        if requests > 0 {
            *self.failed.entry(why.to_owned()).or_default() += requests;
        }
    }

    pub(super) fn report(&self, seconds: f64) -> Report {
        let at = |q: f64| self.latency.value_at_quantile(q) as f64 / 1e3;
        Report {
            seconds,
            completed: self.latency.len(),
            failed: self.failed.clone(),
            latency_us: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: self.latency.max() as f64 / 1e3,
            },
        }
    }
}
