//! What a file says about TLS.

use std::fs;
use std::path::Path;

use roundel_tls::{Profile, Protocol};

use super::{STATIC, resolve, shown};
use crate::{LoadError, Settings, Source};

/// A folder with `certs/a.pem`, `certs/b.crt`, `certs/b.key` and `ca.pem`.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("certs")).unwrap();
    let make = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (a, b) = (make("a.example"), make("b.example"));
    let both = a.cert.pem() + &a.signing_key.serialize_pem();
    fs::write(at("certs/a.pem"), both).unwrap();
    fs::write(at("certs/b.crt"), b.cert.pem()).unwrap();
    fs::write(at("certs/b.key"), b.signing_key.serialize_pem()).unwrap();
    fs::write(at("ca.pem"), make("ca.example").cert.pem()).unwrap();
    folder
}

fn load(folder: &Path, text: &str) -> Result<Settings, LoadError> {
    let path = folder.join("roundel.toml");
    fs::write(&path, text).unwrap();
    resolve(Some(Source::read(&path).unwrap()), &[])
}

/// A frontend of these lines, of which the first is the third of the file.
fn front(lines: &str) -> String {
    format!("[[frontend]]\nname = \"f\"\n{lines}\n{STATIC}")
}

const LISTEN: &str = "listen = [{ address = \":443\", tls = true }]\n";

