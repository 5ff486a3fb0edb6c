//! HAProxy's format of HTTP, and over TLS that of HTTPS.
//!
//! Source: HAProxy configuration manual, 8.2.3 "HTTP log format" and 8.2.4 "HTTPS log format".

use std::time::Duration;

use super::put::{clf_date, escaped, put, request_line};
use super::{Encryption, Record, letters};

pub(super) fn write(r: &Record<'_>, out: &mut Vec<u8>) {
    let ms = |t: Option<Duration>| t.map_or(-1, |t| t.as_millis() as i64);
    // The port of a client behind a proxy is not known.
    match r.named {
        None => put(out, format_args!("{}:{} [", r.peer.ip(), r.peer.port())),
        Some(client) => put(out, format_args!("{client}:0 [")),
    }
    clf_date(r.at, out);
    put(
        out,
        format_args!(
            ".{:03}] {}{} {}/{} {}/{}/{}/{}/{} {} {} - - ",
            r.at.subsec_millis(),
            r.frontend,
            // How HAProxy marks that it came over TLS.
            if r.tls.is_some() { "~" } else { "" },
            // No backend was chosen: the frontend stands for it, so that no word is empty.
            if r.backend.is_empty() {
                r.frontend
            } else {
                r.backend
            },
            if r.server.is_empty() {
                "<NOSRV>"
            } else {
                r.server
            },
            ms(r.wait),
            ms(r.queue),
            ms(r.connect),
            ms(r.first),
            r.total.as_millis(),
            if r.status == 0 {
                -1
            } else {
                i32::from(r.status)
            },
            r.response_bytes,
        ),
    );
    out.extend_from_slice(&letters(r));
    let (frontend, server) = r.connections;
    let redispatched = if r.redispatched { "+" } else { "" };
    put(
        out,
        format_args!(
            " {frontend}/{frontend}/{server}/{server}/{redispatched}{} {}/{} ",
            r.retries, r.queue_place.0, r.queue_place.1
        ),
    );
    request_line(r, out);
    if let Some(tls) = &r.tls {
        encryption(tls, out);
    }
}

/// Errors of the connection, the handshake and the client's certificate, of which a request has none;
/// then whether a session was resumed, the name that was asked for, version and cipher.
fn encryption(tls: &Encryption<'_>, out: &mut Vec<u8>) {
    let resumed = u8::from(tls.resumed);
    put(out, format_args!(" 0/{:016x}/0/0/{resumed} ", 0));
    escaped(if tls.name.is_empty() { b"-" } else { tls.name }, out);
    put(out, format_args!("/{}/{}", tls.version, tls.cipher));
}
