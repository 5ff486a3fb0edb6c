//! One row of a series: what happened between two snapshots.

use serde::Serialize;

use super::Step;
use super::tiers::Join;
use crate::status::{Backend, Frontend, Server, Snapshot};

/// Everything together. Rates are per second; the rest are values at the end of the step.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    /// The end of the step, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    pub(crate) requests: f32,
    pub(crate) errors_4xx: f32,
    /// gRPC calls that ended with an error included.
    pub(crate) errors_5xx: f32,
    pub(crate) retries: f32,
    pub(crate) bytes_in: f32,
    pub(crate) bytes_out: f32,
    pub(crate) in_flight: u32,
    pub(crate) queue: u32,
    pub(crate) serving: u32,
    pub(crate) known: u32,
    /// Exchanges that ended within the step, by latency bucket.
    #[serde(skip)]
    pub(crate) latency: [u32; 15],
}

/// One server. Rates are per second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct ServerRow {
    /// The end of the step, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    pub(crate) requests: f32,
    pub(crate) errors: f32,
    pub(crate) in_flight: u32,
}

pub(super) fn total(now: &Snapshot, last: &Snapshot, step: Step) -> Row {
    let front = |of: fn(&Frontend) -> u64| {
        let sum = |s: &Snapshot| s.frontends.iter().map(of).sum::<u64>();
        step.rate(sum(now), sum(last)) as f32
    };
    let back = |of: fn(&Backend) -> u64| now.backends.iter().map(of).sum::<u64>() as u32;
    let retries = |s: &Snapshot| s.backends.iter().map(|b| b.traffic.retries_total).sum();
    Row {
        time_ms: now.time_ms,
        requests: front(|f| f.requests_total),
        errors_4xx: front(|f| f.responses_total[3]),
        errors_5xx: front(Frontend::errors),
        retries: step.rate(retries(now), retries(last)) as f32,
        bytes_in: front(|f| f.bytes_in_total),
        bytes_out: front(|f| f.bytes_out_total),
        in_flight: back(|b| b.in_flight),
        queue: back(|b| b.queue_length),
        serving: back(|b| b.serving() as u64),
        known: back(|b| b.known() as u64),
        latency: latency(now, last),
    }
}

/// `requests` and `errors` in sum as of the snapshot before.
pub(super) fn server(now: &Server, (requests, errors): (u64, u64), step: Step) -> ServerRow {
    ServerRow {
        time_ms: step.time_ms,
        requests: step.rate(now.requests_total, requests) as f32,
        errors: step.rate(now.errors_total, errors) as f32,
        in_flight: now.in_flight as u32,
    }
}

fn latency(now: &Snapshot, last: &Snapshot) -> [u32; 15] {
    let sum = |s: &Snapshot, i: usize| -> u64 {
        let of = |b: &Backend| b.request_duration.buckets[i];
        s.backends.iter().map(of).sum()
    };
    std::array::from_fn(|i| sum(now, i).saturating_sub(sum(last, i)) as u32)
}

impl Join for Row {
    fn join(rows: &[Self]) -> Self {
        let last = rows.last().cloned().unwrap_or_default();
        let n = rows.len().max(1) as f32;
        let mean = |of: fn(&Self) -> f32| rows.iter().map(of).sum::<f32>() / n;
        let max = |of: fn(&Self) -> u32| rows.iter().map(of).max().unwrap_or(0);
        Self {
            requests: mean(|r| r.requests),
            errors_4xx: mean(|r| r.errors_4xx),
            errors_5xx: mean(|r| r.errors_5xx),
            retries: mean(|r| r.retries),
            bytes_in: mean(|r| r.bytes_in),
            bytes_out: mean(|r| r.bytes_out),
            in_flight: max(|r| r.in_flight),
            queue: max(|r| r.queue),
            latency: std::array::from_fn(|i| {
                rows.iter()
                    .fold(0, |sum: u32, r| sum.saturating_add(r.latency[i]))
            }),
            ..last
        }
    }
}

impl Join for ServerRow {
    fn join(rows: &[Self]) -> Self {
        let n = rows.len().max(1) as f32;
        Self {
            time_ms: rows.last().map_or(0, |r| r.time_ms),
            requests: rows.iter().map(|r| r.requests).sum::<f32>() / n,
            errors: rows.iter().map(|r| r.errors).sum::<f32>() / n,
            in_flight: rows.iter().map(|r| r.in_flight).max().unwrap_or(0),
        }
    }
}
