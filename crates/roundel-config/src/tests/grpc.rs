//! What a file says for the sake of gRPC: its check, and how long streams may be silent.

use std::time::Duration;

use roundel_balance::CheckKind;
use roundel_proxy::RouteTimeouts;

use super::{STATIC, fine, load, shown};

fn kind(check: &str) -> CheckKind {
    let mut settings = fine(&format!("{STATIC}check = {check}\n"), &[]);
    settings.backends.remove(0).check.kind
}

/// The one problem of a file: what it says.
#[track_caller]
fn wrong(text: &str, parts: [&str; 2]) {
    let error = shown(&load(Some(text), &[]).expect_err(text));
    assert!(error.ends_with("\n1 problem found\n"), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part} in\n{error}");
    }
}

#[test]
fn a_check_may_be_a_call() {
    let call = |service: &str, host: Option<&str>| CheckKind::Grpc {
        service: service.into(),
        host: host.map(Into::into),
    };
    assert_eq!(kind("\"grpc\""), call("", None));
    assert_eq!(kind("{ grpc = true }"), call("", None));
    let all = "{ grpc = true, service = \"shop.v1.Orders\", host = \"a.example\" }";
    assert_eq!(kind(all), call("shop.v1.Orders", Some("a.example")));
    for (check, parts) in [
        (
            "{ grpc = true, tcp = true }",
            ["either `http`, `tcp` or `grpc`", "leave all but one"],
        ),
        (
            "{ http = \"HEAD /\", grpc = true }",
            ["either `http`, `tcp` or `grpc`", "leave all but one"],
        ),
        (
            "{ service = \"shop.Orders\" }",
            ["asked for by gRPC only", "add grpc = true"],
        ),
        (
            "{ grpc = true, service = \"/shop.Orders\" }",
            ["cannot be a service", "\"shop.Orders\""],
        ),
        (
            "{ grpc = true, service = \"\" }",
            ["cannot be a service", "\"shop.Orders\""],
        ),
    ] {
        wrong(&format!("{STATIC}check = {check}\n"), parts);
    }
}

#[test]
fn a_route_says_how_long_its_requests_may_take() {
    let file = |timeouts: &str| {
        format!(
            "[[frontend]]\nname = \"f\"\nlisten = [\":80\"]\nroute = [{{ path_prefix = \"/a\", \
             backend = \"nodes\"{timeouts} }}]\n{STATIC}"
        )
    };
    let of = |timeouts: &str| fine(&file(timeouts), &[]).frontends[0].routes[0].timeouts;
    assert_eq!(of(""), RouteTimeouts::default());
    let hour = Some(Duration::from_secs(3600));
    let general = of(", timeouts = { server = \"1h\", client = \"1h\" }");
    let expected = RouteTimeouts {
        client: hour,
        request_body: hour,
        first_byte: hour,
        response_idle: hour,
        total: None,
        queue: None,
    };
    assert_eq!(general, expected);
    let exact = of(
        ", timeouts = { server = \"1h\", first_byte = \"1s\", request_body = \"2s\", total = \"3s\", \
         queue = \"4s\" }",
    );
    let expected = RouteTimeouts {
        client: None,
        request_body: Some(Duration::from_secs(2)),
        first_byte: Some(Duration::from_secs(1)),
        response_idle: hour,
        total: Some(Duration::from_secs(3)),
        queue: Some(Duration::from_secs(4)),
    };
    assert_eq!(exact, expected);
    wrong(
        &file(", timeouts = { connect = \"1s\" }"),
        ["connect", "timeouts"],
    );
    let redirect = file(", timeouts = { total = \"1s\" }")
        .replace("backend = \"nodes\"", "redirect = { scheme = \"https\" }");
    wrong(&redirect, ["waits for nobody", "leave `timeouts` out"]);
}
