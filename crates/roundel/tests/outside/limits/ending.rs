//! What becomes of requests that outlast the end of the process, and of an end that nobody reads.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use roundel_testkit::{Signal, get, poll, send_signal, wait_for};

use super::stage::{Client, Does, GET, Http2, Keys, Server, addresses, each};
use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::beside_others;

const UPLOAD: &[u8] = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart";
const UPGRADE: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

/// How the process is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Term,
    TermTwice,
    Usr2,
}

/// What is under way: what the server does, what the client sends (nothing for HTTP/2), the
/// letters of the log, whether there is an answer.
const CASES: [(Does, &[u8], &str, bool); 6] = [
    (Does::Begins, GET, "KD", false),
    (Does::Drips, GET, "KD", false),
    (Does::Switches, UPGRADE, "KD", false),
    (Does::Waits, GET, "KH", true),
    (Does::Waits, UPLOAD, "KH", true),
    (Does::Waits, b"", "KH", true),
];

fn check(told: Told, does: Does, request: &[u8], letters: &str, answered: bool) {
    println!("{told:?} {does:?} {letters}");
    let server = Server::that(does);
    let limit = if told == Told::TermTwice { "1m" } else { "1s" };
    let global = format!("drain_timeout = \"{limit}\"");
    let keys = Keys {
        global: &global,
        ..Keys::default()
    };
    // A process that follows reads the file again.
    let folder = tempfile::tempdir().unwrap();
    let (path, at) = (folder.path().join("ending.toml"), addresses());
    fs::write(&path, keys.file(at, &[server.address])).unwrap();
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), at);
    balancer.wait_up(1, SOON);
    let mut client = match request {
        b"" => Http2::asking(balancer.front, false),
        request => Client::asking(balancer.front, request),
    };
    server.wait_busy(1);
    match does {
        Does::Begins => drop(client.read_until("hello")),
        Does::Drips | Does::Switches => drop(client.read_until("\r\n\r\n")),
        _ => {}
    }
    let signal = match told {
        Told::Usr2 => Signal::USR2,
        Told::Term | Told::TermTwice => Signal::TERM,
    };
    balancer.process.signal(signal);
    if told == Told::TermTwice {
        let ends = || (get(balancer.stats, "/readyz").ok()?.status == 503).then_some(());
        wait_for("readyz to say no", SOON, ends);
        balancer.process.signal(Signal::TERM);
    }
    let status = balancer.process.wait_exit(SOON);
    assert!(status.success(), "{status}");
    let got = client.read_to_end();
    if answered && !request.is_empty() {
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
        assert!(got.contains("\r\nRetry-After: 1\r\n"), "{got}");
    }
    let log = balancer.process.stdout();
    let line = log
        .lines()
        .find(|line| line.contains("\"term\":\"stopped\""));
    let line = line.unwrap_or_else(|| panic!("no line tells of it\n{}", balancer.process));
    assert!(line.contains(&format!("\"term_ha\":\"{letters}")), "{line}");
    let status = if answered {
        "\"status\":503"
    } else {
        "\"status\":"
    };
    assert!(line.contains(status), "{line}");
    if told == Told::Usr2 {
        let line = balancer.process.wait_line("is to take over", SOON);
        let mut words = line.split_whitespace().skip_while(|w| *w != "process");
        let pid = words.nth(1).unwrap().parse().unwrap();
        send_signal(pid, Signal::KILL);
    }
}

#[test]
fn what_the_end_cuts_off_is_answered_and_told_of() {
    let _turn = beside_others();
    let mut cases = Vec::new();
    for case in CASES {
        cases.extend([Told::Term, Told::TermTwice].map(|told| (told, case)));
    }
    cases.push((Told::Usr2, CASES[0]));
    cases.push((Told::Usr2, CASES[3]));
    each(&cases, |(told, (does, request, letters, answered))| {
        check(*told, *does, request, letters, *answered);
    });
}

