//! `show info`: the process in HAProxy's keys, in its four forms.
//!
//! Keys, positions, tags and descriptions are those of HAProxy 2.6; what Roundel does not have
//! (compression, limits of rates, a cache of TLS sessions) is truly zero. Roundel's own words have keys of
//! their own at the end.

use std::fmt::{Display, Write};

use roundel_model::Shown;

use crate::history::FrontendRates;
use crate::moment::Moment;
use crate::page::uptime;
use crate::status::{Frontend, Snapshot};

/// The version of HAProxy whose interface is spoken, with Roundel's own: readers compare it.
pub(crate) fn version(snapshot: &Snapshot) -> String {
    format!("2.6.0-roundel{}", snapshot.version)
}

/// One value.
struct Field {
    /// Where HAProxy has it.
    position: u32,
    key: &'static str,
    /// Origin, nature and scope, a letter each.
    tags: &'static str,
    kind: &'static str,
    means: &'static str,
    /// `None` for what is truly zero here.
    value: Option<fn(&Moment, bool) -> String>,
}

type Value = fn(&Moment, bool) -> String;

const fn f(
    position: u32,
    key: &'static str,
    tags: &'static str,
    kind: &'static str,
    means: &'static str,
    value: Option<Value>,
) -> Field {
    Field {
        position,
        key,
        tags,
        kind,
        means,
        value,
    }
}

