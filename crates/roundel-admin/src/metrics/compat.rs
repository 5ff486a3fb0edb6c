//! The same numbers under the names of HAProxy's exporter, for boards and alerts made for it.
//!
//! Labels are `proxy`, `server`, `code`, `state`; states are sets of series, one of them 1.
//! Source: the names that HAProxy 2.6 prints at its own `/metrics`.

use roundel_model::ServerState;

use super::OwnNumbers;
use super::families::{COUNTER, Families, GAUGE, Series, Table};
use super::frontends::CLASSES;
use crate::csv::server_status;
use crate::history::{Means, ServerRates};
use crate::moment::Moment;
use crate::status::{Backend, Frontend, Server, Snapshot};

/// One number per process.
const PROCESS: &Table<Snapshot> = &[
    (
        COUNTER,
        "haproxy_process_connections_total",
        "Total number of connections.",
        |s| sum(s, |f| f.accepted()),
    ),
    (
        COUNTER,
        "haproxy_process_requests_total",
        "Total number of requests.",
        |s| sum(s, |f| f.requests_total),
    ),
    (
        COUNTER,
        "haproxy_process_bytes_out_total",
        "Total number of bytes emitted.",
        |s| sum(s, |f| f.bytes_out_total),
    ),
    (
        GAUGE,
        "haproxy_process_current_connections",
        "Current number of connections.",
        |s| sum(s, |f| f.connections),
    ),
    (
        GAUGE,
        "haproxy_process_max_connections",
        "Hard limit on the number of connections.",
        |s| s.process.max_connections,
    ),
    (
        GAUGE,
        "haproxy_process_nbthread",
        "Number of started threads.",
        |s| s.process.threads,
    ),
    (
        GAUGE,
        "haproxy_process_max_pipes",
        "Hard limit on the number of pipes for splicing.",
        |s| s.process.pipes.most,
    ),
    (
        // Counters to HAProxy.
        COUNTER,
        "haproxy_process_pipes_used_total",
        "Current number of pipes in use.",
        |s| s.process.pipes.used,
    ),
    (
        COUNTER,
        "haproxy_process_pipes_free_total",
        "Current number of allocated and available pipes.",
        |s| s.process.pipes.free,
    ),
    (
        COUNTER,
        "haproxy_process_spliced_bytes_out_total",
        "Total number of bytes emitted through a kernel pipe.",
        |s| s.process.pipes.bytes_total,
    ),
];

/// One number per frontend.
const FRONTEND: &Table<Frontend> = &[
    (
        COUNTER,
        "haproxy_frontend_sessions_total",
        "Total number of sessions.",
        |f| f.accepted(),
    ),
    (
        COUNTER,
        "haproxy_frontend_connections_total",
        "Total number of connections.",
        |f| f.accepted(),
    ),
    (
        COUNTER,
        "haproxy_frontend_bytes_in_total",
        "Total number of request bytes.",
        |f| f.bytes_in_total,
    ),
    (
        COUNTER,
        "haproxy_frontend_bytes_out_total",
        "Total number of response bytes.",
        |f| f.bytes_out_total,
    ),
    (
        COUNTER,
        "haproxy_frontend_requests_denied_total",
        "Total number of denied requests.",
        |f| f.denied_requests_total,
    ),
    (
        COUNTER,
        "haproxy_frontend_request_errors_total",
        "Total number of invalid requests.",
        |f| f.request_errors(),
    ),
    (
        COUNTER,
        "haproxy_frontend_http_requests_total",
        "Total number of HTTP requests.",
        |f| f.requests_total,
    ),
    (
        COUNTER,
        "haproxy_frontend_internal_errors_total",
        "Total number of internal errors.",
        |f| f.internal_errors_total,
    ),
];

