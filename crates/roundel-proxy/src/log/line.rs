//! What one line of the access log says, in five formats.
//!
//! Bytes from clients and servers are escaped so that no line can be forged or broken.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::date::{MONTHS, civil};
use crate::ending::{Phase, Term};

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// HAProxy's `option httplog`.
    Haproxy,
    /// The NCSA common format.
    Common,
    /// The NCSA combined format: common, referer and user agent.
    Combined,
    /// `key=value` pairs.
    Logfmt,
}

/// One exchange as the log tells it. Times that were not reached are `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// When the first byte of the request came, since the Unix epoch.
    pub(crate) at: Duration,
    pub(crate) frontend: &'a str,
    pub(crate) backend: &'a str,
    /// Empty when no server was reached.
    pub(crate) server: &'a str,
    /// Whoever is connected.
    pub(crate) peer: SocketAddr,
    /// The client that trusted proxies name, where that is not the peer.
    pub(crate) named: Option<IpAddr>,
    pub(crate) method: &'a [u8],
    pub(crate) host: &'a [u8],
    /// The request target, query included.
    pub(crate) target: &'a [u8],
    pub(crate) proto: &'static str,
    /// The status sent to the client; 0 when none was.
    pub(crate) status: u16,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// From the first byte of the request to the end.
    pub(crate) total: Duration,
    /// From the first byte of the request to its whole head.
    pub(crate) wait: Option<Duration>,
    /// Waiting for a place, and attempts that came to nothing.
    pub(crate) queue: Option<Duration>,
    /// Its places in the queues of the server and of the backend, from 1; 0 without a wait.
    pub(crate) queue_place: (u32, u32),
    /// Connecting; zero for a connection opened earlier.
    pub(crate) connect: Option<Duration>,
    /// From the request sent to the head of the answer.
    pub(crate) first: Option<Duration>,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    /// The verdict on the sticky cookie: `none`, `valid`, `down`, …
    pub(crate) sticky: &'static str,
    /// HAProxy's third and fourth letter: cookie seen, cookie set.
    pub(crate) sticky_letters: [u8; 2],
    pub(crate) term: Term,
    pub(crate) phase: Phase,
    /// Open connections: of the frontend on this worker, and of the server.
    pub(crate) connections: (u64, u64),
    pub(crate) user_agent: &'a [u8],
    pub(crate) referer: &'a [u8],
    /// Empty when there is none.
    pub(crate) request_id: &'a [u8],
    /// Empty when there is none.
    pub(crate) trace_id: &'a [u8],
    /// The generation of the backend set that was read last.
    pub(crate) set_version: u64,
}

/// Appends one line, newline included.
pub(crate) fn write(format: LogFormat, record: &Record<'_>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => json(record, out),
        LogFormat::Haproxy => haproxy(record, out),
        LogFormat::Common => ncsa(record, out, false),
        LogFormat::Combined => ncsa(record, out, true),
        LogFormat::Logfmt => logfmt(record, out),
    }
    out.push(b'\n');
}

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
}

