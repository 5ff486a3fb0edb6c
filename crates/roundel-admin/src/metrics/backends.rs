//! Backends and servers.

use std::collections::BTreeMap;

use roundel_model::ServerState;
use roundel_stats::HistogramSnapshot;

use super::families::{Families, Series};
use super::frontends::CLASSES;
use crate::status::{Backend, Check, Server};

pub(super) fn write(all: &[Backend], out: &mut Families) {
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
    latencies(all, out);
    out.gauge("roundel_backend_servers", "Servers in each state.", |f| {
        for b in all {
            for state in ServerState::ALL {
                let n = b.servers.iter().filter(|s| s.state == state).count();
                f.count(&[("backend", &b.name), ("state", state.as_str())], n as u64);
            }
        }
    });
    each(
        out,
        "roundel_backend_up",
        Gauge,
        "1 while a server takes new requests.",
        all,
        |b| u64::from(b.serving() > 0),
    );
    each(
        out,
        "roundel_backend_requests_in_flight",
        Gauge,
        "Requests in flight.",
        all,
        |b| b.in_flight,
    );
    each(
        out,
        "roundel_backend_queue_length",
        Gauge,
        "Requests that wait for a server.",
        all,
        |b| b.queue_length,
    );
    each(
        out,
        "roundel_backend_queue_timeouts_total",
        Counter,
        "Requests that waited too long.",
        all,
        |b| b.queue_timeouts_total,
    );
    each(
        out,
        "roundel_backend_no_server_total",
        Counter,
        "Requests that found no usable server.",
        all,
        |b| b.no_server_total,
    );
    each(
        out,
        "roundel_backend_set_version",
        Gauge,
        "The generation of the published set.",
        all,
        |b| b.set_version,
    );
    each(
        out,
        "roundel_backend_downtime_seconds_total",
        Counter,
        "Seconds without a usable server.",
        all,
        |b| b.downtime_seconds,
    );
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
        "Sticky cookies set.",
        |f| {
            by_word(f, all, "reason", |b| &b.sticky_cookies_set_total);
        },
    );
}

fn latencies(all: &[Backend], out: &mut Families) {
    type Of = fn(&Backend) -> &HistogramSnapshot;
    let families: [(&str, &str, Of); 4] = [
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
    each(
        out,
        "roundel_retries_total",
        Counter,
        "Attempts made again.",
        all,
        |b| b.traffic.retries_total,
    );
    each(
        out,
        "roundel_redispatches_total",
        Counter,
        "Requests sent to another server.",
        all,
        |b| b.traffic.redispatches_total,
    );
    each(
        out,
        "roundel_retries_exhausted_total",
        Counter,
        "Requests given up after the last retry.",
        all,
        |b| b.retries_exhausted_total,
    );
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
    per_server(
        out,
        "roundel_server_up",
        Gauge,
        "1 while it takes new requests.",
        all,
        |s| u64::from(s.state.takes_new()),
    );
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
    per_server(
        out,
        "roundel_server_weight",
        Gauge,
        "The weight in force.",
        all,
        |s| u64::from(s.weight),
    );
    per_server(
        out,
        "roundel_server_requests_in_flight",
        Gauge,
        "Requests in flight.",
        all,
        |s| s.in_flight,
    );
    out.counter("roundel_server_requests_total", "Answers, by class.", |f| {
        for (b, s) in servers(all) {
            for (code, n) in CLASSES.iter().zip(s.traffic.responses_total) {
                f.count(&[("backend", b), ("server", &s.name), ("code", code)], n);
            }
        }
    });
    per_server(
        out,
        "roundel_server_errors_total",
        Counter,
        "Connect errors plus response errors.",
        all,
        |s| s.errors_total,
    );
    per_server(
        out,
        "roundel_server_sent_bytes_total",
        Counter,
        "Bytes of requests sent to it.",
        all,
        |s| s.traffic.bytes_in_total,
    );
    per_server(
        out,
        "roundel_server_received_bytes_total",
        Counter,
        "Bytes of answers received from it.",
        all,
        |s| s.traffic.bytes_out_total,
    );
    connections(all, out);
    per_server(
        out,
        "roundel_server_downtime_seconds_total",
        Counter,
        "Seconds not usable.",
        all,
        |s| s.downtime_seconds,
    );
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
    per_server(
        out,
        "roundel_server_ejections_total",
        Counter,
        "Times that passive errors put it out.",
        all,
        |s| s.ejections_total,
    );
    checks(all, out);
}

fn connections(all: &[Backend], out: &mut Families) {
    out.gauge("roundel_server_connections", "Connections to it.", |f| {
        for (b, s) in servers(all) {
            f.count(
                &[("backend", b), ("server", &s.name), ("state", "idle")],
                s.idle_connections,
            );
        }
    });
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
    per_server(
        out,
        "roundel_server_connections_reused_total",
        Counter,
        "Requests sent on a connection used before.",
        all,
        |s| s.traffic.reuses_total,
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
    servers(all).filter_map(|(b, s)| Some((b, s.name.as_str(), s.check.as_ref()?)))
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}
use Kind::{Counter, Gauge};

fn add(out: &mut Families, name: &str, kind: Kind, help: &str, series: impl FnOnce(&mut Series)) {
    match kind {
        Counter => out.counter(name, help, series),
        Gauge => out.gauge(name, help, series),
    }
}

fn each(
    out: &mut Families,
    name: &str,
    kind: Kind,
    help: &str,
    all: &[Backend],
    of: fn(&Backend) -> u64,
) {
    add(out, name, kind, help, |f| {
        for b in all {
            f.count(&[("backend", &b.name)], of(b));
        }
    });
}

fn per_server(
    out: &mut Families,
    name: &str,
    kind: Kind,
    help: &str,
    all: &[Backend],
    of: fn(&Server) -> u64,
) {
    add(out, name, kind, help, |f| {
        for (b, s) in servers(all) {
            f.count(&[("backend", b), ("server", &s.name)], of(s));
        }
    });
}

fn servers(all: &[Backend]) -> impl Iterator<Item = (&str, &Server)> {
    all.iter()
        .flat_map(|b| b.servers.iter().map(|s| (b.name.as_str(), s)))
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
