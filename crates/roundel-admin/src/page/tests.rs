use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::fixture::{self, Rig, rig};
use crate::status::Snapshot;
use crate::{Acts, Config};

/// A page after three minutes of `snapshots`.
fn page(config: Config, snapshot: fn(u64) -> Snapshot, query: &[(&str, &str)]) -> String {
    let rig = lived(config, snapshot);
    let map: BTreeMap<_, _> = query
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    let query = PageQuery::parse(&map);
    let moment = rig.admin.moment();
    document(
        &moment,
        &query,
        &parts(&rig.admin, &moment, &query.key),
        None,
        false,
    )
}

fn lived(config: Config, snapshot: fn(u64) -> Snapshot) -> Rig {
    let mut rig = rig(config, Snapshot::default());
    rig.admin = crate::Admin::lived((0..200).map(snapshot), rig.admin);
    rig
}

fn save(name: &str, html: &str) {
    if let Some(dir) = std::env::var_os("ROUNDEL_PAGE_DIR") {
        let path = std::path::Path::new(&dir).join(name);
        std::fs::write(path, html).unwrap();
    }
}

fn text_of(html: &str) -> String {
    let body = html.split_once("<body>").unwrap().1;
    let body = body.split_once("<script>").unwrap().0;
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn due(second: u64) -> Snapshot {
    let mut snapshot = fixture::secured(second);
    snapshot.certificates[0].stage = "due".to_owned();
    snapshot.certificates[0].warning = "is of no use".to_owned();
    snapshot
}

fn ended(second: u64) -> Snapshot {
    let mut snapshot = due(second);
    snapshot.certificates[0].stage = "ended".to_owned();
    snapshot
}

#[tokio::test]
async fn certificates_are_listed_and_those_that_end_are_told_of() {
    let row = "● valid www.example.org example.org R11 ECDSA 66 d";
    let calm = text_of(&page(Config::default(), fixture::secured, &[]));
    assert!(
        calm.contains("Certificates") && calm.contains(row),
        "{calm}"
    );
    let order = "ACME, /var/lib/roundel/acme/shop.pem issued 11 d 13 h ago; renewed in 23 h 56 m";
    assert!(calm.contains(order), "{calm}");
    let handshakes = "localnodes 9 4.0 75 % 796 5 6 4 timeout, 2 alert";
    assert!(calm.contains(handshakes), "{calm}");
    let told = "The certificate of www.example.org (/etc/roundel/certs/www.pem) is of no use.";
    for (scene, role, word) in [
        (
            due as fn(u64) -> Snapshot,
            false,
            "▲ ends soon www.example.org",
        ),
        (ended, true, "✕ ended www.example.org"),
    ] {
        let html = page(Config::default(), scene, &[]);
        assert_eq!(html.contains("id=\"notice\" role=\"alert\""), role);
        let text = text_of(&html);
        assert!(text.contains(told) && text.contains(word), "{text}");
    }
    let none = page(Config::default(), |s| fixture::calm(s, 3), &[]);
    assert!(!text_of(&none).contains("Certificates"));
}

fn failing(second: u64) -> Snapshot {
    let mut snapshot = fixture::secured(second);
    let order = snapshot.certificates[1].orders.as_mut().unwrap();
    order.failures = 2;
    order.last_error = Some("the CA says no".to_owned());
    order.next_try_seconds = Some(0);
    order.self_signed = true;
    snapshot.certificates[1].warning = "is waited for".to_owned();
    snapshot.backends[0].tls = "unverified".to_owned();
    snapshot
}

#[tokio::test]
async fn orders_that_fail_and_servers_that_are_not_verified_are_told_of() {
    let html = page(Config::default(), failing, &[]);
    // Clients refuse it.
    assert!(html.contains("id=\"notice\" role=\"alert\""));
    let text = text_of(&html);
    assert!(text.contains("✕ self-signed shop.example.org"), "{text}");
    let order = "issued 11 d 13 h ago; 2 tries failed: the CA says no; next try now";
    assert!(text.contains(order), "{text}");
    let notice = "The servers of backend nodes are not verified (tls.verify = false)";
    assert!(text.contains(notice), "{text}");
    assert!(text.contains("TLS unverified"), "{text}");
}

#[tokio::test]
async fn the_first_line_says_how_things_are() {
    let html = page(Config::default(), |s| fixture::calm(s, 5), &[]);
    save("calm.html", &html);
    assert!(html.contains("<h1>5 of 5 servers serving</h1>"));
    assert!(html.contains("<title>● 5/5 · roundel</title>"));
    let html = page(Config::default(), fixture::every_state, &[]);
    save("states.html", &html);
    assert!(html.contains("<title>▲ 3/9 · roundel</title>"));
    let text = text_of(&html);
    assert!(
        text.contains("3 of 9 servers serving — webapp-8 down for"),
        "{text}"
    );
    let html = page(Config::default(), |s| fixture::calm(s, 0), &[]);
    save("empty.html", &html);
    assert!(html.contains("No server yet"));
}

#[tokio::test]
async fn a_table_with_a_caption_per_backend_and_a_word_per_state() {
    let html = page(Config::default(), fixture::every_state, &[]);
    assert!(html.contains("<caption id=\"cap-nodes\">"));
    assert!(html.matches("<polyline").count() > 10);
    let text = text_of(&html);
    for word in [
        "JOINING",
        "UP",
        "WARMING 40\u{202f}%",
        "EJECTED",
        "DRAINING",
        "LEAVING",
        "MAINT",
        "DOWN",
        "LEFT",
    ] {
        assert!(
            text.contains(&word.replace('\u{202f}', " ")) || text.contains(word),
            "{word}"
        );
    }
    assert!(text.contains("gossip silent 2.1 s, check passes"));
    assert!(html.contains("<th class=\"who\" scope=\"row\">"));
    assert_eq!(html.matches("<h1>").count(), 1);
}

#[tokio::test]
async fn ten_servers_fit_the_budget() {
    let html = page(Config::default(), |s| fixture::calm(s, 10), &[]);
    save("ten.html", &html);
    assert!(html.len() <= 60_000, "{}", html.len());
    let script = html.split_once("<script>").unwrap().1;
    let script = script.split_once("</script>").unwrap().0;
    assert!(script.len() <= 15_000, "{}", script.len());
    for foreign in ["http://", "https://", " style=", " onclick="] {
        let mut html = html.replace("http://www.w3.org/2000/svg", "");
        html = html.replace(script, "");
        assert!(!html.contains(foreign), "{foreign}");
    }
}

#[tokio::test]
async fn the_policy_names_the_hashes_of_what_is_inline() {
    use base64::Engine;
    use sha2::Digest;
    let html = page(Config::default(), |s| fixture::calm(s, 1), &[]);
    for tag in ["style", "script"] {
        let inner = html.split_once(&format!("<{tag}>")).unwrap().1;
        let inner = inner.split_once(&format!("</{tag}>")).unwrap().0;
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(inner));
        assert!(content_security_policy().contains(&format!("{tag}-src 'sha256-{hash}'")));
        assert_eq!(html.matches(&format!("<{tag}>")).count(), 1);
    }
}

