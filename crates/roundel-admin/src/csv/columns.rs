//! The columns in order, each beside the rule that fills it.

use super::cell::Cell;
use super::row::{Row, in_use, is_usable, usable};
use super::status::{check_phrase, server_status};

/// One column.
pub(crate) struct Column {
    /// Its name in the header, spelling slips of the original included.
    pub(crate) name: &'static str,
    /// Writes its value for one line, or nothing.
    pub(crate) write: fn(&Row<'_>, &mut Cell<'_>),
}

const fn c(name: &'static str, write: fn(&Row<'_>, &mut Cell<'_>)) -> Column {
    Column { name, write }
}

/// Has no true value here.
fn none(_: &Row<'_>, _: &mut Cell<'_>) {}

/// Truly zero for frontends and backends.
fn zero_fb(r: &Row<'_>, o: &mut Cell<'_>) {
    if r.server().is_none() {
        o.num(0);
    }
}

/// Truly zero for frontends.
fn zero_f(r: &Row<'_>, o: &mut Cell<'_>) {
    o.maybe(r.frontend().map(|_| 0));
}

/// 1 for a server of this group, whatever its state, or how many of a backend's are usable.
fn members(r: &Row<'_>, o: &mut Cell<'_>, backup: bool) {
    match r {
        Row::Server(_, s, _) => o.num(i32::from(s.backup == backup)),
        Row::Backend(b, _) => o.num(usable(b, backup).count() as u64),
        Row::Frontend(..) => {}
    }
}

