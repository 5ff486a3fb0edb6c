//! Header rules of frontends and backends.

use roundel_testkit::Connection;

use super::stage::{BOTH, Setting, all};

const FRONTEND: &str = r#"
trusted_proxies = ["127.0.0.0/8"]
request_headers = { remove = ["X-Debug"], set = { X-Env = "prod", X-Client = "%{client_ip} asks %{host}%{path}", X-Forwarded-Proto = "https" }, add = { X-Tag = "front" } }
response_headers = { set = { Strict-Transport-Security = "max-age=31536000", X-Answered = "%{request_id}" }, remove = ["x-powered-by"] }
"#;

const BACKEND: &str = r#"
request_headers = { set = { Host = "app.internal:8080", X-Env = "staging" } }
response_headers = { add = { Server = "also" }, set = { X-Backend = "nodes", Cache-Control = "public" } }
"#;

#[test]
fn both_sides_see_what_the_rules_say() {
    let setting = Setting::start(FRONTEND, BACKEND, &[]);
    for http in BOTH {
        let sent = [
            ("x-debug", "1"),
            ("X-Env", "dev"),
            ("X-Tag", "client"),
            ("X-Forwarded-For", "203.0.113.9"),
        ];
        let answer = setting.get(http, "/a?b=c", &sent);
        let seen = setting.last().unwrap();
        let of = |name| all(&seen.headers, name);
        assert_eq!(of("x-debug"), [""; 0], "{http:?}");
        assert_eq!(of("x-env"), ["staging"]);
        assert_eq!(of("x-tag"), ["client", "front"]);
        assert_eq!(of("x-client"), ["203.0.113.9 asks a.example/a"]);
        assert_eq!(of("x-forwarded-proto"), ["https"]);
        assert_eq!(of("x-forwarded-host"), ["a.example"]);
        assert_eq!(of("host"), ["app.internal:8080"]);
        assert_eq!(of("x-request-id"), [""; 0]);
        let of = |name| all(&answer.headers, name);
        assert_eq!((answer.status, answer.text().as_str()), (200, "served"));
        assert_eq!(of("strict-transport-security"), ["max-age=31536000"]);
        assert_eq!(of("x-powered-by"), [""; 0]);
        assert_eq!(of("server"), ["nginx", "also"]);
        assert_eq!(of("x-backend"), ["nodes"]);
        assert_eq!(of("x-answered")[0].len(), 36, "{answer:?}");
        // The cookie that keeps a client on its server must not be shared, whatever rules say.
        assert!(answer.cookie("SERVERID").is_some(), "{answer:?}");
        assert_eq!(of("cache-control"), ["public", "private"]);
    }
    let id = setting.get(BOTH[0], "/", &[]);
    let id = id.header("x-answered").unwrap();
    assert_eq!(
        setting
            .balancer
            .process
            .wait_line(id, crate::balancer::SOON)
            .matches(id)
            .count(),
        1
    );
}

#[test]
fn own_answers_carry_the_frontends_rules_alone() {
    let setting = Setting::start(FRONTEND, BACKEND, &[]);
    for http in BOTH {
        let answer = setting.ask(http, "TRACE", "/", &[]);
        assert_eq!(answer.status, 405, "{http:?}");
        let hsts = answer.header("strict-transport-security");
        assert_eq!(hsts, Some("max-age=31536000"), "{http:?}");
        assert_eq!(answer.header("x-backend"), None);
    }
    let mut broken = Connection::open(setting.balancer.front).unwrap();
    let answer = broken.send("GET", "/", &[("Host", "a b")], b"").unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("connection"), Some("close"));
    let hsts = answer.header("strict-transport-security");
    assert_eq!(hsts, Some("max-age=31536000"));
    for status in [400, 405] {
        setting.log("bad_request", status);
    }
    assert_eq!(setting.served(), 0);
}
