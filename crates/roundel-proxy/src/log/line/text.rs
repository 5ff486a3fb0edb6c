//! A short line for people at a terminal.

use super::Record;
use super::put::{clock, escaped, put};
use crate::ending::Term;

/// `09:26:53 GET /a 200 webapp-1 44.0ms`, and what went wrong behind it. Without query.
pub(super) fn write(r: &Record<'_>, out: &mut Vec<u8>) {
    clock(r.at, out);
    out.push(b' ');
    match r.method {
        b"" => out.extend_from_slice(b"- -"),
        method => {
            escaped(method, out);
            out.push(b' ');
            let end = r.target.iter().position(|b| *b == b'?');
            escaped(&r.target[..end.unwrap_or(r.target.len())], out);
        }
    }
    match r.status {
        0 => out.extend_from_slice(b" ---"),
        status => put(out, format_args!(" {status}")),
    }
    let server = if r.server.is_empty() { "-" } else { r.server };
    let ms = r.total.as_secs_f64() * 1_000.0;
    put(out, format_args!(" {server} {ms:.1}ms"));
    if r.retries > 0 {
        put(out, format_args!(" retries={}", r.retries));
    }
    if r.term != Term::Ok {
        put(out, format_args!(" {}", r.term.word()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogFormat, sample, write};
    use super::*;

    #[test]
    fn a_line_is_short_and_tells_of_trouble() {
        let line = |record: &Record<'_>| {
            let mut out = Vec::new();
            write(LogFormat::Text, record, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(&sample()), "23:31:30 GET /a 200 webapp-1 44.0ms\n");
        let broken = Record {
            target: b"/\x1b[2J",
            status: 0,
            server: "",
            retries: 2,
            term: Term::ClientAbort,
            ..sample()
        };
        let told = "23:31:30 GET /\\u001b[2J --- - 44.0ms retries=2 client_abort\n";
        assert_eq!(line(&broken), told);
    }
}
