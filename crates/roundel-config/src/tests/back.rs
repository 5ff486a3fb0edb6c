//! What a file says about TLS towards servers.

use std::fs;
use std::path::Path;

use roundel_proxy::Proto;

use super::{STATIC, resolve, shown};
use crate::{LoadError, Settings, Source};

/// Reads a backend with this key, in a folder with `ca.pem`, `own.pem`, `own.key` and `other.key`.
fn load(folder: &Path, tls: &str) -> Result<Settings, LoadError> {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    for (file, text) in [
        ("ca.pem", made.cert.pem()),
        ("own.pem", made.cert.pem()),
        ("own.key", made.signing_key.serialize_pem()),
        (
            "other.key",
            rcgen::KeyPair::generate().unwrap().serialize_pem(),
        ),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    let path = folder.join("roundel.toml");
    fs::write(&path, format!("{STATIC}tls = {tls}\n")).unwrap();
    resolve(Some(Source::read(&path).unwrap()), &[])
}

#[test]
fn one_word_is_enough_and_everything_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let settings = load(folder.path(), text);
        settings.unwrap_or_else(|error| panic!("{}", shown(&error)))
    };
    let back = |text: &str| read(text).backends[0].tls.clone().unwrap();
    let plain = back("true");
    let host = |name: &str| name.to_owned().try_into().unwrap();
    assert!(plain.verifies());
    assert_eq!(plain.name("10.0.0.1".parse().unwrap()), host("10.0.0.1"));
    assert_eq!(plain, back("{}"));
    let all = "{ server_name = \"a.example\", ca_file = \"ca.pem\", certificate = \"own.pem\", \
               key = \"own.key\", verify = false }";
    let settings = read(all);
    let full = settings.backends[0].tls.clone().unwrap();
    assert!(!full.verifies());
    assert_eq!(full.name("10.0.0.1".parse().unwrap()), host("a.example"));
    assert_ne!(plain, full);
    let printed = settings.effective.to_string();
    assert!(printed.contains("server_name = \"a.example\""), "{printed}");
    assert!(fine_without(), "nothing is said");
}

/// Without the key servers are spoken to in clear.
fn fine_without() -> bool {
    super::fine(STATIC, &[]).backends[0].tls.is_none()
}

#[test]
fn servers_speak_what_is_said_and_choose_only_over_tls() {
    let proto = |text: &str| super::fine(&format!("{STATIC}{text}"), &[]).backends[0].proto;
    assert_eq!(proto(""), Proto::H1);
    assert_eq!(proto("proto = \"h2\"\n"), Proto::H2);
    let folder = tempfile::tempdir().unwrap();
    let backs = ["h1", "h2", "auto"].map(|word| {
        let keys = format!("true\nproto = \"{word}\"");
        let settings = load(folder.path(), &keys);
        let settings = settings.unwrap_or_else(|error| panic!("{}", shown(&error)));
        let back = settings.backends[0].tls.clone().unwrap();
        // What is in a pool was offered something else.
        (back.mark(), back.config().alpn_protocols.clone())
    });
    let h1 = b"http/1.1".to_vec();
    let offered = backs.each_ref().map(|(_, alpn)| alpn.clone());
    let both = vec![b"h2".to_vec(), h1.clone()];
    assert_eq!(offered, [vec![h1], vec![b"h2".to_vec()], both]);
    assert!(backs[0].0 != backs[1].0 && backs[1].0 != backs[2].0);
    let error = super::load(Some(&format!("{STATIC}proto = \"auto\"\n")), &[]);
    let told = shown(&error.expect_err("nobody is asked"));
    for part in ["roundel.toml:4:", "there is none", "add tls = true"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_is_no_good_is_told_with_place_and_cure() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    for (tls, message, cure) in [
        (
            "{ ca_file = \"no.pem\" }",
            format!("{at}/no.pem: it cannot be read"),
            "name a PEM file",
        ),
        (
            "{ ca_file = \"own.key\" }",
            format!("{at}/own.key: it holds no certificate"),
            "-----BEGIN CERTIFICATE-----",
        ),
        (
            "{ certificate = \"own.pem\" }",
            "a certificate is nothing without its key".to_owned(),
            "add key = ",
        ),
        (
            "{ certificate = \"own.pem\", key = \"ca.pem\" }",
            format!("{at}/ca.pem: it holds no private key"),
            "append the key",
        ),
        (
            "{ certificate = \"own.pem\", key = \"other.key\" }",
            format!("{at}/other.key: its private key belongs to another certificate"),
            "the key is the one that the leaf was requested with",
        ),
        (
            "{ server_name = \"a b\" }",
            "`a b` is no name of a host".to_owned(),
            "without a port",
        ),
        (
            "false",
            "servers are spoken to in clear where nothing is said".to_owned(),
            "leave tls out",
        ),
    ] {
        let error = shown(&load(folder.path(), tls).expect_err(tls));
        assert!(error.contains(&message), "{tls}: {error}");
        assert!(error.contains(cure), "{tls}: {error}");
        assert!(error.contains("roundel.toml:4:"), "{tls}: {error}");
    }
}