#[rustfmt::skip]
const FIELDS: &[Field] = &[
    f(0, "Name", "POS", "str", "Product name", Some(|_, _| "HAProxy".into())),
    f(1, "Version", "POS", "str", "Product version", Some(|m, _| version(&m.snapshot))),
    f(2, "Release_date", "POS", "str", "Date of latest source code update", Some(|_, _| "-".into())),
    f(3, "Nbthread", "CGS", "u32", "Number of started threads (global.nbthread)", Some(|m, _| n(m.snapshot.process.threads))),
    f(4, "Nbproc", "CGS", "u32", "Number of started worker processes (historical, always 1)", Some(|_, _| n(1))),
    f(5, "Process_num", "KGP", "u32", "Relative worker process number (1)", Some(|_, _| n(1))),
    f(6, "Pid", "SGP", "u32", "This worker process identifier for the system", Some(|m, _| n(m.snapshot.process.pid))),
    f(7, "Uptime", "MDP", "str", "How long ago this worker process was started (days+hours+minutes+seconds)", Some(|m, _| uptime(m.snapshot.uptime_seconds as u64))),
    f(8, "Uptime_sec", "MDP", "u32", "How long ago this worker process was started (seconds)", Some(|m, _| n(m.snapshot.uptime_seconds as u64))),
    f(9, "Memmax_MB", "CLP", "u32", "Worker process's hard limit on memory usage in MB (-m on command line)", None),
    f(13, "Ulimit-n", "CLP", "u32", "Hard limit on the number of per-process file descriptors", Some(|m, _| n(m.snapshot.process.max_fds))),
    f(14, "Maxsock", "CLP", "u32", "Hard limit on the number of per-process sockets", Some(|m, _| n(m.snapshot.process.max_fds))),
    f(15, "Maxconn", "CLP", "u32", "Hard limit on the number of per-process connections (configured or imposed by Ulimit-n)", Some(|m, _| n(m.snapshot.process.max_connections))),
    f(16, "Hard_maxconn", "CLP", "u32", "Hard limit on the number of per-process connections (imposed by Memmax_MB or Ulimit-n)", Some(|m, _| n(m.snapshot.process.max_connections))),
    f(17, "CurrConns", "MGP", "u32", "Current number of connections on this worker process", Some(|m, _| n(sum(m, |f| f.connections)))),
    f(18, "CumConns", "MCP", "u32", "Total number of connections on this worker process since started", Some(|m, _| n(sum(m, Frontend::accepted)))),
    f(19, "CumReq", "MCP", "u32", "Total number of requests on this worker process since started", Some(|m, _| n(sum(m, |f| f.requests_total)))),
    f(20, "MaxSslConns", "MMP", "u32", "Hard limit on the number of per-process SSL endpoints (front+back), 0=unlimited", None),
    f(21, "CurrSslConns", "MGP", "u32", "Current number of SSL endpoints on this worker process (front+back)", Some(|m, _| n(sum(m, |f| f.tls_connections)))),
    f(22, "CumSslConns", "MCP", "u32", "Total number of SSL endpoints on this worker process since started (front+back)", Some(|m, _| n(sum(m, Frontend::tls_handshakes)))),
    f(23, "Maxpipes", "CLP", "u32", "Hard limit on the number of pipes for splicing, 0=unlimited", Some(|m, _| n(m.snapshot.process.pipes.most))),
    f(24, "PipesUsed", "MGP", "u32", "Current number of pipes in use in this worker process", Some(|m, _| n(m.snapshot.process.pipes.used))),
    f(25, "PipesFree", "MGP", "u32", "Current number of allocated and available pipes in this worker process", Some(|m, _| n(m.snapshot.process.pipes.free))),
    f(26, "ConnRate", "MRP", "u32", "Number of front connections created on this worker process over the last second", Some(|m, _| n(rate(m, |r| r.connections_per_second)))),
    f(27, "ConnRateLimit", "CLP", "u32", "Hard limit for ConnRate (global.maxconnrate)", None),
    f(28, "MaxConnRate", "MMP", "u32", "Highest ConnRate reached on this worker process since started (in connections per second)", Some(|m, _| n(rate(m, |r| r.connections_per_second_max)))),
    f(29, "SessRate", "MRP", "u32", "Number of sessions created on this worker process over the last second", Some(|m, _| n(rate(m, |r| r.connections_per_second)))),
    f(30, "SessRateLimit", "CLP", "u32", "Hard limit for SessRate (global.maxsessrate)", None),
    f(31, "MaxSessRate", "MRP", "u32", "Highest SessRate reached on this worker process since started (in sessions per second)", Some(|m, _| n(rate(m, |r| r.connections_per_second_max)))),
    f(32, "SslRate", "MRP", "u32", "Number of SSL connections created on this worker process over the last second", Some(|m, _| n(rate(m, |r| r.tls_handshakes_per_second)))),
    f(33, "SslRateLimit", "CLP", "u32", "Hard limit for SslRate (global.maxsslrate)", None),
    f(34, "MaxSslRate", "MMP", "u32", "Highest SslRate reached on this worker process since started (in connections per second)", Some(|m, _| n(rate(m, |r| r.tls_handshakes_per_second_max)))),
    f(35, "SslFrontendKeyRate", "MGP", "u32", "Number of SSL keys created on frontends in this worker process over the last second", Some(|m, _| n(rate(m, |r| r.tls_keys_per_second)))),
    f(36, "SslFrontendMaxKeyRate", "MMP", "u32", "Highest SslFrontendKeyRate reached on this worker process since started (in SSL keys per second)", Some(|m, _| n(rate(m, |r| r.tls_keys_per_second_max)))),
    f(37, "SslFrontendSessionReuse_pct", "MGP", "u32", "Percent of frontend SSL connections which did not require a new key", Some(|m, _| n(m.tls_reuse_percent()))),
    f(38, "SslBackendKeyRate", "MRP", "u32", "Number of SSL keys created on backends in this worker process over the last second", None),
    f(39, "SslBackendMaxKeyRate", "MMP", "u32", "Highest SslBackendKeyRate reached on this worker process since started (in SSL keys per second)", None),
    f(40, "SslCacheLookups", "MCP", "u32", "Total number of SSL session ID lookups in the SSL session cache on this worker since started", None),
    f(41, "SslCacheMisses", "MCP", "u32", "Total number of SSL session ID lookups that didn't find a session in the SSL session cache on this worker since started", None),
    f(42, "CompressBpsIn", "MRP", "u32", "Number of bytes submitted to the HTTP compressor in this worker process over the last second", None),
    f(43, "CompressBpsOut", "MRP", "u32", "Number of bytes emitted by the HTTP compressor in this worker process over the last second", None),
    f(44, "CompressBpsRateLim", "CLP", "u32", "Limit of CompressBpsOut beyond which HTTP compression is automatically disabled", None),
    f(47, "Tasks", "MGP", "u32", "Total number of tasks in the current worker process (active + sleeping)", Some(|m, _| n(m.rates.total.in_flight))),
    f(48, "Run_queue", "MGP", "u32", "Total number of active tasks+tasklets in the current worker process", None),
    f(49, "Idle_pct", "MaP", "u32", "Percentage of last second spent waiting in the current worker thread", Some(|m, _| n(m.idle_percent()))),
    f(50, "node", "COS", "str", "Node name (global.node)", Some(|m, _| Shown(&m.snapshot.node).to_string())),
    f(51, "description", "COS", "str", "Node description (global.description)", Some(|m, _| format!("Roundel {}", m.snapshot.version))),
    f(52, "Stopping", "MGP", "u32", "1 if the worker process is currently stopping, otherwise zero", Some(|_, draining| n(u8::from(draining)))),
    f(53, "Jobs", "MGP", "u32", "Current number of active jobs on the current worker process (frontend connections, master connections, listeners)", Some(|m, _| n(sum(m, |f| f.connections)))),
    f(54, "Unstoppable Jobs", "MGP", "u32", "Current number of unstoppable jobs on the current worker process (master connections)", None),
    f(55, "Listeners", "MGP", "u32", "Current number of active listeners on the current worker process", Some(|m, _| n(sum(m, |f| f.listen.len() as u64)))),
    f(56, "ActivePeers", "MGP", "u32", "Current number of verified active peers connections on the current worker process", Some(|m, _| n(m.snapshot.members.iter().filter(|m| !m.me).count()))),
    f(58, "DroppedLogs", "MGP", "u32", "Total number of dropped logs for current worker process since started", Some(|m, _| n(m.snapshot.log_lines_dropped_total))),
    f(59, "BusyPolling", "MGP", "u32", "1 if busy-polling is currently in use on the worker process, otherwise zero (config.busy-polling)", None),
    f(60, "FailedResolutions", "MGP", "u32", "Total number of failed DNS resolutions in current worker process since started", None),
    f(61, "TotalBytesOut", "MGP", "u64", "Total number of bytes emitted by current worker process since started", Some(|m, _| n(sum(m, |f| f.bytes_out_total)))),
    f(62, "TotalSplicdedBytesOut", "MGP", "u64", "Total number of bytes emitted by current worker process through a kernel pipe since started", Some(|m, _| n(m.snapshot.process.pipes.bytes_total))),
    f(63, "BytesOutRate", "MRP", "u64", "Number of bytes emitted by current worker process over the last second", Some(|m, _| n(m.rates.total.bytes_out_per_second.round() as u64))),
    f(65, "CumRecvLogs", "MCP", "u32", "Total number of log messages received by log-forwarding listeners on this worker process since started", None),
    f(66, "Build info", "POS", "str", "Build info", Some(|m, _| version(&m.snapshot))),
    f(67, "Memmax_bytes", "CLP", "u32", "Worker process's hard limit on memory usage in byes (-m on command line)", None),
    f(70, "Start_time_sec", "MDP", "u32", "Start time in seconds", Some(|m, _| n(m.snapshot.process.start_time_seconds as u64))),
    f(71, "Tainted", "SGP", "str", "Experimental features used", None),
    f(72, "Roundel_version", "POS", "str", "Roundel's own version", Some(|m, _| m.snapshot.version.clone())),
    f(73, "Snapshot_seq", "MCP", "u64", "Number of the snapshot that this shows", Some(|m, _| n(m.snapshot.seq))),
];