fn json(record: &Record<'_>, out: &mut Vec<u8>) {
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

fn logfmt(record: &Record<'_>, out: &mut Vec<u8>) {
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

/// Source: HAProxy configuration manual, 8.2.3 "HTTP log format".
fn haproxy(r: &Record<'_>, out: &mut Vec<u8>) {
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
            ".{:03}] {} {}/{} {}/{}/{}/{}/{} {} {} - - ",
            r.at.subsec_millis(),
            r.frontend,
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
}

fn ncsa(r: &Record<'_>, out: &mut Vec<u8>, combined: bool) {
    put(
        out,
        format_args!("{} - - [", r.named.unwrap_or(r.peer.ip())),
    );
    clf_date(r.at, out);
    out.extend_from_slice(b" +0000] ");
    request_line(r, out);
    let status = match (r.status, r.term) {
        (0, Term::RequestTimeout) => 408,
        // nginx's word for a client that did not wait for its answer.
        (0, _) => 499,
        (status, _) => status,
    };
    put(out, format_args!(" {status} {}", r.response_bytes));
    if combined {
        for bytes in [r.referer, r.user_agent] {
            out.push(b' ');
            quoted(if bytes.is_empty() { b"-" } else { bytes }, out);
        }
    }
}

fn request_line(r: &Record<'_>, out: &mut Vec<u8>) {
    if r.method.is_empty() {
        out.extend_from_slice(b"\"<BADREQ>\"");
        return;
    }
    out.push(b'"');
    escaped(r.method, out);
    out.push(b' ');
    escaped(r.target, out);
    out.push(b' ');
    out.extend_from_slice(r.proto.as_bytes());
    out.push(b'"');
}

fn letters(r: &Record<'_>) -> [u8; 4] {
    let [cause, phase] = r.term.letters(r.phase);
    let [seen, set] = r.sticky_letters;
    [cause, phase, seen, set]
}

fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|b| *b == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(bytes, out);
    out.push(b'"');
}

/// Escapes what could break a line, a JSON string or a terminal; bytes above 0x7f are taken as
/// Latin-1, so the result is always ASCII.
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = rest
        .iter()
        .position(|b| !(0x20..0x7f).contains(b) || matches!(b, b'"' | b'\\'))
    {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', b]),
            b => put(out, format_args!("\\u{b:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn number(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Seconds with six decimals.
fn seconds(t: Duration, out: &mut Vec<u8>) {
    number(t.as_secs(), out);
    out.push(b'.');
    digits(t.subsec_micros(), 6, out);
}

fn digits(n: u32, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b'0' + (n / 10u32.pow(place) % 10) as u8);
    }
}

fn rfc3339(at: Duration, out: &mut Vec<u8>) {
    let c = civil(at);
    for (n, width, after) in [
        (c.year, 4, b'-'),
        (c.month, 2, b'-'),
        (c.day, 2, b'T'),
        (c.hour, 2, b':'),
        (c.minute, 2, b':'),
        (c.second, 2, b'.'),
        (at.subsec_micros(), 6, b'Z'),
    ] {
        digits(n, width, out);
        out.push(after);
    }
}

/// `06/Feb/2009:12:14:14`.
fn clf_date(at: Duration, out: &mut Vec<u8>) {
    let c = civil(at);
    put(
        out,
        format_args!(
            "{:02}/{}/{:04}:{:02}:{:02}:{:02}",
            c.day,
            MONTHS[c.month as usize - 1],
            c.year,
            c.hour,
            c.minute,
            c.second
        ),
    );
}

fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("writing to a Vec cannot fail");
}

fn text(letters: &[u8; 4]) -> &str {
    std::str::from_utf8(letters).expect("the letters are ASCII")
}

#[cfg(test)]
pub(super) fn sample() -> Record<'static> {
    Record {
        at: Duration::new(1_234_567_890, 655_123_000),
        frontend: "localnodes",
        backend: "nodes",
        server: "webapp-1",
        peer: SocketAddr::from(([192, 0, 2, 7], 4711)),
        named: None,
        method: b"GET",
        host: b"example.org",
        target: b"/a?b=c",
        proto: "HTTP/1.1",
        status: 200,
        request_bytes: 80,
        response_bytes: 2750,
        total: Duration::from_millis(44),
        wait: Some(Duration::from_millis(1)),
        queue: Some(Duration::ZERO),
        queue_place: (0, 0),
        connect: Some(Duration::from_millis(3)),
        first: Some(Duration::from_millis(30)),
        retries: 0,
        redispatched: false,
        sticky: "none",
        sticky_letters: *b"NI",
        term: Term::Ok,
        phase: Phase::Last,
        connections: (5, 2),
        user_agent: b"curl/8",
        referer: b"",
        request_id: b"",
        trace_id: b"",
        set_version: 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(format, record, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn haproxy_format() {
        assert_eq!(
            line(LogFormat::Haproxy, &sample()),
            "192.0.2.7:4711 [13/Feb/2009:23:31:30.655] localnodes nodes/webapp-1 1/0/3/30/44 200 2750 \
             - - --NI 5/5/2/2/0 0/0 \"GET /a?b=c HTTP/1.1\""
        );
        let refused = Record {
            server: "",
            status: 503,
            connect: None,
            first: None,
            term: Term::NoServer,
            phase: Phase::Connect,
            retries: 2,
            redispatched: true,
            ..sample()
        };
        let text = line(LogFormat::Haproxy, &refused);
        assert!(
            text.contains("nodes/<NOSRV> 1/0/-1/-1/44 503 2750 - - SCNI 5/5/2/2/+2 0/0"),
            "{text}"
        );
    }

    #[test]
    fn no_word_of_the_haproxy_format_is_empty() {
        let redirected = Record {
            backend: "",
            server: "",
            status: 302,
            queue: None,
            connect: None,
            first: None,
            term: Term::Redirected,
            queue_place: (0, 3),
            ..sample()
        };
        let text = line(LogFormat::Haproxy, &redirected);
        let wanted = " localnodes localnodes/<NOSRV> 1/-1/-1/-1/44 302 2750 - - LRNI ";
        assert!(text.contains(wanted), "{text}");
        assert!(text.contains(" 5/5/2/2/0 0/3 "), "{text}");
    }

    #[test]
    fn the_common_format_has_a_status_for_those_who_got_none() {
        for (term, status) in [(Term::ClientAbort, "499"), (Term::RequestTimeout, "408")] {
            let aborted = Record {
                status: 0,
                response_bytes: 0,
                term,
                ..sample()
            };
            for format in [LogFormat::Common, LogFormat::Combined] {
                let text = line(format, &aborted);
                assert!(text.contains(&format!("HTTP/1.1\" {status} 0")), "{text}");
            }
        }
    }

    #[test]
    fn the_structured_formats_have_no_status_where_there_was_none() {
        let aborted = Record {
            status: 0,
            ..sample()
        };
        let json = line(LogFormat::Json, &aborted);
        assert!(json.contains("\"HTTP/1.1\",\"req_bytes\":"), "{json}");
        let logfmt = line(LogFormat::Logfmt, &aborted);
        assert!(logfmt.contains("=HTTP/1.1 req_bytes="), "{logfmt}");
    }

    #[test]
    fn json_format() {
        assert_eq!(
            line(LogFormat::Json, &sample()),
            "{\"ts\":\"2009-02-13T23:31:30.655123Z\",\"frontend\":\"localnodes\",\"backend\":\"nodes\",\
             \"server\":\"webapp-1\",\"client\":\"192.0.2.7:4711\",\"method\":\"GET\",\"host\":\"example.org\",\
             \"path\":\"/a\",\"query\":\"b=c\",\"proto\":\"HTTP/1.1\",\"status\":200,\"req_bytes\":80,\
             \"resp_bytes\":2750,\"t_total\":0.044000,\"t_wait\":0.001000,\"t_queue\":0.000000,\
             \"t_connect\":0.003000,\"t_first\":0.030000,\"t_data\":0.010000,\"retries\":0,\
             \"redispatched\":false,\"sticky\":\"none\",\"term\":\"ok\",\"term_ha\":\"--NI\",\"conns\":5,\
             \"ua\":\"curl/8\",\"referer\":\"\",\"set_version\":9}"
        );
    }

    #[test]
    fn the_client_that_proxies_name_comes_before_the_peer() {
        let behind = Record {
            named: Some("2001:db8::1".parse().unwrap()),
            ..sample()
        };
        let check = |format, part: &str| {
            let line = line(format, &behind);
            assert!(line.contains(part), "{line}");
            assert_eq!(line.contains("192.0.2.7"), part.contains("peer"), "{line}");
        };
        check(
            LogFormat::Json,
            "\"client\":\"2001:db8::1\",\"peer\":\"192.0.2.7:4711\",\"method\"",
        );
        check(
            LogFormat::Logfmt,
            " client=2001:db8::1 peer=192.0.2.7:4711 ",
        );
        check(LogFormat::Haproxy, "2001:db8::1:0 [");
        check(LogFormat::Common, "2001:db8::1 - - [");
        check(LogFormat::Combined, "2001:db8::1 - - [");
    }

    #[test]
    fn identifiers_are_told_if_there_are_any() {
        let known = Record {
            request_id: b"r-1",
            trace_id: b"0af7",
            ..sample()
        };
        let json = line(LogFormat::Json, &known);
        assert!(
            json.contains(
                "\"referer\":\"\",\"request_id\":\"r-1\",\"trace_id\":\"0af7\",\"set_version\":9}"
            ),
            "{json}"
        );
        let logfmt = line(LogFormat::Logfmt, &known);
        assert!(
            logfmt.contains(" request_id=\"r-1\" trace_id=\"0af7\" "),
            "{logfmt}"
        );
        assert!(!line(LogFormat::Json, &sample()).contains("request_id"));
    }

    #[test]
    fn foreign_bytes_cannot_break_a_line() {
        let nasty = Record {
            target: b"/\"\\\x1b[2J\n\xe9",
            user_agent: b"a\"b\x00",
            ..sample()
        };
        for format in [
            LogFormat::Json,
            LogFormat::Haproxy,
            LogFormat::Common,
            LogFormat::Combined,
            LogFormat::Logfmt,
        ] {
            let text = line(format, &nasty);
            assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text}");
            assert!(text.contains("\\u001b[2J\\u000a\\u00e9"), "{text}");
        }
    }

    #[test]
    fn combined_format() {
        assert_eq!(
            line(LogFormat::Combined, &sample()),
            "192.0.2.7 - - [13/Feb/2009:23:31:30 +0000] \"GET /a?b=c HTTP/1.1\" 200 2750 \"-\" \"curl/8\""
        );
    }
}
