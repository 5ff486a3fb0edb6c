//! A new process in place of the old one, while clients see nothing of it.

mod inherited;

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use roundel_testkit::{
    Dice, Load, Origin, Process, Reply, Reuse, Signal, external, free_port, get, hash, loopback,
    poll, send_signal, wait_for, wait_gone,
};
use serde_json::Value;

use crate::balancer::{Balancer, SOON};
use crate::servers::{Agent, SerfServer, Toy};
use crate::turns::{alone, beside_others};

/// The process that took over; ended with the test.
pub(crate) struct Successor(u32);

impl Drop for Successor {
    fn drop(&mut self) {
        send_signal(self.0, Signal::KILL);
    }
}

fn pid_of(stats: SocketAddr) -> Option<u64> {
    let answer = get(stats, "/api/v1/snapshot").ok()?;
    let snapshot: Value = serde_json::from_str(&answer.text()).ok()?;
    snapshot["process"]["pid"].as_u64()
}

/// Asks for a renewal and waits until the new process answers for the old one.
pub(crate) fn begin_renewal(balancer: &Balancer) -> Successor {
    balancer.process.signal(Signal::USR2);
    let line = balancer.process.wait_line("is to take over", SOON);
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| *w == "process").unwrap();
    let successor = Successor(words[at + 1].parse().unwrap());
    wait_for("the new process to answer", SOON, || {
        pid_of(balancer.stats).filter(|pid| *pid == u64::from(successor.0))
    });
    successor
}

/// Asks for a renewal and waits until the old process has ended.
fn renew(balancer: &mut Balancer) -> Successor {
    let successor = begin_renewal(balancer);
    let status = balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", balancer.process);
    successor
}

#[test]
fn a_renewal_under_load_loses_no_request_and_keeps_the_gossip() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let flags = [
        "--access-log",
        "off",
        "--cli-socket",
        socket.to_str().unwrap(),
    ];
    let mut balancer = Balancer::serve(&flags);
    let agents: Vec<_> = (1..=2)
        .map(|i| Agent::start(&format!("s{i}"), balancer.gossip))
        .collect();
    balancer.wait_up(2, SOON);
    let loads = [Reuse::KeepAlive, Reuse::PerRequest].map(|r| Load::start(balancer.front, 8, r));
    let wrk = external("wrk", "wrk").map(|wrk| {
        let url = format!("http://{}/", balancer.front);
        Process::spawn(Command::new(wrk).args(["-t1", "-c32", "-d6s", &url]))
    });
    loads.iter().for_each(|load| load.wait_more(100, SOON));

    let successor = renew(&mut balancer);
    loads.iter().for_each(|load| load.wait_more(200, SOON));
    assert_eq!(pid_of(balancer.stats), Some(successor.0.into()));
    balancer.wait_up(2, SOON);
    UnixStream::connect(&socket).unwrap();
    // The gossip lives on under the same name and port: a third server finds it there.
    let third = Agent::start("s3", balancer.gossip);
    balancer.wait_up(3, SOON);
    loads.iter().for_each(|load| load.wait_more(100, SOON));
    for load in loads {
        load.stop().assert_clean();
    }
    if let Some(mut wrk) = wrk {
        assert!(wrk.wait_exit(Duration::from_secs(30)).success(), "{wrk}");
        let told = wrk.stdout();
        assert!(told.contains("requests in"), "{wrk}");
        assert!(
            !told.contains("Socket errors") && !told.contains("Non-2xx"),
            "{wrk}"
        );
    }
    drop((agents, third));
    send_signal(successor.0, Signal::TERM);
    wait_gone(successor.0, SOON);
    assert!(!socket.exists());
}

/// Says one line to the runtime API and gives what it answers.
fn say(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Every number of the page's snapshot that may never go back, by a name of its own.
fn totals(snapshot: &Value) -> BTreeMap<String, u64> {
    fn walk(path: &str, value: &Value, out: &mut BTreeMap<String, u64>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                walk(&format!("{path}.{key}"), value, out);
            }),
            Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| {
                let name = value["name"].as_str().map(str::to_owned);
                walk(
                    &format!("{path}.{}", name.unwrap_or(i.to_string())),
                    value,
                    out,
                );
            }),
            Value::Number(n) if path.contains("_total") => {
                out.extend(n.as_u64().map(|n| (path.to_owned(), n)));
            }
            _ => {}
        }
    }
    let mut out = BTreeMap::new();
    walk("frontends", &snapshot["frontends"], &mut out);
    walk("backends", &snapshot["backends"], &mut out);
    out
}

