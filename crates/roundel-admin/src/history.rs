//! What successive snapshots tell together: rates, percentiles, and rings of the past.
//!
//! Snapshots carry cumulative counters; [`History::push`] turns each into one row per series
//! and one [`Rates`]. Rows of a second are kept for five minutes, of ten seconds for an hour,
//! of a minute for a day. A server's rows stay until its LEFT row is gone from the snapshot.

mod rates;
mod rows;
mod tiers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roundel_stats::{HistogramSnapshot, Ring};

use crate::status::{Backend, Frontend, Server, Snapshot, Times};

pub use rates::{BackendRates, FrontendRates, Means, Rates, ServerRates, ServersRates, TotalRates};
pub(crate) use rows::{Row, ServerRow};
pub(crate) use tiers::{Range, Tiers};

/// Snapshots that recent rates and percentiles look back over.
const RECENT: usize = 10;

/// HAProxy's averages are of the last 1,024 requests.
const MEAN_OF: u64 = 1024;

/// Snapshots that averages look back over at most.
const MEAN_BACK: u64 = 60;

/// Above this many servers only a minute of rows is kept per server.
const MANY_SERVERS: usize = 2_000;

/// The past, as far as it is kept.
#[derive(Debug)]
pub(crate) struct History {
    /// Rows of everything together.
    pub(crate) total: Tiers<Row>,
    backends: BTreeMap<String, BackendPast>,
    frontends: BTreeMap<String, FrontendPast>,
    recent: Ring<Sums>,
    pushes: u64,
    last: Option<Arc<Snapshot>>,
    /// What the last second gave.
    rates: Rates,
}

#[derive(Debug)]
struct FrontendPast {
    /// TLS handshakes, and those of them that resumed a session.
    recent: Ring<(u64, u64)>,
    rates: FrontendRates,
}

/// Shape: `servers` is in order of name, with the names beside it; `places` has the index there of
/// each server of the snapshot, so that a second is one pass without a search.
#[derive(Debug)]
struct BackendPast {
    recent: Ring<Sums>,
    rates: BackendRates,
    servers: Vec<ServerPast>,
    names: Arc<[Arc<str>]>,
    places: Vec<usize>,
}

#[derive(Debug)]
struct ServerPast {
    id: u32,
    /// Requests and errors in sum as of the last snapshot.
    last: (u64, u64),
    rows: Tiers<ServerRow>,
    recent: Ring<u64>,
    times: TimesPast,
    rates: ServerRates,
}

/// The sums of a server's durations when they last changed, by the number of the push.
///
/// Shape: oldest first; the first one is what averages begin at. One alone for a server without
/// traffic.
#[derive(Debug, Default)]
struct TimesPast(VecDeque<(u64, Times)>);

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
            pushes: 0,
            last: None,
            rates: Rates::default(),
        }
    }

    /// Takes the first snapshot of a second in; one that an act asked for in between has the
    /// rates of that second and its own numbers of servers and requests.
    pub(crate) fn see(&mut self, now: &Arc<Snapshot>) -> Rates {
        let second = self.last.as_ref().map(|last| last.second);
        if second != Some(now.second) {
            self.rates = self.push(now);
            return self.rates.clone();
        }
        let mut rates = self.rates.clone();
        rates.total.set_present(now);
        rates
    }

    /// Takes the next snapshot in and says what happened since the one before.
    pub(crate) fn push(&mut self, now: &Arc<Snapshot>) -> Rates {
        let last = self.last.take().unwrap_or_else(|| now.clone());
        let seconds = (now.uptime_seconds - last.uptime_seconds).max(0.0);
        self.pushes += 1;
        let step = Step {
            number: self.pushes,
            time_ms: now.time_ms,
            seconds,
        };
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
            frontends: self.frontends_rates(),
            backends,
        };
        self.last = Some(now.clone());
        rates
    }

    /// Forgets the greatest values seen so far.
    pub(crate) fn clear_maxima(&mut self) {
        let past = self.frontends.values_mut().map(|past| &mut past.rates);
        past.chain(self.rates.frontends.values_mut())
            .for_each(FrontendRates::clear_maxima);
        for past in self.backends.values_mut() {
            past.rates.clear_maxima();
            past.servers.iter_mut().for_each(|s| s.rates.clear_maxima());
        }
        let shown = self.rates.backends.values_mut();
        shown.for_each(BackendRates::clear_maxima);
    }

    /// The rows of one server.
    pub(crate) fn server(&self, backend: &str, server: &str) -> Option<&Tiers<ServerRow>> {
        let past = self.backends.get(backend)?;
        let at = past.names.binary_search_by(|name| (**name).cmp(server));
        Some(&past.servers[at.ok()?].rows)
    }

    fn push_frontends(&mut self, now: &Snapshot, last: &Snapshot, step: Step) {
        let names = |name: &String| now.frontends.iter().any(|f| f.name == *name);
        self.frontends.retain(|name, _| names(name));
        for front in &now.frontends {
            let before = last.frontends.iter().find(|f| f.name == front.name);
            let past = self.frontends.entry(front.name.clone());
            let past = past.or_insert_with(FrontendPast::new);
            past.push(front, before.unwrap_or(front), step);
        }
    }

    fn frontends_rates(&self) -> BTreeMap<String, FrontendRates> {
        let rates = |(name, past): (&String, &FrontendPast)| (name.clone(), past.rates.clone());
        self.frontends.iter().map(rates).collect()
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
            let before = last.backend(&backend.name).unwrap_or(backend);
            past.push(backend, before, step, many);
        }
        let rates = |(name, past): (&String, &BackendPast)| (name.clone(), past.rates());
        self.backends.iter().map(rates).collect()
    }

    fn total_rates(&self, now: &Snapshot) -> TotalRates {
        let (window, failures) = recent_window(&self.recent);
        let mut total = TotalRates {
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
            error_ratio: failures,
            p50_seconds: window.quantile(0.50),
            p95_seconds: window.quantile(0.95),
            p99_seconds: window.quantile(0.99),
            ..TotalRates::default()
        };
        total.set_present(now);
        total
    }
}

