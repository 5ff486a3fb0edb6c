//! The common and the combined format of NCSA.

use super::Record;
use super::put::{clf_date, put, quoted, request_line};
use crate::ending::Term;

pub(super) fn write(r: &Record<'_>, out: &mut Vec<u8>, combined: bool) {
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
