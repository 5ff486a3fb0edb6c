//! The exporter's numbers of the process. What Roundel does not do at all (compression, peers,
//! limits of rates) is a true zero.

use super::super::OwnNumbers;
use super::super::families::{COUNTER, Families, GAUGE, Kind};
use crate::history::FrontendRates;
use crate::moment::Moment;
use crate::status::Frontend;

/// Kind, name after `haproxy_process_`, help, and the number.
type Number = (Kind, &'static str, &'static str, fn(&Moment) -> f64);

fn zero(_: &Moment) -> f64 {
    0.0
}

fn sum(moment: &Moment, of: fn(&Frontend) -> u64) -> f64 {
    moment.snapshot.frontends.iter().map(of).sum::<u64>() as f64
}

fn rate(moment: &Moment, of: fn(&FrontendRates) -> f64) -> f64 {
    moment.rates.frontends.values().map(of).sum::<f64>().round()
}

const NUMBERS: &[Number] = &[
    (GAUGE, "nbthread", "Worker threads.", |m| {
        m.snapshot.process.threads as f64
    }),
    (GAUGE, "nbproc", "Worker processes.", |_| 1.0),
    (
        GAUGE,
        "relative_process_id",
        "Number of this process.",
        |_| 1.0,
    ),
    (GAUGE, "uptime_seconds", "Seconds since the start.", |m| {
        m.snapshot.uptime_seconds
    }),
    (
        GAUGE,
        "start_time_seconds",
        "When it started, since the Unix epoch.",
        |m| m.snapshot.process.start_time_seconds,
    ),
    (
        GAUGE,
        "max_memory_bytes",
        "Limit of memory; 0 without.",
        zero,
    ),
    (
        COUNTER,
        "pool_failures_total",
        "Failed allocations of a pool.",
        zero,
    ),
    (GAUGE, "max_fds", "Limit of open descriptors.", |m| {
        m.snapshot.process.max_fds as f64
    }),
    (GAUGE, "max_sockets", "Limit of sockets.", |m| {
        m.snapshot.process.max_fds as f64
    }),
    (
        GAUGE,
        "max_connections",
        "Limit of client connections.",
        |m| m.snapshot.process.max_connections as f64,
    ),
    (
        GAUGE,
        "hard_max_connections",
        "Limit of client connections as started.",
        |m| m.snapshot.process.max_connections as f64,
    ),
    (GAUGE, "current_connections", "Client connections.", |m| {
        sum(m, |f| f.connections)
    }),
    (
        COUNTER,
        "connections_total",
        "Client connections accepted.",
        |m| sum(m, |f| f.accepted()),
    ),
    (COUNTER, "requests_total", "Requests.", |m| {
        sum(m, |f| f.requests_total)
    }),
    (
        GAUGE,
        "max_ssl_connections",
        "Limit of TLS connections; 0 without.",
        zero,
    ),
    (GAUGE, "current_ssl_connections", "TLS connections.", |m| {
        sum(m, |f| f.tls_connections)
    }),
    (
        COUNTER,
        "ssl_connections_total",
        "TLS connections accepted.",
        |m| sum(m, Frontend::tls_handshakes),
    ),
    (GAUGE, "max_pipes", "Limit of pipes for splicing.", |m| {
        m.snapshot.process.pipes.most as f64
    }),
    // Counters to HAProxy.
    (COUNTER, "pipes_used_total", "Pipes in use.", |m| {
        m.snapshot.process.pipes.used as f64
    }),
    (COUNTER, "pipes_free_total", "Pipes kept.", |m| {
        m.snapshot.process.pipes.free as f64
    }),
    (
        GAUGE,
        "current_connection_rate",
        "Connections of the last second.",
        |m| rate(m, |r| r.connections_per_second),
    ),
    (
        GAUGE,
        "limit_connection_rate",
        "Limit of connections per second; 0 without.",
        zero,
    ),
    (
        GAUGE,
        "max_connection_rate",
        "The most connections in one second.",
        |m| rate(m, |r| r.connections_per_second_max),
    ),
    (
        GAUGE,
        "current_session_rate",
        "Sessions of the last second.",
        |m| rate(m, |r| r.connections_per_second),
    ),
    (
        GAUGE,
        "limit_session_rate",
        "Limit of sessions per second; 0 without.",
        zero,
    ),
    (
        GAUGE,
        "max_session_rate",
        "The most sessions in one second.",
        |m| rate(m, |r| r.connections_per_second_max),
    ),
    (
        GAUGE,
        "current_ssl_rate",
        "TLS sessions of the last second.",
        |m| rate(m, |r| r.tls_handshakes_per_second),
    ),
    (
        GAUGE,
        "limit_ssl_rate",
        "Limit of TLS sessions per second; 0 without.",
        zero,
    ),
    (
        GAUGE,
        "max_ssl_rate",
        "The most TLS sessions in one second.",
        |m| rate(m, |r| r.tls_handshakes_per_second_max),
    ),
    (
        GAUGE,
        "current_frontend_ssl_key_rate",
        "TLS keys of clients per second.",
        |m| rate(m, |r| r.tls_keys_per_second),
    ),
    (
        GAUGE,
        "max_frontend_ssl_key_rate",
        "The most of them.",
        |m| rate(m, |r| r.tls_keys_per_second_max),
    ),
    (
        GAUGE,
        "frontend_ssl_reuse",
        "Percent of the TLS sessions of the last second that were resumed.",
        |m| m.tls_reuse_percent() as f64,
    ),
    (
        GAUGE,
        "current_backend_ssl_key_rate",
        "TLS keys of servers per second.",
        zero,
    ),
    (GAUGE, "max_backend_ssl_key_rate", "The most of them.", zero),
    (
        COUNTER,
        "ssl_cache_lookups_total",
        "TLS sessions looked up.",
        zero,
    ),
    (
        COUNTER,
        "ssl_cache_misses_total",
        "TLS sessions not found.",
        zero,
    ),
    (
        COUNTER,
        "http_comp_bytes_in_total",
        "Bytes given to the compression.",
        zero,
    ),
    (
        COUNTER,
        "http_comp_bytes_out_total",
        "Bytes that came out of it.",
        zero,
    ),
    (
        GAUGE,
        "limit_http_comp",
        "Limit of its bytes per second; 0 without.",
        zero,
    ),
    (GAUGE, "current_tasks", "Requests in flight.", |m| {
        m.rates.total.in_flight as f64
    }),
    (
        GAUGE,
        "current_run_queue",
        "Tasks that wait for a processor.",
        zero,
    ),
    (
        GAUGE,
        "idle_time_percent",
        "Share of the workers' time not spent computing.",
        |m| m.idle_percent() as f64,
    ),
    (GAUGE, "jobs", "Client connections and listeners.", |m| {
        sum(m, |f| f.connections + f.listen.len() as u64)
    }),
    (GAUGE, "unstoppable_jobs", "Jobs that hold up a stop.", zero),
    (GAUGE, "listeners", "Addresses listened on.", |m| {
        sum(m, |f| f.listen.len() as u64)
    }),
    (GAUGE, "active_peers", "Peers of stick tables.", zero),
    (GAUGE, "connected_peers", "Those connected.", zero),
    (
        COUNTER,
        "dropped_logs_total",
        "Log lines thrown away.",
        |m| m.snapshot.log_lines_dropped_total as f64,
    ),
    (
        GAUGE,
        "busy_polling_enabled",
        "1 where workers never sleep.",
        zero,
    ),
    (COUNTER, "bytes_out_total", "Bytes sent to clients.", |m| {
        sum(m, |f| f.bytes_out_total)
    }),
    (
        COUNTER,
        "spliced_bytes_out_total",
        "Bytes sent through pipes.",
        |m| m.snapshot.process.pipes.bytes_total as f64,
    ),
    (
        GAUGE,
        "bytes_out_rate",
        "Bytes sent in the last second.",
        |m| m.rates.total.bytes_out_per_second.round(),
    ),
    (
        COUNTER,
        "recv_logs_total",
        "Log lines received from others.",
        zero,
    ),
];

pub(super) fn write(moment: &Moment, own: &OwnNumbers, out: &mut Families) {
    for (kind, name, help, of) in NUMBERS {
        let name = format!("haproxy_process_{name}");
        out.family(&name, help, *kind, |f| f.value(&[], of(moment)));
    }
    out.gauge(
        "haproxy_process_stopping",
        "1 while the process ends.",
        |f| {
            f.value(&[], f64::from(own.draining));
        },
    );
    out.gauge(
        "haproxy_process_build_info",
        "Always 1; what was built.",
        |f| {
            f.value(&[("version", &moment.snapshot.version)], 1.0);
        },
    );
}
