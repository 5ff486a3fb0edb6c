//! Caddy behind: Go's HTTP/2, in clear by prior knowledge and over TLS by ALPN.

use std::fs;
use std::process::Command;

use roundel_testkit::{Process, external, free_address};

use super::{TLS, ask, balancer, folder};

#[test]
fn caddy_in_clear_and_over_tls() {
    let Some(caddy) = external("caddy", "caddy") else {
        return;
    };
    let folder = folder();
    let at = folder.path().display();
    let [clear, secure, old] = [(); 3].map(|()| free_address());
    fs::write(folder.path().join("large"), vec![b'x'; 300_000]).unwrap();
    let site = format!(
        "handle /large {{\nroot * {at}\nfile_server\n}}\nhandle /none {{\nrespond 204\n}}\n\
         handle {{\nrespond \"{{http.request.proto}} {{scheme}} {{host}} {{uri}} \
         {{http.request.header.X-Forwarded-For}}\"\n}}\n"
    );
    let tls = format!("tls {at}/nodes.pem {at}/nodes.key");
    let text = format!(
        "{{\nadmin off\nauto_https off\nservers {clear} {{\nprotocols h1 h2c\n}}\n\
         servers {secure} {{\nprotocols h1 h2\n}}\nservers {old} {{\nprotocols h1\n}}\n}}\n\
         http://:{} {{\nbind {}\n{site}}}\nhttps://:{} {{\nbind {}\n{tls}\n{site}}}\n\
         https://:{} {{\nbind {}\n{tls}\n{site}}}\n",
        clear.port(),
        clear.ip(),
        secure.port(),
        secure.ip(),
        old.port(),
        old.ip(),
    );
    let path = folder.path().join("Caddyfile");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(caddy);
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(&path)
        .env("HOME", folder.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_DATA_HOME");
    let _caddy = Process::spawn(&mut command);
    for (server, keys, spoken) in [
        (clear, "proto = \"h2\"".to_owned(), "HTTP/2.0 http"),
        (clear, String::new(), "HTTP/1.1 http"),
        (secure, format!("{TLS}proto = \"h2\""), "HTTP/2.0 https"),
        (secure, format!("{TLS}proto = \"auto\""), "HTTP/2.0 https"),
        (old, format!("{TLS}proto = \"auto\""), "HTTP/1.1 https"),
    ] {
        let balancer = balancer(&folder, server, &keys);
        ask(&balancer, spoken);
    }
}
