//! Certificates of clients.

use std::fs::write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::ClientConfig;

use super::mint::{Authority, ECDSA};
use super::talk::{client, talk};
use crate::*;

/// A frontend that asks, and who comes.
struct Stage {
    folder: tempfile::TempDir,
    server: Authority,
    people: Authority,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            server: Authority::new("servers"),
            people: Authority::new("people"),
        };
        write(stage.file("people.pem"), stage.people.0.pem()).unwrap();
        stage
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A list of revoked certificates that ends at `end`.
    fn list(&self, name: &str, revoked: &[SerialNumber], end: SystemTime) -> PathBuf {
        let day = Duration::from_secs(86_400);
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: SystemTime::now().into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: (SystemTime::now() - day * 2).into(),
            next_update: end.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.people.0).unwrap();
        write(self.file(name), list.pem().unwrap()).unwrap();
        self.file(name)
    }

    fn front(&self, required: bool, lists: &[PathBuf]) -> Front {
        let clients = Clients::read(required, &[self.file("people.pem")], lists).unwrap();
        let policy = Policy {
            clients: Some(clients),
            ..Policy::default()
        };
        let now = SystemTime::now();
        let own = self.server.certificate(&["a.example"], ECDSA);
        Front::new(&[own], &policy, &TicketKeys::new(now), now)
    }

    fn come(&self, own: Option<&Certificate>) -> Arc<ClientConfig> {
        Arc::new(client(&self.server, own))
    }
}

fn serial(certificate: &Certificate) -> SerialNumber {
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.key.cert[0]).unwrap();
    SerialNumber::from_slice(parsed.raw_serial())
}

#[test]
fn who_is_asked_shows_one_that_is_believed_or_none() {
    let stage = Stage::new();
    let known = stage.people.certificate(&["ann.example"], ECDSA);
    let stranger = Authority::new("people").certificate(&["ann.example"], ECDSA);
    let [optional, required] = [false, true].map(|required| stage.front(required, &[]));
    for front in [&optional, &required] {
        let talked = talk(front, &stage.come(Some(&known)), "a.example").unwrap();
        let shown = talked.server.peer_certificates().unwrap();
        assert_eq!(shown, known.key.cert);
        assert!(talk(front, &stage.come(Some(&stranger)), "a.example").is_err());
    }
    let talked = talk(&optional, &stage.come(None), "a.example").unwrap();
    assert_eq!(talked.server.peer_certificates(), None);
    let error = talk(&required, &stage.come(None), "a.example").unwrap_err();
    assert!(error.contains("peer sent no certificates"), "{error}");
}

#[test]
fn who_was_revoked_is_refused_and_so_is_everybody_once_the_list_has_ended() {
    let stage = Stage::new();
    let [ann, bob] = ["ann", "bob"].map(|name| stage.people.certificate(&[name], ECDSA));
    let day = Duration::from_secs(86_400);
    let fresh = stage.list("fresh", &[serial(&bob)], SystemTime::now() + day);
    let stale = stage.list("stale", &[], SystemTime::now() - day);
    for (list, who, believed) in [
        (&fresh, &ann, true),
        (&fresh, &bob, false),
        (&stale, &ann, false),
    ] {
        let front = stage.front(true, std::slice::from_ref(list));
        let talked = talk(&front, &stage.come(Some(who)), "a.example");
        assert_eq!(
            talked.is_ok(),
            believed,
            "{:?} {:?}",
            who.names(),
            talked.err()
        );
    }
}

#[test]
fn nobody_who_was_asked_goes_on_with_a_session() {
    let stage = Stage::new();
    let known = stage.people.certificate(&["ann.example"], ECDSA);
    let own = stage.server.certificate(&["a.example"], ECDSA);
    let now = SystemTime::now();
    let keys = TicketKeys::new(now);
    let clients = |required| {
        let clients = Clients::read(required, &[stage.file("people.pem")], &[]).unwrap();
        let clients = Some(clients);
        Policy {
            clients,
            ..Policy::default()
        }
    };
    let build = |policy: &Policy| Front::new(std::slice::from_ref(&own), policy, &keys, now);
    let open = build(&Policy::default());
    for asking in [false, true].map(|required| build(&clients(required))) {
        let client = stage.come(Some(&known));
        assert!(!talk(&asking, &client, "a.example").unwrap().is_resumed());
        assert!(!talk(&asking, &client, "a.example").unwrap().is_resumed());
        // Nor does a ticket of a frontend that asks nobody let anybody in.
        assert!(!talk(&open, &client, "a.example").unwrap().is_resumed());
        let talked = talk(&asking, &client, "a.example").unwrap();
        assert!(!talked.is_resumed());
        assert!(talked.server.peer_certificates().is_some());
    }
}

#[test]
fn bad_files_are_told() {
    let stage = Stage::new();
    write(stage.file("empty.pem"), "").unwrap();
    let dull = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    write(stage.file("dull.pem"), dull).unwrap();
    let (people, empty) = (stage.file("people.pem"), stage.file("empty.pem"));
    let (none, dull) = (stage.file("none.pem"), stage.file("dull.pem"));
    for (authorities, lists, expected) in [
        (vec![none.clone()], vec![], vec!["it cannot be read"]),
        (vec![empty.clone()], vec![], vec!["it holds no certificate"]),
        (
            vec![people.clone(), empty.clone()],
            vec![people.clone(), dull],
            vec![
                "it holds no certificate",
                "it holds no list",
                "its list of revoked certificates cannot be read",
            ],
        ),
    ] {
        let refused = Clients::read(true, &authorities, &lists).unwrap_err();
        let said: Vec<_> = refused.iter().map(|r| r.flaw.to_string()).collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
    }
}

#[test]
fn policies_are_equal_if_they_believe_the_same() {
    let stage = Stage::new();
    let people = [stage.file("people.pem")];
    let read = |required| Clients::read(required, &people, &[]).unwrap();
    let before = read(true);
    assert_eq!(before, read(true));
    assert_ne!(before, read(false));
    write(&people[0], Authority::new("people").0.pem()).unwrap();
    assert_ne!(before, read(true));
}

#[test]
fn a_ca_that_asks_for_a_proof_is_shown_that_alone_and_needs_no_certificate() {
    let stage = Stage::new();
    let proof = stage.server.certificate(&["b.example"], ECDSA);
    let mut config = rustls::ServerConfig::builder_with_provider(crate::provider::shared())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(
            &proof.key,
        ))));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    let challenges = Challenges::default();
    challenges.present_tls("b.example", Arc::new(config));
    let front = stage.front(true, &[]).with_challenges(challenges.clone());
    let offering = |protocols: &[&[u8]]| {
        let mut client = client(&stage.server, None);
        client.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Arc::new(client)
    };
    let ca = offering(&[ACME_TLS]);
    let talked = talk(&front, &ca, "b.example").unwrap();
    assert_eq!(talked.alpn(), Some(ACME_TLS));
    assert_eq!(talked.client.peer_certificates().unwrap(), proof.key.cert);
    for (protocols, name) in [
        (&[ACME_TLS][..], "a.example"),
        (&[ACME_TLS, b"h2"], "b.example"),
        (&[b"h2"], "b.example"),
    ] {
        assert!(talk(&front, &offering(protocols), name).is_err(), "{name}");
    }
    challenges.withdraw_tls("b.example");
    assert_eq!(
        talk(&front, &ca, "b.example").unwrap_err(),
        "unrecognized_name"
    );
}
