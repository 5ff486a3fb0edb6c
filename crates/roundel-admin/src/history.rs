//! What successive snapshots tell together: rates, percentiles, and rings of the past.
//!
//! Snapshots carry cumulative counters; [`History::push`] turns each into one row per series
//! and one [`Rates`]. Rows of a second are kept for five minutes, of ten seconds for an hour,
//! of a minute for a day. A server's rows stay until its LEFT row is gone from the snapshot.

mod rates;
mod rows;
mod tiers;

use std::collections::BTreeMap;
use std::sync::Arc;

use roundel_stats::{HistogramSnapshot, Ring};

use crate::status::{Backend, Server, Snapshot, Times};

pub use rates::{BackendRates, FrontendRates, Means, Rates, ServerRates, TotalRates};
pub(crate) use rows::{Row, ServerRow};
pub(crate) use tiers::{Range, Tiers};

/// Snapshots that recent rates and percentiles look back over.
const RECENT: usize = 10;

/// HAProxy's averages are of the last 1,024 requests.
const MEAN_OF: u64 = 1024;

/// Snapshots that averages look back over at most.
const MEAN_BACK: usize = 60;

/// Above this many servers only a minute of rows is kept per server.
const MANY_SERVERS: usize = 2_000;

/// The past, as far as it is kept.
#[derive(Debug)]
pub(crate) struct History {
    /// Rows of everything together.
    pub(crate) total: Tiers<Row>,
    backends: BTreeMap<String, BackendPast>,
    frontends: BTreeMap<String, FrontendRates>,
    recent: Ring<Sums>,
    last: Option<Arc<Snapshot>>,
}

#[derive(Debug)]
struct BackendPast {
    recent: Ring<Sums>,
    rates: BackendRates,
    servers: BTreeMap<String, ServerPast>,
}

#[derive(Debug)]
struct ServerPast {
    rows: Tiers<ServerRow>,
    recent: Ring<(u64, Times)>,
    rates: ServerRates,
}

/// Cumulative numbers at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    answers: u64,
    failures: u64,
    latency: HistogramSnapshot,
}

impl History {
    /// Makes an empty past.
    pub(crate) fn new() -> Self {
        Self {
            total: Tiers::full(),
            backends: BTreeMap::new(),
            frontends: BTreeMap::new(),
            recent: Ring::new(RECENT + 1),
            last: None,
        }
    }

    /// Takes the next snapshot in and says what happened since the one before.
    pub(crate) fn push(&mut self, now: &Arc<Snapshot>) -> Rates {
        let last = self.last.take().unwrap_or_else(|| now.clone());
        let seconds = (now.uptime_seconds - last.uptime_seconds).max(0.0);
        let step = Step { seconds };
        self.push_frontends(now, &last, step);
        let backends = self.push_backends(now, &last, step);
        self.recent.push(total_sums(now));
        self.total.push(rows::total(now, &last, step));
        let rates = Rates {
            interval_seconds: seconds,
            total: TotalRates {
                cpu_seconds_per_second: step.grown(
                    now.process.cpu_seconds_total,
                    last.process.cpu_seconds_total,
                ),
                ..self.total_rates(now)
            },
            frontends: self.frontends.clone(),
            backends,
        };
        self.last = Some(now.clone());
        rates
    }

    /// The rows of one server.
    pub(crate) fn server(&self, backend: &str, server: &str) -> Option<&Tiers<ServerRow>> {
        Some(&self.backends.get(backend)?.servers.get(server)?.rows)
    }

    fn push_frontends(&mut self, now: &Snapshot, last: &Snapshot, step: Step) {
        let names = |name: &String| now.frontends.iter().any(|f| f.name == *name);
        self.frontends.retain(|name, _| names(name));
        for front in &now.frontends {
            let before = last.frontends.iter().find(|f| f.name == front.name);
            let rates = self.frontends.entry(front.name.clone()).or_default();
            rates.update(front, before.unwrap_or(front), step);
        }
    }

    fn push_backends(
        &mut self,
        now: &Snapshot,
        last: &Snapshot,
        step: Step,
    ) -> BTreeMap<String, BackendRates> {
        let many = now.backends.iter().map(|b| b.servers.len()).sum::<usize>() > MANY_SERVERS;
        let known = |name: &String| now.backend(name).is_some();
        self.backends.retain(|name, _| known(name));
        for backend in &now.backends {
            let past = self.backends.entry(backend.name.clone());
            let past = past.or_insert_with(BackendPast::new);
            past.push(
                backend,
                last.backend(&backend.name),
                now.time_ms,
                step,
                many,
            );
        }
        let rates = |(name, past): (&String, &BackendPast)| (name.clone(), past.rates.clone());
        self.backends.iter().map(rates).collect()
    }

    fn total_rates(&self, now: &Snapshot) -> TotalRates {
        let (window, failures) = recent_window(&self.recent);
        TotalRates {
            requests_per_second: self
                .total
                .fine
                .last()
                .map_or(0.0, |r| f64::from(r.requests)),
            bytes_out_per_second: self
                .total
                .fine
                .last()
                .map_or(0.0, |r| f64::from(r.bytes_out)),
            cpu_seconds_per_second: 0.0,
            error_ratio: failures,
            p50_seconds: window.quantile(0.50),
            p95_seconds: window.quantile(0.95),
            p99_seconds: window.quantile(0.99),
            in_flight: now.backends.iter().map(|b| b.in_flight).sum(),
            queue_length: now.backends.iter().map(|b| b.queue_length).sum(),
            serving: now.backends.iter().map(Backend::serving).sum(),
            known: now.backends.iter().map(Backend::known).sum(),
        }
    }
}