/// One number per backend.
const BACKEND: &Table<Backend> = &[
    (
        GAUGE,
        "haproxy_backend_current_queue",
        "Requests waiting for a server.",
        |b| b.queue_length,
    ),
    (
        GAUGE,
        "haproxy_backend_current_sessions",
        "Requests in flight.",
        |b| b.in_flight,
    ),
    (
        GAUGE,
        "haproxy_backend_weight",
        "Total weight of the usable servers.",
        |b| active(b, false).map(|s| u64::from(s.weight)).sum(),
    ),
    (
        GAUGE,
        "haproxy_backend_active_servers",
        "Usable active servers.",
        |b| active(b, false).count() as u64,
    ),
    (
        GAUGE,
        "haproxy_backend_backup_servers",
        "Usable backup servers.",
        |b| active(b, true).count() as u64,
    ),
    (
        COUNTER,
        "haproxy_backend_sessions_total",
        "Total number of requests dispatched.",
        |b| b.requests_total,
    ),
    (
        COUNTER,
        "haproxy_backend_http_requests_total",
        "Total number of HTTP requests.",
        |b| b.requests_total,
    ),
    (
        COUNTER,
        "haproxy_backend_loadbalanced_total",
        "Times that the algorithm chose.",
        |b| b.traffic.lb_total,
    ),
    (
        COUNTER,
        "haproxy_backend_bytes_in_total",
        "Total number of request bytes.",
        |b| b.traffic.bytes_in_total,
    ),
    (
        COUNTER,
        "haproxy_backend_bytes_out_total",
        "Total number of response bytes.",
        |b| b.traffic.bytes_out_total,
    ),
    (
        COUNTER,
        "haproxy_backend_connection_errors_total",
        "Failed connections.",
        |b| b.traffic.connect_errors_total + b.no_server_total,
    ),
    (
        COUNTER,
        "haproxy_backend_response_errors_total",
        "Invalid responses.",
        |b| b.traffic.response_errors_total,
    ),
    (
        COUNTER,
        "haproxy_backend_retry_warnings_total",
        "Attempts made again.",
        |b| b.traffic.retries_total,
    ),
    (
        COUNTER,
        "haproxy_backend_redispatch_warnings_total",
        "Requests sent to another server.",
        |b| b.traffic.redispatches_total,
    ),
    (
        COUNTER,
        "haproxy_backend_client_aborts_total",
        "Exchanges that clients broke off.",
        |b| b.traffic.client_aborts_total,
    ),
    (
        COUNTER,
        "haproxy_backend_server_aborts_total",
        "Exchanges that servers broke off.",
        |b| b.traffic.server_aborts_total,
    ),
    (
        COUNTER,
        "haproxy_backend_check_up_down_total",
        "Times it went from usable to unusable.",
        |b| b.down_transitions_total,
    ),
    (
        COUNTER,
        "haproxy_backend_downtime_seconds_total",
        "Seconds without a usable server.",
        |b| b.downtime_seconds,
    ),
    (
        COUNTER,
        "haproxy_backend_connection_reuses_total",
        "Requests sent on a connection used before.",
        |b| b.traffic.reuses_total,
    ),
];

/// One number per server.
const SERVER: &Table<Server> = &[
    (
        GAUGE,
        "haproxy_server_current_sessions",
        "Requests in flight.",
        |s| s.in_flight,
    ),
    (GAUGE, "haproxy_server_weight", "Weight in force.", |s| {
        u64::from(s.weight)
    }),
    (
        GAUGE,
        "haproxy_server_idle_connections_current",
        "Idle connections.",
        |s| s.idle_connections,
    ),
    (
        COUNTER,
        "haproxy_server_sessions_total",
        "Total number of requests dispatched.",
        |s| s.requests_total,
    ),
    (
        COUNTER,
        "haproxy_server_loadbalanced_total",
        "Times that the algorithm chose it.",
        |s| s.traffic.lb_total,
    ),
    (
        COUNTER,
        "haproxy_server_bytes_in_total",
        "Total number of request bytes.",
        |s| s.traffic.bytes_in_total,
    ),
    (
        COUNTER,
        "haproxy_server_bytes_out_total",
        "Total number of response bytes.",
        |s| s.traffic.bytes_out_total,
    ),
    (
        COUNTER,
        "haproxy_server_connection_errors_total",
        "Failed connections.",
        |s| s.traffic.connect_errors_total,
    ),
    (
        COUNTER,
        "haproxy_server_response_errors_total",
        "Invalid responses.",
        |s| s.traffic.response_errors_total,
    ),
    (
        COUNTER,
        "haproxy_server_retry_warnings_total",
        "Attempts made again.",
        |s| s.traffic.retries_total,
    ),
    (
        COUNTER,
        "haproxy_server_redispatch_warnings_total",
        "Requests sent to another server.",
        |s| s.traffic.redispatches_total,
    ),
    (
        COUNTER,
        "haproxy_server_client_aborts_total",
        "Exchanges that clients broke off.",
        |s| s.traffic.client_aborts_total,
    ),
    (
        COUNTER,
        "haproxy_server_server_aborts_total",
        "Exchanges that it broke off.",
        |s| s.traffic.server_aborts_total,
    ),
    (
        COUNTER,
        "haproxy_server_check_up_down_total",
        "Times it went down.",
        |s| s.down_transitions_total,
    ),
    (
        COUNTER,
        "haproxy_server_check_failures_total",
        "Failed probes while up.",
        |s| s.check.as_ref().map_or(0, |c| c.failed_while_up_total),
    ),
    (
        COUNTER,
        "haproxy_server_downtime_seconds_total",
        "Seconds not usable.",
        |s| s.downtime_seconds,
    ),
    (
        COUNTER,
        "haproxy_server_connection_reuses_total",
        "Requests sent on a connection used before.",
        |s| s.traffic.reuses_total,
    ),
];

