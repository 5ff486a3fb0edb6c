//! HAProxy's exporter and ours: the same families, and a board made for the one works with the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;

use roundel_testkit::{Origin, Process, external, free_address, get, wait_for};
use serde_json::Value;

use super::Pair;
use crate::balancer::SOON;
use crate::turns::beside_others;

/// What HAProxy exports of its allocators, and of look-ups that it counts in another way.
const NOT_HERE: [&str; 5] = [
    "haproxy_process_current_zlib_memory",
    "haproxy_process_failed_resolutions",
    "haproxy_process_max_zlib_memory",
    "haproxy_process_pool_allocated_bytes",
    "haproxy_process_pool_used_bytes",
];

/// Names with kinds, and with the labels of their series.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

fn families(address: SocketAddr, path: &str) -> Families {
    let text = get(address, path).unwrap().text();
    let mut all = Families::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            all.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let labels = line.split(['{', '}']).nth(1).unwrap_or_default();
            let labels = labels.split(',').filter_map(|l| l.split_once('='));
            let labels: Vec<&str> = labels.map(|(key, _)| key).collect();
            let state = line
                .split("state=\"")
                .nth(1)
                .and_then(|s| s.split('"').next());
            let of = format!("{} {}", labels.join(","), state.unwrap_or_default());
            all.entry(name.to_owned()).or_default().1.insert(of);
        }
    }
    all
}

fn pair() -> Option<(Pair, Origin)> {
    let app = Origin::named("app");
    let servers = [("a", app.address(), ""), ("closed", free_address(), "")];
    let ours = servers
        .iter()
        .map(|(name, address, _)| format!("{{ name = \"{name}\", address = \"{address}\" }}"));
    let ours = format!(
        "default_backend = \"b\"\n[[backend]]\nname = \"b\"\nsticky = \"off\"\nmaxconn = 100\n\
         check = {{ http = \"GET /\", every = \"200ms\", timeout = \"5s\" }}\nserver = [{}]\n",
        ours.collect::<Vec<_>>().join(", ")
    );
    let theirs = servers.iter().map(|(name, address, _)| {
        format!("  server {name} {address} maxconn 100 check inter 200ms fall 3\n")
    });
    let theirs = format!(
        "  default_backend b\nbackend b\n  option httpchk GET /\n{}",
        theirs.collect::<String>()
    );
    Some((Pair::start(&ours, &theirs)?, app))
}

#[test]
fn the_families_are_haproxys() {
    let _turn = beside_others();
    let Some((pair, _app)) = pair() else { return };
    let (ours, theirs) = (pair.ours.stats, pair.stats);
    wait_for("the closed server to be down on both", SOON, || {
        let down = |at, path| {
            get(at, path)
                .ok()
                .map(|r| r.text().contains("closed,") && r.text().contains(",DOWN,"))
        };
        (down(ours, "/;csv")? && down(theirs, "/;csv")?).then_some(())
    });
    for front in [pair.front, pair.ours.front] {
        assert_eq!(get(front, "/").unwrap().status, 200);
    }
    let ours = families(ours, "/metrics?compat=haproxy");
    let theirs = families(theirs, "/metrics");
    let names = |of: &Families| of.keys().cloned().collect::<BTreeSet<_>>();
    let missing: Vec<_> = names(&theirs).difference(&names(&ours)).cloned().collect();
    assert_eq!(missing, NOT_HERE);
    assert_eq!(names(&ours).difference(&names(&theirs)).count(), 0);
    for (name, (kind, series)) in &ours {
        let (their_kind, their_series) = &theirs[name];
        assert_eq!(kind, their_kind, "{name}");
        assert_eq!(series, their_series, "{name}");
    }
}

