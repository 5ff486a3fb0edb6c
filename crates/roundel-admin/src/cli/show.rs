//! Commands that only read.

use std::fmt::Display;

use roundel_model::ServerState;

use crate::history::FrontendRates;
use crate::moment::Moment;
use crate::page::uptime;
use crate::status::{Backend, Check, Frontend, Server, Snapshot};

/// `show info`: keys that HAProxy's readers look for, with values that are true here.
pub(super) fn info(moment: &Moment, draining: bool) -> String {
    let mut text = String::new();
    let mut put = |key: &str, value: &dyn Display| text += &format!("{key}: {value}\n");
    about_process(moment, &mut put);
    about_traffic(moment, &mut put);
    put("Stopping", &u8::from(draining));
    put("Snapshot_seq", &moment.snapshot.seq);
    text
}

fn about_process(moment: &Moment, put: &mut impl FnMut(&str, &dyn Display)) {
    let s = &*moment.snapshot;
    let up = s.uptime_seconds as u64;
    put("Name", &"Roundel");
    put("Version", &s.version);
    put("Release_date", &"-");
    put("Nbthread", &s.process.threads);
    put("Nbproc", &1);
    put("Process_num", &1);
    put("Pid", &s.process.pid);
    put("Uptime", &uptime(up));
    put("Uptime_sec", &up);
    put("Memmax_MB", &0);
    put("Ulimit-n", &s.process.max_fds);
    put("Maxsock", &s.process.max_fds);
    put("Maxconn", &s.process.max_connections);
    put("Maxpipes", &s.process.pipes.most);
    put("PipesUsed", &s.process.pipes.used);
    put("PipesFree", &s.process.pipes.free);
    put("Tasks", &moment.rates.total.in_flight);
    put("Run_queue", &0);
    put("Idle_pct", &moment.idle_percent());
    put("node", &one_line(&s.node));
    let others = s.members.iter().filter(|m| !m.me).count();
    put("ActivePeers", &others);
    put("DroppedLogs", &s.log_lines_dropped_total);
}

fn about_traffic(moment: &Moment, put: &mut impl FnMut(&str, &dyn Display)) {
    let (s, rates) = (&*moment.snapshot, &moment.rates);
    let sum = |of: fn(&Frontend) -> u64| s.frontends.iter().map(of).sum::<u64>();
    let rate = |of: fn(&FrontendRates) -> f64| {
        let sum: f64 = rates.frontends.values().map(of).sum();
        sum.round() as u64
    };
    put("CurrConns", &sum(|f| f.connections));
    put("CumConns", &sum(|f| f.accepted()));
    put("CumReq", &sum(|f| f.requests_total));
    for key in ["MaxSslConns", "CurrSslConns", "CumSslConns", "SslRate"] {
        put(key, &0);
    }
    put("ConnRate", &rate(|r| r.connections_per_second));
    put("ConnRateLimit", &0);
    put("MaxConnRate", &rate(|r| r.connections_per_second_max));
    put("SessRate", &rate(|r| r.connections_per_second));
    put("SessRateLimit", &0);
    put("MaxSessRate", &rate(|r| r.connections_per_second_max));
    put("Jobs", &sum(|f| f.connections));
    put("Listeners", &sum(|f| f.listen.len() as u64));
    put("TotalBytesOut", &sum(|f| f.bytes_out_total));
    // HAProxy spells it so.
    put("TotalSplicdedBytesOut", &s.process.pipes.bytes_total);
    put(
        "BytesOutRate",
        &(rates.total.bytes_out_per_second.round() as u64),
    );
}

/// `show backend`.
pub(super) fn backends(snapshot: &Snapshot) -> String {
    let names = snapshot.backends.iter().map(|b| b.name.as_str());
    std::iter::once("# name")
        .chain(names)
        .map(|name| format!("{name}\n"))
        .collect()
}

