//! The exporter's numbers of frontends, backends and servers, each beside its column of the CSV.

use super::super::families::{COUNTER, Families, GAUGE, Kind};
use super::Area;
use crate::csv::{COLUMNS, Cell, Row, each_row};
use crate::moment::Moment;

/// One number per frontend, backend or server.
struct Number {
    kind: Kind,
    /// What follows `haproxy_frontend_` and the like.
    name: &'static str,
    /// Whose number it is: a letter of [`Area::letter`] each.
    of: &'static str,
    /// The column that holds it, in milliseconds where the name ends in seconds of a duration.
    column: &'static str,
    help: &'static str,
}

const fn n(
    kind: Kind,
    name: &'static str,
    of: &'static str,
    column: &'static str,
    help: &'static str,
) -> Number {
    Number {
        kind,
        name,
        of,
        column,
        help,
    }
}

const NUMBERS: &[Number] = &[
    n(
        GAUGE,
        "current_sessions",
        "FBS",
        "scur",
        "Connections of a frontend, requests in flight elsewhere.",
    ),
    n(
        GAUGE,
        "max_sessions",
        "FBS",
        "smax",
        "The most of them at once.",
    ),
    n(
        GAUGE,
        "limit_sessions",
        "FBS",
        "slim",
        "The most of them allowed; the process's limit where there is no other.",
    ),
    n(
        COUNTER,
        "sessions_total",
        "FBS",
        "stot",
        "Connections accepted, requests dispatched.",
    ),
    n(
        GAUGE,
        "limit_session_rate",
        "F",
        "rate_lim",
        "Limit of new connections per second; 0 without.",
    ),
    n(
        GAUGE,
        "max_session_rate",
        "FBS",
        "rate_max",
        "The most new ones in one second.",
    ),
    n(
        GAUGE,
        "connections_rate_max",
        "F",
        "conn_rate_max",
        "The most new connections in one second.",
    ),
    n(
        COUNTER,
        "connections_total",
        "F",
        "conn_tot",
        "Connections accepted.",
    ),
    n(
        GAUGE,
        "last_session_seconds",
        "BS",
        "lastsess",
        "Seconds since the last request; -1 before the first.",
    ),
    n(
        GAUGE,
        "current_queue",
        "BS",
        "qcur",
        "Requests that wait for a place.",
    ),
    n(
        GAUGE,
        "max_queue",
        "BS",
        "qmax",
        "The most that waited at once.",
    ),
    n(
        GAUGE,
        "queue_limit",
        "S",
        "qlimit",
        "The most that may wait.",
    ),
    n(
        COUNTER,
        "bytes_in_total",
        "FBS",
        "bin",
        "Bytes of requests.",
    ),
    n(
        COUNTER,
        "bytes_out_total",
        "FBS",
        "bout",
        "Bytes of responses.",
    ),
    n(
        GAUGE,
        "max_queue_time_seconds",
        "BS",
        "qtime_max",
        "The longest wait for a place.",
    ),
    n(
        GAUGE,
        "max_connect_time_seconds",
        "BS",
        "ctime_max",
        "The longest connect.",
    ),
    n(
        GAUGE,
        "max_response_time_seconds",
        "BS",
        "rtime_max",
        "The longest wait for a response.",
    ),
    n(
        GAUGE,
        "max_total_time_seconds",
        "BS",
        "ttime_max",
        "The longest request.",
    ),
    n(
        COUNTER,
        "connection_attempts_total",
        "BS",
        "connect",
        "Connections opened to servers.",
    ),
    n(
        COUNTER,
        "connection_reuses_total",
        "BS",
        "reuse",
        "Requests sent on a connection used before.",
    ),
    n(
        COUNTER,
        "requests_denied_total",
        "FB",
        "dreq",
        "Requests denied by a rule.",
    ),
    n(
        COUNTER,
        "responses_denied_total",
        "FBS",
        "dresp",
        "Responses denied by a rule.",
    ),
    n(
        COUNTER,
        "request_errors_total",
        "F",
        "ereq",
        "Requests that were not valid.",
    ),
    n(
        COUNTER,
        "denied_connections_total",
        "F",
        "dcon",
        "Connections refused.",
    ),
    n(
        COUNTER,
        "denied_sessions_total",
        "F",
        "dses",
        "Sessions refused by a rule.",
    ),
    n(
        COUNTER,
        "connection_errors_total",
        "BS",
        "econ",
        "Connects that failed, and requests that no server took.",
    ),
    n(
        COUNTER,
        "response_errors_total",
        "BS",
        "eresp",
        "Responses that broke off or were not valid.",
    ),
    n(
        COUNTER,
        "retry_warnings_total",
        "BS",
        "wretr",
        "Attempts made again.",
    ),
    n(
        COUNTER,
        "redispatch_warnings_total",
        "BS",
        "wredis",
        "Requests sent to another server.",
    ),
    n(
        COUNTER,
        "failed_header_rewriting_total",
        "FBS",
        "wrew",
        "Header rules that failed.",
    ),
    n(
        COUNTER,
        "internal_errors_total",
        "FBS",
        "eint",
        "Errors of the balancer itself.",
    ),
    n(
        COUNTER,
        "client_aborts_total",
        "BS",
        "cli_abrt",
        "Requests that clients broke off.",
    ),
    n(
        COUNTER,
        "server_aborts_total",
        "BS",
        "srv_abrt",
        "Requests that servers broke off.",
    ),
    n(
        GAUGE,
        "weight",
        "BS",
        "weight",
        "Weight in force; of a backend, the sum of those in use.",
    ),
    n(
        GAUGE,
        "uweight",
        "BS",
        "uweight",
        "Weight as an operator or the configuration says.",
    ),
    n(
        GAUGE,
        "active_servers",
        "B",
        "act",
        "Usable servers that are no backups.",
    ),
    n(
        GAUGE,
        "backup_servers",
        "B",
        "bck",
        "Usable backup servers.",
    ),
    n(
        COUNTER,
        "check_failures_total",
        "S",
        "chkfail",
        "Failed checks while up.",
    ),
    n(
        COUNTER,
        "check_up_down_total",
        "BS",
        "chkdown",
        "Times it went down.",
    ),
    n(
        GAUGE,
        "check_last_change_seconds",
        "BS",
        "lastchg",
        "Seconds since its state changed.",
    ),
    n(
        COUNTER,
        "downtime_seconds_total",
        "BS",
        "downtime",
        "Seconds down, in sum.",
    ),
    n(
        GAUGE,
        "current_throttle",
        "S",
        "throttle",
        "Share of the weight during a slow start, in percent.",
    ),
    n(
        GAUGE,
        "check_code",
        "S",
        "check_code",
        "Status code of the last check.",
    ),
    n(
        GAUGE,
        "check_duration_seconds",
        "S",
        "check_duration",
        "How long the last check took.",
    ),
    n(
        GAUGE,
        "http_requests_rate_max",
        "F",
        "req_rate_max",
        "The most requests in one second.",
    ),
    n(COUNTER, "http_requests_total", "FB", "req_tot", "Requests."),
    n(
        COUNTER,
        "intercepted_requests_total",
        "F",
        "intercepted",
        "Requests that the balancer answered itself.",
    ),
    n(
        COUNTER,
        "loadbalanced_total",
        "BS",
        "lbtot",
        "Requests for which the algorithm chose the server.",
    ),
    n(
        GAUGE,
        "idle_connections_current",
        "S",
        "srv_icur",
        "Unused connections kept.",
    ),
    n(
        GAUGE,
        "idle_connections_limit",
        "S",
        "src_ilim",
        "The most of them kept.",
    ),
    n(
        GAUGE,
        "unsafe_idle_connections_current",
        "S",
        "idle_conn_cur",
        "Unused connections for requests that may be repeated.",
    ),
    n(
        GAUGE,
        "safe_idle_connections_current",
        "S",
        "safe_conn_cur",
        "Unused connections for any request.",
    ),
    n(
        GAUGE,
        "used_connections_current",
        "S",
        "used_conn_cur",
        "Connections in use.",
    ),
    n(
        GAUGE,
        "need_connections_current",
        "S",
        "need_conn_est",
        "Connections needed, by the most used at once.",
    ),
    n(
        COUNTER,
        "http_cache_lookups_total",
        "FB",
        "cache_lookups",
        "Requests looked up in a cache.",
    ),
    n(
        COUNTER,
        "http_cache_hits_total",
        "FB",
        "cache_hits",
        "Requests found in a cache.",
    ),
    n(
        COUNTER,
        "http_comp_bytes_in_total",
        "FB",
        "comp_in",
        "Bytes given to the compression.",
    ),
    n(
        COUNTER,
        "http_comp_bytes_out_total",
        "FB",
        "comp_out",
        "Bytes that came out of it.",
    ),
    n(
        COUNTER,
        "http_comp_bytes_bypassed_total",
        "FB",
        "comp_byp",
        "Bytes that passed it by.",
    ),
    n(
        COUNTER,
        "http_comp_responses_total",
        "FB",
        "comp_rsp",
        "Responses compressed.",
    ),
];