impl FrontendPast {
    fn new() -> Self {
        Self {
            recent: Ring::new(RECENT + 1),
            rates: FrontendRates::default(),
        }
    }

    fn push(&mut self, now: &Frontend, before: &Frontend, step: Step) {
        let newest = (now.tls_handshakes(), now.tls_resumed());
        self.recent.push(newest);
        self.rates.update(now, before, step);
        let oldest = self.recent.iter().next().copied().unwrap_or(newest);
        let all = newest.0.saturating_sub(oldest.0);
        let resumed = newest.1.saturating_sub(oldest.1);
        self.rates.tls_resumed_ratio = (all > 0).then(|| resumed as f64 / all as f64);
    }
}

impl BackendPast {
    fn new() -> Self {
        Self {
            recent: Ring::new(RECENT + 1),
            rates: BackendRates::default(),
            servers: Vec::new(),
            names: Arc::default(),
            places: Vec::new(),
        }
    }

    fn push(&mut self, now: &Backend, before: &Backend, step: Step, many: bool) {
        self.recent.push(backend_sums(now));
        self.rates.update(now, before, step);
        let (window, _) = recent_window(&self.recent);
        self.rates.set_latency(&window);
        if !self.is_of(&now.servers) {
            self.rearrange(&now.servers, many);
        }
        for (server, place) in now.servers.iter().zip(&self.places) {
            self.servers[*place].push(server, step);
        }
        let all: u64 = self.servers.iter().map(ServerPast::recent_requests).sum();
        for past in &mut self.servers {
            let mine = past.recent_requests();
            past.rates.share = (all > 0).then(|| mine as f64 / all as f64);
        }
    }

    /// Whether these are the servers of the snapshot before, in the same order.
    fn is_of(&self, servers: &[Arc<Server>]) -> bool {
        let mut pairs = servers.iter().zip(&self.places);
        servers.len() == self.places.len() && pairs.all(|(s, p)| self.servers[*p].id == s.id)
    }

    /// Makes room for servers that are new and forgets those that are gone.
    fn rearrange(&mut self, servers: &[Arc<Server>], many: bool) {
        let known = std::mem::take(&mut self.servers).into_iter();
        let mut known: BTreeMap<u32, ServerPast> = known.map(|past| (past.id, past)).collect();
        let mut order: Vec<usize> = (0..servers.len()).collect();
        order.sort_by(|a, b| servers[*a].name.cmp(&servers[*b].name));
        self.places = vec![0; servers.len()];
        for (place, at) in order.iter().enumerate() {
            self.places[*at] = place;
        }
        self.names = order.iter().map(|at| servers[*at].name.clone()).collect();
        let mut past = |s: &Server| {
            known
                .remove(&s.id)
                .unwrap_or_else(|| ServerPast::new(s, many))
        };
        self.servers = order.iter().map(|at| past(&servers[*at])).collect();
    }

    fn rates(&self) -> BackendRates {
        let servers = self.servers.iter().map(|past| past.rates.clone());
        BackendRates {
            servers: ServersRates::new(self.names.clone(), servers.collect()),
            ..self.rates.clone()
        }
    }
}

impl ServerPast {
    fn new(server: &Server, many: bool) -> Self {
        Self {
            id: server.id,
            last: (server.requests_total, server.errors_total),
            rows: if many { Tiers::minute() } else { Tiers::hour() },
            recent: Ring::new(RECENT + 1),
            times: TimesPast::default(),
            rates: ServerRates::default(),
        }
    }

    fn push(&mut self, now: &Server, step: Step) {
        self.recent.push(now.requests_total);
        self.rates.update(now, self.last.0, step);
        self.rates.means = self.times.push(step.number, &now.traffic.times);
        self.rows.push(rows::server(now, self.last, step));
        self.last = (now.requests_total, now.errors_total);
    }

    /// Requests in the last [`RECENT`] snapshots.
    fn recent_requests(&self) -> u64 {
        let newest = self.recent.last().copied().unwrap_or_default();
        newest.saturating_sub(self.recent.iter().next().copied().unwrap_or_default())
    }
}

impl TimesPast {
    /// Takes the newest sums; the averages over the newest [`MEAN_OF`] exchanges, as far as
    /// [`MEAN_BACK`] snapshots reach.
    fn push(&mut self, pushes: u64, now: &Times) -> Means {
        if self.0.back().is_none_or(|(_, last)| last != now) {
            self.0.push_back((pushes, *now));
        }
        // The next one stood when enough had not happened yet, or is old enough itself.
        let base = |(at, t): &(u64, Times)| {
            now.count.saturating_sub(t.count) >= MEAN_OF || at + MEAN_BACK <= pushes
        };
        while self.0.get(1).is_some_and(base) {
            self.0.pop_front();
        }
        self.0
            .front()
            .map_or_else(Means::default, |(_, t)| Means::between(now, t))
    }
}

/// The time between two snapshots.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Counts the snapshots.
    number: u64,
    /// Its end, in milliseconds since the Unix epoch.
    time_ms: u64,
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
        sums.failures += front.errors();
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

#[cfg(test)]
mod tests;
