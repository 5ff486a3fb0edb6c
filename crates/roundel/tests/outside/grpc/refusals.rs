//! What clients are told that no server answers.

use std::net::TcpListener;
use std::thread;

use roundel_testkit::{free_address, request};

use super::raw::call;
use super::{balancer, calls, logged, wait_counted};
use crate::turns::beside_others;

const NOBODY: &str = "check = \"off\"\nretries = 0\ntimeouts = { queue = \"0s\" }";

#[test]
fn a_client_is_told_that_nobody_is_there() {
    let _turn = beside_others();
    let balancer = balancer("", NOBODY, &[free_address()]);
    let answer = call(balancer.front, "Unary", &[]);
    assert_eq!(answer.head.status, 200);
    assert!(answer.is_only_head, "{answer:?}");
    assert_eq!(answer.field("content-type"), "application/grpc");
    assert_eq!(answer.field("grpc-status"), "14");
    assert!(
        answer.field("grpc-message").contains("server"),
        "{answer:?}"
    );
    assert_eq!(answer.field("content-length"), "");
    let line = logged(&balancer, "Unary", 14);
    assert_eq!(
        (&line["status"], &line["term"]),
        (&200.into(), &"connect_error".into())
    );
    wait_counted(&balancer, "14", 1);
    let share = &balancer.snapshot()["rates"]["total"]["error_ratio"];
    assert_eq!(share, 1.0, "of the page's error share");
    // What asks by HTTP/1 is no client of gRPC.
    let fields = [("Content-Type", "application/grpc")];
    let plain = request(balancer.front, "POST", "/test.Echo/Plain", &fields, b"").unwrap();
    assert_eq!(plain.status, 503);
    assert_eq!(logged(&balancer, "Plain", 14)["status"], 503);
    let Some(told) = calls(&balancer, &["refused"]) else {
        return;
    };
    assert!(told[0].starts_with("refused UNAVAILABLE "), "{told:?}");
}

#[test]
fn a_client_is_told_that_it_asks_too_often() {
    let _turn = beside_others();
    let once = "rate_limit = { requests = 1, per = \"1h\", burst = 1 }";
    let balancer = balancer(once, NOBODY, &[free_address()]);
    assert_eq!(
        call(balancer.front, "Unary", &[]).field("grpc-status"),
        "14"
    );
    assert_eq!(call(balancer.front, "Unary", &[]).field("grpc-status"), "8");
    assert_eq!(logged(&balancer, "Unary", 8)["term"], "rate_limited");
    let Some(told) = calls(&balancer, &["refused"]) else {
        return;
    };
    assert!(
        told[0].starts_with("refused RESOURCE_EXHAUSTED "),
        "{told:?}"
    );
}

#[test]
fn a_call_ends_with_its_time_wherever_it_is_then() {
    let _turn = beside_others();
    // Takes connections and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = "check = \"off\"\nmaxconn = 1\ntimeouts = { queue = \"200ms\" }";
    let balancer = balancer("", backend, &[deaf.local_addr().unwrap()]);
    let soon = call(balancer.front, "Head", &[("grpc-timeout", "300m")]);
    assert_eq!(soon.field("grpc-status"), "4", "{soon:?}");
    assert!(soon.is_only_head);
    assert_eq!(logged(&balancer, "Head", 4)["term_ha"], "sH--");
    let at_once = call(balancer.front, "Never", &[("grpc-timeout", "0n")]);
    assert_eq!(at_once.field("grpc-status"), "4", "{at_once:?}");
    thread::scope(|scope| {
        let (_, stats) = (balancer.front, balancer.stats);
        let first = scope.spawn(|| call(balancer.front, "Head", &[("grpc-timeout", "30S")]));
        roundel_testkit::wait_for("a call in flight", crate::balancer::SOON, || {
            let page = roundel_testkit::get(stats, "/api/v1/snapshot")
                .unwrap()
                .text();
            page.contains("\"in_flight\":1").then_some(())
        });
        // The queue is left with the time of the queue, or with that of the call.
        let queued = call(balancer.front, "Queue", &[("grpc-timeout", "30S")]);
        assert_eq!(queued.field("grpc-status"), "14", "{queued:?}");
        assert_eq!(logged(&balancer, "Queue", 14)["term"], "queue_timeout");
        let ended = call(balancer.front, "Queue", &[("grpc-timeout", "50m")]);
        assert_eq!(ended.field("grpc-status"), "4", "{ended:?}");
        assert_eq!(logged(&balancer, "Queue", 4)["term"], "total_timeout");
        drop(deaf);
        assert_eq!(first.join().unwrap().field("grpc-status"), "14");
    });
}

#[test]
fn a_time_that_is_none_is_refused() {
    let _turn = beside_others();
    let balancer = balancer("", NOBODY, &[free_address()]);
    for value in ["1", "S", "123456789S", "1s", "-1S", "1.5S"] {
        let answer = call(balancer.front, "Unary", &[("grpc-timeout", value)]);
        assert_eq!(answer.field("grpc-status"), "13", "{value}");
        assert!(
            answer.field("grpc-message").contains("grpc-timeout"),
            "{value}"
        );
    }
    let twice = [("grpc-timeout", "1S"), ("grpc-timeout", "1S")];
    let answer = call(balancer.front, "Unary", &twice);
    assert_eq!(answer.field("grpc-status"), "13");
    assert_eq!(logged(&balancer, "Unary", 13)["term"], "bad_request");
    // Of what is no call the field means nothing.
    let answer =
        roundel_testkit::request(balancer.front, "GET", "/", &[("grpc-timeout", "x")], b"");
    assert_eq!(answer.unwrap().status, 503);
}
