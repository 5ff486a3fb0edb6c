//! The check of kind `grpc`, beside grpcio's server.

use roundel_testkit::{Origin, wait_for};
use serde_json::Value;

use super::{balancer, server};
use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

const CHECK: &str = "check = { grpc = true, service = \"shop.Orders\", every = \"200ms\" }";

/// Waits until the check of the only server ended so, and gives its state and words.
pub(super) fn checked(balancer: &Balancer, status: &str) -> (String, String) {
    wait_for(&format!("a check that says {status}"), SOON, || {
        let server = balancer.snapshot()["backends"][0]["servers"][0].take();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_so = server["check"]["status"] == *status;
        is_so.then(|| (text(&server["state"]), text(&server["check"]["text"])))
    })
}

#[test]
fn health_says_who_serves() {
    let _turn = beside_others();
    let Some(well) = server("well") else { return };
    let up = balancer("", CHECK, &[well.address]);
    up.wait_up(1, SOON);
    assert_eq!(checked(&up, "L7OK").1, "");
    let sick = server("sick").unwrap();
    let (state, words) = checked(&balancer("", CHECK, &[sick.address]), "L7STS");
    assert_ne!(state, "up");
    assert_eq!(words, "it says NOT_SERVING");
    let plain = server("plain").unwrap();
    let none = balancer("", "check = \"grpc\"", &[plain.address]);
    let (state, words) = checked(&none, "L7STS");
    assert_ne!(state, "up");
    assert!(words.contains("register that service"), "{words}");
    let other = Origin::named("no gRPC");
    let (_, words) = checked(
        &balancer("", "check = \"grpc\"", &[other.address()]),
        "L7RSP",
    );
    assert!(words.contains("not HTTP/2"), "{words}");
}
