//! More clients than descriptors: what is accepted goes on, and all is well afterwards.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use roundel_testkit::{Connection, Dice, Origin, Process, Reply, hash, poll, wait_for};

use super::stage::{Client, Does, GET, Keys, Server, addresses};
use crate::balancer::{Balancer, SOON};

/// How many descriptors the balancer may have.
const LIMIT: usize = 128;
/// How many clients come.
const CROWD: usize = 200;

/// Starts a balancer that may have so few descriptors.
fn serve(keys: Keys<'_>, servers: &[std::net::SocketAddr]) -> Balancer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("few.toml");
    let at = addresses();
    fs::write(&path, keys.file(at, servers)).unwrap();
    let binary = env!("CARGO_BIN_EXE_roundel");
    let script = format!(
        "ulimit -n {LIMIT}; exec {binary} serve -c {}",
        path.display()
    );
    let process = Process::spawn(Command::new("sh").args(["-c", &script]));
    let balancer = Balancer {
        process,
        front: at[0],
        stats: at[1],
        gossip: at[1],
    };
    let balancer = balancer.ready();
    balancer.wait_up(servers.len(), SOON);
    balancer
}

fn processor_seconds(balancer: &Balancer) -> f64 {
    let metrics = balancer.page("/metrics");
    let name = "process_cpu_seconds_total ";
    let line = metrics.lines().find_map(|l| l.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

fn open_descriptors(balancer: &Balancer) -> usize {
    let folder = format!("/proc/{}/fd", balancer.process.id());
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_crowd_larger_than_the_descriptors_leaves_everything_as_it_was() {
    let server = Server::that(Does::Answers);
    // The default keeps far from the limit; the other one runs into it.
    for global in ["", "maxconn = 1000"] {
        let keys = Keys {
            global,
            backend: "check = { http = \"HEAD /\", every = \"100ms\", timeout = \"2s\" }",
            ..Keys::default()
        };
        let balancer = serve(keys, &[server.address]);
        let before = open_descriptors(&balancer);
        let mut insider = Client::asking(balancer.front, GET);
        insider.read_until("hello");
        let crowd: Vec<Client> = (0..CROWD).map(|_| Client::new(balancer.front)).collect();
        // Wait until the crowd has taken what it can take.
        let mut last = 0;
        let settled = poll(SOON, || {
            thread::sleep(Duration::from_millis(300));
            let now = open_descriptors(&balancer);
            (std::mem::replace(&mut last, now) == now).then_some(now)
        });
        let most = settled.expect("the crowd settles");
        assert!(most > before + 10 && most < LIMIT, "{before} to {most}");
        // Accepted traffic goes on, the page answers, checks pass, nothing spins.
        let busy = processor_seconds(&balancer);
        for _ in 0..50 {
            insider.send(GET);
            insider.read_until("hello");
            assert_eq!(balancer.states()[0].1, "up");
        }
        assert!(processor_seconds(&balancer) - busy < 5.0);
        drop(crowd);
        wait_for("descriptors to come back", SOON, || {
            (open_descriptors(&balancer) <= before + 8).then_some(())
        });
        for _ in 0..20 {
            Client::asking(balancer.front, GET).read_until("hello");
        }
        let events = balancer.snapshot()["events"].to_string();
        assert!(!events.contains("check_down"), "{events}");
    }
}

#[test]
fn requests_that_find_no_descriptor_wait_for_one() {
    // Each request holds a connection to the server: more than there are descriptors for.
    let server = Server::that(Does::Drips);
    let keys = Keys {
        global: "maxconn = 1000",
        backend: "timeouts = { connect = \"1m\" }",
        ..Keys::default()
    };
    let balancer = serve(keys, &[server.address]);
    // As many as can be are served; the others follow as those leave, and none is refused.
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                let answer = Client::asking(balancer.front, GET).read_until("\r\n\r\n");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            });
        }
    });
    assert_eq!(balancer.states()[0].1, "up");
    assert_eq!(server.seen(), CROWD);
}

#[test]
fn large_bodies_take_few_pipes_and_no_client_is_refused_for_them() {
    const SIZE: usize = 12 << 20;
    let body = Dice::new(1).bytes(SIZE);
    let wanted = hash(&body);
    let server = Origin::start(move |received| Reply {
        status: 200,
        headers: Vec::new(),
        body: match received.target.as_str() {
            "/large" => body.clone(),
            _ => b"hello".to_vec(),
        },
    });
    let balancer = serve(Keys::default(), &[server.address()]);
    let number = |name: &str| {
        let metrics = balancer.page("/metrics");
        let line = metrics.lines().find_map(|l| l.strip_prefix(name));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    assert_eq!(number("roundel_pipes_limit "), 2);
    // More streams than pipes, and nobody reads at first.
    let mut clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Connection::open(balancer.front).unwrap();
            client
                .put(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            client
        })
        .collect();
    wait_for("both pipes in use", SOON, || {
        (number("roundel_pipes_used ") == 2).then_some(())
    });
    Client::asking(balancer.front, GET).read_until("hello");
    for client in &mut clients {
        let answer = client.take("GET").unwrap();
        assert_eq!((answer.body.len(), hash(&answer.body)), (SIZE, wanted));
    }
    wait_for("empty pipes", SOON, || {
        (number("roundel_pipes_used ") == 0).then_some(())
    });
    assert!(number("roundel_spliced_bytes_total ") > 0);
}
