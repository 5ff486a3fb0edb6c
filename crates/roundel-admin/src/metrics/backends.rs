//! Backends and servers.

use std::collections::BTreeMap;

use roundel_model::ServerState;
use roundel_stats::HistogramSnapshot;

use super::families::{COUNTER, Families, GAUGE, Series, Table};
use super::frontends::CLASSES;
use crate::status::{Backend, Check, Server};

/// One number per backend.
const BACKEND: &Table<Backend> = &[
    (
        GAUGE,
        "roundel_backend_up",
        "1 while a server takes new requests.",
        |b| u64::from(b.serving() > 0),
    ),
    (
        GAUGE,
        "roundel_backend_requests_in_flight",
        "Requests in flight.",
        |b| b.in_flight,
    ),
    (
        GAUGE,
        "roundel_backend_queue_length",
        "Requests that wait for a server.",
        |b| b.queue_length,
    ),
    (
        COUNTER,
        "roundel_backend_queue_timeouts_total",
        "Requests that waited too long.",
        |b| b.queue_timeouts_total,
    ),
    (
        COUNTER,
        "roundel_backend_no_server_total",
        "Requests that found no usable server.",
        |b| b.no_server_total,
    ),
    (
        GAUGE,
        "roundel_backend_set_version",
        "The generation of the published set.",
        |b| b.set_version,
    ),
    (
        COUNTER,
        "roundel_backend_downtime_seconds_total",
        "Seconds without a usable server.",
        |b| b.downtime_seconds,
    ),
    (
        COUNTER,
        "roundel_retries_total",
        "Attempts made again.",
        |b| b.traffic.retries_total,
    ),
    (
        COUNTER,
        "roundel_redispatches_total",
        "Requests sent to another server.",
        |b| b.traffic.redispatches_total,
    ),
    (
        COUNTER,
        "roundel_retries_exhausted_total",
        "Requests given up after the last retry.",
        |b| b.retries_exhausted_total,
    ),
];

/// One number per server.
const SERVER: &Table<Server> = &[
    (
        GAUGE,
        "roundel_server_up",
        "1 while it takes new requests.",
        |s| u64::from(s.state.takes_new()),
    ),
    (
        GAUGE,
        "roundel_server_weight",
        "The weight in force.",
        |s| u64::from(s.weight),
    ),
    (
        GAUGE,
        "roundel_server_requests_in_flight",
        "Requests in flight.",
        |s| s.in_flight,
    ),
    (
        COUNTER,
        "roundel_server_errors_total",
        "Connect errors plus response errors.",
        |s| s.errors_total,
    ),
    (
        COUNTER,
        "roundel_server_sent_bytes_total",
        "Bytes of requests sent to it.",
        |s| s.traffic.bytes_in_total,
    ),
    (
        COUNTER,
        "roundel_server_received_bytes_total",
        "Bytes of answers received from it.",
        |s| s.traffic.bytes_out_total,
    ),
    (
        COUNTER,
        "roundel_server_downtime_seconds_total",
        "Seconds not usable.",
        |s| s.downtime_seconds,
    ),
    (
        COUNTER,
        "roundel_server_connections_reused_total",
        "Requests sent on a connection used before.",
        |s| s.traffic.reuses_total,
    ),
];

pub(super) fn write(all: &[Backend], out: &mut Families) {
    out.table(BACKEND, |f, of| {
        for b in all {
            f.count(&[("backend", &b.name)], of(b));
        }
    });
    out.counter(
        "roundel_backend_requests_total",
        "Answers of a backend's servers, by class.",
        |f| {
            for b in all {
                for (code, n) in CLASSES.iter().zip(b.traffic.responses_total) {
                    f.count(&[("backend", &b.name), ("code", code)], n);
                }
            }
        },
    );
    out.counter(
        "roundel_backend_grpc_calls_total",
        "gRPC calls for a backend, by the code with which they ended.",
        |f| {
            for b in all {
                for (code, n) in &b.grpc_calls_total {
                    f.count(&[("backend", &b.name), ("code", code)], *n);
                }
            }
        },
    );
    latencies(all, out);
    out.gauge("roundel_backend_servers", "Servers in each state.", |f| {
        for b in all {
            for state in ServerState::ALL {
                let n = b.servers.iter().filter(|s| s.state == state).count();
                f.count(&[("backend", &b.name), ("state", state.as_str())], n as u64);
            }
        }
    });
    out.counter(
        "roundel_backend_set_changes_total",
        "Changes of the set, by source.",
        |f| {
            by_word(f, all, "source", |b| &b.set_changes_total);
        },
    );
    failures(all, out);
    out.counter(
        "roundel_sticky_requests_total",
        "Requests by what their sticky cookie was.",
        |f| {
            by_word(f, all, "result", |b| &b.sticky_requests_total);
        },
    );
    out.counter(
        "roundel_sticky_cookies_set_total",
        "Sticky cookies set, by what the request's was.",
        |f| {
            by_word(f, all, "reason", |b| &b.sticky_cookies_set_total);
        },
    );
}

