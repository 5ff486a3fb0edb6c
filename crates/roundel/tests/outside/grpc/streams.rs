//! Calls of every kind through the balancer, from grpcio's client to grpcio's server.

use std::thread;

use roundel_testkit::wait_for;

use super::raw::call;
use super::{Server, balancer, calls, far, logged, server, wait_counted};
use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

/// A server of grpcio behind a balancer. `None` without grpcio.
fn stage() -> Option<(Server, Balancer)> {
    let server = server("well")?;
    let balancer = balancer("", "proto = \"h2\"\ncheck = \"grpc\"", &[server.address]);
    balancer.wait_up(1, SOON);
    Some((server, balancer))
}

#[test]
fn calls_of_every_kind_arrive() {
    let _turn = beside_others();
    let Some((_server, balancer)) = stage() else {
        return;
    };
    let all = [
        "echo",
        "large,5000000",
        "upload",
        "download",
        "both",
        "many,200",
        "left,20",
    ];
    let told = calls(&balancer, &all).unwrap();
    let names = all.map(|call| call.split(',').next().unwrap());
    assert_eq!(told, names.map(|name| format!("{name} OK ")));
    wait_counted(&balancer, "0", 206);
    let told = calls(
        &balancer,
        &["fail,NOT_FOUND,no such order", "fail,DATA_LOSS,50% lost"],
    );
    let ends = ["fail NOT_FOUND no such order", "fail DATA_LOSS 50% lost"];
    assert_eq!(told.unwrap(), ends);
    wait_counted(&balancer, "5", 1);
    wait_counted(&balancer, "15", 1);
    // One of both is an error.
    let errors = &balancer.snapshot()["frontends"][0]["grpc_errors_total"];
    assert_eq!(*errors, 1);
}

#[test]
fn a_server_hears_that_a_call_was_given_up() {
    let _turn = beside_others();
    let Some((server, balancer)) = stage() else {
        return;
    };
    let told = calls(&balancer, &["cancel"]).unwrap();
    assert!(told[0].starts_with("cancel CANCELLED"), "{told:?}");
    server.process.wait_line("ended cancel", SOON);
    assert_eq!(logged(&balancer, "Hang", 1)["term"], "client_abort");
}

#[test]
fn a_client_hears_that_its_server_died() {
    let _turn = beside_others();
    let Some((mut server, balancer)) = stage() else {
        return;
    };
    thread::scope(|scope| {
        let calling = scope.spawn(|| calls(&balancer, &["broken"]).unwrap());
        server.process.wait_line("began broken", SOON);
        server.process.kill();
        let told = calling.join().unwrap();
        assert!(
            told[0].starts_with("broken UNAVAILABLE The application server"),
            "{told:?}"
        );
    });
    assert_eq!(logged(&balancer, "Hang", 14)["term"], "server_abort");
}

#[test]
fn silence_is_no_end_where_its_route_says_so() {
    let _turn = beside_others();
    let Some(server) = server("well") else { return };
    let route = "route = [{ path_prefix = \"/test.Echo/Hang\", backend = \"calls\", \
                 timeouts = { server = \"1h\" } }]";
    let backend = "proto = \"h2\"\ncheck = \"grpc\"\ntimeouts = { server = \"300ms\" }";
    let balancer = balancer(route, backend, &[server.address]);
    balancer.wait_up(1, SOON);
    thread::scope(|scope| {
        let calling = scope.spawn(|| calls(&balancer, &["patient,1.5"]).unwrap());
        // What takes no such route ends meanwhile, by the backend's time.
        server.process.wait_line("began patient", SOON);
        let other = call(balancer.front, "Never", &[]);
        assert_eq!(other.field("grpc-status"), "4", "{other:?}");
        assert_eq!(logged(&balancer, "Never", 4)["term"], "first_byte_timeout");
        let told = calling.join().unwrap();
        // It ended because its client would not wait any longer.
        assert!(told[0].starts_with("patient CANCELLED"), "{told:?}");
    });
}

#[test]
fn what_is_left_of_its_time_goes_with_each_attempt_and_ends_the_last() {
    let _turn = beside_others();
    let far = far::start();
    let backend = "proto = \"h2\"\ncheck = \"off\"";
    let balancer = balancer("", backend, &[far.address]);
    let answer = call(balancer.front, "Unary", &[("grpc-timeout", "900m")]);
    assert_eq!(answer.field("grpc-status"), "4", "{answer:?}");
    assert!(answer.is_only_head);
    // The first was refused before anything was done with it, as gRPC's own transparent retries want it.
    let asked = wait_for("two attempts and a reset", SOON, || {
        let seen = far.seen();
        (seen.len() == 3).then_some(seen)
    });
    let left = |line: &str| {
        let micros = line
            .strip_prefix("asked ")
            .and_then(|l| l.strip_suffix('u'));
        micros
            .unwrap_or_else(|| panic!("{asked:?}"))
            .parse::<u64>()
            .unwrap()
    };
    assert!(
        left(&asked[1]) <= left(&asked[0]) && left(&asked[0]) <= 900_000,
        "{asked:?}"
    );
    assert_eq!(asked[2], "reset CANCEL");
    // Late in its answer, where the client is told by trailers.
    let late = call(balancer.front, "Begun", &[("grpc-timeout", "900m")]);
    assert_eq!(
        (late.trailer("grpc-status"), &late.body[..]),
        ("4", &b"begun"[..])
    );
    assert_eq!(logged(&balancer, "Begun", 4)["term_ha"], "sD--");
}

#[test]
fn what_the_only_server_refuses_goes_to_it_again() {
    let _turn = beside_others();
    let far = far::start();
    let backend = "proto = \"h2\"\ncheck = \"off\"";
    let balancer = balancer("", backend, &[far.address]);
    let answer = call(balancer.front, "Turned", &[]);
    assert_eq!(answer.field("grpc-status"), "0", "{answer:?}");
    assert_eq!(far.seen().len(), 4);
    assert_eq!(logged(&balancer, "Turned", 0)["retries"], 2);
}

#[test]
fn no_answer_has_a_call_repeated() {
    let _turn = beside_others();
    let far = far::start();
    let backend = "proto = \"h2\"\ncheck = \"off\"";
    let balancer = balancer("", backend, &[far.address, far.address]);
    // Of HTTP alone: what a client makes of it is what counts.
    let answer = call(balancer.front, "Plain503", &[]);
    assert_eq!(answer.head.status, 503);
    logged(&balancer, "Plain503", 14);
    // An end without a code.
    let answer = call(balancer.front, "Bare", &[]);
    assert_eq!(answer.head.status, 200);
    logged(&balancer, "Bare", 2);
    // Reset after it had begun it, as far as anybody knows.
    let answer = call(balancer.front, "Reset", &[]);
    assert_eq!(answer.field("grpc-status"), "14", "{answer:?}");
    // When to call again, and whether, is said to the client: who calls again is it alone (gRPC A6).
    for (method, pushback) in [("Later", "0"), ("Never", "-1")] {
        let answer = call(balancer.front, method, &[]);
        assert_eq!(answer.field("grpc-status"), "14", "{answer:?}");
        assert_eq!(answer.field("grpc-retry-pushback-ms"), pushback);
    }
    let count = |path: &str| far.seen().iter().filter(|line| line.contains(path)).count();
    assert_eq!(
        ["/Plain503", "/Bare", "/Reset", "/Later", "/Never"].map(count),
        [1; 5],
        "{:?}",
        far.seen()
    );
}
