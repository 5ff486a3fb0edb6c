//! Any start order ends in the same state.

use std::net::SocketAddr;

use roundel_testkit::{free_port, loopback, poll};

use crate::balancer::{Balancer, SOON};
use crate::servers::Agent;
use crate::turns::beside_others;

/// The six orders of a balancer and two servers.
const ORDERS: [[char; 3]; 6] = [
    ['b', '1', '2'],
    ['b', '2', '1'],
    ['1', 'b', '2'],
    ['2', 'b', '1'],
    ['1', '2', 'b'],
    ['2', '1', 'b'],
];

/// Starts the three one after the other, each only when the one before has done what it can
/// alone, and checks that clients see nothing but 200 and 503 from the first moment on.
fn check(order: [char; 3]) {
    let ip = loopback();
    let at = [(); 3].map(|()| SocketAddr::from((ip, free_port(ip))));
    let mut balancer = None;
    let mut agents = Vec::new();
    for who in order {
        if who == 'b' {
            let started = Balancer::start_at(&["serve"], &[], at).ready();
            if agents.is_empty() {
                without_servers(&started);
            }
            balancer = Some(started);
        } else {
            let agent = Agent::start(&format!("s{who}"), at[2]);
            agent.process.wait_line("announced", SOON);
            agents.push(agent);
        }
    }
    let balancer = balancer.expect("every order holds the balancer");
    let served = poll(SOON, || {
        let response = balancer.get("/");
        assert!(matches!(response.status, 200 | 503), "{response:?}");
        let states = balancer.states();
        let up = |name: &str| states.iter().any(|(n, s)| n == name && s == "up");
        (up("s1") && up("s2")).then_some(())
    });
    assert!(
        served.is_some(),
        "{order:?}: {:?}\n{}",
        balancer.states(),
        balancer.process
    );
    assert_eq!(balancer.states().len(), 2, "{order:?}");
    for _ in 0..4 {
        assert_eq!(balancer.get("/").status, 200, "{order:?}");
    }
}

/// Before the first server: 503, a time to come back, a plain sentence; never a reset.
fn without_servers(balancer: &Balancer) {
    for _ in 0..3 {
        let response = balancer.get("/");
        assert_eq!(response.status, 503, "{response:?}");
        let retry = response.header("retry-after").map(str::parse::<u32>);
        assert!(matches!(retry, Some(Ok(1..))), "{response:?}");
        let sentence = response.text();
        assert!(
            sentence.contains(' ') && sentence.contains("server"),
            "{sentence:?}"
        );
    }
}

#[test]
fn balancer_first() {
    let _turn = beside_others();
    ORDERS[..2].iter().for_each(|order| check(*order));
}

#[test]
fn balancer_between() {
    let _turn = beside_others();
    ORDERS[2..4].iter().for_each(|order| check(*order));
}

#[test]
fn balancer_last() {
    let _turn = beside_others();
    ORDERS[4..].iter().for_each(|order| check(*order));
}
