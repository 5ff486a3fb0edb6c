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
