//! Limits of what one client may ask.

use roundel_testkit::{Connection, Signal, get, wait_for};

use super::stage::{BOTH, Setting};
use crate::balancer::SOON;

/// Two at once, then none for the length of a test.
const SLOW: &str = "rate_limit = { requests = 1, per = \"1h\", burst = 2 }";

#[test]
fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let trusted = format!("{SLOW}\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let setting = Setting::start(&trusted, "", &[]);
    let mut clients = ["192.0.2.1", "2001:db8::1"].into_iter();
    for http in BOTH {
        let client = clients.next().unwrap();
        let ask = |client: &str| setting.get(http, "/", &[("X-Forwarded-For", client)]);
        assert_eq!((ask(client).status, ask(client).status), (200, 200));
        let denied = ask(client);
        assert_eq!(denied.status, 429, "{http:?}");
        let wait: u64 = denied.header("retry-after").unwrap().parse().unwrap();
        assert!((3000..=3600).contains(&wait), "{wait}");
        assert!(denied.text().contains("Too many requests"), "{denied:?}");
        // Others are not concerned.
        assert_eq!(ask(&format!("198.51.100.{}", client.len())).status, 200);
    }
    // The addresses of one IPv6 network are one client.
    let neighbour = [("X-Forwarded-For", "2001:db8::2")];
    assert_eq!(setting.get(BOTH[0], "/", &neighbour).status, 429);
    assert_eq!(setting.served(), 6);
    let line = setting.log("rate_limited", 429);
    assert_eq!(
        (&line["term_ha"], &line["backend"]),
        (&"PR--".into(), &"".into())
    );
    let count = "roundel_frontend_requests_denied_total{frontend=\"front\"} 3";
    wait_for("the count", SOON, || {
        let text = get(setting.balancer.stats, "/metrics").ok()?.text();
        text.contains(count).then_some(())
    });
    let csv = get(setting.balancer.stats, "/;csv").unwrap().text();
    let cell = |line: &str, column: &str| {
        let at = csv
            .lines()
            .next()
            .unwrap()
            .split(',')
            .position(|c| c == column);
        line.split(',').nth(at.unwrap()).unwrap().to_owned()
    };
    let front = csv
        .lines()
        .find(|l| l.starts_with("front,FRONTEND"))
        .unwrap();
    assert_eq!(
        (cell(front, "dreq"), cell(front, "hrsp_4xx")),
        ("3".into(), "3".into())
    );
}

#[test]
fn a_route_has_a_limit_of_its_own_and_connections_live_on() {
    let route = format!("route = [{{ path_prefix = \"/login\", backend = \"nodes\", {SLOW} }}]");
    let setting = Setting::start(&route, "", &[]);
    let mut connection = Connection::open(setting.balancer.front).unwrap();
    let mut ask = |path: &str, body: &[u8]| {
        let answer = connection.send("POST", path, &[], body).unwrap();
        assert!(connection.is_open());
        answer.status
    };
    let statuses = [(); 4].map(|()| ask("/login", b"name=a"));
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(ask("/other", b"x"), 200);
}

#[test]
fn all_workers_count_together_and_a_reload_forgets_nothing() {
    let setting = Setting::start("rate_limit = { requests = 20, per = \"1h\" }", "", &[]);
    let ask = || setting.get(BOTH[0], "/", &[]).status;
    let passed = (0..40).filter(|_| ask() == 200).count();
    assert_eq!(passed, 20);
    setting.balancer.process.signal(Signal::HUP);
    setting.balancer.process.wait_line("reloaded", SOON);
    assert_eq!(ask(), 429);
}
