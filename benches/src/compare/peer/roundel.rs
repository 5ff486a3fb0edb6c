//! Roundel: one worker, no access log, no checks, unless a variant says otherwise.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{CALLED, ORIGINS, Peer, Place, version};

/// How a Roundel differs from the one that is compared with others.
#[derive(Clone)]
pub(crate) struct Variant {
    /// Worker threads.
    pub(crate) threads: usize,
    /// Whether it writes JSON access logs into a file.
    pub(crate) log: bool,
    /// A backend's servers, by address.
    pub(crate) servers: Vec<String>,
    /// How they are chosen.
    pub(crate) balance: &'static str,
    /// The address of its gossip, which also brings servers.
    pub(crate) gossip: Option<String>,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            threads: 1,
            log: false,
            servers: ORIGINS.map(str::to_owned).into(),
            balance: "roundrobin",
            gossip: None,
        }
    }
}

pub(super) fn peer(name: &str, binary: &Path, place: &Place<'_>, variant: Variant) -> Result<Peer> {
    let (plain, sticky, tls, port) = (place.plain(), place.sticky(), place.tls(), place.port);
    let grpc = place.grpc();
    let format = if variant.log { "json" } else { "off" };
    let mut text = format!(
        "[global]
threads = {}
[stats]
listen = \"127.0.0.1:{}\"
[cli]
listen = \"off\"
socket = \"{}\"
[access_log]
format = \"{format}\"
[[frontend]]
name = \"plain\"
listen = [\"{plain}\"]
default_backend = \"b_plain\"
[[frontend]]
name = \"sticky\"
listen = [\"{sticky}\"]
default_backend = \"b_sticky\"
",
        variant.threads,
        port + 2,
        socket(place).display(),
    );
    let mut discover = "[]";
    if let Some(listen) = &variant.gossip {
        writeln!(text, "[gossip]\nlisten = \"{listen}\"\nnode_name = \"lb\"")?;
        discover = "[{ gossip = { role = \"backend\" } }]";
    }
    for (backend, cookie) in [
        ("b_plain", "\"off\""),
        ("b_sticky", "{ cookie = \"SERVERID\" }"),
    ] {
        write!(
            text,
            "[[backend]]
name = \"{backend}\"
balance = \"{}\"
discover = {discover}
max_servers = 100000
check = \"off\"
sticky = {cookie}
server = [
",
            variant.balance
        )?;
        for (number, address) in (1..).zip(&variant.servers) {
            writeln!(
                text,
                "    {{ name = \"b{number}\", address = \"{address}\" }},"
            )?;
        }
        text += "]\n";
    }
    let secure = format!(
        "[[frontend]]
name = \"tls\"
listen = [{{ address = \"{tls}\", tls = true }}]
tls = {{ certificates = [\"{}\"] }}
default_backend = \"b_plain\"
",
        place.certificate().with_key.display()
    );
    let [three, four] = CALLED;
    let calls = format!(
        "[[frontend]]
name = \"calls\"
listen = [\"{grpc}\"]
default_backend = \"b_calls\"
[[backend]]
name = \"b_calls\"
balance = \"roundrobin\"
check = \"off\"
sticky = \"off\"
proto = \"h2\"
server = [{{ name = \"c1\", address = \"{three}\" }}, {{ name = \"c2\", address = \"{four}\" }}]
"
    );
    // Earlier builds know no TLS, or no servers of HTTP/2.
    let mut file = place.write("roundel.toml", &format!("{text}{secure}{calls}"))?;
    let calls_are_known = is_taken(binary, &file)?;
    if !calls_are_known {
        file = place.write("roundel.toml", &format!("{text}{secure}"))?;
    }
    let is_known = calls_are_known || is_taken(binary, &file)?;
    if !is_known {
        std::fs::write(&file, text)?;
    }
    Ok(Peer {
        tls: is_known.then_some(tls),
        h2: Some(plain),
        grpc: calls_are_known.then_some(grpc),
        version: version(binary, &["--version"]),
        more: "X-Forwarded-For, -Proto, -Host and -Port, Via, counters and histograms of every \
               request, strict checks of the framing",
        environment: vec![("ROUNDEL_LOG_LEVEL", "warn".to_owned())],
        output: variant.log.then(|| log(place)),
        ..place.peer(name, binary, &["serve", "-c", &file.to_string_lossy()])
    })
}

/// Whether this build takes such a configuration.
fn is_taken(binary: &Path, file: &Path) -> Result<bool> {
    let check = Command::new(binary)
        .args(["check", "-c"])
        .arg(file)
        .output();
    Ok(check?.status.success())
}

/// Where the Roundel at this place takes operators' acts.
pub(crate) fn socket(place: &Place<'_>) -> PathBuf {
    place.scratch.join(format!("{}.sock", place.port))
}

/// Where it logs.
pub(crate) fn log(place: &Place<'_>) -> PathBuf {
    place.scratch.join(format!("{}.log", place.port))
}