#[tokio::test]
async fn hostile_text_is_shown_and_never_run() {
    for view in ["", "table", "haproxy"] {
        let html = page(
            Config::default(),
            |_| fixture::hostile(),
            &[("view", view), ("q", "")],
        );
        assert!(!html.contains("<img"), "{view}");
        assert!(
            html.contains("&lt;img src=x onerror=alert(1)&gt;"),
            "{view}"
        );
        let closing = html.matches("</script>").count();
        assert_eq!(closing, 1, "{view}");
    }
    let evil = "\"><script>alert(1)</script>";
    let html = page(
        Config::default(),
        |s| fixture::calm(s, 1),
        &[("q", evil), ("theme", evil), ("st", evil)],
    );
    assert!(!html.contains("<script>alert"));
}

#[tokio::test]
async fn the_classic_view_has_haproxys_columns() {
    let html = page(
        Config::default(),
        fixture::every_state,
        &[("view", "haproxy")],
    );
    save("classic.html", &html);
    let text = text_of(&html);
    for word in [
        "Queue",
        "Session rate",
        "LbTot",
        "Dwntme",
        "Thrtle",
        "Frontend",
        "Backend",
        "L7OK/200 in 3ms",
        "MAINT",
    ] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("(left)"), "what left is not in it");
    assert_eq!(html.matches("<caption>").count(), 2);
}

