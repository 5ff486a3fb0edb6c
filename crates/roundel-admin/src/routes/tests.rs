use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt;
use roundel_model::{AdminState, Name};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::command::{Command, CommandError, Order, Outcome};
use crate::fixture::{self, Rig, rig};
use crate::serve::Peer;
use crate::{Acts, Config};

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

async fn send(rig: &Rig, request: http::request::Builder, body: &str) -> Answer {
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    let peer = Peer("127.0.0.1:4000".parse().unwrap());
    request.extensions_mut().insert(peer);
    let headers = request.headers_mut();
    headers
        .entry("host")
        .or_insert("127.0.0.1:1936".parse().unwrap());
    let response = rig.admin.router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.into()).unwrap(),
    }
}

async fn get_from(rig: &Rig, path: &str) -> Answer {
    send(rig, http::Request::get(path), "").await
}

fn calm_rig() -> Rig {
    rig(Config::default(), fixture::calm(4, 3))
}

#[tokio::test]
async fn csv_answers_wherever_it_is_asked_for() {
    let rig = calm_rig();
    let paths = [
        "/;csv",
        "/;csv;norefresh",
        "/stats;csv",
        "/?stats;csv",
        "/haproxy?stats;csv",
        "/haproxy;csv",
        "/admin?stats;csv;norefresh",
    ];
    for path in paths {
        let answer = get_from(&rig, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/plain");
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert!(answer.body.starts_with("# pxname,svname,"), "{path}");
    }
    let head = send(&rig, http::Request::head("/;csv"), "").await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    let post = send(&rig, http::Request::post("/;csv"), "").await;
    assert_ne!(post.status, 200);
}

#[tokio::test]
async fn the_snapshot_has_the_promised_core() {
    let rig = calm_rig();
    let answer = get_from(&rig, "/api/v1/snapshot").await;
    assert_eq!(answer.header("etag"), "\"5\"");
    let json = answer.json();
    assert_eq!(json["seq"], 5);
    assert_eq!(json["node"], "lab-ha-1");
    assert!(json["uptime_seconds"].is_number() && json["version"].is_string());
    assert_eq!(json["frontends"][0]["listen"][0], "[::]:80");
    assert_eq!(json["frontends"][0]["connections"], 17);
    let backend = &json["backends"][0];
    assert_eq!(
        (&backend["balance"], &backend["set_version"]),
        (&"roundrobin".into(), &7.into())
    );
    let server = &backend["servers"][0];
    for key in [
        "name",
        "address",
        "state",
        "reason",
        "weight",
        "source",
        "in_flight",
        "requests_total",
        "errors_total",
    ] {
        assert!(!server[key].is_null(), "{key}");
    }
    assert_eq!(server["state"], "up");
    assert_eq!(json["members"][0]["status"], "alive");
    assert_eq!(json["events"][0]["kind"], "reload");
    let again: crate::status::Snapshot = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(again, fixture::calm(4, 3));
}

#[tokio::test]
async fn etag_and_long_poll_follow_the_sequence() {
    let rig = calm_rig();
    let request = http::Request::get("/api/v1/snapshot").header("if-none-match", "W/\"5\"");
    assert_eq!(send(&rig, request, "").await.status, 304);
    let soon = get_from(&rig, "/api/v1/snapshot?wait=5&timeout=20ms").await;
    assert_eq!(soon.json()["seq"], 5);
    let (answer, ()) = tokio::join!(
        get_from(&rig, "/api/v1/snapshot?wait=5&timeout=30s"),
        rig.publish(fixture::calm(5, 3)),
    );
    assert_eq!(answer.json()["seq"], 6);
    let bad = get_from(&rig, "/api/v1/snapshot?wait=5&timeout=soon").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn health_follows_draining_and_wanted_servers_only() {
    let rig = rig(Config::default(), fixture::calm(4, 0));
    for path in ["/livez", "/readyz", "/healthz", "/ping"] {
        assert_eq!(get_from(&rig, path).await.status, 200, "{path}");
    }
    assert_eq!(get_from(&rig, "/readyz?min_servers=1").await.status, 503);
    assert_eq!(get_from(&rig, "/readyz?min_servers=x").await.status, 400);
    let verbose = get_from(&rig, "/readyz?verbose").await;
    assert!(verbose.body.contains("[+] servers: 0 serving, 0 wanted"));
    rig.publish(fixture::calm(5, 2)).await;
    assert_eq!(get_from(&rig, "/readyz?min_servers=2").await.status, 200);
    rig.admin.set_draining();
    let draining = get_from(&rig, "/readyz").await;
    assert_eq!(draining.status, 503);
    assert!(draining.body.contains("[-] not draining"));
    assert_eq!(get_from(&rig, "/livez").await.status, 200);
}

#[tokio::test]
async fn parts_of_the_snapshot_have_paths_of_their_own() {
    let rig = calm_rig();
    let server = get_from(&rig, "/api/v1/backends/nodes/servers/webapp-2").await;
    assert_eq!(server.json()["name"], "webapp-2");
    assert_eq!(
        get_from(&rig, "/api/v1/backends/nodes").await.json()["name"],
        "nodes"
    );
    assert_eq!(get_from(&rig, "/api/v1/backends").await.json()[0]["id"], 3);
    assert_eq!(get_from(&rig, "/api/v1/backends/x").await.status, 404);
    assert_eq!(
        get_from(&rig, "/api/v1/backends/nodes/servers/x")
            .await
            .status,
        404
    );
    let backends = get_from(&rig, "/api/v1/members?role=backend").await.json();
    assert_eq!(backends.as_array().unwrap().len(), 3);
    let later = get_from(&rig, "/api/v1/events?after=5&kind=leave")
        .await
        .json();
    assert_eq!(later[0]["subject"], "webapp-9");
    assert_eq!(
        get_from(&rig, "/api/v1/series?range=5m").await.json()[0]["known"],
        3
    );
    let targets = get_from(&rig, "/sd/prometheus").await.json();
    assert_eq!(targets[0]["targets"][0], "10.0.3.4:3000");
    assert_eq!(targets[0]["labels"]["__meta_roundel_tag_role"], "backend");
    // The balancer names no port for metrics.
    assert_eq!(targets.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn haproxys_page_stands_where_monitors_look_for_it() {
    let rig = calm_rig();
    for path in [
        "/stats",
        "/haproxy?stats",
        "/haproxy?stats;norefresh",
        "/?stats",
        "/admin?stats",
        "/stats;up",
    ] {
        let answer = get_from(&rig, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.body.as_str();
        let version = format!(
            "HAProxy version 2.6.0-roundel{},",
            fixture::calm(1, 1).version
        );
        assert!(text.contains(&version), "{path}: {text}");
        let uptime = text.split("<b>uptime = </b> ").nth(1).unwrap();
        let uptime = uptime.split("<br>").next().unwrap();
        let digits = |c: char| c.is_ascii_digit();
        let units: String = uptime.chars().filter(|c| !digits(*c)).collect();
        assert_eq!(units, "d hms", "{uptime}");
    }
    for path in ["/nowhere", "/statistics", "/?q=stats", "/stats/x"] {
        let answer = get_from(&rig, path).await;
        assert!(!answer.body.contains("HAProxy version"), "{path}");
    }
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let rig = calm_rig();
    for path in ["/", "/metrics", "/;csv", "/nowhere", "/api/v1/members"] {
        let answer = get_from(&rig, path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert!(answer.header("access-control-allow-origin").is_empty());
    }
}

const DRAIN: &str = "/api/v1/backends/nodes/servers/webapp-2:drain";

/// Carries out one order with `result` and returns the command.
async fn obey(rig: &mut Rig, result: Result<Outcome, CommandError>) -> Command {
    let order: Order = rig.orders.recv().await.unwrap();
    order.reply.send(result).unwrap();
    order.command
}

#[tokio::test]
async fn acts_are_off_unless_turned_on() {
    let rig = calm_rig();
    let answer = send(&rig, http::Request::post(DRAIN), "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("--admin-token-file")
    );
    let answer = send(&rig, http::Request::post("/api/v1/cluster:join"), "").await;
    assert_eq!(answer.status, 405);
}

#[tokio::test]
async fn acts_reach_the_writer_and_its_answer_comes_back() {
    let config = Config {
        acts: Acts::Token("t".into()),
        ..Config::default()
    };
    let mut rig = rig(config, fixture::calm(4, 3));
    let denied = send(&rig, http::Request::post(DRAIN), "").await;
    assert_eq!(
        (denied.status, denied.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Bearer realm=\"roundel\"")
    );
    let admin = rig.admin.clone();
    let post = |path: &str| http::Request::post(path).header("authorization", "Bearer t");
    let (peer, router) = (Peer("127.0.0.1:1".parse().unwrap()), admin.router());
    let call = |path: &str, body: &str| {
        let request = post(path).header("host", "lb").extension(peer);
        router
            .clone()
            .oneshot(request.body(Body::from(body.to_owned())).unwrap())
    };
    let done = Ok(Outcome {
        text: "drains".into(),
        ..Outcome::default()
    });
    let (answer, command) = tokio::join!(call(DRAIN, ""), obey(&mut rig, done));
    assert_eq!(answer.unwrap().status(), 200);
    let expected = Command::SetState {
        backend: Name::new("nodes").unwrap(),
        server: Name::new("webapp-2").unwrap(),
        state: AdminState::Drain,
        force: false,
    };
    assert_eq!(command, expected);
    let last =
        CommandError::LastServer(Name::new("webapp-2").unwrap(), Name::new("nodes").unwrap());
    let (answer, _) = tokio::join!(call(DRAIN, ""), obey(&mut rig, Err(last)));
    assert_eq!(answer.unwrap().status(), 409);
    let weight = "/api/v1/backends/nodes/servers/webapp-2:weight";
    for (body, order, force) in [
        ("{\"weight\":0,\"force\":true}", "0", true),
        ("{\"weight\":\"50%\"}", "50%", false),
    ] {
        let done = Ok(Outcome::default());
        let (answer, command) = tokio::join!(call(weight, body), obey(&mut rig, done));
        assert_eq!(answer.unwrap().status(), 200);
        let expected = Command::SetWeight {
            backend: Name::new("nodes").unwrap(),
            server: Name::new("webapp-2").unwrap(),
            weight: order.parse().unwrap(),
            force,
        };
        assert_eq!(command, expected);
    }
    let path = "/api/v1/cluster:join";
    let body = "{\"addresses\":[\"webapp:7946\"]}";
    let refused = Err(CommandError::Refused("no".into()));
    let (answer, command) = tokio::join!(call(path, body), obey(&mut rig, refused));
    assert_eq!(answer.unwrap().status(), 409);
    assert_eq!(
        command,
        Command::Join {
            addresses: vec!["webapp:7946".into()]
        }
    );
    for (path, body, status) in [
        (
            "/api/v1/backends/nodes/servers/webapp-2:weight",
            "{\"weight\":257}",
            400,
        ),
        ("/api/v1/backends/nodes/servers/webapp-2:explode", "", 404),
        ("/api/v1/backends/nodes/servers/webapp-2", "", 404),
        ("/api/v1/backends/nodes/servers/%3Cb%3E:drain", "", 404),
        (path, "{\"addresses\":[\"a b\"]}", 400),
        (path, "{\"adresses\":[]}", 400),
    ] {
        assert_eq!(
            call(path, body).await.unwrap().status(),
            status,
            "{path} {body}"
        );
    }
    let metrics = get_from(&rig, "/metrics").await.body;
    assert!(metrics.contains("roundel_admin_actions_total{action=\"join\",result=\"refused\"} 1"));
}

#[tokio::test]
async fn a_stale_version_is_refused() {
    let config = Config {
        acts: Acts::Loopback,
        ..Config::default()
    };
    let rig = rig(config, fixture::calm(4, 3));
    let request = http::Request::post(DRAIN).header("if-match", "\"6\"");
    assert_eq!(send(&rig, request, "").await.status, 409);
    let request = http::Request::post(DRAIN).header("origin", "http://evil.example");
    assert_eq!(send(&rig, request, "").await.status, 403);
}

#[tokio::test]
async fn hostile_text_stays_text_in_json() {
    let rig = rig(Config::default(), fixture::hostile());
    let json = get_from(&rig, "/api/v1/snapshot").await.json();
    assert_eq!(json["members"][1]["name"], fixture::HOSTILE);
    let targets = get_from(&rig, "/sd/prometheus").await;
    assert!(targets.json().is_array());
}

#[tokio::test]
async fn no_view_lets_a_hidden_character_through() {
    let rig = steering();
    for path in [
        "/",
        "/?view=classic&q=%1b%c2%9b%e2%80%ae",
        "/?view=servers",
        "/;csv",
        "/;typed",
        "/;json",
        "/metrics",
        "/metrics?scope=global",
        "/sd/prometheus",
        "/api/v1/snapshot",
        "/api/v1/backends",
        "/api/v1/members",
        "/api/v1/events",
        "/api/v1/events?format=jsonl",
    ] {
        let answer = get_from(&rig, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let hidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
        let found = answer.body.find(hidden);
        let near = found.map(|at| answer.body[..at].chars().rev().take(80).collect::<String>());
        assert_eq!(near, None, "{path}");
    }
}

/// Hostile texts, with controls that JSON does not escape of itself.
fn steering() -> Rig {
    let mut snapshot = fixture::hostile();
    snapshot.members[1].name = format!("{}\u{9b}2J\u{7f}", fixture::HOSTILE);
    rig(Config::default(), snapshot)
}

fn form_rig(acts: Acts) -> Rig {
    let config = Config {
        acts,
        ..Config::default()
    };
    rig(config, fixture::calm(4, 2))
}

async fn post_form(rig: &Rig, body: &str) -> Answer {
    let request = http::Request::post("/");
    let kind = "application/x-www-form-urlencoded";
    send(rig, request.header("content-type", kind), body).await
}

#[tokio::test]
async fn the_page_is_hardened_and_head_answers() {
    let rig = calm_rig();
    let page = get_from(&rig, "/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; style-src 'sha256-")
    );
    assert_eq!(get_from(&rig, "/;st=DONE").await.status, 200);
    assert!(
        get_from(&rig, "/?refresh=5")
            .await
            .body
            .contains("http-equiv=\"refresh\" content=\"5\"")
    );
    assert_eq!(send(&rig, http::Request::head("/"), "").await.status, 200);
    assert_eq!(
        post_form(&rig, "b=nodes&do=drain+webapp-1").await.status,
        405
    );
}

#[tokio::test]
async fn a_form_needs_this_processs_key_and_the_version_it_showed() {
    let rig = form_rig(Acts::Loopback);
    let key = rig.admin.shared.form_key.clone();
    let refused = post_form(&rig, "b=nodes&do=drain+webapp-1&version=7&key=x").await;
    assert_eq!(refused.status, 403);
    let stale = format!("b=nodes&do=drain+webapp-1&version=6&key={key}");
    assert_eq!(post_form(&rig, &stale).await.status, 409);
    let nonsense = format!("b=nodes&version=7&key={key}");
    assert_eq!(post_form(&rig, &nonsense).await.status, 400);
}

#[tokio::test]
async fn the_last_serving_server_is_taken_out_only_on_purpose() {
    let mut rig = form_rig(Acts::Loopback);
    let mut one = fixture::calm(5, 2);
    Arc::make_mut(&mut one.backends[0].servers[1]).state = roundel_model::ServerState::Down;
    rig.publish(one).await;
    let key = rig.admin.shared.form_key.clone();
    let body = format!("b=nodes&do=drain+webapp-1&version=7&key={key}");
    let refused = post_form(&rig, &body).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("no server that serves"));
    let forced = format!("{body}&override=1");
    let admin = rig.admin.clone();
    let answer = async {
        let mut request = http::Request::post("/")
            .header("host", "localhost:1936")
            .header("origin", "http://localhost:1936")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(forced))
            .unwrap();
        request
            .extensions_mut()
            .insert(Peer("127.0.0.1:9".parse().unwrap()));
        admin.router().oneshot(request).await.unwrap()
    };
    let (answer, command) = tokio::join!(answer, obey(&mut rig, Ok(Outcome::default())));
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], "/;st=DONE");
    assert_eq!(command.as_str(), "drain");
}

#[tokio::test]
async fn haproxys_form_works_with_a_token() {
    let mut rig = form_rig(Acts::Token("t".into()));
    assert_eq!(
        post_form(&rig, "s=webapp-1&action=drain&b=nodes")
            .await
            .status,
        401
    );
    let admin = rig.admin.clone();
    let answer = async {
        let request = http::Request::post("/")
            .header("host", "lb")
            .header("authorization", "Bearer t")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("s=webapp-1&s=webapp-2&action=maint&b=%233"))
            .unwrap();
        admin.router().oneshot(request).await.unwrap()
    };
    let orders = async {
        let first = obey(&mut rig, Ok(Outcome::default())).await;
        let second = obey(&mut rig, Err(CommandError::NoServer)).await;
        (first, second)
    };
    let (answer, (first, _)) = tokio::join!(answer, orders);
    assert_eq!(answer.headers()["location"], "/;st=PART");
    assert_eq!(first.as_str(), "maint");
}
