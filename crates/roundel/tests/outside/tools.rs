//! Other people's programs against a running balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use roundel_testkit::{Process, external, free_address, get, poll, wait_for};
use serde_json::Value;

use crate::balancer::{Balancer, SOON};
use crate::turns::{alone, beside_others};

fn output_of(program: &Path, arguments: &[&str]) -> String {
    let mut process = Process::spawn(Command::new(program).args(arguments));
    let status = process.wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{status}\n{process}");
    process.stdout() + &process.stderr()
}

#[test]
fn promtool_accepts_the_metrics() {
    let Some(promtool) = external("promtool", "prometheus") else {
        return;
    };
    let _turn = beside_others();
    let demo = Balancer::demo(3, &[]);
    (0..6).for_each(|_| drop(demo.get("/")));
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = demo.page("/metrics");
    let mut input = child.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let verdict = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&verdict.stderr).into_owned();
    assert!(verdict.status.success(), "{told}\n{metrics}");
    assert_eq!(told, "", "promtool has remarks");
}

#[test]
fn the_haproxy_exporter_reads_the_csv() {
    let package = "prometheus-haproxy-exporter";
    let Some(exporter) = external(package, package) else {
        return;
    };
    let _turn = beside_others();
    let demo = Balancer::demo(3, &[]);
    (0..6).for_each(|_| drop(demo.get("/")));
    let listen: SocketAddr = free_address();
    let _exporter = Process::spawn(
        Command::new(exporter)
            .arg(format!("--haproxy.scrape-uri=http://{}/;csv", demo.stats))
            .arg(format!("--web.listen-address={listen}")),
    );
    let full = poll(SOON, || {
        let text = get(listen, "/metrics").ok()?.text();
        let servers = |line: &&str| line.starts_with("haproxy_server_up{") && line.ends_with(" 1");
        let up = text.lines().filter(servers).count() == 3;
        let read = text.contains("\nhaproxy_up 1\n");
        let clean = text.contains("csv_parse_failures_total 0\n");
        (up && read && clean).then_some(text)
    });
    let text = full.unwrap_or_else(|| {
        let last = get(listen, "/metrics").map(|r| r.text());
        panic!(
            "the exporter does not see three servers up: {last:?}\n{}",
            demo.page("/;csv")
        )
    });
    assert!(
        text.contains("haproxy_frontend_http_requests_total{frontend=\"localnodes\"}"),
        "{text}"
    );
}

#[test]
fn curl_speaks_http2_with_prior_knowledge() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let _turn = beside_others();
    let demo = Balancer::demo(3, &[]);
    let url = format!("http://{}/", demo.front);
    let format = "%{http_version} %{http_code}\n";
    let words = [
        "-sS",
        "--http2-prior-knowledge",
        "-o",
        "/dev/null",
        "-w",
        format,
    ];
    // One request: curl 7.88 cannot use such a connection twice, with any server.
    let told = output_of(&curl, &[&words[..], &[url.as_str()]].concat());
    assert_eq!(told, "2 200\n");
}

#[test]
fn h2load_sees_no_failure() {
    let Some(h2load) = external("h2load", "nghttp2-client") else {
        return;
    };
    let _turn = alone();
    let demo = Balancer::demo(3, &["--access-log", "off"]);
    let url = format!("http://{}/", demo.front);
    let told = output_of(&h2load, &["-n", "2000", "-c", "4", "-m", "10", &url]);
    assert!(
        told.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{told}"
    );
    assert!(told.contains("2000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{told}");
}

/// hatop draws on a terminal, so `script` gives it one.
#[test]
fn hatop_shows_the_servers_of_the_runtime_api() {
    let (Some(_), Some(script)) = (external("hatop", "hatop"), external("script", "bsdutils"))
    else {
        return;
    };
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let socket = socket.to_str().expect("a path of ours is text");
    let _demo = Balancer::demo(3, &["--cli-socket", socket]);
    let line = format!("stty rows 40 cols 160; exec hatop -s {socket} -i 1");
    let mut command = Command::new(script);
    command
        .args(["-q", "-f", "-c", &line, "/dev/null"])
        .env("TERM", "xterm");
    let hatop = Process::spawn(&mut command);
    let names = ["localnodes", "nodes", "webapp-1", "webapp-2", "webapp-3"];
    let all = poll(SOON, || {
        let shown = hatop.stdout();
        names.iter().all(|name| shown.contains(name)).then_some(())
    });
    assert!(all.is_some(), "{hatop}");
}

/// What each value of `show stat json` is, by its name: tags and type.
fn meanings(rows: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for value in rows
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
    {
        let (tags, kind) = (&value["tags"], &value["value"]["type"]);
        let meaning = format!("{tags} {kind}");
        let name = value["field"]["name"].as_str().unwrap().to_owned();
        all.entry(name).or_default().insert(meaning);
    }
    all
}

#[test]
fn the_json_of_haproxy_means_the_same() {
    let Some(haproxy) = external("haproxy", "haproxy") else {
        return;
    };
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("haproxy.sock");
    let file = folder.path().join("haproxy.cfg");
    let text = format!(
        "global\n  stats socket {}\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  \
         timeout server 1s\nlisten web\n  bind {}\n  server a 127.0.0.1:9 check cookie x\n",
        socket.display(),
        free_address()
    );
    std::fs::write(&file, text).unwrap();
    let _theirs = Process::spawn(Command::new(haproxy).arg("-db").arg("-f").arg(&file));
    let theirs: Value = wait_for("HAProxy's statistics", SOON, || {
        let mut stream = UnixStream::connect(&socket).ok()?;
        stream.write_all(b"show stat json\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    });
    let demo = Balancer::demo(2, &[]);
    let ours: Value = serde_json::from_str(&demo.page("/;json")).unwrap();
    let [theirs, ours] = [theirs, ours].map(|rows| meanings(&rows));
    let mut shared = 0;
    for (name, ours) in ours {
        if let Some(theirs) = theirs.get(&name) {
            assert!(ours.is_subset(theirs), "{name}: {ours:?} but {theirs:?}");
            shared += 1;
        }
    }
    assert!(shared > 70, "{shared}");
}