/// The columns: 119 of HAProxy's, then `-`, then Roundel's own, then those of its TLS.
pub(crate) const COLUMNS: &[Column] = &[
    c("pxname", |r, o| o.text(r.proxy())),
    c("svname", |r, o| o.text(r.server_name())),
    c("qcur", |r, o| match r {
        Row::Backend(b, _) => o.num(b.queue_length),
        Row::Server(_, s, _) => o.num(s.queue_length),
        Row::Frontend(..) => {}
    }),
    c("qmax", |r, o| match r {
        Row::Backend(b, _) => o.num(b.queue_length_max),
        Row::Server(_, s, _) => o.num(s.queue_length_max),
        Row::Frontend(..) => {}
    }),
    c("scur", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.connections),
        Row::Server(_, s, _) => o.num(s.in_flight),
        // HAProxy counts those who wait as well.
        Row::Backend(b, _) => o.num(b.in_flight + b.queue_length),
    }),
    c("smax", |r, o| match r {
        Row::Frontend(_, rates) => o.num(rates.connections_max),
        Row::Server(_, _, rates) => o.num(rates.in_flight_max),
        Row::Backend(_, rates) => o.num(rates.in_flight_max),
    }),
    c("slim", |r, o| match r {
        Row::Frontend(f, _) => o.maybe(f.connections_limit),
        Row::Server(_, s, _) => o.maybe(s.in_flight_limit),
        Row::Backend(..) => {}
    }),
    c("stot", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.accepted()),
        Row::Server(_, s, _) => o.num(s.requests_total),
        Row::Backend(b, _) => o.num(b.requests_total),
    }),
    c("bin", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.bytes_in_total),
        _ => o.maybe(r.traffic().map(|t| t.bytes_in_total)),
    }),
    c("bout", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.bytes_out_total),
        _ => o.maybe(r.traffic().map(|t| t.bytes_out_total)),
    }),
    c("dreq", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.denied_requests_total),
        Row::Backend(b, _) => o.num(b.traffic.denied_requests_total),
        Row::Server(..) => {}
    }),
    c("dresp", |_, o| o.num(0)),
    c("ereq", |r, o| {
        o.maybe(r.frontend().map(|f| f.request_errors()));
    }),
    c("econ", |r, o| match r {
        Row::Backend(b, _) => o.num(b.traffic.connect_errors_total + b.no_server_total),
        _ => o.maybe(r.traffic().map(|t| t.connect_errors_total)),
    }),
    c("eresp", |r, o| {
        o.maybe(r.traffic().map(|t| t.response_errors_total));
    }),
    c("wretr", |r, o| {
        o.maybe(r.traffic().map(|t| t.retries_total))
    }),
    c("wredis", |r, o| {
        o.maybe(r.traffic().map(|t| t.redispatches_total));
    }),
    c("status", |r, o| match r {
        // Only an operator leaves a frontend without an address.
        Row::Frontend(f, _) if f.listen.is_empty() => o.text("PAUSED"),
        Row::Frontend(f, _) => o.text(if f.is_full { "FULL" } else { "OPEN" }),
        Row::Server(_, s, _) => o.text(&server_status(s)),
        Row::Backend(b, _) => o.text(if is_usable(b) { "UP" } else { "DOWN" }),
    }),
    c("weight", |r, o| match r {
        Row::Server(_, s, _) => o.num(s.weight),
        Row::Backend(b, _) => {
            let sum: u64 = in_use(b).map(|s| u64::from(s.weight)).sum();
            o.num(sum);
        }
        Row::Frontend(..) => {}
    }),
    c("act", |r, o| members(r, o, false)),
    c("bck", |r, o| members(r, o, true)),
    c("chkfail", |r, o| {
        o.maybe(r.check().map(|check| check.failed_while_up_total));
    }),
    c("chkdown", |r, o| match r {
        Row::Server(_, s, _) => o.maybe(s.check.as_ref().map(|_| s.down_transitions_total)),
        Row::Backend(b, _) => o.num(b.down_transitions_total),
        Row::Frontend(..) => {}
    }),
    c("lastchg", |r, o| match r {
        Row::Server(_, s, _) => o.num(s.since_seconds),
        Row::Backend(b, _) => o.num(b.since_seconds),
        Row::Frontend(..) => {}
    }),
    c("downtime", |r, o| match r {
        Row::Server(_, s, _) => o.num(s.downtime_seconds),
        Row::Backend(b, _) => o.num(b.downtime_seconds),
        Row::Frontend(..) => {}
    }),
    c("qlimit", none),
    c("pid", |_, o| o.num(1)),
    c("iid", |r, o| o.num(r.iid())),
    c("sid", |r, o| o.num(r.sid())),
    c("throttle", |r, o| {
        o.maybe(r.server().and_then(|s| s.warming_percent));
    }),
    c("lbtot", |r, o| o.maybe(r.traffic().map(|t| t.lb_total))),
    c("tracked", none),
    c("type", |r, o| {
        o.num(match r {
            Row::Frontend(..) => 0,
            Row::Backend(..) => 1,
            Row::Server(..) => 2,
        });
    }),
    c("rate", |r, o| match r {
        Row::Frontend(_, rates) => o.round(rates.connections_per_second),
        Row::Server(_, _, rates) => o.round(rates.requests_per_second),
        Row::Backend(_, rates) => o.round(rates.requests_per_second),
    }),
    c("rate_lim", zero_f),
    c("rate_max", |r, o| match r {
        Row::Frontend(_, rates) => o.round(rates.connections_per_second_max),
        Row::Server(_, _, rates) => o.round(rates.requests_per_second_max),
        Row::Backend(_, rates) => o.round(rates.requests_per_second_max),
    }),
    c("check_status", |r, o| {
        if let Some(check) = r.check() {
            let running = if check.running { "* " } else { "" };
            o.text(&format!("{running}{}", check.status));
        }
    }),
    c("check_code", |r, o| o.maybe(r.check().and_then(|k| k.code))),
    c("check_duration", |r, o| {
        o.maybe(r.check().and_then(|k| k.duration_ms));
    }),
    c("hrsp_1xx", |r, o| o.num(r.responses()[0])),
    c("hrsp_2xx", |r, o| o.num(r.responses()[1])),
    c("hrsp_3xx", |r, o| o.num(r.responses()[2])),
    c("hrsp_4xx", |r, o| o.num(r.responses()[3])),
    c("hrsp_5xx", |r, o| o.num(r.responses()[4])),
    c("hrsp_other", |r, o| o.num(r.responses()[5])),
    c("hanafail", |r, o| {
        o.maybe(r.server().map(|s| s.ejections_total))
    }),
    c("req_rate", |r, o| {
        if let Some(rates) = r.front_rates() {
            o.round(rates.requests_per_second);
        }
    }),
    c("req_rate_max", |r, o| {
        if let Some(rates) = r.front_rates() {
            o.round(rates.requests_per_second_max);
        }
    }),
    c("req_tot", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.requests_total),
        Row::Backend(b, _) => o.num(b.requests_total),
        Row::Server(_, s, _) => o.num(s.requests_total),
    }),
    c("cli_abrt", |r, o| {
        o.maybe(r.traffic().map(|t| t.client_aborts_total));
    }),
    c("srv_abrt", |r, o| {
        o.maybe(r.traffic().map(|t| t.server_aborts_total));
    }),
    c("comp_in", zero_fb),
    c("comp_out", zero_fb),
    c("comp_byp", zero_fb),
    c("comp_rsp", zero_fb),
    c("lastsess", |r, o| {
        if let Some(traffic) = r.traffic() {
            o.num(traffic.last_request_seconds.map_or(-1, i128::from));
        }
    }),
    c("last_chk", |r, o| {
        if let Some(server) = r.server() {
            let check = server.check.as_ref().map_or("", |check| &check.text);
            o.phrase(if server.reason.is_empty() {
                check
            } else {
                &server.reason
            });
        }
    }),
    c("last_agt", none),
    c("qtime", |r, o| {
        o.maybe(r.means().map(|m| m.queue_ms.round() as u64))
    }),
    c("ctime", |r, o| {
        o.maybe(r.means().map(|m| m.connect_ms.round() as u64))
    }),
    c("rtime", |r, o| {
        o.maybe(r.means().map(|m| m.response_ms.round() as u64))
    }),
    c("ttime", |r, o| {
        o.maybe(r.means().map(|m| m.total_ms.round() as u64))
    }),
    c("agent_status", none),
    c("agent_code", none),
    c("agent_duration", none),
    c("check_desc", |r, o| {
        if let Some(check) = r.check() {
            o.text(check_phrase(&check.status));
        }
    }),
    c("agent_desc", none),
    c("check_rise", |r, o| o.maybe(r.check().map(|k| k.rise))),
    c("check_fall", |r, o| o.maybe(r.check().map(|k| k.fall))),
    c("check_health", |r, o| o.maybe(r.check().map(|k| k.health))),
    c("agent_rise", none),
    c("agent_fall", none),
    c("agent_health", none),
    c("addr", |r, o| {
        if let Some(server) = r.server() {
            o.text(&server.address);
        }
    }),
    c("cookie", |r, o| match r {
        Row::Server(_, s, _) => o.text(&s.cookie),
        Row::Backend(b, _) => o.text(&b.sticky),
        Row::Frontend(..) => {}
    }),
    c("mode", |_, o| o.text("http")),
    c("algo", |r, o| {
        if let Some(backend) = r.backend() {
            o.text(&backend.balance);
        }
    }),
    c("conn_rate", |r, o| {
        if let Some(rates) = r.front_rates() {
            o.round(rates.connections_per_second);
        }
    }),
    c("conn_rate_max", |r, o| {
        if let Some(rates) = r.front_rates() {
            o.round(rates.connections_per_second_max);
        }
    }),
    c("conn_tot", |r, o| {
        o.maybe(r.frontend().map(|f| f.accepted()))
    }),
    c("intercepted", |r, o| {
        o.maybe(r.frontend().map(|f| f.intercepted_total));
    }),
    c("dcon", |r, o| {
        let sum = |f: &crate::status::Frontend| f.connections_rejected_total.values().sum::<u64>();
        o.maybe(r.frontend().map(sum));
    }),
    c("dses", zero_f),
    c("wrew", |_, o| o.num(0)),
    c("connect", |r, o| {
        o.maybe(r.traffic().map(|t| t.connects_total))
    }),
    c("reuse", |r, o| o.maybe(r.traffic().map(|t| t.reuses_total))),
    c("cache_lookups", zero_fb),
    c("cache_hits", zero_fb),
    c("srv_icur", |r, o| {
        // Not counted.
        o.maybe(r.server().map(|_| 0))
    }),
    c("src_ilim", none),
    c("qtime_max", |r, o| {
        o.maybe(r.times().map(|t| t.queue_max_us / 1_000))
    }),
    c("ctime_max", |r, o| {
        o.maybe(r.times().map(|t| t.connect_max_us / 1_000))
    }),
    c("rtime_max", |r, o| {
        o.maybe(r.times().map(|t| t.response_max_us / 1_000))
    }),
    c("ttime_max", |r, o| {
        o.maybe(r.times().map(|t| t.total_max_us / 1_000))
    }),
    c("eint", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.internal_errors_total),
        // Counted by the frontend.
        _ => o.maybe(r.traffic().map(|_| 0)),
    }),
    c("idle_conn_cur", |r, o| {
        o.maybe(r.server().map(|_| 0));
    }),
    c("safe_conn_cur", |r, o| o.maybe(r.server().map(|_| 0))),
    c("used_conn_cur", |r, o| {
        o.maybe(r.server().map(|s| s.in_flight))
    }),
    c("need_conn_est", |r, o| {
        if let Row::Server(_, _, rates) = r {
            o.num(rates.in_flight_max);
        }
    }),
    c("uweight", |r, o| match r {
        Row::Server(_, s, _) => o.num(s.user_weight),
        Row::Backend(b, _) => {
            let sum: u64 = in_use(b).map(|s| u64::from(s.user_weight)).sum();
            o.num(sum);
        }
        Row::Frontend(..) => {}
    }),
    c("agg_server_status", |r, o| {
        o.maybe(r.backend().map(|b| i32::from(is_usable(b))));
    }),
    c("agg_server_check_status", |r, o| {
        o.maybe(r.backend().map(|_| 0));
    }),
    c("agg_check_status", |r, o| o.maybe(r.backend().map(|_| 0))),
    c("srid", |r, o| o.maybe(r.server().map(|_| 0))),
    c("sess_other", none),
    c("h1sess", |r, o| {
        o.maybe(
            r.frontend()
                .and_then(|f| f.connections_total.get("h1").copied()),
        );
    }),
    c("h2sess", |r, o| {
        o.maybe(
            r.frontend()
                .and_then(|f| f.connections_total.get("h2").copied()),
        );
    }),
    c("h3sess", zero_f),
    c("req_other", none),
    c("h1req", none),
    c("h2req", none),
    c("h3req", zero_f),
    c("proto", none),
    c("priv_idle_cur", |r, o| o.maybe(r.server().map(|_| 0))),
    c("reqbin", none),
    c("reqbout", none),
    c("resbin", none),
    c("resbout", none),
    c("cache_hint_hits", zero_fb),
    c("-", |_, o| o.text("-")),
    c("roundel_state", |r, o| match r {
        Row::Server(_, s, _) => o.text(s.state.as_str()),
        Row::Backend(b, _) => o.text(if is_usable(b) { "up" } else { "down" }),
        Row::Frontend(..) => o.text("open"),
    }),
    c("roundel_reason", |r, o| {
        if let Some(server) = r.server() {
            o.text(&server.reason);
        }
    }),
    c("roundel_source", |r, o| {
        if let Some(server) = r.server() {
            o.text(&server.source);
        }
    }),
    c("roundel_in_flight", |r, o| match r {
        Row::Frontend(f, _) => o.num(f.in_flight),
        Row::Server(_, s, _) => o.num(s.in_flight),
        Row::Backend(b, _) => o.num(b.in_flight),
    }),
    c("roundel_set_version", |r, o| {
        o.maybe(r.backend().map(|b| b.set_version));
    }),
    c("ssl_sess", |r, o| {
        o.maybe(r.frontend().map(|f| f.tls_handshakes()));
    }),
    c("ssl_reused_sess", |r, o| {
        o.maybe(r.frontend().map(|f| f.tls_resumed()));
    }),
    c("ssl_failed_handshake", |r, o| {
        o.maybe(r.frontend().map(|f| f.tls_failures()));
    }),
];
