//! Handshakes of a frontend's clients.

use std::sync::Arc;
use std::time::Duration;

use roundel_testkit::Dice;
use roundel_tls::{Clients, Policy};
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::far::{Far, Pair};
use super::{data_records, turn};
use crate::stand::{Stand, pair, run};
use crate::transport::Io;
use crate::{HandshakeError, HeaderRule, Template};

const REQUEST: &str = "GET /p HTTP/1.1\r\nHost: h\r\n\r\n";

/// A frontend that shows `made`, with a server that is reached in clear.
async fn stand(made: &Pair, policy: &Policy) -> (Stand, TcpStream) {
    let front = made.front(policy);
    let stand = Stand::with(|frontend| frontend.tls = Some(front));
    let (near, server) = pair().await;
    stand.connect(Io::Plain(near));
    (stand, server)
}

async fn client(stand: &Stand) -> TcpStream {
    let (near, far) = pair().await;
    stand.serve(Io::Plain(near));
    far
}

/// Reads the head of a request, and answers it.
async fn answer(server: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(server.read_buf(&mut head).await.unwrap(), 0);
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    server.write_all(answer).await.unwrap();
    String::from_utf8(head).unwrap()
}

fn failures(stand: &Stand) -> Vec<(&'static str, u64)> {
    let counted = HandshakeError::ALL
        .iter()
        .zip(&stand.counters().tls_failures);
    let words = counted.map(|(why, counter)| (why.as_str(), counter.get()));
    words.filter(|(_, count)| *count > 0).collect()
}

/// Waits until as many connections have ended.
async fn ended(stand: &Stand, connections: u64) {
    while stand.counters().connections_closed.get() < connections {
        turn().await;
    }
}

#[test]
fn a_request_over_tls_is_told_as_such_and_its_handshake_counted() {
    run(async {
        let made = Pair::new(&["h"]);
        let (stand, mut server) = stand(&made, &Policy::default()).await;
        let mut config = made.client(&["http/1.1"]);
        config.resumption = rustls::client::Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        for resumed in 0..2 {
            let far = client(&stand).await;
            let mut far = Far::client(far, config.clone(), "h").await.unwrap();
            far.say(REQUEST).await;
            let (head, answer) = tokio::join!(answer(&mut server), far.read_until("ok"));
            assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n"), "{head}");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            // Tickets, perhaps, and the answer in one record.
            assert!(data_records(&far.received) <= 6);
            let counted = &stand.counters().tls_handshakes[1];
            assert_eq!(counted[1].get(), resumed);
            assert_eq!(counted[0].get(), 1);
            far.end().await;
        }
        assert_eq!(failures(&stand), []);
    });
}

