use ServerState::{Joining, Leaving, Up};

use super::*;

/// Replaces every server of the set by these, which have never been checked.
fn replace(bench: &mut Bench, by: &[u8]) {
    bench.set = by.iter().copied().map(server).collect();
    bench.apply();
}

#[test]
fn servers_that_are_replaced_serve_until_the_first_new_one_does() {
    let mut bench = Bench::serving(2);
    replace(&mut bench, &[3, 4]);
    assert_eq!(bench.round(4), [1, 2, 1, 2]);
    assert_eq!((bench.state(1), bench.state(3)), (Up, Joining));
    assert!(bench.status(1).reason.starts_with("replaced"));
    bench.run(MS);
    assert_eq!((bench.state(1), bench.state(2)), (Leaving, Leaving));
    let mut after = bench.round(4);
    after.sort_unstable();
    assert_eq!(after, [3, 3, 4, 4]);
    assert_eq!(bench.told(EventKind::NoServer), [""; 0]);
}

#[test]
fn with_another_server_left_they_leave_at_once() {
    let mut bench = Bench::serving(2);
    replace(&mut bench, &[2, 3]);
    assert_eq!((bench.state(1), bench.state(3)), (Leaving, Joining));
    let mut bench = Bench::serving(2);
    replace(&mut bench, &[]);
    assert_eq!((bench.state(1), bench.state(2)), (Leaving, Leaving));
    let mut bench = Bench::new(1, off());
    replace(&mut bench, &[2]);
    assert_eq!((bench.state(1), bench.state(2)), (Leaving, Up));
}

#[test]
fn a_first_verdict_that_fails_relieves_too() {
    let mut bench = Bench::serving(1);
    bench.verdicts.insert(server(2).name, CheckStatus::L4Con);
    replace(&mut bench, &[2]);
    assert_eq!(bench.state(1), Up);
    bench.run(MS);
    assert_eq!((bench.state(1), bench.state(2)), (Leaving, Joining));
    assert_eq!(bench.told(EventKind::NoServer).len(), 1);
}

#[test]
fn a_check_without_an_end_is_waited_for_no_longer_than_its_timeout() {
    let mut bench = Bench::serving(1);
    bench.set = vec![server(2)];
    let set = BackendSet {
        backend: name("nodes"),
        generation: Generation::default(),
        servers: bench.set.clone(),
    };
    // Nobody answers the checks that are asked for.
    bench.director.handle_set(bench.now, &set);
    let limit = bench.director.config().check.timeout;
    let mut at = bench.now;
    while bench.state(1) == Up {
        at = bench.director.poll_timeout().unwrap().max(at);
        bench.director.handle_timeout(at);
        assert!(at <= bench.now + limit, "{:?}", at - bench.now);
    }
    assert_eq!(at, bench.now + limit);
}

#[test]
fn one_that_comes_back_meanwhile_stays() {
    let mut bench = Bench::serving(1);
    replace(&mut bench, &[2]);
    replace(&mut bench, &[1, 2]);
    bench.run(MS);
    assert_eq!((bench.state(1), bench.state(2)), (Up, Up));
    assert_eq!(bench.told(EventKind::Leave), [""; 0]);
}

#[test]
fn an_announced_leave_is_never_put_off() {
    let mut bench = Bench::serving(1);
    bench.set.push(server(2));
    bench.presence(1, Presence::Leaving);
    assert_eq!((bench.state(1), bench.state(2)), (Leaving, Joining));
}

#[test]
fn the_only_server_serves_from_its_old_address_until_the_new_one_is_checked() {
    for (verdict, state) in [(CheckStatus::L7Ok, Up), (CheckStatus::L4Con, Joining)] {
        let mut bench = Bench::serving(1);
        bench.verdicts.insert(server(1).name, verdict);
        bench.set[0].address = ([10, 0, 0, 9], 3000).into();
        bench.apply();
        assert_eq!(bench.state(1), Up);
        assert_eq!(bench.round(2), [1, 1]);
        bench.run(MS);
        assert_eq!(bench.state(1), state);
        if state == Up {
            assert_eq!(bench.round(2), [9, 9]);
        }
    }
    let mut bench = Bench::serving(2);
    bench.set[0].address = ([10, 0, 0, 9], 3000).into();
    bench.apply();
    assert_eq!((bench.state(1), bench.round(2)), (Joining, vec![2, 2]));
}
