//! Orders from Pebble, Let's Encrypt's CA for tests, over the network and with half of all nonces refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use roundel_acme::{Challenge, Config, ExternalAccount, Facts, Issued, Renewer};
use roundel_testkit::Pebble;
use roundel_tls::{ACME_TLS, Challenges};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;

/// A name of more than 64 letters, which fits into no common name.
const LONG: &str = "a-name-that-is-longer-than-sixty-four-letters.and-goes-on.roundel.example";
const DAY: Duration = Duration::from_hours(24);

fn config(pebble: &Pebble, names: &[&str], challenge: Challenge) -> Config {
    Config {
        email: Some("ops@roundel.example".into()),
        accept_terms: true,
        names: names.iter().map(|n| n.to_string()).collect(),
        directory: pebble.directory(),
        ca_file: Some(pebble.ca_file()),
        eab: None,
        state: pebble.at("state"),
        challenge,
    }
}

/// Panics unless a client that trusts Pebble's root takes the certificate for the name.
fn verify(pebble: &Pebble, issued: &Issued, name: &str) {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(pebble.root()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (leaf, others) = issued.certificate.chain().split_first().unwrap();
    let verified =
        verifier
            .build()
            .unwrap()
            .verify_server_cert(leaf, others, &name, &[], UnixTime::now());
    verified.unwrap();
}

/// Answers plain requests for proofs, until the test ends.
fn answer_http(address: SocketAddr, challenges: Challenges) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = answer_one(client, &challenges);
        }
    });
}

fn answer_one(mut client: TcpStream, challenges: &Challenges) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default();
    let mut line = String::from(" ");
    while !line.trim_end().is_empty() || line == " " {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let (status, body) = match challenges.http(path) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", "".into()),
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Answers handshakes for proofs, until the test ends.
fn answer_tls(address: SocketAddr, challenges: Challenges) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = shake(client, &challenges);
        }
    });
}

fn shake(mut client: TcpStream, challenges: &Challenges) -> Option<()> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        acceptor.read_tls(&mut client).ok().filter(|n| *n > 0)?;
        if let Some(accepted) = acceptor.accept().ok()? {
            break accepted;
        }
    };
    let hello = accepted.client_hello();
    hello.alpn()?.find(|protocol| *protocol == ACME_TLS)?;
    let config = challenges.tls(hello.server_name()?)?;
    let mut connection = accepted.into_connection(config).ok()?;
    let mut stream = rustls::Stream::new(&mut connection, &mut client);
    let _ = stream.read(&mut [0]);
    Some(())
}

fn open(config: &Config, challenges: &Challenges) -> Renewer {
    Renewer::open(
        config.clone(),
        Arc::new(challenges.clone()),
        None,
        SystemTime::now(),
    )
    .unwrap()
}

/// Turns until a certificate of the CA is served that was not served before; a try of which each nonce
/// was refused is made again.
fn issue(renewer: &mut Renewer, mut now: SystemTime) -> Arc<Issued> {
    let mut served = renewer.certificate();
    served.mark_unchanged();
    for _ in 0..8 {
        now = block(renewer.turn(now)).max(now);
        if served.has_changed().unwrap() {
            return served.borrow().clone();
        }
    }
    panic!("{:?}", facts(renewer));
}