#[test]
fn a_hello_may_come_in_pieces_and_in_several_records() {
    run(async {
        let made = Pair::new(&["h"]);
        let (stand, mut server) = stand(&made, &Policy::default()).await;
        for seed in 0..6 {
            let mut dice = Dice::new(seed);
            let mut config = made.client(&[]);
            if seed % 2 == 1 {
                config.max_fragment_size = Some(100);
            }
            let mut far = client(&stand).await;
            let name = "h".try_into().unwrap();
            let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
            let mut hello = Vec::new();
            session.write_tls(&mut hello).unwrap();
            let mut left = &hello[..];
            while !left.is_empty() {
                let n = (1 + dice.roll(300)).min(left.len());
                far.write_all(&left[..n]).await.unwrap();
                left = &left[n..];
                turn().await;
            }
            let mut far = Far::shake(far, session.into()).await.unwrap();
            far.say(REQUEST).await;
            let (_, answer) = tokio::join!(answer(&mut server), far.read_until("ok"));
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    });
}

#[test]
fn what_is_spoken_inside_is_agreed_on() {
    run(async {
        let made = Pair::new(&["h"]);
        let (stand, _server) = stand(&made, &Policy::default()).await;
        let far = client(&stand).await;
        let config = made.client(&["h2", "http/1.1"]);
        let far = Far::client(far, config, "h").await.unwrap();
        assert_eq!(far.session.alpn_protocol(), Some(&b"h2"[..]));
        while stand.counters().connections_h2.get() == 0 {
            turn().await;
        }
        // Without that word its preface is no request.
        let far = client(&stand).await;
        let mut far = Far::client(far, made.client(&[]), "h").await.unwrap();
        far.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let refused = far.read_until("HTTP/2.\n").await;
        assert!(refused.starts_with("HTTP/1.1 505 "), "{refused}");
        assert_eq!(stand.counters().connections_h2.get(), 1);
        let far = client(&stand).await;
        let refused = Far::client(far, made.client(&["smtp"]), "h").await;
        let told = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(refused.err(), Some(told));
        ended(&stand, 1).await;
        assert_eq!(failures(&stand), [("incompatible", 1)]);
    });
}

#[test]
fn each_failure_has_its_word() {
    run(async {
        let made = Pair::new(&["h"]);
        let strict = Policy {
            strict_sni: true,
            ..Policy::default()
        };
        let (stand, _server) = stand(&made, &strict).await;
        // A name that no certificate stands for.
        let other = Pair::new(&["other"]);
        let far = Far::client(client(&stand).await, other.client(&[]), "other").await;
        let refused = far.err().unwrap().to_string();
        assert!(refused.contains("UnrecognisedName"), "{refused}");
        // A certificate that the client does not believe.
        let far = client(&stand).await;
        let far = Far::client(far, other.client(&[]), "h").await;
        assert!(far.is_err());
        drop(far);
        // A hello that is none.
        let mut far = client(&stand).await;
        far.write_all(b"\x16\x03\x01\0\x05\x01\0\0\x01\0")
            .await
            .unwrap();
        let mut alert = Vec::new();
        far.read_to_end(&mut alert).await.unwrap();
        assert_eq!(alert[..3], [21, 3, 3]);
        // Half a hello.
        let mut far = client(&stand).await;
        far.write_all(b"\x16\x03\x01\x02\0\x01").await.unwrap();
        drop(far);
        // Something else.
        let mut far = client(&stand).await;
        far.write_all(b"\0\x01\x02").await.unwrap();
        assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
        // A check that only connects is no failure.
        drop(client(&stand).await);
        ended(&stand, 6).await;
        let expected = [
            ("closed", 1),
            ("not_tls", 1),
            ("unrecognized_name", 1),
            ("alert", 1),
            ("protocol", 1),
        ];
        assert_eq!(failures(&stand), expected);
    });
}

#[test]
fn a_request_in_clear_is_told_where_it_has_to_go() {
    run(async {
        let made = Pair::new(&["h"]);
        let (stand, _server) = stand(&made, &Policy::default()).await;
        let mut far = client(&stand).await;
        far.write_all(REQUEST.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.contains("https://"), "{answer}");
        assert_eq!(failures(&stand), [("not_tls", 1)]);
    });
}

#[test]
fn a_handshake_that_stalls_ends_in_time() {
    run(async {
        let made = Pair::new(&["h"]);
        let front = made.front(&Policy::default());
        let stand = Stand::with(|frontend| {
            frontend.tls = Some(front);
            frontend.timeouts.http_request = Duration::from_millis(50);
        });
        let mut far = client(&stand).await;
        far.write_all(b"\x16\x03\x01\x02\0\x01").await.unwrap();
        let sweeping = async {
            loop {
                stand.worker.sweep();
                turn().await;
            }
        };
        let mut room = [0; 9];
        tokio::select! {
            () = sweeping => {}
            read = far.read(&mut room) => assert_eq!(read.unwrap(), 0),
        }
        ended(&stand, 1).await;
        assert_eq!(failures(&stand), [("timeout", 1)]);
    });
}

#[test]
fn hosts_of_other_certificates_are_misdirected() {
    run(async {
        let made = Pair::new(&["h", "*.wild"]);
        let other = Pair::new(&["other"]);
        let (stand, mut server) = stand(&made, &Policy::default()).await;
        let both = [made.certificate(), other.certificate()];
        stand.show(far_front(&both));
        let far = client(&stand).await;
        let mut far = Far::client(far, made.client(&[]), "h").await.unwrap();
        for (host, status) in [
            ("a.wild:8443", 200),
            ("other", 421),
            ("H", 200),
            ("nobody", 200),
        ] {
            far.say(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
                .await;
            if status == 200 {
                answer(&mut server).await;
            }
            let answer = far
                .read_until(if status == 200 { "ok" } else { "\n" })
                .await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{host} {answer}"
            );
        }
    });
}

fn far_front(certificates: &[Arc<roundel_tls::Certificate>]) -> Arc<roundel_tls::Front> {
    let now = std::time::SystemTime::now();
    let keys = roundel_tls::TicketKeys::new(now);
    let front = roundel_tls::Front::new(certificates, &Policy::default(), &keys, now);
    Arc::new(front)
}

#[test]
fn a_reload_counts_for_new_handshakes_only() {
    run(async {
        let made = Pair::new(&["h"]);
        let (stand, mut server) = stand(&made, &Policy::default()).await;
        let far = client(&stand).await;
        let mut before = Far::client(far, made.client(&[]), "h").await.unwrap();
        let next = Pair::new(&["h"]);
        stand.show(next.front(&Policy::default()));
        let far = client(&stand).await;
        let mut after = Far::client(far, next.client(&[]), "h").await.unwrap();
        for far in [&mut before, &mut after] {
            far.say(REQUEST).await;
            let (_, answer) = tokio::join!(answer(&mut server), far.read_until("ok"));
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    });
}

#[test]
fn both_versions_are_spoken() {
    run(async {
        let made = Pair::new(&["h"]);
        let (stand, mut server) = stand(&made, &Policy::default()).await;
        for (at, version) in [&TLS12, &TLS13].into_iter().enumerate() {
            let far = client(&stand).await;
            let config = made.client_of(version);
            let mut far = Far::client(far, config, "h").await.unwrap();
            far.say(REQUEST).await;
            let (_, answer) = tokio::join!(answer(&mut server), far.read_until("ok"));
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert_eq!(stand.counters().tls_handshakes[at][0].get(), 1);
        }
    });
}

#[test]
fn a_certificate_of_a_client_is_told_to_servers_and_counted_when_it_is_missing() {
    run(async {
        let (made, ann) = (Pair::new(&["h"]), Pair::new(&["ann.example"]));
        let [authority, _] = ann.files();
        let clients = Clients::read(true, &[authority.to_path_buf()], &[]).unwrap();
        let policy = Policy {
            clients: Some(clients),
            ..Policy::default()
        };
        let front = made.front(&policy);
        let subject = Template::parse("%{client_cert_subject}|%{client_cert_san}").unwrap();
        let stand = Stand::with(|frontend| {
            frontend.tls = Some(front);
            let rule = HeaderRule::Set("X-Client".to_owned(), subject);
            frontend.request_headers.push(rule);
        });
        let (near, mut server) = pair().await;
        stand.connect(Io::Plain(near));
        let far = client(&stand).await;
        let mut far = Far::client(far, ann.shown_to(&made), "h").await.unwrap();
        far.say(REQUEST).await;
        let (head, _) = tokio::join!(answer(&mut server), far.read_until("ok"));
        let expected = "\r\nX-Client: CN=rcgen self signed cert|DNS:ann.example\r\n";
        assert!(head.contains(expected), "{head}");
        // In TLS 1.3 a client learns of it after its own last word.
        let far = client(&stand).await;
        let mut far = Far::client(far, made.client(&[]), "h").await.unwrap();
        // What it says meanwhile does not take the word from it.
        far.say(REQUEST).await;
        while failures(&stand).is_empty() {
            turn().await;
        }
        far.say(REQUEST).await;
        let told = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let heard = loop {
            match far.hear().await {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(heard, told);
        drop(far);
        ended(&stand, 1).await;
        assert_eq!(failures(&stand), [("client_certificate", 1)]);
    });
}
