//! The ports that are no data ports, when their clients do all but read.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use roundel_testkit::{Process, Signal, free_address, get, request, wait_for};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use socket2::{Domain, Socket, Type};

use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::{alone, beside_others};

const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: lb\r\n\r\n";

/// Opens a connection from one of this machine's addresses and sends this; the other side may have
/// closed it already.
fn open(from: u8, to: SocketAddr, text: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let _ = stream.write_all(text.as_bytes());
    stream
}

/// What comes back on a connection of its own.
fn ask(from: u8, to: SocketAddr, path: &str) -> String {
    let text = format!("GET {path} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    open(from, to, &text).read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A balancer of so many servers that nobody checks.
fn with_servers(count: usize, more: &str) -> (Balancer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let [front, stats] = [free_address(), free_address()];
    let servers: String = (0..count)
        .map(|n| {
            format!(
                "{{ name = \"s{n}\", address = \"127.1.{}.{}:1\" }},\n",
                n / 250,
                n % 250 + 1
            )
        })
        .collect();
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n{more}\n[[frontend]]\nname = \"f\"\nlisten = \"{front}\"\n\
         default_backend = \"b\"\n[[backend]]\nname = \"b\"\ncheck = \"off\"\nserver = [\n{servers}]\n"
    );
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    (balancer, folder)
}

/// Resident memory, in bytes.
fn resident(balancer: &Balancer) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", balancer.process.id())).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("{name} is missing:\n{text}"));
    line.trim().parse().unwrap()
}

#[test]
fn health_is_answered_while_others_hold_every_place() {
    let _turn = alone();
    let (balancer, _folder) = with_servers(1, "[cli]\nlisten = \"off\"");
    let half = "GET /metrics HTTP/1.1\r\nHost: ";
    let mut held = Vec::new();
    for from in [1, 2] {
        held.extend((0..300).map(|_| open(from, balancer.stats, half)));
    }
    for from in [1, 2, 3] {
        for path in ["/livez", "/readyz"] {
            let answer = ask(from, balancer.stats, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
    }
    // Whoever is neither of them gets a place of those that they hold.
    for bound in ["stats_connections", "stats_connections_per_address"] {
        wait_for("the bound is told of", SOON, || {
            let metrics = ask(3, balancer.stats, "/metrics");
            let hits = format!("roundel_bound_hits_total{{bound=\"{bound}\"}}");
            (metric(&metrics, &hits) > 0).then_some(())
        });
    }
    drop(held);
}

#[test]
fn readers_that_take_nothing_share_what_is_kept_for_them() {
    let _turn = alone();
    let (balancer, _folder) = with_servers(2_000, "[cli]\nlisten = \"off\"");
    let size = ask(3, balancer.stats, "/metrics").len() as u64;
    assert!(size > 2 << 20, "{size}");
    let before = resident(&balancer);
    let held: Vec<_> = (0..200).map(|_| open(1, balancer.stats, METRICS)).collect();
    let viewers: Vec<_> = (0..64)
        .map(|_| {
            open(
                2,
                balancer.stats,
                "GET /events HTTP/1.1\r\nHost: lb\r\n\r\n",
            )
        })
        .collect();
    wait_for("all are answered", SOON, || {
        let mut byte = [0];
        let answered = |s: &TcpStream| s.peek(&mut byte).is_ok_and(|n| n > 0);
        held.iter().chain(&viewers).all(answered).then_some(())
    });
    let more = resident(&balancer).saturating_sub(before);
    assert!(more < 96 << 20, "{} MiB more", more >> 20);
    // A viewer from elsewhere gets the seat of one of them.
    let mut operator = open(
        3,
        balancer.stats,
        "GET /events HTTP/1.1\r\nHost: lb\r\n\r\n",
    );
    let mut head = [0; 15];
    operator.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

#[test]
fn waiting_readers_do_not_keep_others_from_the_runtime_api() {
    let _turn = beside_others();
    let (api, folder) = (free_address(), tempfile::tempdir().unwrap());
    let socket = folder.path().join("sock");
    let more = format!(
        "[cli]\nlisten = \"{api}\"\nsocket = \"{}\"",
        socket.display()
    );
    let (balancer, _folder) = with_servers(1, &more);
    // Of an operator's waits only those last whose client is there.
    let descriptors = || {
        let entries = fs::read_dir(format!("/proc/{}/fd", balancer.process.id())).unwrap();
        entries.count()
    };
    let waits: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(b"wait 1h\n").unwrap();
            stream
        })
        .collect();
    // It comes after them, and is answered all the same.
    assert!(say(&socket, "show version\n").contains("roundel"));
    let waiting = descriptors();
    drop(waits);
    // A file that the process opens for itself meanwhile is none of theirs.
    wait_for("they end", SOON, || {
        (descriptors() + 40 <= waiting + 4).then_some(())
    });
    let answer = say(&socket, "wait 1; show version\n");
    assert!(
        answer.contains("roundel"),
        "still read by one who has sent all: {answer:?}"
    );
    let held: Vec<_> = (0..80).map(|_| open(1, api, "wait 1h\n")).collect();
    for from in [1, 2] {
        let mut stream = open(from, api, "show version\n");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("roundel"), "{answer:?}");
    }
    drop(held);
}

