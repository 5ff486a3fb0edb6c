//! Who is shown what, and who is refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, ProtocolVersion};

use super::mint::{Authority, ECDSA, ED25519, RSA};
use super::talk::{client, client_with, talk};
use crate::*;

fn front(certificates: &[Arc<Certificate>], policy: &Policy) -> Front {
    let now = SystemTime::now();
    Front::new(certificates, policy, &TicketKeys::new(now), now)
}

#[test]
fn an_exact_name_comes_before_a_wildcard_before_the_default() {
    let authority = Authority::new("test");
    let first = authority.certificate(&["first.example"], ECDSA);
    let wild = authority.certificate(&["*.example.org", "example.org"], ECDSA);
    let exact = authority.certificate(&["www.example.org", "127.0.0.1"], ECDSA);
    let all = [first.clone(), wild.clone(), exact.clone()];
    let lax = front(&all, &Policy::default());
    let strict = front(
        &all,
        &Policy {
            strict_sni: true,
            ..Policy::default()
        },
    );
    let client = Arc::new(client(&authority, None));
    for (name, expected) in [
        ("first.example", &first),
        ("api.example.org", &wild),
        ("example.org", &wild),
        ("www.example.org", &exact),
        ("WWW.Example.ORG", &exact),
    ] {
        for front in [&lax, &strict] {
            let shown = talk(front, &client, name).unwrap().answer.certificate;
            assert_eq!(&shown, expected, "{name}");
        }
    }
    // One that no certificate stands for is shown the first, which it does not take.
    for name in ["a.b.example.org", "other.example", "127.0.0.1"] {
        let error = talk(&lax, &client, name).unwrap_err();
        assert!(
            error.contains("invalid peer certificate"),
            "{name}: {error}"
        );
        assert_eq!(
            talk(&strict, &client, name).unwrap_err(),
            "unrecognized_name"
        );
    }
    for (certificate, host, serves, serves_strictly) in [
        (&exact, "www.example.org", true, true),
        (&exact, "www.example.org.", true, true),
        (&exact, "api.example.org", false, false),
        (&wild, "www.example.org", true, true),
        (&exact, "127.0.0.1", true, true),
        (&first, "other.example", true, false),
        (&first, "[::1]", true, false),
        (&wild, "127.0.0.2", true, false),
        (&first, "www.example.org", false, false),
    ] {
        assert_eq!(lax.serves(certificate, host), serves, "{host}");
        assert_eq!(strict.serves(certificate, host), serves_strictly, "{host}");
    }
}

#[test]
fn nobody_is_answered_without_certificates() {
    let authority = Authority::new("test");
    let client = Arc::new(client(&authority, None));
    let error = talk(&front(&[], &Policy::default()), &client, "a.example").unwrap_err();
    assert_eq!(error, "unrecognized_name");
}

/// A client that knows only some ciphers.
fn only(wanted: &str) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&crate::provider::shared());
    let fits = |suite: &rustls::SupportedCipherSuite| format!("{suite:?}").contains(wanted);
    provider.cipher_suites.retain(fits);
    Arc::new(provider)
}

#[test]
fn a_client_is_shown_the_kind_that_it_knows_and_ecdsa_if_it_knows_all() {
    let authority = Authority::new("test");
    let names = ["www.example.org"];
    let [rsa, ed25519, ecdsa] =
        [RSA, ED25519, ECDSA].map(|kind| authority.certificate(&names, kind));
    let front = front(&[rsa, ed25519, ecdsa], &Policy::default());
    for (ciphers, versions, kind) in [
        ("", rustls::ALL_VERSIONS, KeyKind::Ecdsa),
        ("", &[&TLS12], KeyKind::Ecdsa),
        ("", &[&TLS13], KeyKind::Ecdsa),
        ("ECDHE_RSA", &[&TLS12], KeyKind::Rsa),
        ("ECDHE_ECDSA", &[&TLS12], KeyKind::Ecdsa),
    ] {
        let client = client_with(&authority, None, only(ciphers), versions);
        let talk = talk(&front, &Arc::new(client), names[0]).unwrap();
        assert_eq!(talk.answer.certificate.kind(), kind, "{ciphers}");
    }
}

#[test]
fn of_two_of_a_kind_the_one_that_counts_is_shown_and_the_longest() {
    let authority = Authority::new("test");
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let make = |from, to| {
        let (chain, key) = authority.issue_for(&["a.example"], ECDSA, from, to);
        Arc::new(Certificate::read(chain.as_bytes(), key.as_bytes(), "").unwrap())
    };
    let ended = make(now - day * 9, now - day);
    let short = make(now - day, now + day);
    let long = make(now - day, now + day * 9);
    let coming = make(now + day * 5, now + day * 99);
    let client = Arc::new(client(&authority, None));
    let shown = |all: &[&Arc<Certificate>]| {
        let all: Vec<_> = all.iter().copied().cloned().collect();
        let talk = talk(&front(&all, &Policy::default()), &client, "a.example");
        talk.unwrap().answer.certificate
    };
    assert_eq!(shown(&[&ended, &coming, &short]), short);
    assert_eq!(shown(&[&short, &long, &ended]), long);
    assert_eq!(ended.validity(now), Validity::Ended);
    assert_eq!(coming.validity(now), Validity::NotYet);
}

#[test]
fn profiles_allow_versions_and_the_exchange_is_hybrid() {
    let authority = Authority::new("test");
    let certificate = authority.certificate(&["a.example"], ECDSA);
    let modern = Policy {
        profile: Profile::Modern,
        ..Policy::default()
    };
    let fronts = [modern, Policy::default()].map(|p| front(std::slice::from_ref(&certificate), &p));
    let [modern, intermediate] = &fronts;
    let old = Arc::new(client_with(&authority, None, only(""), &[&TLS12]));
    let error = talk(modern, &old, "a.example").unwrap_err();
    assert!(error.contains("Tls12NotOfferedOrEnabled"), "{error}");
    let talked = talk(intermediate, &old, "a.example").unwrap();
    assert_eq!(
        talked.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );
    let new = Arc::new(client(&authority, None));
    for front in &fronts {
        let talked = talk(front, &new, "a.example").unwrap();
        assert_eq!(
            talked.server.protocol_version(),
            Some(ProtocolVersion::TLSv1_3)
        );
        let group = talked.server.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    }
}

#[test]
fn what_is_spoken_inside_is_agreed_on() {
    let authority = Authority::new("test");
    let certificate = authority.certificate(&["a.example"], ECDSA);
    let old_only = Policy {
        alpn: vec![Protocol::Http1],
        ..Policy::default()
    };
    for (policy, offered, agreed) in [
        (&Policy::default(), &["http/1.1", "h2"][..], Some("h2")),
        (&Policy::default(), &["http/1.1"], Some("http/1.1")),
        (&Policy::default(), &[], None),
        (&old_only, &["h2", "http/1.1"], Some("http/1.1")),
    ] {
        let mut client = client(&authority, None);
        client.alpn_protocols = offered.iter().map(|&name| name.into()).collect();
        let talked = talk(
            &front(std::slice::from_ref(&certificate), policy),
            &Arc::new(client),
            "a.example",
        );
        let expected = agreed.map(str::as_bytes);
        assert_eq!(talked.unwrap().alpn(), expected, "{offered:?}");
    }
}
