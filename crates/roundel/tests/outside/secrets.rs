//! Nothing that is secret is in anything that a process shows.

mod broken;
mod memory;
mod stage;

use std::fs;
use std::process::Command;

use roundel_testkit::{Pebble, Process, Signal, external, poll, send_signal, wait_for, wait_gone};

use crate::balancer::{SOON, roundel};
use crate::turns::{alone, beside_others};
use stage::{ADMIN, PASSWORD, READ, Stage};

/// Everything on the page's port that answers.
const PATHS: &[&str] = &[
    "/",
    "/login",
    "/metrics",
    "/;csv",
    "/;json",
    "/events",
    "/livez",
    "/readyz?verbose",
    "/healthz",
    "/ping",
    "/sd/prometheus",
    "/api/v1/snapshot",
    "/api/v1/backends",
    "/api/v1/frontends",
    "/api/v1/members",
    "/api/v1/events",
    "/api/v1/series",
    "/api/v1/openapi.json",
    "/api/v1/backends/nodes/servers",
    "/nothing/here",
];

/// What programs ask the runtime API.
const WORDS: &str = "help;show info;show stat;show servers state;show backend;show errors;\
                     show env;show version;show cli sockets;show nothing";

/// What a process was started with.
fn started_with(pid: u32) -> Vec<u8> {
    let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    [read("environ"), read("cmdline")].concat()
}

fn output(words: &[&str]) -> Vec<u8> {
    let output = roundel(words).output().unwrap();
    [output.stdout, output.stderr].concat()
}

#[test]
fn no_output_of_a_balancer_holds_a_secret() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let more = r#", "externalAccountBindingRequired": true,
        "externalAccountMACKeys": {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}"#;
    let Some(pebble) = Pebble::start(more) else {
        return;
    };
    let _turn = alone();
    let mut stage = Stage::new(Some(&pebble));
    let fetch = |url: String, header: &str| {
        let mut command = Command::new(&curl);
        command.args(["-sk", "-i", "--max-time", "2", "-H", header]);
        let output = command.arg(url).output().unwrap();
        [output.stdout, output.stderr].concat()
    };
    let bearer = format!("Authorization: Bearer {READ}");

    stage.configure("json", &format!("read_token_file = {:?}", stage.at("read")));
    let drill = stage.at("drill");
    let mut command = roundel(&["serve", "--log-level", "trace", "-c"]);
    command.arg(stage.file()).env("ROUNDEL_PANIC_FILE", &drill);
    let mut process = Process::spawn(&mut command);
    process.wait_line("the page is at", SOON);
    process.wait_line("certificate for www.roundel.example issued", SOON * 4);
    // Keys that it has made itself.
    stage.learn(&pebble.at("state"));
    assert!(stage.secrets.len() >= 10, "{}", stage.secrets.len());
    let page = |path: &str| format!("https://{}{path}", stage.page);
    let front = format!("https://{}/", stage.front);
    let answer = fetch(front.clone(), &bearer);
    assert!(answer.ends_with(b"served"), "{process}");
    for path in PATHS {
        stage.secrets.search(path, &fetch(page(path), &bearer));
        stage.secrets.search(path, &fetch(page(path), "X: y"));
    }
    let socket = stage.at("socket");
    let words = WORDS.to_owned() + "\n";
    stage
        .secrets
        .search("the runtime API", &stage::say(&socket, &words));
    let (url, file) = (page(""), stage.file());
    let (read, admin) = (stage.at("read"), stage.at("admin"));
    let reading = ["--stats", &url, "--read-token-file", read.to_str().unwrap()];
    let acting = [
        "--stats",
        &url,
        "--admin-token-file",
        admin.to_str().unwrap(),
    ];
    for (words, rest) in [
        (&["stat"][..], &reading),
        (&["stat", "--json"], &reading),
        (&["members"], &reading),
        (&["members", "--json"], &reading),
        (&["events"], &reading),
        (&["stat", "nodes/a"], &reading),
        (&["why", "nodes/a"], &reading),
        (&["report"], &reading),
        (&["report", "-c", file.to_str().unwrap()], &reading),
        (&["maint", "nodes/a", "--force"], &acting),
        (&["ready", "nodes/a"], &acting),
        (&["weight", "nodes/nobody", "7"], &acting),
        (&["query", "anything", "--timeout", "100ms"], &acting),
    ] {
        let told = output(&[words, rest].concat());
        stage.secrets.search(&words.join(" "), &told);
    }
    for words in [
        &["check"][..],
        &["check", "--print"],
        &["check", "--schema"],
    ] {
        let told = output(&[words, &["-c", file.to_str().unwrap()]].concat());
        assert!(!told.is_empty());
        stage.secrets.search(&words.join(" "), &told);
    }
    stage.secrets.search("/proc", &started_with(process.id()));

    // A panic, a reload that is refused, and a successor.
    fs::write(&drill, "worker 0").unwrap();
    process.wait_line("panicked", SOON);
    let whole = fs::read(stage.at("front.pem")).unwrap();
    fs::write(stage.at("front.pem"), &whole[..whole.len() - 60]).unwrap();
    process.signal(Signal::HUP);
    process.wait_line("refused, nothing changed", SOON);
    let snapshot = page("/api/v1/snapshot");
    stage
        .secrets
        .search("a refused reload", &fetch(snapshot, &bearer));
    process.signal(Signal::USR2);
    let told = process.wait_line("did not take over", SOON);
    assert!(told.contains("front.pem") && told.contains("PEM"), "{told}");
    fs::write(stage.at("front.pem"), &whole).unwrap();
    process.signal(Signal::HUP);
    process.wait_line("reloaded", SOON);
    process.signal(Signal::USR2);
    let successor: u32 = wait_for("a successor", SOON, || {
        let told = process.stderr();
        // The first was refused.
        let line = told
            .lines()
            .filter(|l| l.contains("is to take over"))
            .nth(1)?;
        let pid = line.split("process ").nth(1)?.split(' ').next()?;
        pid.parse().ok()
    });
    assert!(process.wait_exit(SOON * 2).success(), "{process}");
    stage
        .secrets
        .search("/proc of the successor", &started_with(successor));
    let answer = fetch(front, &bearer);
    send_signal(successor, Signal::TERM);
    wait_gone(successor, SOON);
    assert!(answer.ends_with(b"served"), "{process}");
    assert!(process.stdout().contains("\"TLSv1.3\""), "{process}");
    stage.secrets.search("stdout", process.stdout().as_bytes());
    stage.secrets.search("stderr", process.stderr().as_bytes());

    // The account's file is broken, when another certificate is needed.
    stage.unsettle(&pebble.at("state"));
    let mut command = roundel(&["serve", "--log-level", "trace", "-c"]);
    let process = Process::spawn(command.arg(stage.file()));
    process.wait_line("no certificate for", SOON);
    let snapshot = page("/api/v1/snapshot");
    stage
        .secrets
        .search("a broken account", &fetch(snapshot, &bearer));
    stage
        .secrets
        .search("a broken account", process.stderr().as_bytes());
}

