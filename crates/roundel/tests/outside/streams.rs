//! Hundreds of streams of HTTP/2 while the process ends, is renewed and reloads, and while servers go:
//! what ends in time ends well, at servers of HTTP/1 and of HTTP/2.

mod clients;
mod open;
mod servers;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;

use h2::Reason;
use roundel_testkit::{Signal, free_address, get, wait_for};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::balancer::{Balancer, SOON};
use crate::renewal::begin_renewal;
use crate::turns::{alone, beside_others};
use clients::{Crowd, End, Load};
use servers::{Server, Speaks};

const CROWD: usize = 500;
/// Paths of the backends, of servers of HTTP/1 and of HTTP/2.
const BOTH: [&str; 2] = ["/one", "/two"];

/// A balancer before a server of each kind, which hold what they are asked for until the gate opens.
struct Stage {
    folder: TempDir,
    runtime: Runtime,
    gate: watch::Sender<bool>,
    one: Server,
    two: Server,
    at: [SocketAddr; 2],
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let gate = watch::Sender::new(false);
        let [one, two] = [Speaks::Http1, Speaks::Http2].map(|s| Server::start(&runtime, s, &gate));
        Self {
            folder: tempfile::tempdir().unwrap(),
            runtime,
            gate,
            one,
            two,
            at: [(); 2].map(|()| free_address()),
        }
    }

    /// Writes the file: these servers, and how long what is under way may take.
    fn write(&self, drain_timeout: &str, one: &Server, two: &Server, more: &str) {
        let [front, stats] = self.at;
        let backend = |name: &str, server: &Server, proto: &str| {
            // One of another name is another server.
            let address = server.address;
            format!(
                "[[backend]]\nname = \"{name}\"\nsticky = \"off\"\ncheck = \"off\"\nretries = 0\n\
                 proto = \"{proto}\"\nserver = [{{ name = \"s{}\", address = \"{address}\" }}]\n",
                address.port()
            )
        };
        let text = format!(
            "[global]\nthreads = 2\ndrain_timeout = \"{drain_timeout}\"\n[stats]\nlisten = \"{stats}\"\n\
             [cli]\nlisten = \"off\"\nsocket = \"{}\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"one\"\n\
             route = [{{ path_prefix = \"/two\", backend = \"two\" }}]\n{}{}{more}",
            self.socket().display(),
            backend("one", one, "h1"),
            backend("two", two, "h2"),
        );
        fs::write(self.folder.path().join("draft"), text).unwrap();
        fs::rename(self.folder.path().join("draft"), self.file()).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("roundel.toml")
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("sock")
    }

    fn serve(&self, drain_timeout: &str) -> Balancer {
        self.write(drain_timeout, &self.one, &self.two, "");
        Balancer::with_file(self.file().to_str().unwrap(), self.at)
    }

    /// Opens streams, half of them to each server, and waits until all of them are held there.
    fn crowd(&self, count: usize) -> Crowd {
        let front = self.at[0];
        let crowd = Crowd::open(&self.runtime, front, &BOTH, count, &self.gate);
        self.one.wait_held(count / 2);
        self.two.wait_held(count / 2);
        crowd
    }

    fn load(&self) -> Load {
        let load = Load::start(&self.runtime, self.at[0], &["/one", "/two", "/one", "/two"]);
        load.wait_more(50);
        load
    }

    fn open(&self) {
        self.gate.send_replace(true);
    }

    /// A server that holds nothing, as the gate of its own is open.
    fn another(&self, speaks: Speaks) -> Server {
        Server::start(&self.runtime, speaks, &watch::Sender::new(true))
    }
}

