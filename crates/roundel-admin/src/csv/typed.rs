//! The same lines with a type and a meaning for each value: HAProxy's `typed` and `json`.
//!
//! Source: HAProxy management guide 9.2 "Typed output format", and what HAProxy 2.6 prints.

use std::fmt::Write;

use super::{COLUMNS, Cell, Filter, Row};

/// What a value means: where it comes from, what it is, for whom it holds, and its type.
struct Meaning(&'static str, &'static str, &'static str, &'static str);

const fn metric(nature: &'static str, kind: &'static str) -> Meaning {
    Meaning("Metric", nature, "Process", kind)
}

fn meaning(column: &str) -> Meaning {
    match column {
        "pxname" | "svname" => Meaning("Key", "Name", "Service", "str"),
        "pid" => Meaning("Key", "Gauge", "Process", "u32"),
        "iid" | "sid" => Meaning("Key", "Gauge", "Service", "u32"),
        "slim" | "qlimit" | "rate_lim" | "src_ilim" => Meaning("Config", "Limit", "Process", "u32"),
        "type" | "check_rise" | "check_fall" | "check_health" => {
            Meaning("Config", "Gauge", "Service", "u32")
        }
        "addr" | "mode" | "algo" => Meaning("Config", "Gauge", "Service", "str"),
        "cookie" => Meaning("Config", "Name", "Service", "str"),
        "status" | "roundel_state" => Meaning("Status", "Gauge", "Process", "str"),
        "check_status" | "last_chk" | "check_desc" | "roundel_reason" | "roundel_source" => {
            metric("Output", "str")
        }
        "check_code" => metric("Output", "u32"),
        "check_duration" => metric("Duration", "u64"),
        "lastchg" => metric("Age", "u32"),
        "lastsess" => metric("Age", "s32"),
        "downtime" => metric("Counter", "u32"),
        "weight" | "uweight" | "throttle" | "qtime" | "ctime" | "rtime" | "ttime" => {
            metric("Avg", "u32")
        }
        "rate" | "req_rate" | "conn_rate" => metric("Rate", "u32"),
        "qcur"
        | "scur"
        | "act"
        | "bck"
        | "srv_icur"
        | "idle_conn_cur"
        | "safe_conn_cur"
        | "used_conn_cur"
        | "need_conn_est"
        | "priv_idle_cur"
        | "agg_server_status"
        | "agg_server_check_status"
        | "agg_check_status"
        | "roundel_in_flight"
        | "roundel_set_version" => metric("Gauge", "u32"),
        max if max.ends_with("max") => metric("Max", "u32"),
        _ => metric("Counter", "u64"),
    }
}

/// Whether a column holds a counter.
pub(super) fn is_counter(column: &str) -> bool {
    column != "-" && meaning(column).1 == "Counter"
}

/// Calls `f` with the position, the name, the meaning and the text of each value of a line.
fn each(
    filter: &Filter,
    cleared: Option<&[u64]>,
    row: &Row<'_>,
    mut f: impl FnMut(usize, &str, &Meaning, &str),
) {
    let mut text = String::new();
    for (at, column) in COLUMNS.iter().enumerate() {
        let name = column.name;
        text.clear();
        filter.write(cleared, at, row, &mut Cell::plain(&mut text));
        if !text.is_empty() && name != "-" {
            f(at, name, &meaning(name), &text);
        }
    }
}

fn object(row: &Row<'_>) -> &'static str {
    match row {
        Row::Frontend(..) => "Frontend",
        Row::Server(..) => "Server",
        Row::Backend(..) => "Backend",
    }
}

/// Appends one line per value: `F.2.0.0.pxname.1:KNS:str:web`.
pub(super) fn typed(filter: &Filter, cleared: Option<&[u64]>, row: &Row<'_>, out: &mut String) {
    let (object, iid, sid) = (&object(row)[..1], row.iid(), row.sid());
    each(filter, cleared, row, |at, name, meaning, text| {
        let Meaning(origin, nature, scope, kind) = meaning;
        let tags = [origin, nature, scope].map(|word| &word[..1]).concat();
        // A String takes every write.
        let _ = writeln!(
            out,
            "{object}.{iid}.{sid}.{at}.{name}.1:{tags}:{kind}:{text}"
        );
    });
}

/// Appends one array of objects, one for each value.
pub(super) fn json(filter: &Filter, cleared: Option<&[u64]>, row: &Row<'_>, out: &mut String) {
    let (object, iid, sid) = (object(row), row.iid(), row.sid());
    out.push('[');
    each(filter, cleared, row, |at, name, meaning, text| {
        let Meaning(origin, nature, scope, kind) = meaning;
        let value = match *kind {
            "str" => serde_json::Value::from(text).to_string(),
            _ => text.to_owned(),
        };
        if at > 0 {
            out.push(',');
        }
        let _ = write!(
            out,
            "{{\"objType\":\"{object}\",\"proxyId\":{iid},\"id\":{sid},\
             \"field\":{{\"pos\":{at},\"name\":\"{name}\"}},\"processNum\":1,\
             \"tags\":{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}},\
             \"value\":{{\"type\":\"{kind}\",\"value\":{value}}}}}"
        );
    });
    out.push(']');
}
