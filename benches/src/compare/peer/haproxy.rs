//! HAProxy: one thread, no logs, upstream connections shared as by default.

use std::path::Path;

use anyhow::Result;

use super::{CALLED, ORIGINS, Peer, Place, version};

pub(super) fn peer(name: &str, binary: &Path, place: &Place<'_>) -> Result<Peer> {
    let ([one, two], [three, four]) = (ORIGINS, CALLED);
    let (plain, sticky, tls) = (place.plain(), place.sticky(), place.tls());
    let grpc = place.grpc();
    let certificate = place.certificate().with_key;
    // `http-reuse` is `safe` by default, as Roundel's `reuse`: a client's first request opens an
    // upstream connection.
    let text = format!(
        "global
    no strict-limits
    nbthread 1
    maxconn 12000
    no log
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    retries 1
frontend plain
    bind {plain}
    default_backend b_plain
frontend tls
    bind {tls} ssl crt {} alpn h2,http/1.1
    default_backend b_plain
frontend calls
    bind {grpc}
    default_backend b_calls
frontend sticky
    bind {sticky}
    default_backend b_sticky
backend b_calls
    balance roundrobin
    server c1 {three} proto h2
    server c2 {four} proto h2
backend b_plain
    balance roundrobin
    server b1 {one}
    server b2 {two}
backend b_sticky
    balance roundrobin
    cookie SERVERID insert indirect nocache
    server b1 {one} cookie b1
    server b2 {two} cookie b2
",
        certificate.display()
    );
    let file = place.write("haproxy.cfg", &text)?;
    Ok(Peer {
        version: version(binary, &["-v"]),
        tls: Some(tls),
        // By the preface, on any listener.
        h2: Some(plain),
        grpc: Some(grpc),
        ..place.peer(name, binary, &["-db", "-f", &file.to_string_lossy()])
    })
}
