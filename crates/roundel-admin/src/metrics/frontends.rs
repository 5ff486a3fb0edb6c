//! Frontends.

use std::collections::BTreeMap;

use super::families::{Families, Series};
use crate::status::Frontend;

/// The words of response classes, in the order of every array of six.
pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

pub(super) fn write(all: &[Frontend], out: &mut Families) {
    out.gauge(
        "roundel_frontend_connections",
        "Client connections open.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], front.connections);
            }
        },
    );
    out.gauge(
        "roundel_frontend_connections_limit",
        "The most client connections open at once.",
        |f| {
            for front in all {
                if let Some(limit) = front.connections_limit {
                    f.count(&[("frontend", &front.name)], limit);
                }
            }
        },
    );
    out.gauge(
        "roundel_frontend_full",
        "1 while nothing is accepted, since as many connections are open as may be.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], u64::from(front.is_full));
            }
        },
    );
    out.counter(
        "roundel_frontend_connections_total",
        "Client connections accepted.",
        |f| {
            by_word(f, all, "proto", |front| &front.connections_total);
        },
    );
    out.counter(
        "roundel_frontend_connections_rejected_total",
        "Client connections refused.",
        |f| {
            by_word(f, all, "reason", |front| &front.connections_rejected_total);
        },
    );
    out.counter(
        "roundel_tls_handshakes_total",
        "TLS handshakes of clients that succeeded.",
        |f| {
            for front in all {
                for (version, resumed, n) in &front.tls_handshakes_total {
                    let resumed = if *resumed { "true" } else { "false" };
                    let labels = [
                        ("frontend", front.name.as_str()),
                        ("version", version),
                        ("resumed", resumed),
                    ];
                    f.count(&labels, *n);
                }
            }
        },
    );
    out.counter(
        "roundel_tls_handshake_failures_total",
        "TLS handshakes of clients that failed.",
        |f| {
            by_word(f, all, "reason", |front| &front.tls_failures_total);
        },
    );
    out.counter(
        "roundel_frontend_requests_total",
        "Requests answered, by method and class of the answer.",
        |f| {
            all.iter().for_each(|front| requests(f, front));
        },
    );
    out.counter(
        "roundel_frontend_grpc_calls_total",
        "gRPC calls answered, by the code with which they ended.",
        |f| {
            by_word(f, all, "code", |front| &front.grpc_calls_total);
        },
    );
    out.counter(
        "roundel_frontend_request_errors_total",
        "Requests that never became whole.",
        |f| {
            by_word(f, all, "reason", |front| &front.request_errors_total);
        },
    );
    out.counter(
        "roundel_frontend_requests_denied_total",
        "Requests denied by a rule.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], front.denied_requests_total);
            }
        },
    );
    out.gauge(
        "roundel_frontend_requests_in_flight",
        "Requests in flight.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], front.in_flight);
            }
        },
    );
    traffic(all, out);
}

fn traffic(all: &[Frontend], out: &mut Families) {
    out.counter(
        "roundel_frontend_received_bytes_total",
        "Bytes received from clients.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], front.bytes_in_total);
            }
        },
    );
    out.counter(
        "roundel_frontend_sent_bytes_total",
        "Bytes sent to clients.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], front.bytes_out_total);
            }
        },
    );
    out.counter(
        "roundel_frontend_internal_errors_total",
        "Requests that failed through a fault of Roundel's own.",
        |f| {
            for front in all {
                f.count(&[("frontend", &front.name)], front.internal_errors_total);
            }
        },
    );
    out.histogram(
        "roundel_frontend_request_duration_seconds",
        "From the request's head to the end of the answer.",
        |f| {
            for front in all {
                if front.request_duration.count() > 0 {
                    f.latency(&[("frontend", &front.name)], &front.request_duration);
                }
            }
        },
    );
}

/// Answers by method and class; by class alone where methods are not counted.
fn requests(f: &mut Series, front: &Frontend) {
    for (method, code, n) in &front.requests_by_code_total {
        f.count(
            &[
                ("frontend", &front.name),
                ("method", method),
                ("code", code),
            ],
            *n,
        );
    }
    if front.requests_by_code_total.is_empty() {
        for (code, n) in CLASSES.iter().zip(front.responses_total) {
            f.count(&[("frontend", &front.name), ("code", code)], n);
        }
    }
}

fn by_word(
    f: &mut Series,
    all: &[Frontend],
    label: &str,
    of: impl Fn(&Frontend) -> &BTreeMap<String, u64>,
) {
    for front in all {
        for (word, n) in of(front) {
            f.count(&[("frontend", &front.name), (label, word)], *n);
        }
    }
}
