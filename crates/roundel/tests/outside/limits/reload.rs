//! An address that a reload takes away: whoever got through to it is answered.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use roundel_testkit::{Signal, wait_for};

use super::stage::{Does, Keys, Server, addresses};
use crate::balancer::{Balancer, SOON};

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
