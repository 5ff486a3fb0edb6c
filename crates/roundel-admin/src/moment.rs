//! A snapshot together with what is computed from it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Bytes;
use serde::Serialize;

use crate::history::{FrontendRates, Rates};
use crate::json;
use crate::memory::Memory;
use crate::page::headline;
use crate::status::{
    Alarm, Backend, Bound, Certificate, ConfigStatus, Event, Frontend, Gossip, Member, Process,
    Snapshot,
};

/// Events that the JSON of a snapshot carries at most; `/api/v1/events` has them all.
const EVENTS_IN_JSON: usize = 100;

/// What every view of one sequence number reads.
#[derive(Debug)]
pub(crate) struct Moment {
    /// The raw numbers.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Rates and percentiles.
    pub(crate) rates: Rates,
    /// When it was there.
    pub(crate) since: Instant,
    json: OnceLock<Bytes>,
}

impl Moment {
    /// Joins a snapshot and its rates.
    pub(crate) fn new(snapshot: Arc<Snapshot>, rates: Rates) -> Self {
        Self {
            snapshot,
            rates,
            since: Instant::now(),
            json: OnceLock::new(),
        }
    }

    /// The body of `/api/v1/snapshot`, encoded once for all readers and counted in `memory`.
    pub(crate) fn json(&self, memory: &Arc<Memory>) -> Bytes {
        let encode = || json::text(&self.document());
        self.json.get_or_init(|| memory.hold(encode())).clone()
    }

    /// The same, if it was encoded already.
    pub(crate) fn json_made(&self) -> Option<Bytes> {
        self.json.get().cloned()
    }

    /// The part of the workers' time that was not spent computing, over the last step.
    pub(crate) fn idle_percent(&self) -> u64 {
        let threads = self.snapshot.process.threads.max(1) as f64;
        let busy = self.rates.total.cpu_seconds_per_second / threads;
        ((1.0 - busy).clamp(0.0, 1.0) * 100.0).round() as u64
    }

    /// The part of the TLS handshakes of the last second that resumed a session; 0 without any.
    pub(crate) fn tls_reuse_percent(&self) -> u64 {
        let sum =
            |of: fn(&FrontendRates) -> f64| -> f64 { self.rates.frontends.values().map(of).sum() };
        let all = sum(|r| r.tls_handshakes_per_second);
        let keys = sum(|r| r.tls_keys_per_second);
        match all > 0.0 {
            true => ((1.0 - keys / all) * 100.0).round() as u64,
            false => 0,
        }
    }

    fn document(&self) -> Document<'_> {
        let s = &*self.snapshot;
        let skipped = s.events.len().saturating_sub(EVENTS_IN_JSON);
        Document {
            seq: s.seq,
            second: s.second,
            node: &s.node,
            version: &s.version,
            time_ms: s.time_ms,
            uptime_seconds: s.uptime_seconds,
            draining: s.draining,
            process: &s.process,
            config: &s.config,
            frontends: &s.frontends,
            backends: &s.backends,
            members: &s.members,
            gossip: s.gossip.as_ref(),
            alarms: &s.alarms,
            headline: headline::sentence(s),
            certificates: &s.certificates,
            bounds: &s.bounds,
            events: &s.events[skipped..],
            log_lines_dropped_total: s.log_lines_dropped_total,
            system_log_lines_dropped_total: s.system_log_lines_dropped_total,
            rates: &self.rates,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    seq: u64,
    second: u64,
    node: &'a str,
    version: &'a str,
    time_ms: u64,
    uptime_seconds: f64,
    draining: bool,
    process: &'a Process,
    config: &'a ConfigStatus,
    frontends: &'a [Frontend],
    backends: &'a [Backend],
    members: &'a [Member],
    gossip: Option<&'a Gossip>,
    alarms: &'a [Alarm],
    /// The sentence that every view begins with.
    headline: String,
    certificates: &'a [Certificate],
    bounds: &'a [Bound],
    events: &'a [Arc<Event>],
    log_lines_dropped_total: u64,
    system_log_lines_dropped_total: u64,
    rates: &'a Rates,
}