#[test]
fn no_format_of_the_access_log_holds_a_secret() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let _turn = alone();
    let stage = Stage::new(None);
    for format in ["json", "haproxy", "common", "combined", "logfmt", "text"] {
        let users = format!("users_file = {:?}", stage.at("users"));
        stage.configure(format, &users);
        let mut command = roundel(&["serve", "--log-level", "trace", "-c"]);
        let mut process = Process::spawn(command.arg(stage.file()));
        process.wait_line("the page is at", SOON);
        let fetch = |words: &[&str], url: &str| {
            let mut command = Command::new(&curl);
            let user = format!("ada:{PASSWORD}");
            command.args(["-sk", "--max-time", "5", "-u", &user]);
            command.args(words).arg(url).output().unwrap().stdout
        };
        let (front, page) = (
            format!("https://{}/", stage.front),
            format!("https://{}/", stage.page),
        );
        let cookies = stage.at("cookies");
        let jar = cookies.to_str().unwrap();
        let served = poll(SOON, || {
            let answer = fetch(&["-c", jar, "-b", jar], &front);
            (answer == b"served").then_some(())
        });
        assert!(served.is_some(), "{process}");
        fetch(
            &["-c", jar, "-b", jar, "-H", &format!("X-Token: {ADMIN}")],
            &front,
        );
        let shown = fetch(&[], &page);
        assert!(shown.starts_with(b"<!"), "{process}");
        stage.secrets.search(format, &shown);
        let form = format!("user=ada&password={PASSWORD}");
        stage.secrets.search(
            format,
            &fetch(&["-i", "-d", &form], &format!("{page}login")),
        );
        stage.secrets.search("/proc", &started_with(process.id()));
        process.signal(Signal::TERM);
        process.wait_exit(SOON);
        assert!(process.stdout().lines().count() >= 2, "{process}");
        stage.secrets.search(format, process.stdout().as_bytes());
        stage.secrets.search(format, process.stderr().as_bytes());
    }
}

#[test]
fn a_report_tells_what_the_file_says_but_for_its_secrets() {
    let _turn = beside_others();
    let stage = Stage::new(None);
    let tokens = format!("read_token_file = {:?}", stage.at("read"));
    stage.configure("json", &tokens);
    let process = Process::spawn(roundel(&["serve", "-c"]).arg(stage.file()));
    process.wait_line("the page is at", SOON);
    let report = || {
        let mut command = roundel(&["report", "--read-token-file"]);
        command.arg(stage.at("read")).arg("-c").arg(stage.file());
        let page = format!("https://{}", stage.page);
        let output = command.args(["--stats", &page]).output().unwrap();
        assert!(output.status.success(), "{output:?}\n{process}");
        stage.secrets.search("report", &output.stdout);
        stage.secrets.search("report", &output.stderr);
        String::from_utf8(output.stdout).unwrap()
    };
    let told = report();
    let (_, file) = told.split_once("## What its file says").unwrap();
    let place = stage.at("admin");
    assert!(file.contains(place.to_str().unwrap()), "{told}");
    assert!(file.contains("others"), "{told}");

    // One that is refused, for a line that holds a secret.
    stage.configure("json", &format!("{tokens}\nadmin_token = \"{ADMIN}\" 7"));
    assert!(report().contains("it is refused"), "{told}");
}
