//! No moment without a server while one is alive: at the start, and when a reload replaces all.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use roundel_testkit::{
    Load, Origin, Reply, Reuse, Signal, free_port, get, loopback, poll, wait_for,
};

use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

/// A server that takes its time for a check, so that whoever does not wait for it is seen.
fn slow_to_check(name: &'static str) -> Origin {
    Origin::start(move |request| {
        if request.method == "HEAD" {
            thread::sleep(Duration::from_millis(200));
        }
        Reply::text(name)
    })
}

#[test]
fn the_first_request_finds_a_server() {
    let _turn = beside_others();
    let origin = slow_to_check("a");
    let server = format!("a={}", origin.address());
    for _ in 0..5 {
        let balancer = Balancer::start(&["serve"], &["--static", &server]);
        let first = poll(SOON, || get(balancer.front, "/").ok()).expect("an answer");
        assert_eq!(
            (first.status, first.text().as_str()),
            (200, "a"),
            "{balancer:?}"
        );
    }
}

#[test]
fn a_server_that_answers_no_check_holds_the_start_up_for_a_moment_only() {
    let _turn = beside_others();
    let silent = TcpListener::bind((loopback(), 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let [front, stats] = addresses();
    write(
        &path,
        [front, stats],
        "a",
        silent.local_addr().unwrap(),
        "every = \"1h\"",
    );
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer
        .process
        .wait_line("not every server has answered", SOON);
    assert_eq!(balancer.get("/").status, 503);
}

fn addresses() -> [SocketAddr; 2] {
    let ip = loopback();
    [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))))
}

fn write(
    path: &Path,
    [front, stats]: [SocketAddr; 2],
    name: &str,
    server: SocketAddr,
    check: &str,
) {
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\ncheck = {{ {check} }}\n\
         server = [{{ name = \"{name}\", address = \"{server}\" }}]\n"
    );
    fs::write(path, text).unwrap();
}

#[test]
fn a_reload_that_replaces_every_server_answers_every_request() {
    let _turn = beside_others();
    let servers = ["a", "b", "c"].map(slow_to_check);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let at = addresses();
    write(&path, at, "first", servers[0].address(), "every = \"2s\"");
    let balancer = Balancer::with_file(path.to_str().unwrap(), at);
    balancer.wait_up(1, SOON);
    let loads = [Reuse::KeepAlive, Reuse::PerRequest].map(|reuse| Load::start(at[0], 4, reuse));
    // Another name, then the same name at another address.
    for (name, server, word) in [("second", &servers[1], "b"), ("second", &servers[2], "c")] {
        loads.iter().for_each(|load| load.wait_more(50, SOON));
        write(&path, at, name, server.address(), "every = \"2s\"");
        balancer.process.signal(Signal::HUP);
        wait_for("the new server to answer", SOON, || {
            let answer = get(at[0], "/").ok()?;
            assert_eq!(answer.status, 200, "{}", balancer.process);
            (answer.text() == word).then_some(())
        });
        loads.iter().for_each(|load| load.wait_more(50, SOON));
    }
    for load in loads {
        load.stop().assert_clean();
    }
}