pub(super) fn write(moment: &Moment, own: &OwnNumbers, out: &mut Families) {
    process(moment, own, out);
    frontends(&moment.snapshot.frontends, out);
    backends(&moment.snapshot.backends, out);
    servers(moment, out);
}

fn process(moment: &Moment, own: &OwnNumbers, out: &mut Families) {
    let s = &*moment.snapshot;
    let conn_rate: f64 = moment
        .rates
        .frontends
        .values()
        .map(|r| r.connections_per_second)
        .sum();
    out.gauge("haproxy_process_build_info", "Build info.", |f| {
        f.value(&[("version", &s.version)], 1.0);
    });
    let gauges = [
        (
            "uptime_seconds",
            "How long ago this process was started.",
            s.uptime_seconds,
        ),
        (
            "start_time_seconds",
            "Start time in seconds.",
            s.process.start_time_seconds,
        ),
        (
            "current_connection_rate",
            "Number of front connections in the last second.",
            conn_rate,
        ),
        (
            "stopping",
            "1 if the process is stopping, otherwise zero.",
            f64::from(own.draining),
        ),
    ];
    for (name, help, value) in gauges {
        out.gauge(&format!("haproxy_process_{name}"), help, |f| {
            f.value(&[], value)
        });
    }
    out.table(PROCESS, |f, of| f.count(&[], of(s)));
}

fn frontends(all: &[Frontend], out: &mut Families) {
    out.gauge(
        "haproxy_frontend_status",
        "Current status, 1 for the state it is in.",
        |f| {
            for front in all {
                f.value(&[("proxy", &front.name), ("state", "DOWN")], 0.0);
                f.value(&[("proxy", &front.name), ("state", "UP")], 1.0);
            }
        },
    );
    out.gauge(
        "haproxy_frontend_current_sessions",
        "Current sessions.",
        |f| {
            for front in all {
                f.count(&[("proxy", &front.name)], front.connections);
            }
        },
    );
    out.table(FRONTEND, |f, of| {
        for front in all {
            f.count(&[("proxy", &front.name)], of(front));
        }
    });
    out.counter(
        "haproxy_frontend_http_responses_total",
        "Responses by class.",
        |f| {
            for front in all {
                by_code(f, &[("proxy", &front.name)], &front.responses_total);
            }
        },
    );
}

fn backends(all: &[Backend], out: &mut Families) {
    out.gauge(
        "haproxy_backend_status",
        "Current status, 1 for the state it is in.",
        |f| {
            for b in all {
                let up = b.serving() > 0;
                f.value(&[("proxy", &b.name), ("state", "DOWN")], f64::from(!up));
                f.value(&[("proxy", &b.name), ("state", "UP")], f64::from(up));
            }
        },
    );
    out.gauge(
        "haproxy_backend_agg_server_status",
        "Number of servers by status.",
        |f| {
            for b in all {
                for state in STATES {
                    let n = b.servers.iter().filter(|s| is(s, state)).count();
                    f.count(&[("proxy", &b.name), ("state", state)], n as u64);
                }
            }
        },
    );
    out.table(BACKEND, |f, of| {
        for b in all {
            f.count(&[("proxy", &b.name)], of(b));
        }
    });
    out.counter(
        "haproxy_backend_http_responses_total",
        "Responses by class.",
        |f| {
            for b in all {
                by_code(f, &[("proxy", &b.name)], &b.traffic.responses_total);
            }
        },
    );
    averages(out, "backend", |f, of| {
        for b in all {
            f.value(
                &[("proxy", &b.name)],
                of(&Means::of(&b.traffic.times)) / 1_000.0,
            );
        }
    });
}