fn say(stage: &Stage, line: &str) -> String {
    let mut stream = UnixStream::connect(stage.socket()).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn all_end_well_after_the_process_is_told_to_end() {
    let _turn = alone();
    let stage = Stage::new();
    let mut balancer = stage.serve("1m");
    let crowd = stage.crowd(CROWD);
    balancer.process.signal(Signal::TERM);
    wait_for("readyz to say no", SOON, || {
        let ready = get(balancer.stats, "/readyz").ok()?;
        (ready.status == 503).then_some(())
    });
    stage.open();
    let connections = crowd.assert_well(&stage.runtime);
    connections.assert_closed(&stage.runtime);
    let status = balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", balancer.process);
    stage.one.wait_closed();
    stage.two.wait_closed();
}

#[test]
fn all_end_well_while_another_process_takes_over() {
    let _turn = alone();
    let stage = Stage::new();
    let mut balancer = stage.serve("1m");
    let crowd = stage.crowd(CROWD);
    let load = stage.load();
    let _successor = begin_renewal(&balancer);
    load.wait_more(100);
    assert!(
        balancer.process.try_exit().is_none(),
        "{}",
        balancer.process
    );
    stage.open();
    let connections = crowd.assert_well(&stage.runtime);
    connections.assert_closed(&stage.runtime);
    let status = balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", balancer.process);
    load.wait_more(100);
    load.stop(&stage.runtime);
}

#[test]
fn a_reload_ends_no_stream_and_no_shared_connection() {
    let _turn = alone();
    let stage = Stage::new();
    let balancer = stage.serve("1m");
    let crowd = stage.crowd(CROWD);
    let load = stage.load();
    let shared = stage.two.accepted();
    assert!(shared < 20, "{shared} connections for 250 streams");
    for name in ["three", "four"] {
        let more = format!(
            "[[backend]]\nname = \"{name}\"\ncheck = \"off\"\n\
             server = [{{ name = \"s\", address = \"{}\" }}]\n",
            free_address()
        );
        stage.write("1m", &stage.one, &stage.two, &more);
        balancer.process.signal(Signal::HUP);
        wait_for("the file to be in force", SOON, || {
            let backends = balancer.snapshot()["backends"].take();
            let mut names = backends.as_array()?.iter().map(|b| b["name"].clone());
            names.any(|found| found == name).then_some(())
        });
        load.wait_more(100);
    }
    assert_eq!(stage.two.accepted(), shared);
    stage.open();
    drop(crowd.assert_well(&stage.runtime));
    load.wait_more(100);
    assert_eq!(stage.two.accepted(), shared);
    load.stop(&stage.runtime);
}

#[test]
fn servers_that_are_taken_away_finish_first() {
    let _turn = alone();
    let stage = Stage::new();
    let balancer = stage.serve("1m");
    let crowd = stage.crowd(CROWD);
    let load = stage.load();
    let (one, two) = (stage.another(Speaks::Http1), stage.another(Speaks::Http2));
    stage.write("1m", &one, &two, "");
    balancer.process.signal(Signal::HUP);
    wait_for("the others to be asked", SOON, || {
        (one.accepted() > 0 && two.accepted() > 0).then_some(())
    });
    load.wait_more(100);
    stage.open();
    drop(crowd.assert_well(&stage.runtime));
    // The process goes on, and its connections to them end.
    stage.one.wait_closed();
    stage.two.wait_closed();
    load.wait_more(100);
    load.stop(&stage.runtime);
}

/// All were cut: those without an answer get one, the others are reset; with both kinds of servers.
fn assert_cut(stage: &Stage, crowd: Crowd, prefixes: &[&str]) {
    let (ends, _) = crowd.ends(&stage.runtime);
    for prefix in prefixes {
        let of = |word: &str| {
            let path = format!("{prefix}/{word}");
            let ends = ends.iter().filter(|(p, _)| *p == path);
            let mut ends: Vec<_> = ends.map(|(_, end)| end.clone()).collect();
            ends.dedup();
            ends
        };
        let told = [End::Status(502)];
        assert_eq!(of("wait"), told, "{prefix}");
        assert_eq!(of("upload"), told, "{prefix}");
        assert_eq!(
            of("begin"),
            [End::Reset(Reason::INTERNAL_ERROR, 4)],
            "{prefix}"
        );
    }
}

#[test]
fn streams_of_servers_that_have_left_go_on_until_an_operator_cuts_them() {
    let _turn = beside_others();
    let stage = Stage::new();
    let balancer = stage.serve("200ms");
    let crowd = stage.crowd(60);
    let (one, two) = (stage.another(Speaks::Http1), stage.another(Speaks::Http2));
    stage.write("200ms", &one, &two, "");
    balancer.process.signal(Signal::HUP);
    let servers = [("one", &stage.one), ("two", &stage.two)];
    let names = servers.map(|(backend, s)| (backend, format!("s{}", s.address.port())));
    wait_for("both to have left", SOON, || {
        let snapshot = balancer.snapshot();
        let backends = snapshot["backends"].as_array()?.iter();
        let left = backends
            .flat_map(|b| b["servers"].as_array().unwrap())
            .filter(|s| s["state"] == "left");
        (left.count() == 2).then_some(())
    });
    stage.one.wait_held(30);
    stage.two.wait_held(30);
    for (backend, name) in names {
        let order = format!("shutdown sessions server {backend}/{name}");
        assert_eq!(say(&stage, &order), "\n", "{}", balancer.process);
    }
    stage.one.wait_gone(30);
    stage.two.wait_gone(30);
    assert_cut(&stage, crowd, &BOTH);
    stage.one.wait_closed();
    stage.two.wait_closed();
}

#[test]
fn an_operator_cuts_the_streams_of_one_server_only() {
    let _turn = beside_others();
    for (cut, spared) in [("one", "two"), ("two", "one")] {
        let stage = Stage::new();
        let balancer = stage.serve("1m");
        let (front, runtime) = (stage.at[0], &stage.runtime);
        let [off, on] = [cut, spared]
            .map(|name| Crowd::open(runtime, front, &[&format!("/{name}")], 90, &stage.gate));
        stage.one.wait_held(90);
        stage.two.wait_held(90);
        let (server, other) = match cut {
            "one" => (&stage.one, &stage.two),
            _ => (&stage.two, &stage.one),
        };
        let order = format!("shutdown sessions server {cut}/s{}", server.address.port());
        assert_eq!(say(&stage, &order), "\n", "{}", balancer.process);
        server.wait_gone(90);
        assert_cut(&stage, off, &[&format!("/{cut}")]);
        // Nobody else's stream, and the server is asked again.
        other.wait_held(90);
        stage.open();
        drop(on.assert_well(runtime));
        let load = Load::start(runtime, front, &BOTH);
        load.wait_more(20);
        load.stop(runtime);
    }
}
