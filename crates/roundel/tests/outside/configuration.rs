//! A configuration file with mistakes: every one is told, with its place.

use std::fs;

use roundel_testkit::Process;

use crate::balancer::{SOON, roundel};

/// Five mistakes of five kinds, on the lines that [`LINES`] names.
const WRONG: &str = r#"[global]
thread = 2

[[frontend]]
name = "localnodes"
listen = ["127.0.0.1:0"]
default_backend = "nods"

[[backend]]
name = "nodes"
balance = "roundrobbin"
check = { http = "HEAD /", every = "2 parsecs" }
server = [{ name = "s1", address = "10.0.0.1:99999" }]
"#;

const LINES: [usize; 5] = [2, 7, 11, 12, 13];

fn check(verb: &str, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.toml");
    fs::write(&path, WRONG).unwrap();
    let mut process = Process::spawn(roundel(&[verb, "-c"]).arg(&path));
    let status = process.wait_exit(SOON);
    assert_eq!(status.code(), Some(code), "{process}");
    let told = process.stderr() + &process.stdout();
    for line in LINES {
        assert!(
            told.contains(&format!("wrong.toml:{line}:")),
            "line {line}\n{process}"
        );
    }
    assert!(told.contains('^'), "no caret\n{process}");
    for hint in ["threads", "nodes", "roundrobin"] {
        assert!(told.contains(hint), "no hint {hint}\n{process}");
    }
}

#[test]
fn check_tells_all_five_and_exits_with_1() {
    check("check", 1);
}

#[test]
fn serve_tells_all_five_and_exits_with_3() {
    check("serve", 3);
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    let mut process = Process::spawn(&mut roundel(&["serve", "--lisen", ":80"]));
    assert_eq!(process.wait_exit(SOON).code(), Some(2), "{process}");
}

#[test]
fn alone_it_prints_help() {
    let mut process = Process::spawn(&mut roundel(&[]));
    assert_eq!(process.wait_exit(SOON).code(), Some(0), "{process}");
    assert!(
        (process.stdout() + &process.stderr()).contains("serve"),
        "{process}"
    );
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("some.toml");
    let text = "[stats]\nlisten = \":1001\"\n[cli]\nlisten = \":1002\"\n[access_log]\nformat = \"off\"\n[gossip]\n";
    fs::write(&path, text).expect("the file is written");
    let mut command = roundel(&["check", "--print", "--stats-listen", ":3001", "-c"]);
    command
        .arg(&path)
        .env("ROUNDEL_STATS_LISTEN", ":2001")
        .env("ROUNDEL_CLI_LISTEN", ":2002")
        .env("ROUNDEL_JOIN", "")
        .env("ROUNDEL_JION", "elsewhere");
    let mut process = Process::spawn(&mut command);
    assert_eq!(process.wait_exit(SOON).code(), Some(0), "{process}");
    let told = process.stdout();
    let line = |start: &str| {
        let mut lines = told.lines();
        lines.find(|l| l.starts_with(start)).unwrap_or_default()
    };
    let words = |start: &str, parts: [&str; 2]| {
        assert!(parts.iter().all(|p| line(start).contains(p)), "{process}");
    };
    words("listen = \":3001\"", ["#", "flag --stats-listen"]);
    words("listen = \":2002\"", ["#", "variable ROUNDEL_CLI_LISTEN"]);
    words("format = \"off\"", ["#", "some.toml:6"]);
    words("threads = 0", ["#", "default"]);
    words("join = []", ["#", "default"]);
    let warned = process.stderr();
    assert!(warned.contains("ROUNDEL_JION"), "{process}");
    assert!(warned.contains("did you mean ROUNDEL_JOIN?"), "{process}");
}

/// What editors use, whatever the surroundings say.
#[test]
fn the_schema_is_printed() {
    let mut command = roundel(&["check", "--schema"]);
    let mut process = Process::spawn(command.env("ROUNDEL_CONFIG", "/nowhere.toml"));
    assert_eq!(process.wait_exit(SOON).code(), Some(0), "{process}");
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/roundel.schema.json"
    );
    let printed: serde_json::Value = serde_json::from_str(&process.stdout()).expect("JSON");
    let file = fs::read_to_string(file).expect("the schema is checked in");
    assert_eq!(
        printed,
        serde_json::from_str::<serde_json::Value>(&file).expect("JSON")
    );
    assert_eq!(process.stderr(), "", "{process}");
}

/// Files of earlier builds, by the commit that wrote them, are valid as they were.
#[test]
fn files_of_earlier_builds_stay_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upgrade");
    let mut files = Vec::new();
    for build in fs::read_dir(folder).unwrap() {
        for file in fs::read_dir(build.unwrap().path()).unwrap() {
            files.push(file.unwrap().path());
        }
    }
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let mut process = Process::spawn(roundel(&["check", "-c"]).arg(&file));
        let code = process.wait_exit(SOON).code();
        assert_eq!(code, Some(0), "{}\n{process}", file.display());
    }
}

#[test]
fn variables_of_a_kubernetes_service_are_passed_over_by_every_command() {
    let with_service = |words: &[&str]| {
        let mut command = roundel(words);
        command
            .env("ROUNDEL_SERVICE_HOST", "10.96.0.5")
            .env("ROUNDEL_SERVICE_PORT", "80")
            .env("ROUNDEL_PORT", "tcp://10.96.0.5:80")
            .env("ROUNDEL_PORT_80_TCP", "tcp://10.96.0.5:80")
            .env("ROUNDEL_SERVER_PORT", "tcp://10.96.0.6:81");
        Process::spawn(&mut command)
    };
    let listen = ["--gossip-listen", "127.0.0.1:0"];
    let agent = [&["agent"][..], &listen, &["--", "true"]].concat();
    for words in [
        &agent[..],
        &["check"],
        &["keygen"],
        &["stat", "--stats", "http://127.0.0.1:1"],
    ] {
        let mut process = with_service(words);
        let code = process.wait_exit(SOON).code();
        assert_eq!(code, Some(i32::from(words[0] == "stat")), "{process}");
        let told = process.stderr();
        let about = told
            .lines()
            .filter(|line| line.contains("set by Kubernetes"));
        let expected = usize::from(words[0] != "keygen");
        assert_eq!(about.count(), expected, "{process}");
        assert!(!told.contains("means nothing"), "{process}");
    }
}
