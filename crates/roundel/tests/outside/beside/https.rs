//! The access log of connections over TLS: HAProxy's words for how they are encrypted.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use roundel_testkit::{Origin, Process, external, free_address};

use super::{Pair, wait_lines};
use crate::turns::beside_others;

const NAME: &str = "www.example.org";

/// What curl asks with, and whether it names the host.
const CLIENTS: [(&str, &[&str], bool); 3] = [
    ("/new", &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"], true),
    (
        "/old",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ],
        true,
    ),
    (
        "/nameless",
        &["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
        false,
    ),
];

/// The mark behind the frontend's name, and what follows the request.
fn told(process: &Process, path: &str) -> (bool, String) {
    let line = wait_lines(process, path, 1).remove(0);
    let (before, after) = line.split_once(" HTTP/1.1\"").unwrap();
    (before.contains("~ "), after.trim_end().to_owned())
}

#[test]
fn lines_of_https_end_as_haproxys() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("site.pem");
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(&pem, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    let app = Origin::named("app");
    let [ours_at, theirs_at] = [free_address(), free_address()];
    let ours = format!(
        "default_backend = \"b\"\n[[frontend]]\nname = \"s\"\ndefault_backend = \"b\"\n\
         listen = [{{ address = \"{ours_at}\", tls = true }}]\ntls = {{ certificates = [{pem:?}] }}\n\
         [[backend]]\nname = \"b\"\nserver = [{{ name = \"app\", address = \"{}\" }}]\n",
        app.address()
    );
    let theirs = format!(
        "  bind {theirs_at} ssl crt {}\n  option httpslog\n  default_backend b\nbackend b\n  \
         server app {}\n",
        pem.display(),
        app.address()
    );
    let Some(pair) = Pair::start(&ours, &theirs) else {
        return;
    };
    let ask = |at: SocketAddr, (path, words, named): (&str, &[&str], bool)| {
        let host = if named {
            NAME.to_owned()
        } else {
            at.ip().to_string()
        };
        let resolve = format!("{NAME}:{}:{}", at.port(), at.ip());
        let mut command = Command::new(&curl);
        command.args(["-sSk", "--http1.1", "--resolve", &resolve]);
        let output = command
            .args(words)
            .arg(format!("https://{host}:{}{path}", at.port()));
        let output = output.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    for client in CLIENTS {
        ask(ours_at, client);
        ask(theirs_at, client);
        let (path, ..) = client;
        let (ours, theirs) = (told(&pair.ours.process, path), told(&pair.theirs, path));
        assert_eq!(ours, theirs, "{path}");
        assert!(ours.0 && ours.1.contains("/TLSv1."), "{ours:?}");
    }
}