#[test]
fn orders_verdicts_and_totals_pass_to_the_successor() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let flags = [
        "--access-log",
        "off",
        "--cli-socket",
        socket.to_str().unwrap(),
    ];
    let mut balancer = Balancer::serve(&flags);
    let seed = balancer.gossip;
    let agents: Vec<_> = (1..=4)
        .map(|i| Agent::start(&format!("s{i}"), seed))
        .collect();
    balancer.wait_up(4, SOON);
    let witness = Balancer::serve(&["--join", &seed.to_string(), "--node-name", "witness"]);
    let own = balancer.snapshot()["node"].as_str().unwrap().to_owned();
    witness.wait_member(&own, "alive", SOON);
    for order in [
        "set server nodes/s1 state drain",
        "set server nodes/s2 state maint",
        "set weight nodes/s3 50%",
    ] {
        let answer = say(&socket, order);
        assert!(answer.trim().is_empty(), "{order}: {answer}");
    }
    wait_for("the page to show the orders", SOON, || {
        let states = balancer.states();
        let shows = |name: &str, state: &str| states.contains(&(name.into(), state.into()));
        (shows("s1", "draining") && shows("s2", "maint")).then_some(())
    });
    let load = Load::start(balancer.front, 4, Reuse::KeepAlive);
    load.wait_more(200, SOON);

    // Looks on from outside all the while.
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (done, stats, peer, own) = (done.clone(), balancer.stats, witness.stats, own.clone());
        thread::spawn(move || {
            let (mut last, mut looks) = (BTreeMap::<String, u64>::new(), 0);
            while !done.load(Ordering::SeqCst) {
                let read = |at| {
                    let answer = get(at, "/api/v1/snapshot").unwrap();
                    serde_json::from_str::<Value>(&answer.text()).unwrap()
                };
                let snapshot = read(stats);
                let now = totals(&snapshot);
                for (name, n) in &now {
                    let before = last.get(name).copied().unwrap_or_default();
                    assert!(*n >= before, "{name} went from {before} to {n}");
                }
                last.extend(now);
                for server in snapshot["backends"][0]["servers"].as_array().unwrap() {
                    let (name, state) = (&server["name"], &server["state"]);
                    let expected = match name.as_str().unwrap() {
                        "s1" => "draining",
                        "s2" => "maint",
                        _ => "up",
                    };
                    assert_eq!(state, expected, "{name}");
                }
                let members = read(peer)["members"].as_array().unwrap().clone();
                let named: Vec<_> = members
                    .iter()
                    .filter(|m| m["name"] == own.as_str())
                    .collect();
                assert_eq!(named.len(), 1, "{members:?}");
                assert_eq!(named[0]["status"], "alive", "{members:?}");
                looks += 1;
            }
            (last, looks)
        })
    };
    let successor = renew(&mut balancer);
    load.wait_more(200, SOON);
    let weight = || {
        let snapshot = balancer.snapshot();
        let servers = snapshot["backends"][0]["servers"]
            .as_array()
            .unwrap()
            .clone();
        let s3 = servers.iter().find(|s| s["name"] == "s3").unwrap().clone();
        say(&socket, "get weight nodes/s3") + &s3["requests_total"].to_string()
    };
    let told = weight();
    assert!(told.contains("initial 1"), "{told}");
    let report = load.stop();
    report.assert_clean();
    // What the old process counted at its very end is there too.
    wait_for("all requests to be counted", SOON, || {
        let all = balancer.snapshot()["frontends"][0]["requests_total"].as_u64()?;
        (all >= report.ok).then_some(())
    });
    let all = balancer.snapshot()["frontends"][0]["requests_total"].as_u64();
    assert_eq!(all, Some(report.ok));
    done.store(true, Ordering::SeqCst);
    let (last, looks) = watcher.join().unwrap();
    assert!(
        looks > 2 && last["frontends.localnodes.requests_total"] > 200,
        "{last:?}"
    );
    assert!(
        !witness.process.stderr().contains(&format!("failed {own}")),
        "{}",
        witness.process
    );
    let ready = say(&socket, "set server nodes/s1 state ready");
    assert!(ready.trim().is_empty(), "{ready}");
    drop((agents, successor));
}