#[test]
fn two_lines_are_enough() {
    let folder = folder();
    let text = front(&format!("{LISTEN}tls = {{ certificates = \"certs\" }}"));
    let settings = load(folder.path(), &text).unwrap_or_else(|e| panic!("{}", shown(&e)));
    let frontend = &settings.frontends[0];
    assert!(frontend.listen[0].tls);
    let tls = frontend.tls.as_ref().unwrap();
    let names: Vec<_> = tls.certificates.iter().flat_map(|c| c.names()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    assert_eq!(tls.paths, [folder.path().join("certs")]);
    assert_eq!(tls.policy, roundel_tls::Policy::default());
}

#[test]
fn everything_is_said_and_printed() {
    let folder = folder();
    let text = front(&format!(
        "{LISTEN}tls = {{ certificates = [\"certs/b.crt\", \"certs\"], profile = \"modern\", alpn = [\"http/1.1\"], \
         strict_sni = true, client_auth = \"optional\", client_ca = [\"ca.pem\"] }}"
    ));
    let settings = load(folder.path(), &text).unwrap_or_else(|e| panic!("{}", shown(&e)));
    let tls = settings.frontends[0].tls.as_ref().unwrap();
    // The one that is named first is the default, and is there once.
    let names: Vec<_> = tls.certificates.iter().flat_map(|c| c.names()).collect();
    assert_eq!(names, ["b.example", "a.example"]);
    let policy = &tls.policy;
    assert_eq!((policy.profile, policy.strict_sni), (Profile::Modern, true));
    assert_eq!(policy.alpn, [Protocol::Http1]);
    assert!(!policy.clients.as_ref().unwrap().required());
    assert_eq!(tls.paths.len(), 3);
    let printed = settings.to_string();
    let again = load(folder.path(), &printed);
    let again = again.unwrap_or_else(|e| panic!("{printed}\n{}", shown(&e)));
    assert_eq!(again.frontends, settings.frontends);
    // What changed in a file is a change of the configuration.
    fs::copy(
        folder.path().join("certs/a.pem"),
        folder.path().join("ca.pem"),
    )
    .unwrap();
    assert_ne!(
        load(folder.path(), &text).unwrap().frontends,
        settings.frontends
    );
}

#[test]
fn mistakes_are_told_with_place_and_cure() {
    let folder = folder();
    fs::create_dir(folder.path().join("none")).unwrap();
    let certs = "certificates = [\"certs\"]";
    let own = "certificates = [\"certs\"], client_auth = \"required\", client_ca = ";
    for (lines, place, parts) in [
        (
            LISTEN.to_owned(),
            "{ address",
            ["has no certificate", "add tls = {"],
        ),
        (
            format!("listen = [\":443\"]\ntls = {{ {certs} }}"),
            "{ certificates",
            ["no listener of this frontend speaks TLS", "tls = true }]"],
        ),
        (
            format!(
                "listen = [{{ address = \":443\", tls = true, h2c = true }}]\ntls = {{ {certs} }}"
            ),
            "true }]",
            ["h2c is HTTP/2 without TLS", "alpn = ["],
        ),
        (
            format!("{LISTEN}tls = {{}}"),
            "{}",
            ["TLS needs a certificate", "acme = {"],
        ),
        (
            format!("{LISTEN}tls = {{ certificates = [] }}"),
            "[] }",
            ["TLS needs a certificate", "/etc/roundel/certs"],
        ),
        (
            format!("{LISTEN}tls = {{ certificates = [\"certs\", \"none\"] }}"),
            "\"none\"",
            ["none: there is no certificate in it", "put name.pem"],
        ),
        (
            format!("{LISTEN}tls = {{ certificates = \"gone\" }}"),
            "\"gone\"",
            ["gone: it cannot be read", "name a PEM file"],
        ),
        (
            format!("{LISTEN}tls = {{ {certs}, profile = \"old\" }}"),
            "\"old\"",
            ["old", "intermediate"],
        ),
        (
            format!("{LISTEN}tls = {{ {certs}, alpn = [] }}"),
            "[] }",
            ["something is spoken", "[\"http/1.1\"]"],
        ),
        (
            format!("{LISTEN}tls = {{ {certs}, client_auth = \"required\" }}"),
            "\"required\"",
            ["nobody is named who signs", "client_ca = ["],
        ),
        (
            format!("{LISTEN}tls = {{ {certs}, client_ca = \"ca.pem\" }}"),
            "{ certificates",
            ["no client is asked", "client_auth = "],
        ),
        (
            format!("{LISTEN}tls = {{ {own}[\"ca.pem\", \"certs/b.key\"] }}"),
            "\"certs/b.key\"",
            ["certs/b.key: it holds no certificate", "begins with"],
        ),
        (
            format!("{LISTEN}tls = {{ {own}\"ca.pem\", crl = \"ca.pem\" }}"),
            "\"ca.pem\" }",
            ["ca.pem: it holds no list", "X509 CRL"],
        ),
    ] {
        let error = shown(&load(folder.path(), &front(&lines)).expect_err(&lines));
        assert!(error.ends_with("\n1 problem found\n"), "{lines}\n{error}");
        let mut numbered = lines.lines().zip(3..);
        let found = numbered.find_map(|(line, number)| Some((number, line.rfind(place)? + 1)));
        let (line, column) = found.unwrap();
        let at = format!("roundel.toml:{line}:{column}: ");
        for part in [&*at, parts[0], parts[1]] {
            assert!(error.contains(part), "{part} in\n{error}");
        }
    }
}

#[test]
fn every_bad_file_of_a_folder_is_told() {
    let folder = folder();
    for name in ["one.pem", "two.crt"] {
        fs::write(folder.path().join("certs").join(name), "no PEM").unwrap();
    }
    let text = front(&format!("{LISTEN}tls = {{ certificates = \"certs\" }}"));
    let error = shown(&load(folder.path(), &text).unwrap_err());
    for part in [
        "certs/one.pem: it holds no certificate",
        "certs/two.crt: ",
        "2 problems",
    ] {
        assert!(error.contains(part), "{part} in\n{error}");
    }
}

/// A frontend over TLS that orders its certificate, and one without TLS.
fn ordering(acme: &str) -> String {
    let tls = format!("{LISTEN}tls = {{ acme = {{ {acme} }} }}");
    let plain = "[[frontend]]\nname = \"plain\"\nlisten = [\":80\"]\ndefault_backend = \"nodes\"\n";
    format!("[[frontend]]\nname = \"f\"\n{tls}\n{plain}{STATIC}")
}

#[test]
fn a_certificate_can_be_ordered() {
    let folder = folder();
    let text = ordering(
        "names = [\"www.example.org\"], accept_terms = true, ca_file = \"ca.pem\", eab = { kid = \"k\", hmac_file = \"eab\" }, state = \"state\"",
    );
    let settings = load(folder.path(), &text).unwrap_or_else(|e| panic!("{}", shown(&e)));
    let tls = settings.frontends[0].tls.as_ref().unwrap();
    let acme = tls.acme.as_ref().unwrap();
    assert_eq!(acme.names, ["www.example.org"]);
    assert_eq!(
        acme.directory,
        "https://acme-v02.api.letsencrypt.org/directory"
    );
    let paths = [
        &acme.state,
        acme.ca_file.as_ref().unwrap(),
        &acme.eab.as_ref().unwrap().hmac_file,
    ];
    assert!(
        paths.iter().all(|path| path.starts_with(folder.path())),
        "{paths:?}"
    );
    let printed = settings.to_string();
    let again =
        load(folder.path(), &printed).unwrap_or_else(|e| panic!("{printed}\n{}", shown(&e)));
    assert_eq!(again.frontends, settings.frontends);
}

#[test]
fn what_no_ca_gives_is_told_with_place_and_cure() {
    let folder = folder();
    let fine = "names = [\"www.example.org\"], accept_terms = true";
    let check = |text: &str, place: &str, parts: [&str; 2]| {
        let error = shown(&load(folder.path(), text).expect_err(text));
        let line = text.lines().nth(3).unwrap();
        let column = line.find(place).unwrap() + 1;
        for part in [&*format!("roundel.toml:4:{column}: "), parts[0], parts[1]] {
            assert!(error.contains(part), "{part} in\n{error}");
        }
        assert!(error.ends_with("\n1 problem found\n"), "{error}");
    };
    for (acme, place, parts) in [
        (
            "names = [\"*.example.org\"], accept_terms = true",
            "\"*.",
            ["wildcard", "list the names"],
        ),
        (
            "names = [\"a.example\", \"localhost\"], accept_terms = true",
            "\"localhost",
            ["one label", "points to this balancer"],
        ),
        (
            "names = [\"a.example\"], accept_terms = false",
            "false",
            ["terms of service", "accept_terms = true"],
        ),
        (
            "names = [], accept_terms = true",
            "[]",
            ["no name", "names = ["],
        ),
        (
            "names = \"a.example\", accept_terms = true, directory = \"http://ca.example\"",
            "\"http:",
            ["does not begin with https", "letsencrypt"],
        ),
        (
            "names = \"a.example\", accept_terms = true, email = \"me\"",
            "\"me\"",
            ["no address of mail", "ops@"],
        ),
        (
            "names = \"a.example\"",
            "{ names",
            ["accept_terms", "accept_terms"],
        ),
    ] {
        check(&ordering(acme), place, parts);
    }
    // Nobody listens without TLS.
    let alone = |acme: &str| front(&format!("{LISTEN}tls = {{ acme = {{ {acme} }} }}"));
    check(
        &alone(fine),
        "{ names",
        ["port 80 without TLS", "tls-alpn-01"],
    );
    let by_tls = alone(&format!("{fine}, challenge = \"tls-alpn-01\""));
    assert!(load(folder.path(), &by_tls).is_ok());
}
