//! What changes per second, as every view shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundel_stats::HistogramSnapshot;
use serde::{Deserialize, Serialize};

use super::Step;
use crate::status::{Backend, Frontend, Server, Snapshot, Times};

/// Numbers computed from successive snapshots.
///
/// Units: per second over the last step; percentiles and ratios over the last ten snapshots;
/// `_max` since the process started, as seen once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Seconds between this snapshot and the one before.
    pub interval_seconds: f64,
    /// Everything together.
    pub total: TotalRates,
    /// By frontend name.
    pub frontends: BTreeMap<String, FrontendRates>,
    /// By backend name.
    pub backends: BTreeMap<String, BackendRates>,
}

/// Everything together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TotalRates {
    /// Requests that came in.
    pub requests_per_second: f64,
    /// Bytes sent to clients.
    pub bytes_out_per_second: f64,
    /// Processor time: 1 is one core at work all the time.
    pub cpu_seconds_per_second: f64,
    /// The part of the answers that were 5xx, or ended a gRPC call with an error; `None` without answers.
    pub error_ratio: Option<f64>,
    /// The median duration of an exchange.
    pub p50_seconds: Option<f64>,
    /// Nineteen in twenty exchanges took at most this.
    pub p95_seconds: Option<f64>,
    /// Ninety-nine in a hundred exchanges took at most this.
    pub p99_seconds: Option<f64>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait.
    pub queue_length: u64,
    /// Servers that take new requests.
    pub serving: usize,
    /// Servers known, without those that left.
    pub known: usize,
}

/// One frontend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontendRates {
    /// Requests.
    pub requests_per_second: f64,
    /// The most requests in a second.
    pub requests_per_second_max: f64,
    /// Connections accepted.
    pub connections_per_second: f64,
    /// The most connections accepted in a second.
    pub connections_per_second_max: f64,
    /// The most connections open.
    pub connections_max: u64,
    /// TLS handshakes that succeeded.
    pub tls_handshakes_per_second: f64,
    /// The most of them in a second.
    pub tls_handshakes_per_second_max: f64,
    /// Those of them that resumed no session, so that keys were agreed on.
    pub tls_keys_per_second: f64,
    /// The most of them in a second.
    pub tls_keys_per_second_max: f64,
    /// The part of the handshakes that resumed a session, over the last ten snapshots; `None`
    /// without any.
    pub tls_resumed_ratio: Option<f64>,
}

/// One backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendRates {
    /// Requests dispatched.
    pub requests_per_second: f64,
    /// The most requests dispatched in a second.
    pub requests_per_second_max: f64,
    /// The most requests in flight.
    pub in_flight_max: u64,
    /// The median duration of an exchange.
    pub p50_seconds: Option<f64>,
    /// Nineteen in twenty exchanges took at most this.
    pub p95_seconds: Option<f64>,
    /// Ninety-nine in a hundred exchanges took at most this.
    pub p99_seconds: Option<f64>,
    /// By server name.
    pub servers: ServersRates,
}

/// The servers of a backend: a map from name to rates, of which the names are shared from one
/// snapshot to the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<Arc<str>, ServerRates>",
    into = "BTreeMap<Arc<str>, ServerRates>"
)]
pub struct ServersRates {
    /// In order.
    names: Arc<[Arc<str>]>,
    /// As many as names.
    rates: Vec<ServerRates>,
}

impl ServersRates {
    /// `names` in order, with the rates of each.
    pub(super) fn new(names: Arc<[Arc<str>]>, rates: Vec<ServerRates>) -> Self {
        debug_assert_eq!(names.len(), rates.len());
        Self { names, rates }
    }

    /// The rates of the server of this name.
    pub fn get(&self, name: &str) -> Option<&ServerRates> {
        let at = self.names.binary_search_by(|known| (**known).cmp(name));
        Some(&self.rates[at.ok()?])
    }
}

impl From<BTreeMap<Arc<str>, ServerRates>> for ServersRates {
    fn from(map: BTreeMap<Arc<str>, ServerRates>) -> Self {
        let (names, rates): (Vec<_>, _) = map.into_iter().unzip();
        Self::new(names.into(), rates)
    }
}

impl From<ServersRates> for BTreeMap<Arc<str>, ServerRates> {
    fn from(servers: ServersRates) -> Self {
        servers.names.iter().cloned().zip(servers.rates).collect()
    }
}

