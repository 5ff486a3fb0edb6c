use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;
use crate::tests::mint::{Authority, ECDSA, ED25519, RSA};

fn read(chain: &str, key: &str) -> Result<Certificate, Flaw> {
    Certificate::read(chain.as_bytes(), key.as_bytes(), "here")
}

#[test]
fn everything_that_is_shown_is_read() {
    let authority = Authority::new("Test Authority");
    let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let to = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let names = ["WWW.Example.org", "*.example.org", "127.0.0.1", "::1"];
    for (algorithm, kind) in [
        (ECDSA, KeyKind::Ecdsa),
        (ED25519, KeyKind::Ed25519),
        (RSA, KeyKind::Rsa),
    ] {
        let (chain, key) = authority.issue_for(&names, algorithm, from, to);
        let both = format!("Bag Attributes\n{chain}{key}");
        let read = read(&both, &both).unwrap();
        assert_eq!(
            read.names(),
            ["www.example.org", "*.example.org", "127.0.0.1", "::1"]
        );
        assert_eq!(read.kind(), kind);
        assert_eq!(read.issuer(), "Test Authority");
        assert_eq!((read.not_before(), read.not_after()), (from, to));
        assert_eq!(read.key.cert.len(), 2);
        assert_eq!(read.source(), "here");
        let text = read.fingerprint_text();
        assert_eq!(text.len(), 64);
        assert!(text.starts_with(&format!("{:02x}", read.fingerprint()[0])));
        for (now, validity) in [
            (from - Duration::from_secs(1), Validity::NotYet),
            (from, Validity::Valid),
            (to, Validity::Valid),
            (to + Duration::from_secs(1), Validity::Ended),
        ] {
            assert_eq!(read.validity(now), validity);
        }
        for (host, covered) in [
            ("www.example.org", true),
            ("api.example.org", true),
            ("a.b.example.org", false),
            ("example.org", false),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("127.0.0.2", false),
            ("", false),
        ] {
            assert_eq!(read.covers(host), covered, "{host}");
        }
    }
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_reason() {
    let authority = Authority::new("test");
    let (chain, key) = authority.issue(&["a.example"], ECDSA);
    let (_, other) = authority.issue(&["a.example"], ECDSA);
    let (_, of_another_kind) = authority.issue(&["a.example"], RSA);
    let cut = &chain[..chain.len() / 3];
    let sealed = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let sealed_of_old = key.replace("KEY-----\nMI", "KEY-----\nProc-Type: 4,ENCRYPTED\n\nMI");
    assert_ne!(sealed_of_old, key);
    let both = chain.clone() + &sealed_of_old;
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let dull_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (chain, key, expected) in [
        ("", key.as_str(), "NoCertificate"),
        (&key, &key, "NoCertificate"),
        (&chain, "", "NoKey"),
        (&chain, &chain, "NoKey"),
        (&chain, &sealed, "SealedKey"),
        (&chain, &sealed_of_old, "SealedKey"),
        (&both, &both, "SealedKey"),
        (&chain, &other, "OtherKey"),
        (&chain, &of_another_kind, "OtherKey"),
        (cut, &key, "Pem("),
        (garbage, &key, "Certificate("),
        (&chain, dull_key, "Key("),
    ] {
        let flaw = read(chain, key).unwrap_err();
        assert!(
            format!("{flaw:?}").starts_with(expected),
            "{flaw:?} is no {expected}"
        );
        assert!(!flaw.to_string().contains("General"), "{flaw}");
    }
    let own = authority.0.key().serialize_pem();
    assert_eq!(read(&authority.0.pem(), &own).unwrap_err(), Flaw::Authority);
}

/// Made by `openssl x509 -req` without extensions.
const OF_VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBJDCBywIUWL0jSXihPYxvn68Lh/p1+J8QvaMwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJYS5leGFtcGxlMCAXDTI2MTEzMDE3MjEyMFoYDzIxMjYxMTA2MTcyMTIw
WjAUMRIwEAYDVQQDDAlhLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAT889am8J+JfVz/jfEM6W6Shbwyg7tIz1mANW0X1Ok7bfcjI8KuUlTi1ag22vpt
aGmX3lxEZjudmu83bNJQ10BWMAoGCCqGSM49BAMCA0gAMEUCIQCh60kNA+WdVKuu
+5WVXtMi+vPQYghNvLm8+YSDoEpawwIgNdt4DgcJYASs+v7ZvAjXNWXjnDbaKTEN
POntOpYrL68=
-----END CERTIFICATE-----
";

#[test]
fn a_certificate_of_version_1_is_named_as_such() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(read(OF_VERSION_1, &key).unwrap_err(), Flaw::Version);
}

#[test]
fn a_certificate_without_a_host_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "www.example.org");
    let named_in_vain = params.self_signed(&key).unwrap();
    let address = "ops@example.org".try_into().unwrap();
    params.subject_alt_names = vec![SanType::Rfc822Name(address)];
    let of_a_person = params.self_signed(&key).unwrap();
    for leaf in [named_in_vain, of_a_person] {
        let flaw = read(&leaf.pem(), &key.serialize_pem()).unwrap_err();
        assert_eq!(flaw, Flaw::NoName);
    }
}

#[test]
fn no_key_is_in_any_text() {
    let authority = Authority::new("test");
    let (chain, key) = authority.issue(&["a.example"], ECDSA);
    let text = format!("{:?}", read(&chain, &key).unwrap());
    let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let secret = format!("{:?}", &der.secret_der()[36..68]);
    assert!(!text.contains(secret.trim_matches(['[', ']'])));
}