impl BackendPast {
    fn new() -> Self {
        Self {
            recent: Ring::new(RECENT + 1),
            rates: BackendRates::default(),
            servers: BTreeMap::new(),
        }
    }

    fn push(&mut self, now: &Backend, last: Option<&Backend>, time: u64, step: Step, many: bool) {
        let before = last.unwrap_or(now);
        self.recent.push(backend_sums(now));
        self.rates.update(now, before, step);
        let (window, _) = recent_window(&self.recent);
        self.rates.set_latency(&window);
        // Servers are matched through maps: a scan per server would be quadratic.
        let names: BTreeMap<&str, &Server> =
            now.servers.iter().map(|s| (s.name.as_str(), s)).collect();
        let old: BTreeMap<&str, &Server> = before
            .servers
            .iter()
            .map(|s| (s.name.as_str(), s))
            .collect();
        self.servers
            .retain(|name, _| names.contains_key(name.as_str()));
        for server in &now.servers {
            let past = self.servers.entry(server.name.clone());
            let past = past.or_insert_with(|| ServerPast::new(many));
            past.push(server, old.get(server.name.as_str()).copied(), time, step);
        }
        self.share();
    }

    /// Tells each server its part of the recent requests and hands the rates on.
    fn share(&mut self) {
        let all: u64 = self.servers.values().map(ServerPast::recent_requests).sum();
        self.rates.servers.clear();
        for (name, past) in &mut self.servers {
            let mine = past.recent_requests();
            past.rates.share = (all > 0).then(|| mine as f64 / all as f64);
            self.rates.servers.insert(name.clone(), past.rates.clone());
        }
    }
}

impl ServerPast {
    fn new(many: bool) -> Self {
        Self {
            rows: if many { Tiers::minute() } else { Tiers::hour() },
            recent: Ring::new(MEAN_BACK + 1),
            rates: ServerRates::default(),
        }
    }

    fn push(&mut self, now: &Server, last: Option<&Server>, time: u64, step: Step) {
        let before = last.unwrap_or(now);
        self.recent.push((now.requests_total, now.traffic.times));
        self.rates.update(now, before, step);
        self.rates.means = means(&self.recent);
        self.rows.push(rows::server(now, before, time, step));
    }

    /// Requests in the last [`RECENT`] snapshots.
    fn recent_requests(&self) -> u64 {
        let newest = self.recent.last().map_or(0, |(n, _)| *n);
        let oldest = self.recent.iter().rev().take(RECENT + 1).next_back();
        newest.saturating_sub(oldest.map_or(0, |(n, _)| *n))
    }
}

/// The time between two snapshots.
#[derive(Debug, Clone, Copy)]
struct Step {
    seconds: f64,
}

impl Step {
    /// Growth per second; 0 when no time passed or the counter began anew.
    fn rate(self, now: u64, before: u64) -> f64 {
        if self.seconds > 0.0 {
            now.saturating_sub(before) as f64 / self.seconds
        } else {
            0.0
        }
    }
}

impl Step {
    /// The same of a number with a fraction.
    fn grown(self, now: f64, before: f64) -> f64 {
        if self.seconds > 0.0 {
            (now - before).max(0.0) / self.seconds
        } else {
            0.0
        }
    }
}

/// What the latest snapshots recorded, and the part of the answers that were failures.
fn recent_window(ring: &Ring<Sums>) -> (HistogramSnapshot, Option<f64>) {
    let (Some(newest), Some(oldest)) = (ring.last(), ring.iter().next()) else {
        return Default::default();
    };
    let answers = newest.answers.saturating_sub(oldest.answers);
    let failures = newest.failures.saturating_sub(oldest.failures);
    let ratio = (answers > 0).then(|| failures as f64 / answers as f64);
    (newest.latency.since(&oldest.latency), ratio)
}

fn total_sums(now: &Snapshot) -> Sums {
    let mut sums = Sums::default();
    for front in &now.frontends {
        sums.answers += front.responses_total.iter().sum::<u64>();
        sums.failures += front.responses_total[4];
    }
    for backend in &now.backends {
        sums.latency.merge(&backend.request_duration);
    }
    sums
}

fn backend_sums(now: &Backend) -> Sums {
    Sums {
        answers: now.requests_total,
        failures: now.errors_total,
        latency: now.request_duration,
    }
}

/// Averages over the newest [`MEAN_OF`] exchanges, as far as [`MEAN_BACK`] snapshots reach.
fn means(recent: &Ring<(u64, Times)>) -> Means {
    let Some((_, newest)) = recent.last() else {
        return Means::default();
    };
    let enough = |(_, t): &&(u64, Times)| newest.count.saturating_sub(t.count) >= MEAN_OF;
    let base = recent.iter().rev().find(enough).or(recent.iter().next());
    let base = base.map_or_else(Times::default, |(_, t)| *t);
    Means::between(newest, &base)
}

#[cfg(test)]
mod tests;