#[tokio::test]
async fn buttons_are_shown_only_where_they_work() {
    let read_only = page(Config::default(), |s| fixture::calm(s, 2), &[]);
    assert!(!read_only.contains("<button") && !read_only.contains("method=\"post\""));
    let config = Config {
        acts: Acts::Loopback,
        ..Config::default()
    };
    let weightless = |second| {
        let mut snapshot = fixture::every_state(second);
        let server = &mut Arc::make_mut(&mut snapshot.backends[0].servers[9]);
        (server.state, server.weight) = (roundel_model::ServerState::Draining, 0);
        snapshot
    };
    let html = page(config, weightless, &[("theme", "dark")]);
    save("acts.html", &html);
    assert!(html.contains("value=\"drain webapp-2\""));
    for (server, ordered) in [(5, true), (8, true), (10, false)] {
        let ready = format!("value=\"ready webapp-{server}\"");
        assert_eq!(html.contains(&ready), ordered, "{server}");
    }
    assert!(html.contains("data-theme=\"dark\""));
}

#[tokio::test]
async fn a_thousand_servers_are_paged_the_worst_first() {
    let many = |s| {
        let mut snapshot = fixture::calm(s, 1_000);
        Arc::make_mut(&mut snapshot.backends[0].servers[900]).state =
            roundel_model::ServerState::Down;
        snapshot
    };
    let rig = rig(Config::default(), many(9));
    let moment = rig.admin.moment();
    let began = std::time::Instant::now();
    let parts = parts(&rig.admin, &moment, &Key::default());
    let html = document(&moment, &PageQuery::default(), &parts, None, false);
    let took = began.elapsed();
    save("thousand.html", &html);
    assert_eq!(
        html.matches("<tr class=\"row").count() + html.matches("<tr id=\"r-").count(),
        300
    );
    let first = html
        .split_once("<tbody id=\"rows-nodes\"><tr id=\"")
        .unwrap()
        .1;
    assert!(first.starts_with("r-nodes-webapp-901"));
    assert!(took.as_millis() < 1_500, "{took:?}");
    let began = std::time::Instant::now();
    let csv = crate::csv::render(&moment, &crate::csv::Filter::ALL, &Default::default());
    let metrics = crate::metrics::render(
        &moment,
        &rig.admin.own_numbers(),
        crate::metrics::Scope::ALL,
    );
    assert_eq!(csv.lines().count(), 1_003);
    assert!(metrics.contains("server=\"webapp-1000\""));
    println!(
        "1,000 servers: page in {took:?}, CSV and metrics in {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn only_what_changed_is_sent() {
    let rig = rig(Config::default(), fixture::calm(50, 3));
    let key = Key::default();
    let before = parts(&rig.admin, &rig.admin.moment(), &key);
    let mut next = fixture::calm(50, 3);
    next.seq += 1;
    Arc::make_mut(&mut next.backends[0].servers[1]).state = roundel_model::ServerState::Maint;
    let moment = Moment::new(Arc::new(next), rig.admin.moment().rates.clone());
    let now = parts(&rig.admin, &moment, &key);
    let changed: Vec<_> = changes(&before, &now).into_keys().collect();
    assert_eq!(changed, ["cap-nodes", "head", "r-nodes-webapp-2"]);
}