/// One server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerRates {
    /// Requests dispatched.
    pub requests_per_second: f64,
    /// The most requests dispatched in a second.
    pub requests_per_second_max: f64,
    /// The most requests in flight.
    pub in_flight_max: u64,
    /// Its part of the backend's requests over the last ten snapshots; `None` without any.
    pub share: Option<f64>,
    /// Averages over the last 1,024 exchanges.
    pub means: Means,
}

/// Average durations in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Means {
    /// Waited in the queue.
    pub queue_ms: f64,
    /// Connected.
    pub connect_ms: f64,
    /// Until the head of the answer.
    pub response_ms: f64,
    /// The whole exchange.
    pub total_ms: f64,
}

impl TotalRates {
    /// Takes over what is no rate: how things are at this moment.
    pub(super) fn set_present(&mut self, now: &Snapshot) {
        self.in_flight = now.backends.iter().map(|b| b.in_flight).sum();
        self.queue_length = now.backends.iter().map(|b| b.queue_length).sum();
        self.serving = now.backends.iter().map(Backend::serving).sum();
        self.known = now.backends.iter().map(Backend::known).sum();
    }
}

impl FrontendRates {
    pub(super) fn clear_maxima(&mut self) {
        self.requests_per_second_max = 0.0;
        self.connections_per_second_max = 0.0;
        self.connections_max = 0;
        self.tls_handshakes_per_second_max = 0.0;
        self.tls_keys_per_second_max = 0.0;
    }

    pub(super) fn update(&mut self, now: &Frontend, last: &Frontend, step: Step) {
        self.requests_per_second = step.rate(now.requests_total, last.requests_total);
        self.connections_per_second = step.rate(now.accepted(), last.accepted());
        raise(&mut self.requests_per_second_max, self.requests_per_second);
        raise(
            &mut self.connections_per_second_max,
            self.connections_per_second,
        );
        self.connections_max = self.connections_max.max(now.connections);
        let keys = |f: &Frontend| f.tls_handshakes() - f.tls_resumed();
        self.tls_handshakes_per_second = step.rate(now.tls_handshakes(), last.tls_handshakes());
        self.tls_keys_per_second = step.rate(keys(now), keys(last));
        raise(
            &mut self.tls_handshakes_per_second_max,
            self.tls_handshakes_per_second,
        );
        raise(&mut self.tls_keys_per_second_max, self.tls_keys_per_second);
    }
}

impl BackendRates {
    pub(super) fn clear_maxima(&mut self) {
        self.requests_per_second_max = 0.0;
        self.in_flight_max = 0;
        let servers = self.servers.rates.iter_mut();
        servers.for_each(ServerRates::clear_maxima);
    }

    pub(super) fn update(&mut self, now: &Backend, last: &Backend, step: Step) {
        self.requests_per_second = step.rate(now.requests_total, last.requests_total);
        raise(&mut self.requests_per_second_max, self.requests_per_second);
        self.in_flight_max = self.in_flight_max.max(now.in_flight);
    }

    pub(super) fn set_latency(&mut self, window: &HistogramSnapshot) {
        self.p50_seconds = window.quantile(0.50);
        self.p95_seconds = window.quantile(0.95);
        self.p99_seconds = window.quantile(0.99);
    }
}

impl ServerRates {
    pub(super) fn clear_maxima(&mut self) {
        self.requests_per_second_max = 0.0;
        self.in_flight_max = 0;
    }

    /// `last`: the requests in sum as of the snapshot before.
    pub(super) fn update(&mut self, now: &Server, last: u64, step: Step) {
        self.requests_per_second = step.rate(now.requests_total, last);
        raise(&mut self.requests_per_second_max, self.requests_per_second);
        self.in_flight_max = self.in_flight_max.max(now.in_flight);
    }
}

impl Means {
    /// The averages of what ended after `base` and up to `newest`.
    pub(super) fn between(newest: &Times, base: &Times) -> Self {
        let count = newest.count.saturating_sub(base.count);
        let mean = |of: fn(&Times) -> u64| match count {
            0 => 0.0,
            n => of(newest).saturating_sub(of(base)) as f64 / 1_000.0 / n as f64,
        };
        Self {
            queue_ms: mean(|t| t.queue_us),
            connect_ms: mean(|t| t.connect_us),
            response_ms: mean(|t| t.response_us),
            total_ms: mean(|t| t.total_us),
        }
    }

    /// The averages over a whole life.
    pub fn of(times: &Times) -> Self {
        Self::between(times, &Times::default())
    }
}

fn raise(max: &mut f64, value: f64) {
    if value > *max {
        *max = value;
    }
}
