//! JSON and logfmt: the same fields in both.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::put::{number, put, quoted, rfc3339, seconds};
use super::{Record, letters};

/// A value of a structured line.
enum Value<'a> {
    /// Text of our own: names, words, letters. Needs no escaping.
    Plain(&'a str),
    /// Bytes from outside.
    Foreign(&'a [u8]),
    Number(u64),
    Status(u16),
    Seconds(Option<Duration>),
    Flag(bool),
    Time(Duration),
    Address(SocketAddr),
    Ip(IpAddr),
}

/// Feeds the fields of the structured formats in their order; times that were not reached are left
/// out, and so is the status of a request that got no answer.
fn fields(r: &Record<'_>, mut put: impl FnMut(&'static str, Value<'_>)) {
    let (path, query) = split_target(r.target);
    let data = r.total.saturating_sub(
        [r.wait, r.queue, r.connect, r.first]
            .into_iter()
            .flatten()
            .sum(),
    );
    put("ts", Value::Time(r.at));
    put("frontend", Value::Plain(r.frontend));
    put("backend", Value::Plain(r.backend));
    put("server", Value::Plain(r.server));
    match r.named {
        None => put("client", Value::Address(r.peer)),
        Some(client) => {
            put("client", Value::Ip(client));
            put("peer", Value::Address(r.peer));
        }
    }
    put("method", Value::Foreign(r.method));
    put("host", Value::Foreign(r.host));
    put("path", Value::Foreign(path));
    put("query", Value::Foreign(query));
    put("proto", Value::Plain(r.proto));
    put("status", Value::Status(r.status));
    if let Some(code) = r.grpc_status {
        put("grpc_status", Value::Number(u64::from(code)));
    }
    put("req_bytes", Value::Number(r.request_bytes));
    put("resp_bytes", Value::Number(r.response_bytes));
    put("t_total", Value::Seconds(Some(r.total)));
    put("t_wait", Value::Seconds(r.wait));
    put("t_queue", Value::Seconds(r.queue));
    put("t_connect", Value::Seconds(r.connect));
    put("t_first", Value::Seconds(r.first));
    put("t_data", Value::Seconds(r.first.map(|_| data)));
    put("retries", Value::Number(u64::from(r.retries)));
    put("redispatched", Value::Flag(r.redispatched));
    put("sticky", Value::Plain(r.sticky));
    put("term", Value::Plain(r.term.word()));
    let letters = letters(r);
    put("term_ha", Value::Plain(text(&letters)));
    put("conns", Value::Number(r.connections.0));
    put("ua", Value::Foreign(r.user_agent));
    put("referer", Value::Foreign(r.referer));
    for (key, id) in [("request_id", r.request_id), ("trace_id", r.trace_id)] {
        if !id.is_empty() {
            put(key, Value::Foreign(id));
        }
    }
    put("set_version", Value::Number(r.set_version));
    let Some(tls) = &r.tls else { return };
    put("tls_version", Value::Plain(tls.version));
    put("tls_cipher", Value::Plain(tls.cipher));
    if !tls.name.is_empty() {
        put("tls_name", Value::Foreign(tls.name));
    }
    put("tls_resumed", Value::Flag(tls.resumed));
    if let Some((subject, fingerprint)) = tls.client {
        put("client_cert_subject", Value::Foreign(subject.as_bytes()));
        put("client_cert_sha256", Value::Plain(fingerprint));
    }
}

pub(super) fn json(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut before = b'{';
    fields(record, |key, value| {
        if matches!(value, Value::Seconds(None) | Value::Status(0)) {
            return;
        }
        out.push(before);
        before = b',';
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Plain(text) => quoted(text.as_bytes(), out),
            Value::Foreign(bytes) => quoted(bytes, out),
            Value::Number(n) => number(n, out),
            Value::Status(status) => number(u64::from(status), out),
            Value::Seconds(t) => seconds(t.unwrap_or_default(), out),
            Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Value::Time(at) => {
                out.push(b'"');
                rfc3339(at, out);
                out.push(b'"');
            }
            Value::Address(address) => put(out, format_args!("\"{address}\"")),
            Value::Ip(ip) => put(out, format_args!("\"{ip}\"")),
        }
    });
    out.push(b'}');
}

pub(super) fn logfmt(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut first = true;
    fields(record, |key, value| {
        if matches!(value, Value::Seconds(None) | Value::Status(0)) {
            return;
        }
        if !std::mem::take(&mut first) {
            out.push(b' ');
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        match value {
            Value::Plain("") => out.extend_from_slice(b"\"\""),
            Value::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Value::Foreign(bytes) => quoted(bytes, out),
            Value::Number(n) => number(n, out),
            Value::Status(status) => number(u64::from(status), out),
            Value::Seconds(t) => seconds(t.unwrap_or_default(), out),
            Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Value::Time(at) => rfc3339(at, out),
            Value::Address(address) => put(out, format_args!("{address}")),
            Value::Ip(ip) => put(out, format_args!("{ip}")),
        }
    });
}

fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|b| *b == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

fn text(letters: &[u8; 4]) -> &str {
    std::str::from_utf8(letters).expect("the letters are ASCII")
}