fn facts(renewer: &Renewer) -> Facts {
    renewer.facts().borrow().clone()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_certificate_is_issued_kept_and_renewed_by_http_01() {
    let Some(pebble) = Pebble::start("") else {
        return;
    };
    let challenges = Challenges::default();
    answer_http(pebble.http(), challenges.clone());
    let config = config(
        &pebble,
        &["www.roundel.example", "B.roundel.example", LONG],
        Challenge::Http01,
    );
    let mut renewer = open(&config, &challenges);
    assert!(facts(&renewer).self_signed && renewer.certificate().borrow().self_signed);
    let now = SystemTime::now();
    let first = issue(&mut renewer, now);
    for name in ["www.roundel.example", "b.roundel.example", LONG] {
        verify(&pebble, &first, name);
    }
    let told = facts(&renewer);
    assert_eq!(
        (told.self_signed, told.orders_total, told.failures),
        (false, 1, 0)
    );
    assert_eq!(told.not_after, Some(first.certificate.not_after()));

    drop(renewer);
    let mut renewer = open(&config, &challenges);
    assert_eq!(
        renewer.certificate().borrow().certificate,
        first.certificate
    );
    block(renewer.turn(now + DAY));
    assert_eq!(facts(&renewer).orders_total, 0, "nothing is due");
    let life = first.certificate.not_after().duration_since(now).unwrap();
    let second = issue(&mut renewer, now + life.mul_f64(0.7));
    assert_ne!(second.certificate.chain()[0], first.certificate.chain()[0]);
    verify(&pebble, &second, LONG);
}

#[test]
fn a_certificate_is_issued_by_tls_alpn_01() {
    let Some(pebble) = Pebble::start("") else {
        return;
    };
    let challenges = Challenges::default();
    answer_tls(pebble.tls(), challenges.clone());
    let config = config(
        &pebble,
        &["www.roundel.example", LONG],
        Challenge::TlsAlpn01,
    );
    let issued = issue(&mut open(&config, &challenges), SystemTime::now());
    verify(&pebble, &issued, "www.roundel.example");
    assert!(
        challenges.tls("www.roundel.example").is_none(),
        "the proof is withdrawn"
    );
}

#[test]
fn an_external_account_is_bound_where_the_ca_asks_for_it() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let more = format!(
        r#", "externalAccountBindingRequired": true, "externalAccountMACKeys": {{"kid-1": "{key}"}}"#
    );
    let Some(pebble) = Pebble::start(&more) else {
        return;
    };
    let challenges = Challenges::default();
    answer_http(pebble.http(), challenges.clone());
    let mut config = config(&pebble, &["www.roundel.example"], Challenge::Http01);
    let mut renewer = open(&config, &challenges);
    block(renewer.turn(SystemTime::now()));
    let line = facts(&renewer).last_error.unwrap();
    assert!(
        line.contains("externalAccountRequired") && line.contains("eab"),
        "{line}"
    );
    drop(renewer);

    fs::write(pebble.at("hmac"), format!("{key}\n")).unwrap();
    config.eab = Some(ExternalAccount {
        kid: "kid-1".into(),
        hmac_file: pebble.at("hmac"),
    });
    let mut renewer = open(&config, &challenges);
    let issued = issue(&mut renewer, SystemTime::now() + DAY);
    verify(&pebble, &issued, "www.roundel.example");
}

#[test]
fn a_name_that_nobody_answers_for_is_told_of_and_tried_again_later() {
    let Some(pebble) = Pebble::start("") else {
        return;
    };
    let challenges = Challenges::default();
    let config = config(&pebble, &["www.roundel.example"], Challenge::Http01);
    let mut renewer = open(&config, &challenges);
    let now = SystemTime::now();
    let next = block(renewer.turn(now));
    let told = facts(&renewer);
    let line = told.last_error.unwrap();
    assert!(
        line.starts_with("www.roundel.example: the CA says"),
        "{line}"
    );
    assert!(
        line.contains("is port 80 of this balancer reachable from outside"),
        "{line}"
    );
    assert_eq!((told.failures, told.self_signed), (1, true));
    assert!(next > now + Duration::from_secs(59));

    answer_http(pebble.http(), challenges.clone());
    drop(renewer);
    let mut renewer = open(&config, &challenges);
    let again = block(renewer.turn(now + Duration::from_secs(30)));
    assert!(
        again > now + Duration::from_secs(59),
        "the back-off outlives a restart"
    );
    assert_eq!(facts(&renewer).failures, 1);
    verify(
        &pebble,
        &issue(&mut renewer, again + Duration::from_secs(1)),
        "www.roundel.example",
    );
    assert_eq!(facts(&renewer).last_error, None);
}

#[test]
fn a_ca_that_has_forgotten_the_account_is_told_of_it_again() {
    let Some(mut pebble) = Pebble::start("") else {
        return;
    };
    let challenges = Challenges::default();
    answer_http(pebble.http(), challenges.clone());
    let config = config(&pebble, &["www.roundel.example"], Challenge::Http01);
    let now = SystemTime::now();
    let first = issue(&mut open(&config, &challenges), now);
    pebble.forget();
    let mut renewer = open(&config, &challenges);
    let life = first.certificate.not_after().duration_since(now).unwrap();
    let second = issue(&mut renewer, now + life.mul_f64(0.7));
    verify(&pebble, &second, "www.roundel.example");
    assert!(facts(&renewer).failures_total > 0);
}
