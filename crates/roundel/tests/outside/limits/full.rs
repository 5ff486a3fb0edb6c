//! `maxconn` of a frontend and of the process: nobody is refused, everybody waits in the kernel.

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use roundel_testkit::{Signal, wait_for};

use super::stage::{Client, Does, GET, Keys, Server, addresses};
use crate::balancer::{Balancer, SOON};

const TWO: [Keys<'static>; 2] = [
    Keys {
        global: "",
        frontend: "maxconn = 2",
        backend: "",
    },
    Keys {
        global: "maxconn = 2",
        frontend: "",
        backend: "",
    },
];

/// The cells of the frontend's row in the CSV by the names of their columns.
fn cell(balancer: &Balancer, column: &str) -> String {
    let text = balancer.page("/;csv");
    let mut lines = text.lines();
    let names = lines.next().unwrap().trim_start_matches("# ").split(',');
    let at = names.into_iter().position(|name| name == column).unwrap();
    let row = lines.find(|line| line.starts_with("front,FRONTEND,"));
    row.unwrap().split(',').nth(at).unwrap().to_owned()
}

fn wait_cell(balancer: &Balancer, column: &str, value: &str) {
    wait_for(&format!("{column} = {value}"), SOON, || {
        (cell(balancer, column) == value).then_some(())
    });
}

/// A client whose request is answered and whose connection stays.
fn served(balancer: &Balancer) -> Client {
    let mut client = Client::asking(balancer.front, GET);
    client.read_until("hello");
    client
}

#[test]
fn beyond_maxconn_clients_wait_and_are_served_when_others_leave() {
    let server = Server::that(Does::Answers);
    for keys in TWO {
        let balancer = keys.serve(&[server.address]);
        let asked = server.seen();
        let mut first = [served(&balancer), served(&balancer)];
        let mut third = Client::asking(balancer.front, GET);
        wait_cell(&balancer, "status", "FULL");
        for (column, value) in [("slim", "2"), ("scur", "2"), ("smax", "2"), ("stot", "2")] {
            assert_eq!(cell(&balancer, column), value, "{column}");
        }
        let metrics = balancer.page("/metrics");
        for line in [
            "roundel_frontend_connections_limit{frontend=\"front\"} 2",
            "roundel_frontend_full{frontend=\"front\"} 1",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        let page = balancer.page("/");
        assert!(page.contains("2 of 2, full"), "{page}");
        // Those who are in are served on; the third is not.
        for client in &mut first {
            client.send(GET);
            client.read_until("hello");
        }
        third.stream.set_nonblocking(true).unwrap();
        let peeked = third.stream.peek(&mut [0]).unwrap_err();
        assert_eq!(peeked.kind(), ErrorKind::WouldBlock);
        third.stream.set_nonblocking(false).unwrap();
        drop(first);
        third.read_until("hello");
        wait_cell(&balancer, "status", "OPEN");
        assert_eq!(server.seen() - asked, 5);
    }
}

#[test]
fn a_crowd_is_served_one_after_the_other() {
    let server = Server::that(Does::Answers);
    for keys in TWO {
        let balancer = keys.serve(&[server.address]);
        let crowd = 0..20;
        thread::scope(|scope| {
            for _ in crowd {
                scope.spawn(|| {
                    for _ in 0..20 {
                        drop(served(&balancer));
                    }
                });
            }
        });
        wait_cell(&balancer, "stot", "400");
        let most: u64 = cell(&balancer, "smax").parse().unwrap();
        assert!(most <= 2, "{most}");
    }
}

#[test]
fn a_reload_that_raises_maxconn_lets_those_in_who_wait() {
    let server = Server::that(Does::Answers);
    for [tight, wide] in [
        [
            TWO[0],
            Keys {
                frontend: "maxconn = 3",
                ..TWO[0]
            },
        ],
        [
            TWO[1],
            Keys {
                global: "maxconn = 3",
                ..TWO[1]
            },
        ],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.toml");
        let at = addresses();
        fs::write(&path, tight.file(at, &[server.address])).unwrap();
        let balancer = Balancer::with_file(path.to_str().unwrap(), at);
        balancer.wait_up(1, SOON);
        let _first = [served(&balancer), served(&balancer)];
        let mut third = Client::asking(balancer.front, GET);
        third
            .stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        wait_cell(&balancer, "status", "FULL");
        fs::write(&path, wide.file(at, &[server.address])).unwrap();
        balancer.process.signal(Signal::HUP);
        third.read_until("hello");
        wait_cell(&balancer, "slim", "3");
    }
}