/// `show servers state`, format version 1.
pub(super) fn servers_state(snapshot: &Snapshot, only: Option<&str>) -> String {
    if only.is_some_and(|name| snapshot.backend(name).is_none()) {
        return "Can't find backend.\n".into();
    }
    let mut text = String::from(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
         srv_iweight srv_time_since_last_change srv_check_status srv_check_result \
         srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id \
         srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
         srv_agent_port\n",
    );
    for backend in &snapshot.backends {
        if only.is_none_or(|name| name == backend.name) {
            for server in &backend.servers {
                text += &server_state(backend, server);
            }
        }
    }
    text
}

fn server_state(backend: &Backend, server: &Server) -> String {
    use ServerState::{Draining, Leaving, Maint, Up, Warming};
    let (address, port) = match server.address.parse::<std::net::SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) => ("-".into(), 0),
    };
    let operational = match server.state {
        Up | Draining | Leaving => 2,
        Warming => 1,
        _ => 0,
    };
    let ordered = match server.state {
        Maint => 1,
        Draining => 8,
        _ => 0,
    };
    let check = server.check.as_ref();
    let (status, result) = check.map_or((0, 0), check_codes);
    let state = if check.is_some() { 6 } else { 0 };
    let health = check.map_or(0, |check| check.health);
    format!(
        "{} {} {} {} {address} {operational} {ordered} {} {} {} {status} {result} {health} \
         {state} 0 0 0 - {port} - 0 0 - - 0\n",
        backend.id,
        word(&backend.name),
        server.id,
        word(&server.name),
        server.user_weight,
        server.initial_weight,
        server.since_seconds,
    )
}

/// HAProxy's numbers for a check's status and result.
fn check_codes(check: &Check) -> (u8, u8) {
    let status = match &*check.status {
        "INI" => 1,
        "SOCKERR" => 5,
        "L4OK" => 6,
        "L4TOUT" => 7,
        "L4CON" => 8,
        "L6OK" => 9,
        "L6TOUT" => 10,
        "L6RSP" => 11,
        "L7TOUT" => 12,
        "L7RSP" => 13,
        "L7OK" => 15,
        "L7OKC" => 16,
        "L7STS" => 17,
        _ => 0,
    };
    let result = match status {
        0 | 1 => 0,
        6 | 9 | 15 => 3,
        16 => 4,
        _ => 2,
    };
    (status, result)
}

/// `show members`: name, address, status, tags, as Serf's tool lists them.
pub(super) fn members(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for member in &snapshot.members {
        let tags: Vec<String> = member
            .tags
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let line = format!(
            "{}  {}  {}  {}",
            word(&member.name),
            word(&member.address),
            member.status.as_str(),
            tags.join(","),
        );
        text += &format!("{}\n", one_line(&line));
    }
    text
}

/// `show events`: the newest `n`, oldest first.
pub(super) fn events(snapshot: &Snapshot, n: usize) -> String {
    let skip = snapshot.events.len().saturating_sub(n);
    let mut text = String::new();
    for e in &snapshot.events[skip..] {
        let line = format!(
            "{} {} {} {} {}",
            e.seq,
            e.time,
            e.kind.as_str(),
            e.subject,
            e.text
        );
        text += &format!("{}\n", one_line(&line));
    }
    text
}

/// `show errors`: requests that never became whole, by frontend and reason.
pub(super) fn errors(snapshot: &Snapshot) -> String {
    let total: u64 = snapshot.frontends.iter().map(|f| f.request_errors()).sum();
    let mut text = format!("Total events captured: {total}\n");
    for front in &snapshot.frontends {
        for (reason, n) in &front.request_errors_total {
            text += &format!("{} {reason} {n}\n", word(&front.name));
        }
    }
    text
}

/// Text from the network that cannot begin a line of its own.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// The same, as one word of a line.
fn word(text: &str) -> String {
    text.replace(|c: char| c.is_control() || c.is_whitespace(), "_")
}