/// A balancer whose outputs the test holds itself.
struct Unread {
    child: Child,
    front: SocketAddr,
    stats: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Unread {
    fn serve(server: SocketAddr, level: &str, [stdout, stderr]: [Stdio; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unread.toml");
        let at = addresses();
        let keys = Keys {
            global: "drain_timeout = \"2s\"",
            ..Keys::default()
        };
        fs::write(&path, keys.file(at, &[server])).unwrap();
        let words = ["serve", "--log-level", level, "-c", path.to_str().unwrap()];
        let mut command: Command = roundel(&words);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.env("ROUNDEL_PANIC_FILE", folder.path().join("order"));
        let unread = Self {
            child: command.spawn().unwrap(),
            front: at[0],
            stats: at[1],
            folder,
        };
        wait_for("an answer", SOON, || {
            (get(unread.front, "/").ok()?.status == 200).then_some(())
        });
        unread
    }

    fn order_panic(&self, of: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, of).unwrap();
        fs::rename(draft, self.folder.path().join("order")).unwrap();
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> f64 {
        let text = get(self.stats, "/metrics").unwrap().text();
        let line = text.lines().find(|l| l.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Asks until lines of this log are lost.
    fn fill(&self, metric: &str, ask: impl Fn()) {
        let lost = || {
            (0..100).for_each(|_| ask());
            (self.metric(metric) > 0.0).then_some(())
        };
        wait_for("lines to be lost", 4 * SOON, lost);
    }

    fn end(mut self, signals: usize) {
        for _ in 0..signals {
            send_signal(self.child.id(), Signal::TERM);
            thread::sleep(Duration::from_millis(20));
        }
        let ended = poll(SOON, || self.child.try_wait().unwrap());
        assert!(ended.is_some(), "it hangs");
    }
}

#[test]
fn a_reader_of_a_log_that_has_stopped_stops_nothing() {
    let _turn = beside_others();
    let server = Server::that(Does::Answers);
    each(&[1, 2], |signals| {
        let outputs = [Stdio::piped(), Stdio::piped()];
        let unread = Unread::serve(server.address, "info", outputs);
        // Long targets make long lines.
        let target = "x".repeat(7_000);
        let request = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n");
        unread.fill("roundel_log_lines_dropped_total", || {
            Client::asking(unread.front, request.as_bytes()).read_until("hello");
        });
        unread.end(*signals);
    });
    let outputs = [Stdio::null(), Stdio::piped()];
    let unread = Unread::serve(server.address, "trace", outputs);
    // The library of HTTP/2 tells of every step.
    unread.fill("roundel_system_log_lines_dropped_total", || {
        Http2::asking(unread.front, false).read_until("hello");
    });
    // Traffic and control go on.
    for _ in 0..10 {
        assert_eq!(get(unread.front, "/").unwrap().status, 200);
    }
    // So they do when a worker panics, which is told of on the same output.
    unread.order_panic("worker 0");
    wait_for("another worker", SOON, || {
        (unread.metric("roundel_worker_restarts_total") == 1.0).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(get(unread.front, "/").unwrap().status, 200);
    }
    // And the end comes that says why.
    unread.order_panic("control");
    unread.end(0);
}

#[test]
fn lines_that_a_full_device_refuses_are_counted_and_told_of() {
    let _turn = beside_others();
    let server = Server::that(Does::Answers);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let told = tempfile::NamedTempFile::new().unwrap();
    let outputs = [full.into(), told.reopen().unwrap().into()];
    let unread = Unread::serve(server.address, "info", outputs);
    let text = wait_for("a word about it", SOON, || {
        let text = fs::read_to_string(told.path()).unwrap();
        text.contains("of the access log are lost").then_some(text)
    });
    assert!(text.contains("No space left"), "{text}");
    // What is shown follows within the second.
    wait_for("the count of it", SOON, || {
        (unread.metric("roundel_log_lines_dropped_total") >= 1.0).then_some(())
    });
    unread.end(1);
}