#[test]
fn a_renewal_is_nothing_to_the_cluster() {
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let _turn = beside_others();
    let mut balancer = Balancer::serve(&["--node-name", "lb"]);
    let at = balancer.gossip;
    let server = SerfServer::start(&serf, "s1", Toy::start("s1"), at);
    balancer.wait_up(1, SOON);
    // Nobody else can have the port at any moment.
    let done = Arc::new(AtomicBool::new(false));
    let thief = {
        let done = done.clone();
        thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                let udp = UdpSocket::bind(at).err().map(|error| error.kind());
                let tcp = TcpListener::bind(at).err().map(|error| error.kind());
                assert_eq!([udp, tcp], [Some(ErrorKind::AddrInUse); 2]);
            }
        })
    };
    let first = renew(&mut balancer);
    send_signal(first.0, Signal::USR2);
    let second = wait_for("the second successor", SOON, || {
        pid_of(balancer.stats).filter(|pid| *pid != u64::from(first.0))
    });
    let second = Successor(second.try_into().unwrap());
    wait_gone(first.0, SOON);
    done.store(true, Ordering::SeqCst);
    thief.join().unwrap();

    let rpc = format!("-rpc-addr={}", server.rpc);
    let query = Command::new(&serf)
        .args(["query", &rpc, "-timeout=1s", "load"])
        .output();
    let text = String::from_utf8_lossy(&query.unwrap().stdout).into_owned();
    assert!(text.contains("Total Acks: 2"), "{text}");
    let log = server.serf.stdout() + &server.serf.stderr();
    assert!(log.contains("EventMemberJoin: lb"), "{log}");
    for event in ["Failed", "Leave", "Reap", "Update"] {
        assert!(!log.contains(&format!("EventMember{event}: lb")), "{log}");
    }
    assert!(!log.contains("Suspect lb"), "{log}");
    drop(second);
}

#[test]
fn a_large_body_on_its_way_outlives_the_renewal() {
    const SIZE: usize = 24 << 20;
    let _turn = beside_others();
    let body = Dice::new(1).bytes(SIZE);
    let wanted = hash(&body);
    let origin = Origin::start(move |_| Reply {
        status: 200,
        headers: Vec::new(),
        body: body.clone(),
    });
    let server = format!("s1={}", origin.address());
    let mut balancer = Balancer::serve(&["--static", &server]);
    balancer.wait_up(1, SOON);
    let mut client = TcpStream::connect(balancer.front).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut got = vec![0; 1024];
    client.read_exact(&mut got).unwrap();
    balancer.process.signal(Signal::USR2);
    let successor = wait_for("the successor", SOON, || {
        pid_of(balancer.stats).filter(|pid| *pid != u64::from(balancer.process.id()))
    });
    let successor = Successor(successor.try_into().unwrap());
    assert!(
        balancer.process.try_exit().is_none(),
        "{}",
        balancer.process
    );
    client.read_to_end(&mut got).unwrap();
    let head = got.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((got.len() - head, hash(&got[head..])), (SIZE, wanted));
    let status = balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", balancer.process);
    drop(successor);
}

#[test]
fn a_successor_can_be_renewed_too() {
    let _turn = beside_others();
    let origin = Origin::named("a");
    let server = format!("s1={}", origin.address());
    let mut balancer = Balancer::serve(&["--static", &server]);
    balancer.wait_up(1, SOON);
    let first = renew(&mut balancer);
    send_signal(first.0, Signal::USR2);
    let second = wait_for("the second successor", SOON, || {
        pid_of(balancer.stats).filter(|pid| *pid != u64::from(first.0))
    });
    let second = Successor(second.try_into().unwrap());
    wait_gone(first.0, SOON);
    assert_eq!(get(balancer.front, "/").unwrap().text(), "a");
    drop(second);
}

#[test]
fn a_successor_that_cannot_start_leaves_the_old_one_serving() {
    let _turn = beside_others();
    let origin = Origin::named("a");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[[frontend]]\nname = \"f\"\n\
         listen = [\"{front}\"]\ndefault_backend = \"b\"\n[[backend]]\nname = \"b\"\n\
         [[backend.server]]\nname = \"a\"\naddress = \"{}\"\n",
        origin.address()
    );
    fs::write(&path, &text).unwrap();
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(1, SOON);
    let load = Load::start(front, 2, Reuse::PerRequest);
    fs::write(&path, "[globule]\n").unwrap();
    balancer.process.signal(Signal::USR2);
    balancer.process.wait_line("did not take over", SOON);
    load.wait_more(50, SOON);
    assert!(balancer.process.try_exit().is_none());
    assert_eq!(pid_of(stats), Some(balancer.process.id().into()));

    // With the mistake mended, the next try succeeds.
    fs::write(&path, &text).unwrap();
    let successor = poll(SOON, || {
        balancer.process.signal(Signal::USR2);
        poll(Duration::from_secs(5), || {
            pid_of(stats).filter(|pid| *pid != u64::from(balancer.process.id()))
        })
    });
    let successor = Successor(successor.expect("a successor").try_into().unwrap());
    load.wait_more(50, SOON);
    load.stop().assert_clean();
    drop(successor);
}