/// Writes every number of one area.
pub(super) fn write(moment: &Moment, area: Area, out: &mut Families) {
    for number in NUMBERS.iter().filter(|n| n.of.contains(area.letter())) {
        let name = format!("haproxy_{}_{}", area.word(), number.name);
        out.family(&name, number.help, number.kind, |f| {
            let column = COLUMNS.iter().find(|c| c.name == number.column);
            let column = column.expect("a number has a column");
            let mut text = String::new();
            each_row(moment, |row| {
                if !area.holds(row) {
                    return;
                }
                text.clear();
                (column.write)(row, &mut Cell::plain(&mut text));
                if let Some(value) = number.value(row, &text, moment) {
                    let labels = [("proxy", row.proxy()), ("server", row.server_name())];
                    let count = if area == Area::Server { 2 } else { 1 };
                    f.value(&labels[..count], value);
                }
            });
        });
    }
}

impl Number {
    /// The number in a cell. What has no value is `NaN`, as HAProxy writes it, so that a
    /// comparison with it is false; a check's where there is no check is left out.
    fn value(&self, row: &Row<'_>, cell: &str, moment: &Moment) -> Option<f64> {
        let value = cell.parse::<f64>().ok();
        if self.name == "limit_sessions" && row.server().is_none() {
            let most = moment.snapshot.process.max_connections;
            return Some(value.unwrap_or(most as f64));
        }
        if self.name.starts_with("check_code") || self.name.starts_with("check_duration") {
            row.check()?;
        }
        let scale = match self.name.ends_with("_time_seconds") || self.column == "check_duration" {
            true => 1_000.0,
            false => 1.0,
        };
        match (value, self.kind, self.column) {
            (Some(value), ..) => Some(value / scale),
            (None, _, "check_code" | "check_duration") | (None, Kind::Counter, _) => Some(0.0),
            (None, ..) => Some(f64::NAN),
        }
    }
}
