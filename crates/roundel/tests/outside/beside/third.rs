//! Other people's programs beside HAProxy and beside Roundel, with servers in every state: they
//! say the same of both, but for what `HAPROXY.md` lists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use roundel_testkit::{Process, external, free_address, get, poll, skip, wait_for};
use serde_json::{Value, json};

use super::all_states::{AllStates, say};
use crate::balancer::SOON;
use crate::turns::beside_others;

const COLLECTD: &str = include_str!("collectd.py");
const ADMIN: &str = include_str!("admin.py");
const ANSIBLE: &str = "ansible_collections.community.general.plugins.modules.haproxy";

/// A Python that has this module: the one in the path or Debian's. Skips loudly without.
pub(crate) fn python_with(module: &str, from: &str) -> Option<PathBuf> {
    let has = |python: &&str| {
        let look = format!("import importlib.util as u; assert u.find_spec('{module}')");
        let tried = Command::new(python).args(["-c", &look]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has);
    if found.is_none() {
        skip(&format!("needs a python3 with `{module}`; install {from}"));
    }
    found.map(PathBuf::from)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What a program says of each, HAProxy first, line by line.
fn of_both<T>(each: [T; 2], ask: impl Fn(T) -> Command) -> [String; 2] {
    each.map(|one| {
        let mut command = ask(one);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        text(&output)
    })
}

#[test]
fn check_haproxy_names_the_same_servers() {
    let plugin = Path::new("/usr/lib/nagios/plugins/check_haproxy");
    if !plugin.is_file() {
        return skip(
            "needs check_haproxy; install the Debian packages `monitoring-plugins-contrib`, \
             `libmonitoring-plugin-perl` and `libwww-perl`",
        );
    }
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    let told = all.stats().map(|at| {
        let mut command = Command::new(plugin);
        command.args([
            "-d",
            "1",
            "-u",
            &format!("http://{at}/;csv"),
            "-w",
            "9",
            "-c",
            "9",
        ]);
        let output = command.output().unwrap();
        let words = text(&output);
        // The last line has the verdict, in an order of Perl's, and what the request took.
        let verdict = words.lines().find(|line| line.starts_with("HAPROXY "));
        let (verdict, figures) = verdict.expect(&words).split_once(" | ").expect(&words);
        let parts = verdict.split_inclusive(" ! ").map(str::trim);
        let mut parts: BTreeSet<String> = parts
            .map(|part| part.replace("HAPROXY CRITICAL - ", ""))
            .collect();
        parts.extend(
            figures
                .split(' ')
                .filter(|f| f.starts_with("sess_"))
                .map(str::to_owned),
        );
        let debug = words
            .lines()
            .filter(|line| line.starts_with("DEBUG:   ") && line.contains(" is up on "));
        parts.extend(debug.map(str::to_owned));
        (output.status.code(), parts)
    });
    let [theirs, ours] = told;
    assert_eq!(theirs, ours);
    assert_eq!(ours.0, Some(2));
    let down = "Active service 'never' is DOWN on 'dead' proxy !";
    assert!(ours.1.iter().any(|part| part.starts_with(down)), "{ours:?}");
}

/// The values of the exporter that say how servers are.
fn exported(exporter: &Path, at: SocketAddr) -> BTreeMap<String, String> {
    const NAMES: [&str; 8] = [
        "haproxy_server_up{",
        "haproxy_server_weight{",
        "haproxy_server_current_queue{",
        "haproxy_server_current_sessions{",
        "haproxy_backend_up{",
        "haproxy_backend_weight{",
        "haproxy_backend_current_queue{",
        "haproxy_backend_current_server{",
    ];
    let listen = free_address();
    let _process = Process::spawn(
        Command::new(exporter)
            .arg(format!("--haproxy.scrape-uri=http://{at}/;csv"))
            .arg(format!("--web.listen-address={listen}")),
    );
    let text = wait_for("the exporter", SOON, || {
        let text = get(listen, "/metrics").ok()?.text();
        text.contains("\nhaproxy_up 1\n").then_some(text)
    });
    assert!(text.contains("csv_parse_failures_total 0\n"), "{text}");
    let lines = text
        .lines()
        .filter(|line| NAMES.iter().any(|name| line.starts_with(name)));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_exporter_says_the_same_of_every_server() {
    let package = "prometheus-haproxy-exporter";
    let Some(exporter) = external(package, package) else {
        return;
    };
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    let [theirs, ours] = all.stats().map(|at| exported(&exporter, at));
    assert_eq!(theirs, ours);
    let zero =
        |name: &str| ours[&format!("haproxy_server_up{{backend=\"b\",server=\"{name}\"}}")] == "0";
    assert!(zero("down") && zero("never") && !zero("up"), "{ours:#?}");
}

#[test]
fn collectd_reads_the_same_values() {
    let Some(python) = python_with("collectd_haproxy", "`collectd-haproxy` from PyPI") else {
        return;
    };
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    let told = of_both(all.sockets(), |socket| {
        let mut command = Command::new(&python);
        command.args(["-c", COLLECTD]).arg(socket);
        command
    });
    // Of each row the names, and the values that are no time, total or maximum.
    const VALUES: [&str; 8] = [
        "queued_request_count",
        "server_weight",
        "active_server_count",
        "backup_server_count",
        "current_session_count",
        "http_response_5xx",
        "denied_request_count",
        "throttle_pct",
    ];
    let [theirs, ours] = told.map(|told| {
        let rows = told
            .lines()
            .filter(|line| ["b.", "dead.", "full."].iter().any(|p| line.starts_with(p)));
        let row = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let label = name.split(' ').nth(1).unwrap();
            let compared = VALUES.contains(&label);
            (name.to_owned(), compared.then(|| value.to_owned()))
        };
        rows.map(row).collect::<BTreeMap<_, _>>()
    });
    assert_eq!(theirs, ours);
    assert_eq!(
        ours["full.BACKEND queued_request_count"].as_deref(),
        Some("2")
    );
}

#[test]
fn haproxyadmin_reads_and_orders_the_same() {
    let Some(python) = python_with("haproxyadmin", "`haproxyadmin` from PyPI") else {
        return;
    };
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    let [theirs, ours] = of_both(all.sockets(), |socket| {
        let mut command = Command::new(&python);
        command.args(["-c", ADMIN]).arg(socket);
        command
    });
    assert_eq!(theirs, ours);
    assert!(ours.contains("drain True DRAIN\n"), "{ours}");
}

/// What the module answers, without what it got from the balancer's version or times.
fn play(python: &Path, socket: &Path, act: &Value) -> Value {
    let mut arguments = json!({
        "socket": socket, "backend": "b", "host": "up", "fail_on_not_found": true,
        "wait": true, "wait_interval": 1, "wait_retries": 15,
    });
    let all = arguments.as_object_mut().unwrap();
    all.extend(act.as_object().unwrap().clone());
    let arguments = json!({ "ANSIBLE_MODULE_ARGS": arguments }).to_string();
    let output = Command::new(python)
        .args(["-m", ANSIBLE, &arguments])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut said: Value =
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{}", text(&output)));
    said.as_object_mut().unwrap().remove("invocation");
    for state in ["state_before", "state_after"] {
        let rows = said[state].as_array_mut().into_iter().flatten();
        rows.for_each(|row| row["status"] = steady(row["status"].as_str().unwrap()).into());
    }
    said
}

/// The state without HAProxy's count of checks on the way to it, which depends on the moment.
fn steady(status: &str) -> &str {
    status.split_once(' ').map_or(status, |(word, _)| word)
}

/// What the module tells, less the sessions that it counted at some moment after its order.
fn without_sessions(mut said: Value) -> Value {
    let after = said.get_mut("state_after").and_then(Value::as_array_mut);
    for server in after.into_iter().flatten().filter_map(Value::as_object_mut) {
        server.remove("scur");
    }
    said
}

/// The sessions of the server that an order is for.
fn sessions(socket: &Path, act: &Value) -> Option<String> {
    let backend = act["backend"].as_str().unwrap_or("b");
    let host = act["host"].as_str().unwrap_or("up");
    let table = say(socket, "show stat");
    let row = table
        .lines()
        .find(|line| line.starts_with(&format!("{backend},{host},")))?;
    row.split(',').nth(4).map(str::to_owned)
}

#[test]
fn ansibles_module_orders_the_same() {
    let Some(python) = python_with(ANSIBLE, "the Debian package `ansible`") else {
        return;
    };
    let _turn = beside_others();
    let Some(mut all) = AllStates::start() else {
        return;
    };
    // A drain cuts nothing, the request at the server is cut with it in maintenance, and those that
    // wait behind it go on.
    let full = |state: &str| {
        let (backend, host) = ("full", "one");
        json!({ "backend": backend, "host": host, "state": state, "shutdown_sessions": true })
    };
    for act in [
        json!({ "state": "drain" }),
        json!({ "state": "enabled" }),
        json!({ "state": "enabled", "weight": "7" }),
        json!({ "state": "enabled", "weight": "0" }),
        json!({ "state": "enabled", "weight": "100%" }),
        json!({ "state": "disabled" }),
        json!({ "state": "enabled", "health": true }),
        json!({ "state": "drain", "host": "nobody" }),
        json!({ "state": "drain", "host": "down", "wait": false }),
        full("drain"),
        full("enabled"),
        full("disabled"),
        full("enabled"),
    ] {
        let [theirs, ours] = all.sockets().map(|socket| {
            let said = play(&python, &socket, &act);
            let backend = act["backend"].as_str().unwrap_or("b");
            let host = act["host"].as_str().unwrap_or("up");
            let table = say(&socket, "show stat");
            let row = table
                .lines()
                .find(|line| line.starts_with(&format!("{backend},{host},")));
            let cells = row.map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
            let state = |cells: Vec<String>| (steady(&cells[17]).to_owned(), cells[18].clone());
            (without_sessions(said), cells.map(state))
        });
        assert_eq!(theirs, ours, "{act}");
        // Who waited goes on in its own time, so these are the same in the end.
        let both = || all.sockets().map(|socket| sessions(&socket, &act));
        let settled = poll(SOON, || {
            let [theirs, ours] = both();
            (theirs == ours).then_some(())
        });
        assert!(settled.is_some(), "{act}: sessions {:?}", both());
    }
    let [mut theirs, mut ours] = all.let_go();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!([&theirs, &ours], [&[200, 200, 502]; 2]);
}

/// hatop draws on a terminal, so `script` gives it one.
#[test]
fn hatop_draws_the_same_words() {
    let (Some(_), Some(script)) = (external("hatop", "hatop"), external("script", "bsdutils"))
    else {
        return;
    };
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    for socket in all.sockets() {
        let line = format!(
            "stty rows 60 cols 160; exec hatop -s {} -i 1",
            socket.display()
        );
        let mut command = Command::new(&script);
        command
            .args(["-q", "-f", "-c", &line, "/dev/null"])
            .env("TERM", "xterm");
        let hatop = Process::spawn(&mut command);
        let words = [
            "never", "spare", "zero", "UP", "DOWN", "DRAIN", "MAINT", "OPEN", "BACKEND",
        ];
        let shown = poll(SOON, || {
            let shown = hatop.stdout();
            words.iter().all(|word| shown.contains(word)).then_some(())
        });
        assert!(shown.is_some(), "{}: {hatop}", socket.display());
    }
}