fn latencies(all: &[Backend], out: &mut Families) {
    type Of = fn(&Backend) -> &HistogramSnapshot;
    let families: [(&str, &str, Of); 5] = [
        (
            "roundel_backend_request_duration_seconds",
            "From the request's head to the end of the answer.",
            |b| &b.request_duration,
        ),
        (
            "roundel_backend_time_to_first_byte_seconds",
            "From the request's head to the head of the answer.",
            |b| &b.time_to_first_byte,
        ),
        (
            "roundel_backend_connect_duration_seconds",
            "How long connecting to a server took.",
            |b| &b.connect_duration,
        ),
        (
            "roundel_backend_queue_duration_seconds",
            "How long requests waited for a server.",
            |b| &b.queue_duration,
        ),
        (
            "roundel_backend_check_delay_seconds",
            "How late checks started; it grows when the process has too little time for them.",
            |b| &b.check_delay,
        ),
    ];
    for (name, help, of) in families {
        out.histogram(name, help, |f| {
            for b in all.iter().filter(|b| of(b).count() > 0) {
                f.latency(&[("backend", &b.name)], of(b));
            }
        });
    }
}

fn failures(all: &[Backend], out: &mut Families) {
    out.counter(
        "roundel_aborts_total",
        "Exchanges broken off, by side.",
        |f| {
            for b in all {
                f.count(
                    &[("backend", &b.name), ("side", "client")],
                    b.traffic.client_aborts_total,
                );
                f.count(
                    &[("backend", &b.name), ("side", "server")],
                    b.traffic.server_aborts_total,
                );
            }
        },
    );
}

pub(super) fn write_servers(all: &[Backend], out: &mut Families) {
    out.table(SERVER, |f, of| {
        for (b, s) in servers(all) {
            f.count(&[("backend", b), ("server", &s.name)], of(s));
        }
    });
    out.gauge(
        "roundel_server_state",
        "1 for the state it is in, 0 for the others.",
        |f| {
            for (b, s) in servers(all) {
                for state in ServerState::ALL {
                    let labels = [
                        ("backend", b),
                        ("server", &s.name),
                        ("state", state.as_str()),
                    ];
                    f.count(&labels, u64::from(s.state == state));
                }
            }
        },
    );
    out.counter("roundel_server_requests_total", "Answers, by class.", |f| {
        for (b, s) in servers(all) {
            for (code, n) in CLASSES.iter().zip(s.traffic.responses_total) {
                f.count(&[("backend", b), ("server", &s.name), ("code", code)], n);
            }
        }
    });
    connections(all, out);
    out.counter(
        "roundel_server_state_changes_total",
        "State changes, by the state it went to.",
        |f| {
            for (b, s) in servers(all) {
                for (to, n) in &s.state_changes_total {
                    f.count(&[("backend", b), ("server", &s.name), ("to", to)], *n);
                }
            }
        },
    );
    out.counter(
        "roundel_server_ejections_total",
        "Times that passive errors put it out, by reason.",
        |f| {
            for (b, s) in servers(all) {
                for (reason, n) in &*s.ejections_by_reason_total {
                    let labels = [("backend", b), ("server", &s.name), ("reason", reason)];
                    f.count(&labels, *n);
                }
            }
        },
    );
    checks(all, out);
}

fn connections(all: &[Backend], out: &mut Families) {
    out.counter(
        "roundel_server_connection_attempts_total",
        "Connections tried, by result.",
        |f| {
            for (b, s) in servers(all) {
                let t = &s.traffic;
                f.count(
                    &[("backend", b), ("server", &s.name), ("result", "ok")],
                    t.connects_total,
                );
                f.count(
                    &[("backend", b), ("server", &s.name), ("result", "fail")],
                    t.connect_errors_total,
                );
            }
        },
    );
}

fn checks(all: &[Backend], out: &mut Families) {
    out.counter("roundel_server_checks_total", "Probes, by result.", |f| {
        for (b, s, check) in checked(all) {
            for (result, n) in [("pass", check.passed_total), ("fail", check.failed_total)] {
                f.count(&[("backend", b), ("server", s), ("result", result)], n);
            }
        }
    });
    out.gauge(
        "roundel_server_check_duration_seconds",
        "How long the last probe took.",
        |f| {
            for (b, s, check) in checked(all) {
                if let Some(ms) = check.duration_ms {
                    f.value(&[("backend", b), ("server", s)], ms as f64 / 1_000.0);
                }
            }
        },
    );
}

/// Backend, server and check of each server that is checked.
fn checked(all: &[Backend]) -> impl Iterator<Item = (&str, &str, &Check)> {
    servers(all).filter_map(|(b, s)| Some((b, &*s.name, s.check.as_ref()?)))
}

fn servers(all: &[Backend]) -> impl Iterator<Item = (&str, &Server)> {
    all.iter()
        .flat_map(|b| b.here().map(|s| (b.name.as_str(), s)))
}

fn by_word(
    f: &mut Series,
    all: &[Backend],
    label: &str,
    of: impl Fn(&Backend) -> &BTreeMap<String, u64>,
) {
    for b in all {
        for (word, n) in of(b) {
            f.count(&[("backend", &b.name), (label, word)], *n);
        }
    }
}