/// Writes the values: `key: value`, or in the form that one of `words` names.
pub(super) fn render(moment: &Moment, draining: bool, words: &[&str]) -> String {
    let mut out = String::new();
    let has = |word| words.contains(&word);
    for field in FIELDS {
        let value = field
            .value
            .map_or_else(|| "0".to_owned(), |value| value(moment, draining));
        let value = match (field.kind, value.is_empty()) {
            ("str", true) => "-".to_owned(),
            _ => value,
        };
        let Field {
            position,
            key,
            tags,
            kind,
            means,
            ..
        } = field;
        // A String takes every write.
        let _ = match () {
            () if has("json") => json(&mut out, field, &value),
            () if has("typed") => writeln!(out, "{position}.{key}.1:{tags}:{kind}:{value}"),
            () if has("desc") => writeln!(out, "{key}: {value}:\"{means}\""),
            () => writeln!(out, "{key}: {value}"),
        };
    }
    match has("json") {
        true => format!("[{out}]\n"),
        // HAProxy ends the list with an empty line of its own.
        false => out + "\n",
    }
}

fn json(out: &mut String, field: &Field, value: &str) -> std::fmt::Result {
    let value = match field.kind {
        "str" => serde_json::Value::from(value).to_string(),
        _ => value.to_owned(),
    };
    let tag = |at: usize| word(at, field.tags.as_bytes()[at]);
    let comma = if out.is_empty() { "" } else { "," };
    write!(
        out,
        "{comma}{{\"field\":{{\"pos\":{},\"name\":\"{}\"}},\"processNum\":1,\
         \"tags\":{{\"origin\":\"{}\",\"nature\":\"{}\",\"scope\":\"{}\"}},\
         \"value\":{{\"type\":\"{}\",\"value\":{value}}}}}",
        field.position,
        field.key,
        tag(0),
        tag(1),
        tag(2),
        field.kind
    )
}

/// What a letter of a tag stands for; the first is the origin, the second the nature, the third
/// the scope. Source: HAProxy management guide, 9.2.
fn word(at: usize, letter: u8) -> &'static str {
    match (at, letter) {
        (0, b'C') => "Config",
        (0, b'K') => "Key",
        (0, b'P') => "Product",
        (0, b'S') => "Status",
        (0, _) => "Metric",
        (1, b'A') => "Age",
        (1, b'a') => "Avg",
        (1, b'C') => "Counter",
        (1, b'D') => "Duration",
        (1, b'G') => "Gauge",
        (1, b'L') => "Limit",
        (1, b'M') => "Max",
        (1, b'N') => "Name",
        (1, b'R') => "Rate",
        (1, _) => "Output",
        (_, b'S') => "Service",
        _ => "Process",
    }
}

fn n(value: impl Display) -> String {
    value.to_string()
}

fn sum(moment: &Moment, of: fn(&Frontend) -> u64) -> u64 {
    moment.snapshot.frontends.iter().map(of).sum()
}

fn rate(moment: &Moment, of: fn(&FrontendRates) -> f64) -> u64 {
    let sum: f64 = moment.rates.frontends.values().map(of).sum();
    sum.round() as u64
}
