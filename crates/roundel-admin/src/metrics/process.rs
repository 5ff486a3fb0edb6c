//! The process, its configuration, the admin plane.

use super::OwnNumbers;
use super::families::Families;
use crate::status::{Bound, Pipes, Snapshot};

pub(super) fn write(s: &Snapshot, own: &OwnNumbers, out: &mut Families) {
    let p = &s.process;
    out.gauge("roundel_build_info", "Always 1; what was built.", |f| {
        let labels = [("version", s.version.as_str()), ("revision", &p.revision)];
        f.value(&labels, 1.0);
    });
    one(
        out,
        "roundel_start_time_seconds",
        "When the process started, since the Unix epoch.",
        p.start_time_seconds,
    );
    one(
        out,
        "roundel_uptime_seconds",
        "Seconds since the process started.",
        s.uptime_seconds,
    );
    one(out, "roundel_threads", "Worker threads.", p.threads as f64);
    one(
        out,
        "roundel_worker_stall_seconds",
        "How long ago the slowest worker turned its loop.",
        p.worker_stall_seconds,
    );
    out.counter(
        "roundel_worker_restarts_total",
        "Workers that ended by a panic and were replaced.",
        |f| {
            f.count(&[], p.worker_restarts_total);
        },
    );
    one(
        out,
        "roundel_connections_limit",
        "The most client connections open at once; 0 without a limit.",
        p.max_connections as f64,
    );
    one(
        out,
        "roundel_connections_lingering",
        "Client connections read on after their last answer, since the client still sends.",
        p.lingering as f64,
    );
    pipes(&p.pipes, out);
    bounds(&s.bounds, out);
    one(
        out,
        "roundel_snapshot_sequence",
        "The sequence number that every view of this moment carries.",
        s.seq as f64,
    );
    one(
        out,
        "roundel_draining",
        "1 while the process ends and takes no new connection.",
        f64::from(own.draining),
    );
    standard(s, out);
    alarms(s, out);
    config(s, out);
    out.counter(
        "roundel_log_lines_dropped_total",
        "Access log lines lost: their reader was too slow, or they could not be written.",
        |f| {
            f.count(&[], s.log_lines_dropped_total);
        },
    );
    out.counter(
        "roundel_system_log_lines_dropped_total",
        "Lines of the program's own log lost: nobody took them from standard error.",
        |f| {
            f.count(&[], s.system_log_lines_dropped_total);
        },
    );
    one(
        out,
        "roundel_sse_clients",
        "Viewers of /events.",
        own.viewers as f64,
    );
    out.counter(
        "roundel_admin_wrong_tokens_total",
        "Acts refused for a wrong or missing token.",
        |f| f.count(&[], own.wrong_tokens),
    );
    out.counter(
        "roundel_admin_actions_total",
        "Acts that operators asked for.",
        |f| {
            for ((action, result), n) in &own.acts {
                f.count(&[("action", action), ("result", result)], *n);
            }
        },
    );
}

fn pipes(pipes: &Pipes, out: &mut Families) {
    let counts = [
        (
            "roundel_pipes_limit",
            "The most pipes for large bodies.",
            pipes.most,
        ),
        (
            "roundel_pipes_used",
            "Pipes that hold a part of a body.",
            pipes.used,
        ),
        ("roundel_pipes_free", "Pipes kept for later.", pipes.free),
    ];
    for (name, help, n) in counts {
        one(out, name, help, n as f64);
    }
    out.counter(
        "roundel_spliced_bytes_total",
        "Bytes of bodies that went from socket to socket inside the kernel.",
        |f| f.count(&[], pipes.bytes_total),
    );
}

fn bounds(bounds: &[Bound], out: &mut Families) {
    out.gauge(
        "roundel_bound_used",
        "How much is kept of what strangers can fill.",
        |f| {
            for bound in bounds {
                if let Some(used) = bound.used {
                    f.value(&[("bound", &bound.name)], used as f64);
                }
            }
        },
    );
    out.gauge(
        "roundel_bound_limit",
        "The most that is kept of what strangers can fill.",
        |f| {
            for bound in bounds {
                f.value(&[("bound", &bound.name)], bound.limit as f64);
            }
        },
    );
    out.counter(
        "roundel_bound_hits_total",
        "What was refused because a bound was reached.",
        |f| {
            for bound in bounds {
                f.count(&[("bound", &bound.name)], bound.hits_total);
            }
        },
    );
}

/// The names that every Prometheus client library uses.
fn standard(s: &Snapshot, out: &mut Families) {
    let p = &s.process;
    out.counter(
        "process_cpu_seconds_total",
        "Processor time used, in seconds.",
        |f| {
            f.value(&[], p.cpu_seconds_total);
        },
    );
    one(
        out,
        "process_start_time_seconds",
        "When the process started, since the Unix epoch.",
        p.start_time_seconds,
    );
    one(
        out,
        "process_resident_memory_bytes",
        "Resident memory.",
        p.resident_bytes as f64,
    );
    one(
        out,
        "process_virtual_memory_bytes",
        "Virtual memory.",
        p.virtual_bytes as f64,
    );
    one(
        out,
        "process_open_fds",
        "Open file descriptors.",
        p.open_fds as f64,
    );
    one(
        out,
        "process_max_fds",
        "The limit of open file descriptors.",
        p.max_fds as f64,
    );
}

fn config(s: &Snapshot, out: &mut Families) {
    let c = &s.config;
    out.counter(
        "roundel_config_reloads_total",
        "Reloads of the configuration.",
        |f| {
            f.count(&[("result", "ok")], c.reloads_ok_total);
            f.count(&[("result", "failed")], c.reloads_failed_total);
        },
    );
    let good = f64::from(c.last_error.is_none());
    one(
        out,
        "roundel_config_last_reload_successful",
        "1 when the last reload was taken over.",
        good,
    );
    one(
        out,
        "roundel_config_last_reload_timestamp_seconds",
        "When the configuration in force was loaded.",
        c.last_reload_timestamp_seconds,
    );
}

/// What clients feel; a series as long as it lasts.
fn alarms(s: &Snapshot, out: &mut Families) {
    out.gauge(
        "roundel_alarm",
        "1 while clients have it bad in this way, 2 if that cannot wait.",
        |f| {
            for alarm in &s.alarms {
                let labels = [("backend", &*alarm.backend), ("kind", &*alarm.kind)];
                f.value(&labels, if alarm.critical { 2.0 } else { 1.0 });
            }
        },
    );
}

fn one(out: &mut Families, name: &str, help: &str, value: f64) {
    out.gauge(name, help, |f| f.value(&[], value));
}
