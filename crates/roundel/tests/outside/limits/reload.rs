//! An address that a reload takes away: whoever got through to it is answered.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use roundel_testkit::{Process, Signal, wait_for};

use super::stage::{Does, Keys, Server, addresses};
use crate::balancer::{Balancer, SOON, roundel};
use crate::renewal::begin_renewal;

const ONCE: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Asks once on a connection of its own. `None`: nobody listens. Errors: it was connected, and
/// then broken.
fn ask(to: SocketAddr) -> Result<Option<()>, String> {
    let mut stream = match TcpStream::connect_timeout(&to, SOON) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(format!("connecting: {error}")),
    };
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(ONCE)
        .map_err(|e| format!("sending: {e}"))?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    read.map_err(|e| format!("reading: {e} after {answer:?}"))?;
    match answer.ends_with("hello") {
        true => Ok(Some(())),
        false => Err(format!("not whole: {answer:?}")),
    }
}

#[test]
fn a_reload_that_removes_an_address_resets_nobody() {
    let server = Server::that(Does::Answers);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reload.toml");
    let [front, stats] = addresses();
    let [gone, _] = addresses();
    // Once as a second address of a frontend, once as a frontend of its own.
    let second = Keys::default()
        .file([front, stats], &[server.address])
        .replace(
            &format!("[\"{front}\"]"),
            &format!("[\"{front}\", \"{gone}\"]"),
        );
    let own = format!(
        "{}\n[[frontend]]\nname = \"gone\"\nlisten = [\"{gone}\"]\ndefault_backend = \"nodes\"\n",
        Keys::default().file([front, stats], &[server.address])
    );
    let without = Keys::default().file([front, stats], &[server.address]);
    fs::write(&path, &without).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(1, SOON);
    let reload = |text: &str| {
        fs::write(&path, text).unwrap();
        balancer.process.signal(Signal::HUP);
    };
    for with in [&second, &own, &second, &own] {
        reload(with);
        wait_for("the address to be served", SOON, || {
            ask(gone).ok().flatten()
        });
        let (ended, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        while let Some(()) = ask(gone)? {
                            answered.fetch_add(1, SeqCst);
                        }
                        Ok::<(), String>(())
                    })
                })
                .collect();
            scope.spawn(|| {
                while !ended.load(SeqCst) {
                    assert_eq!(ask(front), Ok(Some(())));
                }
            });
            wait_for("load", SOON, || (answered.load(SeqCst) > 200).then_some(()));
            reload(&without);
            let failed: Vec<String> = clients
                .into_iter()
                .filter_map(|client| client.join().unwrap().err())
                .collect();
            ended.store(true, SeqCst);
            assert!(failed.is_empty(), "{failed:?}\n{}", balancer.process);
        });
        wait_for("the address to be closed", SOON, || {
            (ask(gone) == Ok(None)).then_some(())
        });
    }
}

/// A port that is free on every address, below those that clients are given by the system.
fn port_of_every_address() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let is_free = |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok();
    (first..32_000).find(is_free).expect("a free port")
}

#[test]
fn an_address_widens_and_narrows_and_resets_nobody() {
    let server = Server::that(Does::Answers);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.toml");
    let [_, stats] = addresses();
    let port = port_of_every_address();
    let narrow = SocketAddr::from(([127, 0, 0, 1], port));
    let other = SocketAddr::from(([127, 0, 0, 2], port));
    let write = |listen: &str, name: &str| {
        let text = Keys::default().file([narrow, stats], &[server.address]);
        let text = text.replace(&format!("[\"{narrow}\"]"), listen);
        fs::write(&path, text.replace("\"front\"", &format!("\"{name}\""))).unwrap();
    };
    let only = format!("[\"{narrow}\"]");
    let four = format!("[\"0.0.0.0:{port}\"]");
    let every = format!("[\":{port}\"]");
    let both = format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    // At the start a machine takes both families beside each other.
    write(&both, "front");
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [narrow, stats]);
    balancer.wait_up(1, SOON);
    assert_eq!(ask(other), Ok(Some(())));
    let (ended, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = || {
        let before = answered.load(SeqCst);
        wait_for("load", SOON, || {
            (answered.load(SeqCst) > before + 50).then_some(())
        });
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !ended.load(SeqCst) {
                        ask(narrow)?.ok_or("refused")?;
                        answered.fetch_add(1, SeqCst);
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        let wanted = |is_wide: bool| {
            wait_for("the other address to follow", SOON, || {
                (ask(other) == Ok(is_wide.then_some(()))).then_some(())
            });
            more();
        };
        let go = |listen: &str, name: &str, is_wide: bool| {
            write(listen, name);
            balancer.process.signal(Signal::HUP);
            wanted(is_wide);
        };
        go(&only, "front", false);
        go(&four, "front", true);
        go(&only, "front", false);
        // A frontend of another name may take it over.
        go(&every, "wide", true);
        go(&only, "front", false);
        go(&every, "front", true);
        // The next process goes on with what the narrow address had.
        let _successor = begin_renewal(&balancer);
        assert_eq!(balancer.process.wait_exit(SOON).code(), Some(0));
        wanted(true);
        ended.store(true, SeqCst);
        let failed: Vec<String> = clients
            .into_iter()
            .filter_map(|client| client.join().unwrap().err())
            .collect();
        assert!(failed.is_empty(), "{failed:?}\n{}", balancer.process);
    });
}

#[test]
fn addresses_that_the_kernel_gives_once_are_told_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken.toml");
    let text = "[stats]\nlisten = \"127.0.0.1:1936\"\n[cli]\nlisten = \":1936\"\n[[frontend]]\n\
                name = \"f\"\nlisten = [\":80\", \"[::ffff:127.0.0.1]:1936\"]\n[[backend]]\n\
                name = \"b\"\nserver = [{ name = \"s\", address = \"10.0.0.1:80\" }]\n";
    fs::write(&path, text).unwrap();
    let mut process = Process::spawn(roundel(&["check", "-c"]).arg(&path));
    assert_eq!(process.wait_exit(SOON).code(), Some(1), "{process}");
    let told = process.stdout() + &process.stderr();
    let at = "taken.toml:7:18: error: 127.0.0.1:1936 is already taken by stats.listen";
    let own = "error: :1936 of cli.listen is already taken by stats.listen";
    for part in [at, own, "choose another port"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}