/// What Grafana's board 12693 asks for, as names and labels; `$host`, `$job` and the like filled in.
fn board() -> Vec<String> {
    let process = [
        "nbproc",
        "uptime_seconds",
        "current_connections",
        "max_connections",
        "connections_total",
        "requests_total",
        "current_tasks",
        "current_run_queue",
        "idle_time_percent",
        "max_fds",
        "max_sockets",
        "jobs",
        "listeners",
        "bytes_out_total",
        "current_session_rate",
        "current_connection_rate",
        "max_memory_bytes",
        "nbthread",
        "dropped_logs_total",
    ];
    let frontend = [
        "status",
        "current_sessions",
        "max_sessions",
        "limit_sessions",
        "sessions_total",
        "bytes_in_total",
        "bytes_out_total",
        "http_requests_total",
        "http_responses_total",
        "connections_total",
        "request_errors_total",
        "requests_denied_total",
        "responses_denied_total",
        "internal_errors_total",
        "http_requests_rate_max",
        "max_session_rate",
        "connections_rate_max",
        "intercepted_requests_total",
        "http_cache_lookups_total",
        "http_cache_hits_total",
        "http_comp_responses_total",
        "http_comp_bytes_in_total",
        "denied_connections_total",
        "failed_header_rewriting_total",
    ];
    let backend = [
        "status",
        "active_servers",
        "backup_servers",
        "current_sessions",
        "max_sessions",
        "limit_sessions",
        "sessions_total",
        "current_queue",
        "max_queue",
        "bytes_in_total",
        "bytes_out_total",
        "http_requests_total",
        "http_responses_total",
        "connection_errors_total",
        "response_errors_total",
        "retry_warnings_total",
        "redispatch_warnings_total",
        "connection_attempts_total",
        "connection_reuses_total",
        "client_aborts_total",
        "server_aborts_total",
        "queue_time_average_seconds",
        "connect_time_average_seconds",
        "response_time_average_seconds",
        "total_time_average_seconds",
        "max_queue_time_seconds",
        "max_connect_time_seconds",
        "max_response_time_seconds",
        "max_total_time_seconds",
        "check_up_down_total",
        "check_last_change_seconds",
        "downtime_seconds_total",
        "weight",
        "uweight",
        "loadbalanced_total",
        "last_session_seconds",
        "internal_errors_total",
        "requests_denied_total",
        "responses_denied_total",
        "failed_header_rewriting_total",
    ];
    let server = [
        "status",
        "current_sessions",
        "max_sessions",
        "limit_sessions",
        "sessions_total",
        "current_queue",
        "max_queue",
        "bytes_in_total",
        "bytes_out_total",
        "http_responses_total",
        "connection_errors_total",
        "response_errors_total",
        "retry_warnings_total",
        "redispatch_warnings_total",
        "connection_attempts_total",
        "connection_reuses_total",
        "client_aborts_total",
        "server_aborts_total",
        "queue_time_average_seconds",
        "connect_time_average_seconds",
        "response_time_average_seconds",
        "total_time_average_seconds",
        "max_queue_time_seconds",
        "max_connect_time_seconds",
        "max_response_time_seconds",
        "max_total_time_seconds",
        "check_failures_total",
        "check_up_down_total",
        "check_last_change_seconds",
        "check_status",
        "check_code",
        "check_duration_seconds",
        "downtime_seconds_total",
        "weight",
        "uweight",
        "loadbalanced_total",
        "last_session_seconds",
        "idle_connections_current",
        "internal_errors_total",
        "responses_denied_total",
        "failed_header_rewriting_total",
    ];
    let one = |area: &str, labels: &str, names: &[&str]| {
        let query = |name: &&str| {
            let name = format!("haproxy_{area}_{name}{{instance=~\".+\"{labels}}}");
            match name.contains("_total{") {
                true => format!("sum(rate({name}[30s])) by (instance)"),
                false => name,
            }
        };
        names.iter().map(query).collect::<Vec<_>>()
    };
    [
        one("process", "", &process),
        one("frontend", ",proxy=~\"f\"", &frontend),
        one("backend", ",proxy=~\"b\"", &backend),
        one("server", ",proxy=~\"b\",server=~\"a\"", &server),
        vec![
            "sum(haproxy_frontend_current_sessions / haproxy_frontend_limit_sessions) by (proxy)"
                .into(),
        ],
        vec![
            "sum(haproxy_backend_max_sessions / haproxy_backend_limit_sessions) by (proxy) >= 0"
                .into(),
        ],
        vec!["haproxy_server_check_status{state=\"L7OK\"} == 1".into()],
        vec!["haproxy_server_status{state=\"DOWN\"} == 1".into()],
        vec!["haproxy_frontend_http_responses_total{code=~\"2xx|5xx\"}".into()],
    ]
    .concat()
}

#[test]
fn a_board_for_haproxys_exporter_has_data_in_every_panel() {
    let Some(prometheus) = external("prometheus", "prometheus") else {
        return;
    };
    let _turn = beside_others();
    let Some((pair, _app)) = pair() else { return };
    let [listen, file, data] = [
        free_address().to_string(),
        pair.folder
            .path()
            .join("prometheus.yml")
            .display()
            .to_string(),
        pair.folder.path().join("data").display().to_string(),
    ];
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n\
         - {{ job_name: ours, metrics_path: /metrics, params: {{ compat: [haproxy] }}, \
         static_configs: [{{ targets: ['{}'] }}] }}\n",
        pair.ours.stats
    );
    std::fs::write(&file, text).unwrap();
    let _process = Process::spawn(Command::new(prometheus).args([
        &format!("--config.file={file}"),
        &format!("--storage.tsdb.path={data}"),
        &format!("--web.listen-address={listen}"),
    ]));
    let at: SocketAddr = listen.parse().unwrap();
    let ask = |query: &str| {
        let escaped: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
        let answer = get(at, &format!("/api/v1/query?query={escaped}")).ok()?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer["data"]["result"].as_array()?.len())
    };
    let twice = "count_over_time(haproxy_process_nbproc[1m]) >= 3";
    wait_for("three scrapes", SOON, || ask(twice).filter(|n| *n > 0));
    let empty = |query: &String| {
        let found = roundel_testkit::poll(SOON / 3, || ask(query).filter(|n| *n > 0));
        found.is_none()
    };
    let empty: Vec<String> = board().into_iter().filter(empty).collect();
    assert_eq!(empty, Vec::<String>::new());
}
