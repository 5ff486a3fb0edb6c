//! Frontends.

use std::collections::BTreeMap;

use roundel_stats::HistogramSnapshot;
use serde::{Deserialize, Serialize};

use super::coding;

/// One frontend: where it listens and what came in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Frontend {
    /// The name.
    pub name: String,
    /// A stable small integer, unique among frontends and backends, never reused.
    pub id: u32,
    /// The addresses it is bound to, such as `[::]:80`.
    pub listen: Vec<String>,
    /// The backend of requests that no route takes.
    pub default_backend: String,
    /// Client connections open.
    pub connections: u64,
    /// The most client connections allowed; `None` without a limit.
    pub connections_limit: Option<u64>,
    /// Whether nothing is accepted at this moment, since as many are open as may be, here or in
    /// the whole process.
    pub is_full: bool,
    /// Client connections accepted, by protocol: `h1`, `h2`.
    pub connections_total: BTreeMap<String, u64>,
    /// Client connections refused, by reason: `maxconn`, `proxy_protocol`, ….
    pub connections_rejected_total: BTreeMap<String, u64>,
    /// Client connections open over TLS.
    pub tls_connections: u64,
    /// TLS handshakes that succeeded, by version and whether they resumed a session, such as
    /// `("TLSv1.3", true)`; without those that never occurred.
    pub tls_handshakes_total: Vec<(String, bool, u64)>,
    /// TLS handshakes that failed, by reason: `timeout`, `closed`, `not_tls`, `unrecognized_name`, ….
    pub tls_failures_total: BTreeMap<String, u64>,
    /// Requests whose head was read.
    pub requests_total: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Bytes received from clients.
    pub bytes_in_total: u64,
    /// Bytes sent to clients.
    pub bytes_out_total: u64,
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx, other.
    pub responses_total: [u64; 6],
    /// Answers by method and class, such as `("GET", "2xx")`; methods outside the nine known are `other`.
    pub requests_by_code_total: Vec<(String, String, u64)>,
    /// gRPC calls by the code with which they ended: `0` to `16`, `other`; without those that never
    /// occurred.
    pub grpc_calls_total: BTreeMap<String, u64>,
    /// Those of them that ended with UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE or
    /// DATA_LOSS, other than by an answer of 5xx.
    pub grpc_errors_total: u64,
    /// Requests that never became whole, by reason: `bad_request`, `timeout`, `aborted`, `too_large`, ….
    pub request_errors_total: BTreeMap<String, u64>,
    /// Requests denied by a rule.
    pub denied_requests_total: u64,
    /// Requests that Roundel answered itself (redirects, errors).
    pub intercepted_total: u64,
    /// Requests that failed through a fault of Roundel's own.
    pub internal_errors_total: u64,
    /// From the request's head to the end of the answer.
    #[serde(with = "coding::histogram")]
    pub request_duration: HistogramSnapshot,
}

impl Frontend {
    /// Connections accepted, whatever their protocol.
    pub fn accepted(&self) -> u64 {
        self.connections_total.values().sum()
    }

    /// Answers that were errors: of 5xx, or the end of a gRPC call that failed.
    pub fn errors(&self) -> u64 {
        self.responses_total[4] + self.grpc_errors_total
    }

    /// TLS handshakes that succeeded.
    pub fn tls_handshakes(&self) -> u64 {
        self.tls_handshakes_total.iter().map(|(.., n)| n).sum()
    }

    /// Those of them that resumed a session.
    pub fn tls_resumed(&self) -> u64 {
        let resumed = self.tls_handshakes_total.iter();
        resumed
            .filter(|(_, resumed, _)| *resumed)
            .map(|(.., n)| n)
            .sum()
    }

    /// TLS handshakes that failed, whatever the reason.
    pub fn tls_failures(&self) -> u64 {
        self.tls_failures_total.values().sum()
    }

    /// Requests that never became whole, whatever the reason.
    pub fn request_errors(&self) -> u64 {
        self.request_errors_total.values().sum()
    }
}
