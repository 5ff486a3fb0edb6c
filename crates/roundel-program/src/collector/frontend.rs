//! The numbers of one frontend.

use std::collections::BTreeMap;

use roundel_admin::status::Frontend;
use roundel_proxy::{
    FrontendCounters, FrontendStatus, GRPC_CODES, HandshakeError, Http2Excess, METHODS,
    RequestError, TLS_VERSIONS,
};
use roundel_stats::HistogramSnapshot;

/// The classes of [`FrontendCounters::responses`], whose index 0 stands for all others.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn collect(id: u32, status: &FrontendStatus, default_backend: String) -> Frontend {
    let counters = &status.counters;
    let sum = |of: fn(&FrontendCounters) -> u64| counters.sum(of);
    let accepted = sum(|c| c.connections.get());
    let closed = sum(|c| c.connections_closed.get());
    let h2 = sum(|c| c.connections_h2.get());
    let rejected = sum(|c| c.connections_rejected.get());
    let tls_handshakes_total = handshakes(status);
    let secured: u64 = tls_handshakes_total.iter().map(|(.., n)| n).sum();
    let by_method = by_method(status);
    let mut by_class = [0u64; 6];
    let mut by_code = Vec::new();
    for (method, classes) in METHODS.iter().zip(by_method) {
        for (class, n) in classes.into_iter().enumerate() {
            // The views put "other" last, the counters first.
            by_class[(class + 5) % 6] += n;
            if n > 0 {
                by_code.push(((*method).to_owned(), CLASSES[class].to_owned(), n));
            }
        }
    }
    let requests = sum(|c| c.requests.get());
    let answered: u64 = by_class.iter().sum();
    let mut duration = HistogramSnapshot::default();
    for worker in counters.iter() {
        duration.merge(&worker.duration.snapshot());
    }
    let errors = RequestError::ALL.iter().enumerate().map(|(i, why)| {
        let n = counters.sum(|c| c.request_errors[i].get());
        (why.as_str().to_owned(), n)
    });
    Frontend {
        name: status.name.to_string(),
        id,
        listen: status.addresses.iter().map(ToString::to_string).collect(),
        default_backend,
        connections: accepted.saturating_sub(closed),
        connections_limit: status.maxconn,
        is_full: status.is_full,
        connections_total: BTreeMap::from([
            ("h1".to_owned(), accepted.saturating_sub(h2)),
            ("h2".to_owned(), h2),
        ]),
        connections_rejected_total: rejections(status, rejected),
        tls_connections: secured.saturating_sub(sum(|c| c.tls_closed.get())),
        tls_handshakes_total,
        tls_failures_total: failures(status),
        requests_total: requests,
        in_flight: requests.saturating_sub(answered),
        bytes_in_total: sum(|c| c.bytes_in.get()),
        bytes_out_total: sum(|c| c.bytes_out.get()),
        responses_total: by_class,
        requests_by_code_total: by_code,
        grpc_calls_total: calls(|at| counters.sum(|c| c.grpc[at].get())),
        grpc_errors_total: sum(|c| c.grpc_errors.get()),
        request_errors_total: errors.collect(),
        denied_requests_total: sum(|c| c.denied.get()),
        intercepted_total: sum(|c| c.intercepted.get()),
        internal_errors_total: sum(|c| c.panics.get()),
        request_duration: duration,
    }
}

/// gRPC calls by code, those that occurred.
pub(super) fn calls(of: impl Fn(usize) -> u64) -> BTreeMap<String, u64> {
    let codes = GRPC_CODES.iter().enumerate();
    let counted = codes.map(|(at, code)| ((*code).to_owned(), of(at)));
    counted.filter(|(_, n)| *n > 0).collect()
}

/// Connections that were refused or ended, by reason.
fn rejections(status: &FrontendStatus, resources: u64) -> BTreeMap<String, u64> {
    let sum = |of: &dyn Fn(&FrontendCounters) -> u64| status.counters.sum(of);
    let calmed = Http2Excess::ALL.iter().enumerate().map(|(at, why)| {
        let n = sum(&|c: &FrontendCounters| c.http2_calmed[at].get());
        (why.as_str().to_owned(), n)
    });
    let mut all: BTreeMap<_, _> = calmed.collect();
    let proxy_protocol = sum(&|c: &FrontendCounters| c.proxy_protocol_errors.get());
    all.insert("proxy_protocol".to_owned(), proxy_protocol);
    all.insert("resources".to_owned(), resources);
    all
}

/// Those that occurred, so that a frontend in clear shows none.
fn handshakes(status: &FrontendStatus) -> Vec<(String, bool, u64)> {
    let kinds = TLS_VERSIONS.iter().enumerate();
    let kinds = kinds.flat_map(|version| [(version, false), (version, true)]);
    let counted = kinds.map(|((at, version), resumed)| {
        let of = |c: &FrontendCounters| c.tls_handshakes[at][usize::from(resumed)].get();
        ((*version).to_owned(), resumed, status.counters.sum(of))
    });
    counted.filter(|(.., n)| *n > 0).collect()
}

fn failures(status: &FrontendStatus) -> BTreeMap<String, u64> {
    let counted = HandshakeError::ALL.iter().enumerate().map(|(at, why)| {
        let n = status.counters.sum(|c| c.tls_failures[at].get());
        (why.as_str().to_owned(), n)
    });
    counted.filter(|(_, n)| *n > 0).collect()
}

fn by_method(status: &FrontendStatus) -> [[u64; 6]; METHODS.len()] {
    let mut table = [[0u64; 6]; METHODS.len()];
    for worker in status.counters.iter() {
        for (row, counts) in table.iter_mut().zip(&worker.responses) {
            for (cell, count) in row.iter_mut().zip(counts) {
                *cell += count.get();
            }
        }
    }
    table
}
