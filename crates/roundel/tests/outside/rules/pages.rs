//! Error pages.

use std::fs;
use std::net::SocketAddr;

use roundel_testkit::{Connection, Signal, free_port, loopback, poll};

use super::stage::{BOTH, Http, Setting};
use crate::balancer::SOON;

const FRONTEND: &str =
    "error_pages = { 405 = \"no.html\", 503 = \"front.html\", 4xx = \"other.txt\" }";
const BACKEND: &str = "error_pages = { 503 = \"down.json\" }\nretries = 0";
const FILES: [(&str, &str); 4] = [
    ("no.html", "<p>not this way</p>"),
    ("front.html", "<p>front</p>"),
    ("other.txt", "something else"),
    ("down.json", "{\"down\":true}\n"),
];

#[test]
fn pages_stand_for_roundels_own_answers() {
    let setting = Setting::start(FRONTEND, BACKEND, &FILES);
    for http in BOTH {
        let answer = setting.ask(http, "TRACE", "/", &[("Accept", "application/json")]);
        assert_eq!(answer.status, 405);
        assert_eq!(answer.text(), "<p>not this way</p>", "{http:?}");
        let html = Some("text/html; charset=utf-8");
        assert_eq!(answer.header("content-type"), html);
        // What a server says is the server's.
        let answer = setting.get(http, "/503", &[]);
        assert_eq!((answer.status, answer.text().as_str()), (503, "served"));
    }
    let mut broken = Connection::open(setting.balancer.front).unwrap();
    let answer = broken.send("GET", "/", &[("Host", "a b")], b"").unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (400, "something else")
    );
}

#[test]
fn a_stream_that_cannot_be_passed_on_is_answered_and_logged() {
    let setting = Setting::start(FRONTEND, BACKEND, &FILES);
    let answer = setting.get(Http::Two, "/", &[("Host", "not.a.example")]);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (400, "something else")
    );
    setting.log("bad_request", 400);
    assert_eq!(setting.served(), 0);
}

#[test]
fn a_backends_page_comes_before_its_frontends() {
    let nobody = SocketAddr::from((loopback(), free_port(loopback())));
    let setting = Setting::before(nobody, FRONTEND, BACKEND, &FILES);
    for http in BOTH {
        let answer = setting.get(http, "/", &[("Accept", "text/html")]);
        assert_eq!(answer.status, 503);
        assert_eq!(answer.text(), "{\"down\":true}\n", "{http:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        let answer = setting.ask(http, "HEAD", "/", &[]);
        assert_eq!((answer.status, answer.body.len()), (503, 0));
        assert_eq!(answer.header("content-length"), Some("14"));
    }
}

#[test]
fn a_reload_reads_pages_again() {
    let setting = Setting::start(FRONTEND, BACKEND, &FILES);
    let page = || setting.ask(BOTH[0], "TRACE", "/", &[]).text();
    assert_eq!(page(), "<p>not this way</p>");
    fs::write(setting.folder().join("no.html"), "<p>changed</p>").unwrap();
    setting.balancer.process.signal(Signal::HUP);
    let changed = poll(SOON, || (page() == "<p>changed</p>").then_some(()));
    assert!(changed.is_some(), "{}", setting.balancer.process);
    // A page that is gone refuses the configuration; what was read goes on being sent.
    fs::remove_file(setting.folder().join("no.html")).unwrap();
    setting.balancer.process.signal(Signal::HUP);
    setting.balancer.process.wait_line("no.html", SOON);
    assert_eq!(page(), "<p>changed</p>");
}