fn servers(moment: &Moment, out: &mut Families) {
    let all = || {
        let backends = moment.snapshot.backends.iter();
        backends.flat_map(|b| b.servers.iter().map(|s| (b.name.as_str(), s)))
    };
    out.gauge(
        "haproxy_server_status",
        "Current status, 1 for the state it is in.",
        |f| {
            for (b, s) in all() {
                for state in STATES {
                    let labels = [("proxy", b), ("server", &*s.name), ("state", state)];
                    f.value(&labels, f64::from(is(s, state)));
                }
            }
        },
    );
    out.table(SERVER, |f, of| {
        for (b, s) in all() {
            f.count(&[("proxy", b), ("server", &s.name)], of(s));
        }
    });
    out.counter(
        "haproxy_server_http_responses_total",
        "Responses by class.",
        |f| {
            for (b, s) in all() {
                by_code(
                    f,
                    &[("proxy", b), ("server", &s.name)],
                    &s.traffic.responses_total,
                );
            }
        },
    );
    server_checks(moment, out);
}

fn server_checks(moment: &Moment, out: &mut Families) {
    let backends = &moment.snapshot.backends;
    out.gauge(
        "haproxy_server_check_duration_seconds",
        "How long the last probe took.",
        |f| {
            for (b, s) in backends
                .iter()
                .flat_map(|b| b.servers.iter().map(move |s| (b, s)))
            {
                if let Some(ms) = s.check.as_ref().and_then(|check| check.duration_ms) {
                    f.value(
                        &[("proxy", &b.name), ("server", &s.name)],
                        ms as f64 / 1_000.0,
                    );
                }
            }
        },
    );
    averages(out, "server", |f, of| {
        for b in backends {
            let rates = moment.rates.backends.get(&b.name);
            for s in &b.servers {
                let none = ServerRates::default();
                let rates = rates.and_then(|r| r.servers.get(&s.name)).unwrap_or(&none);
                f.value(
                    &[("proxy", &b.name), ("server", &s.name)],
                    of(&rates.means) / 1_000.0,
                );
            }
        }
    });
}

/// The states of the exporter's state sets.
const STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

fn is(server: &Server, state: &str) -> bool {
    match server_status(server).as_str() {
        "no check" => state == "UP",
        status => status.starts_with(state),
    }
}

fn sum(snapshot: &Snapshot, of: fn(&Frontend) -> u64) -> u64 {
    snapshot.frontends.iter().map(of).sum()
}

fn active(backend: &Backend, backup: bool) -> impl Iterator<Item = &Server> {
    let servers = backend.servers.iter();
    servers.filter(move |s| {
        let usable = matches!(s.state, ServerState::Up | ServerState::Warming);
        usable && s.backup == backup
    })
}

fn by_code(f: &mut Series, labels: &[(&str, &str)], counts: &[u64; 6]) {
    for (code, n) in CLASSES.into_iter().zip(counts) {
        let mut labels = labels.to_vec();
        labels.push(("code", code));
        f.count(&labels, *n);
    }
}

fn averages(out: &mut Families, area: &str, write: impl Fn(&mut Series, fn(&Means) -> f64)) {
    type Of = fn(&Means) -> f64;
    let kinds: [(&str, Of); 4] = [
        ("queue", |m| m.queue_ms),
        ("connect", |m| m.connect_ms),
        ("response", |m| m.response_ms),
        ("total", |m| m.total_ms),
    ];
    for (kind, of) in kinds {
        let name = format!("haproxy_{area}_{kind}_time_average_seconds");
        out.gauge(&name, "Average over the last 1,024 exchanges.", |f| {
            write(f, of)
        });
    }
}
