//! Bodies that are too large.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use roundel_testkit::{Connection, get, loopback, wait_for};

use super::stage::{BOTH, Http, Setting, ask2};
use crate::balancer::SOON;

const LIMIT: &str = "limits = { max_body = \"1000B\" }\nerror_pages = { 413 = \"large.txt\" }";
const FILES: [(&str, &str); 1] = [("large.txt", "too large")];

#[test]
fn a_length_beyond_the_limit_is_refused_at_once() {
    let setting = Setting::start(LIMIT, "", &FILES);
    for http in BOTH {
        let post = |n: usize| match http {
            Http::One => {
                let mut connection = Connection::open(setting.balancer.front).unwrap();
                connection.send("POST", "/", &[], &vec![b'x'; n]).unwrap()
            }
            Http::Two => {
                let length = n.to_string();
                let fields = [("content-length", &length[..])];
                let body = vec![b'x'; n];
                ask2(setting.balancer.front, "POST", "/", &fields, &body).unwrap()
            }
        };
        assert_eq!(post(1000).status, 200, "{http:?}");
        let answer = post(1001);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (413, "too large"),
            "{http:?}"
        );
    }
    assert_eq!(setting.served(), 2);
    // Without a byte of the body, and without an invitation to send it.
    let mut stream = TcpStream::connect(setting.balancer.front).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    assert!(told.contains("\r\nConnection: close\r\n"), "{told}");
    assert_eq!(setting.log("too_large", 413)["term_ha"], "PR--");
    let count = "roundel_frontend_request_errors_total{frontend=\"front\",reason=\"too_large\"} 3";
    wait_for("the count", SOON, || {
        let text = get(setting.balancer.stats, "/metrics").ok()?.text();
        text.contains(count).then_some(())
    });
}

/// A server that answers nothing and tells what each of its connections was sent.
fn listener() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind((loopback(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                let _ = tell.send(String::from_utf8_lossy(&bytes).into_owned());
            });
        }
    });
    (address, told)
}

#[test]
fn a_body_without_length_is_broken_off_when_it_grows_too_large() {
    let (server, received) = listener();
    let setting = Setting::before(server, LIMIT, "", &FILES);
    let is_broken = |how: &str| {
        let got = received.recv_timeout(SOON).expect(how);
        assert!(got.contains("Transfer-Encoding: chunked"), "{how}: {got}");
        assert!(!got.ends_with("0\r\n\r\n"), "{how}: it looks whole: {got}");
    };
    let mut stream = TcpStream::connect(setting.balancer.front).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    // All of it in one piece, the end included: the server must not see it whole.
    let chunk = format!("2bc\r\n{}\r\n", "x".repeat(700));
    let body = format!("{head}{chunk}{chunk}0\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    assert!(told.ends_with("too large"), "{told}");
    is_broken("HTTP/1");
    assert_eq!(setting.log("too_large", 413)["backend"], "nodes");
    let body = vec![b'x'; 1001];
    let answer = ask2(setting.balancer.front, "POST", "/", &[], &body).unwrap();
    assert_eq!(answer.status, 413);
    is_broken("HTTP/2");
}