/// Asks again and again until told to stop; every question must be answered.
fn ask_in_a_loop<'s>(
    scope: &'s thread::Scope<'s, '_>,
    stop: &'s AtomicBool,
    what: &'static str,
    ask: impl Fn() -> std::io::Result<String> + Send + 's,
) -> thread::ScopedJoinHandle<'s, u64> {
    scope.spawn(move || {
        let mut asked = 0;
        while !stop.load(Ordering::SeqCst) {
            match ask() {
                Ok(answer) if !answer.is_empty() => asked += 1,
                other => panic!("{what}, question {asked}: {other:?}"),
            }
        }
        asked
    })
}

/// Stops the loops, also when the test fails in between.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the runtime API says on a connection of its own.
fn cli(mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(b"show version\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn whoever_asks_at_the_moment_of_a_renewal_is_answered_on_every_listener() {
    let _turn = alone();
    let rounds = std::env::var("ROUNDEL_RENEWALS").map_or(5, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("roundel.sock");
    let api = SocketAddr::from((loopback(), free_port(loopback())));
    let origin = Origin::named("s1");
    let server = format!("s1={}", origin.address());
    let api_text = api.to_string();
    let at = [(); 3].map(|()| SocketAddr::from((loopback(), free_port(loopback()))));
    let flags = [
        "serve",
        "--listen",
        &at[0].to_string(),
        "--stats-listen",
        &at[1].to_string(),
        "--gossip-listen",
        &at[2].to_string(),
        "--cli-listen",
        &api_text,
        "--cli-socket",
        socket.to_str().unwrap(),
        "--access-log",
        "off",
        "--static",
        &server,
    ];
    let process = Process::spawn(&mut crate::balancer::roundel(&flags));
    let balancer = Balancer {
        process,
        front: at[0],
        stats: at[1],
        gossip: at[2],
    }
    .ready();
    balancer.wait_up(1, SOON);
    let stop = AtomicBool::new(false);
    let load = Load::start(balancer.front, 4, Reuse::KeepAlive);
    let (stats, path) = (balancer.stats, socket.as_path());
    let mut pid = balancer.process.id();
    let asked: Vec<u64> = thread::scope(|scope| {
        let page = || Ok(get(stats, "/healthz")?.text());
        let stay = std::cell::RefCell::new(None);
        let kept = move || {
            let mut kept = stay.borrow_mut();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => roundel_testkit::Connection::open(stats)?,
            };
            let answer = connection.send("GET", "/healthz", &[], b"")?;
            if answer.header("connection") != Some("close") {
                *kept = Some(connection);
            }
            Ok(answer.text())
        };
        let loops = [
            ask_in_a_loop(scope, &stop, "the page", page),
            ask_in_a_loop(scope, &stop, "the page again", page),
            ask_in_a_loop(scope, &stop, "the page on a kept connection", kept),
            ask_in_a_loop(scope, &stop, "the port", move || {
                cli(TcpStream::connect(api)?)
            }),
            ask_in_a_loop(scope, &stop, "the socket", move || {
                cli(UnixStream::connect(path)?)
            }),
        ];
        let stopped = Stop(&stop);
        for _ in 0..rounds {
            send_signal(pid, Signal::USR2);
            let next = wait_for("the new process to answer", SOON, || {
                pid_of(stats).filter(|next| *next != u64::from(pid))
            });
            let old = std::mem::replace(&mut pid, u32::try_from(next).unwrap());
            if old != balancer.process.id() {
                wait_gone(old, SOON);
            }
        }
        drop(stopped);
        loops.map(|asking| asking.join().unwrap()).into()
    });
    let _last = Successor(pid);
    load.stop().assert_clean();
    println!("{rounds} renewals, questions answered: {asked:?}");
}