#[test]
fn wrong_tokens_are_counted_and_told_of() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = path.display().to_string();
    fs::write(&path, "short").unwrap();
    let mut command = roundel(&["serve", "--admin-token-file", &file]);
    let mut refused = Process::spawn(&mut command);
    assert!(!refused.wait_exit(SOON).success());
    let told = refused.wait_line("has 5 characters; it needs 16", SOON);
    assert!(told.contains(&file), "{told}");

    fs::write(&path, "0123456789abcdef").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let balancer = Balancer::serve(&["--admin-token-file", &file]);
    balancer
        .process
        .wait_line("its mode is 0640; chmod 600", SOON);
    let reload = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Host", "127.0.0.1")];
        let path = "/api/v1/config:reload";
        request(balancer.stats, "POST", path, &headers, b"")
            .unwrap()
            .status
    };
    for _ in 0..3 {
        assert_eq!(reload("0123456789abcdeF"), 401);
    }
    assert_eq!(reload("0123456789abcdef"), 200);
    let line = "wrong token or password on the page's port from 127.";
    balancer.process.wait_line(line, SOON);
    wait_for("they are counted", SOON, || {
        let metrics = balancer.page("/metrics");
        (metric(&metrics, "roundel_admin_wrong_tokens_total") == 3).then_some(())
    });
}

/// Sends a line, ends the sending side, and gives what comes back.
fn say(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Puts a pipe where the file was.
fn replace_by_pipe(path: &Path) {
    let pipe = path.with_extension("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::rename(&pipe, path).unwrap();
}

#[test]
fn a_pipe_in_place_of_the_configuration_stops_nothing() {
    let _turn = beside_others();
    let (mut balancer, folder) = with_servers(1, "[cli]\nlisten = \"off\"");
    let path = folder.path().join("roundel.toml");
    let kept = fs::read(&path).unwrap();
    replace_by_pipe(&path);
    balancer.process.wait_line("it is no regular file", SOON);
    balancer.process.signal(Signal::HUP);
    wait_for("both reloads are refused", SOON, || {
        let failed = "roundel_config_reloads_total{result=\"failed\"}";
        (metric(&balancer.page("/metrics"), failed) >= 2).then_some(())
    });
    // Control turns: what is written in its place is taken over.
    let file = path.with_extension("new");
    fs::write(&file, kept).unwrap();
    fs::rename(&file, &path).unwrap();
    wait_for("the file counts again", SOON, || {
        let line = "roundel_config_last_reload_successful";
        (metric(&balancer.page("/metrics"), line) == 1).then_some(())
    });
    replace_by_pipe(&path);
    wait_for("the pipe is refused", SOON, || {
        let line = "roundel_config_last_reload_successful";
        (metric(&balancer.page("/metrics"), line) == 0).then_some(())
    });
    assert_eq!(get(balancer.stats, "/livez").unwrap().status, 200);
    balancer.process.signal(Signal::TERM);
    assert!(
        balancer.process.wait_exit(SOON).success(),
        "{}",
        balancer.process
    );
}
