//! Picking by key, limits with their queue, and passive health, as a configuration asks for them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use roundel_testkit::{Connection, Origin, Reply, free_port, get, loopback, poll};

use crate::balancer::{Balancer, SOON};

/// A balancer of one backend with these keys and servers `s1`, `s2`, …, all up.
fn serve(keys: &str, servers: &[SocketAddr]) -> Balancer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let mut list = String::new();
    for (n, address) in servers.iter().enumerate() {
        list += &format!("{{ name = \"s{}\", address = \"{address}\" }}, ", n + 1);
    }
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\nserver = [{list}]\n{keys}\n"
    );
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(servers.len(), SOON);
    balancer
}

fn named(n: usize) -> (Vec<Origin>, Vec<SocketAddr>) {
    let origins: Vec<Origin> = (1..=n).map(|i| Origin::named(&format!("s{i}"))).collect();
    let addresses = origins.iter().map(Origin::address).collect();
    (origins, addresses)
}

#[test]
fn equal_keys_meet_the_same_server_whichever_balancer_they_come_through() {
    for policy in ["hash", "maglev"] {
        let (_origins, addresses) = named(3);
        let keys = format!("balance = \"{policy}\"\nhash_on = {{ header = \"X-User\" }}");
        let balancers = [serve(&keys, &addresses), serve(&keys, &addresses)];
        let home = |balancer: &Balancer, user: usize| {
            let mut connection = Connection::open(balancer.front).unwrap();
            let user = user.to_string();
            let answer = connection.send("GET", "/", &[("X-User", &user)], b"");
            answer.unwrap().text()
        };
        let mut used = std::collections::BTreeSet::new();
        for user in 0..30 {
            let first = home(&balancers[0], user);
            assert_eq!(home(&balancers[1], user), first);
            assert_eq!(home(&balancers[0], user), first);
            used.insert(first);
        }
        assert_eq!(used.len(), 3, "{used:?}");
    }
}

#[test]
fn a_limited_server_never_has_more_and_everybody_is_answered() {
    let (busy, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let origin = {
        let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
        Origin::start(move |request| {
            if request.method != "HEAD" {
                most.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
                // Long enough for the others to pile up.
                std::thread::sleep(Duration::from_millis(5));
                busy.fetch_sub(1, SeqCst);
            }
            Reply::text("done")
        })
    };
    let balancer = serve("maxconn = 2", &[origin.address()]);
    let front = balancer.front;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || {
                let mut connection = Connection::open(front).unwrap();
                for _ in 0..10 {
                    let answer = connection.send("GET", "/", &[], b"").unwrap();
                    assert_eq!(answer.status, 200);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|c| c.join().unwrap());
    assert_eq!(most.load(SeqCst), 2);
    let waited = poll(SOON, || {
        let text = get(balancer.stats, "/metrics").ok()?.text();
        let mut lines = text.lines();
        let count =
            lines.find(|l| l.starts_with("roundel_backend_queue_duration_seconds_count"))?;
        (!count.ends_with(" 0")).then_some(())
    });
    assert!(waited.is_some(), "{}", balancer.process);
}

/// A server that passes its checks and hangs up on everything else.
fn hangs_up() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut line = String::new();
                let mut reader = BufReader::new(stream);
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {}
                if line.starts_with("HEAD") {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    let _ = reader.get_mut().write_all(answer);
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_fails_requests_is_put_out_although_its_checks_pass() {
    let good = Origin::named("good");
    let bad = hangs_up();
    let keys = "outlier = { consecutive = 3, base_ejection = \"2s\" }\nslow_start = \"1s\"";
    let balancer = serve(keys, &[good.address(), bad]);
    let state = || {
        let states = balancer.states();
        states.into_iter().find(|(n, _)| n == "s2").map(|(_, s)| s)
    };
    // A POST is never sent twice, so each failure is seen.
    let post = || {
        let mut connection = Connection::open(balancer.front).unwrap();
        connection.send("POST", "/", &[], b"x").unwrap().status
    };
    let out = poll(SOON, || {
        let status = post();
        assert!(matches!(status, 200 | 502), "{status}");
        (state().as_deref() == Some("ejected")).then_some(())
    });
    assert!(
        out.is_some(),
        "{:?}\n{}",
        balancer.states(),
        balancer.process
    );
    for _ in 0..6 {
        assert_eq!(post(), 200);
    }
    let events = balancer.snapshot()["events"].to_string();
    assert!(
        events.contains("attempts in a row without an answer"),
        "{events}"
    );
    let metrics = get(balancer.stats, "/metrics").unwrap().text();
    let count =
        "roundel_server_ejections_total{backend=\"nodes\",server=\"s2\",reason=\"no_answer\"} ";
    assert!(metrics.contains(count), "{metrics}");
    let back = poll(SOON, || (state()? != "ejected").then_some(()));
    assert!(back.is_some(), "{}", balancer.process);
    let events = balancer.snapshot()["events"].to_string();
    assert!(events.contains("\"returned\""), "{events}");
}
