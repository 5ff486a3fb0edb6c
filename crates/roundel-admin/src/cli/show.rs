//! Commands that only read.

use roundel_model::{AdminState, ServerState, Shown, is_hidden};

use crate::moment::Moment;
use crate::status::{Backend, Check, Frontend, Server, Snapshot};

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
    let mut text = String::from(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
         srv_iweight srv_time_since_last_change srv_check_status srv_check_result \
         srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id \
         srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
         srv_agent_port\n",
    );
    for backend in &snapshot.backends {
        if only.is_none_or(|name| name == backend.name) {
            for server in backend.here() {
                text += &server_state(backend, server);
            }
        }
    }
    text
}

fn server_state(backend: &Backend, server: &Server) -> String {
    use ServerState::{Draining, Leaving, Up, Warming};
    let (address, port) = address(server);
    let operational = match server.state {
        Up | Draining | Leaving => 2,
        Warming => 1,
        _ => 0,
    };
    let ordered = match server.admin {
        AdminState::Maint => 1,
        AdminState::Drain => 8,
        AdminState::Ready => 0,
    };
    let check = server.check.as_ref();
    let (status, result) = check.map_or((0, 0), check_codes);
    // Configured, enabled.
    let state = check.map_or(0, |check| if check.off { 2 } else { 6 });
    let check_port = check.and_then(|check| check.port).unwrap_or(0);
    let health = check.map_or(0, |check| check.health);
    format!(
        "{} {} {} {} {address} {operational} {ordered} {} {} {} {status} {result} {health} \
         {state} 0 0 0 - {port} - 0 {check_port} - - 0\n",
        backend.id,
        word(&backend.name),
        server.id,
        word(&server.name),
        server.user_weight,
        server.initial_weight,
        server.since_seconds,
    )
}

fn address(server: &Server) -> (String, u16) {
    match server.address.parse::<std::net::SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) => ("-".into(), 0),
    }
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

/// `show servers conn`: connections to each server, as HAProxy 2.6 lays them out.
pub(super) fn servers_conn(moment: &Moment, only: Option<&str>) -> String {
    let threads = moment.snapshot.process.threads.max(1) as usize;
    let mut text = format!(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb \
         safe_nb idle_lim idle_cur idle_per_thr[{threads}]\n"
    );
    let wanted = |b: &&Backend| only.is_none_or(|name| name == b.name);
    for backend in moment.snapshot.backends.iter().filter(wanted) {
        let rates = moment.rates.backends.get(&backend.name);
        for server in backend.here() {
            let rates = rates.and_then(|r| r.servers.get(&server.name));
            let most = rates.map_or(server.in_flight, |r| r.in_flight_max);
            let (address, port) = address(server);
            let used = server.in_flight;
            // Idle connections are not counted.
            let threads = vec!["0"; threads].join(" ");
            text += &format!(
                "{}/{} {}/{} {address} {port} - 5000 {used} {most} {most} 0 0 -1 0 {threads}\n",
                word(&backend.name),
                word(&server.name),
                backend.id,
                server.id,
            );
        }
    }
    text
}

/// `show sess`: a line for each request that is with a server, as far as it is known.
pub(super) fn sessions(snapshot: &Snapshot) -> String {
    const MOST: u64 = 10_000;
    let mut text = String::new();
    for backend in &snapshot.backends {
        for server in backend.here() {
            for n in 1..=server.in_flight.min(MOST) {
                text += &format!(
                    "0x{:04x}{:04x}{n:06x}: proto=http be={} srv={}\n",
                    backend.id,
                    server.id,
                    word(&backend.name),
                    word(&server.name)
                );
            }
        }
    }
    text
}

/// `show activity`.
pub(super) fn activity(snapshot: &Snapshot) -> String {
    let (now, p) = (snapshot.time_ms, &snapshot.process);
    let accepted: u64 = snapshot.frontends.iter().map(Frontend::accepted).sum();
    format!(
        "thread_id: 1 (1..{})\ndate_now: {}.{:03}000\naccepted: {accepted}\ncpu_ms_tot: {}\n\
         worker_stall_us: {}\n",
        p.threads,
        now / 1_000,
        now % 1_000,
        (p.cpu_seconds_total * 1e3) as u64,
        (p.worker_stall_seconds * 1e6) as u64,
    )
}

/// `show env`: Roundel's variables, secrets without their values; `None` for one that is not set.
pub(super) fn environment(only: Option<&str>) -> Option<String> {
    let own = std::env::vars().filter(|(name, _)| name.starts_with("ROUNDEL_"));
    let mut all: Vec<(String, String)> = own.collect();
    all.retain(|(name, _)| only.is_none_or(|wanted| wanted == name));
    all.sort();
    if only.is_some() && all.is_empty() {
        return None;
    }
    let secret = |name: &str| {
        let words = ["KEY", "TOKEN", "SECRET", "PASSWORD"];
        words.iter().any(|word| name.contains(word)) && !name.ends_with("_FILE")
    };
    let line = |(name, value): (String, String)| match secret(&name) {
        true => format!("{name}=***\n"),
        false => format!("{name}={}\n", Shown(value)),
    };
    Some(all.into_iter().map(line).collect())
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
        text += &format!("{}\n", Shown(line));
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
        text += &format!("{}\n", Shown(line));
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

/// Text from the network as one word of a line.
fn word(text: &str) -> String {
    text.replace(|c: char| is_hidden(c) || c.is_whitespace(), "_")
}
