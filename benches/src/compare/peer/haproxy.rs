//! HAProxy: one thread, no logs, upstream connections shared.

use std::path::Path;

use anyhow::Result;

use super::{ORIGINS, Peer, Place, version};

pub(super) fn peer(name: &str, binary: &Path, place: &Place<'_>) -> Result<Peer> {
    let [one, two] = ORIGINS;
    let (plain, sticky) = (place.plain(), place.sticky());
    // `http-reuse always`: the default would open an upstream connection for each client's when
    // there is a connection per request.
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
    http-reuse always
    retries 1
frontend plain
    bind {plain}
    default_backend b_plain
frontend sticky
    bind {sticky}
    default_backend b_sticky
backend b_plain
    balance roundrobin
    server b1 {one}
    server b2 {two}
backend b_sticky
    balance roundrobin
    cookie SERVERID insert indirect nocache
    server b1 {one} cookie b1
    server b2 {two} cookie b2
"
    );
    let file = place.write("haproxy.cfg", &text)?;
    Ok(Peer {
        version: version(binary, &["-v"]),
        ..place.peer(name, binary, &["-db", "-f", &file.to_string_lossy()])
    })
}
