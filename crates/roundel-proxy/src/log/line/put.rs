//! What lines are made of: escaped bytes, numbers, dates.

use std::io::Write;
use std::time::Duration;

use super::Record;
use crate::date::{MONTHS, civil};

pub(super) fn request_line(r: &Record<'_>, out: &mut Vec<u8>) {
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

pub(super) fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(bytes, out);
    out.push(b'"');
}

/// Escapes what could break a line, a JSON string or a terminal; bytes above 0x7f are taken as
/// Latin-1, so the result is always ASCII.
pub(super) fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
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

pub(super) fn number(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Seconds with six decimals.
pub(super) fn seconds(t: Duration, out: &mut Vec<u8>) {
    number(t.as_secs(), out);
    out.push(b'.');
    digits(t.subsec_micros(), 6, out);
}

fn digits(n: u32, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b'0' + (n / 10u32.pow(place) % 10) as u8);
    }
}

pub(super) fn rfc3339(at: Duration, out: &mut Vec<u8>) {
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

/// `12:14:14`, in UTC.
pub(super) fn clock(at: Duration, out: &mut Vec<u8>) {
    let c = civil(at);
    for (n, before) in [(c.hour, ""), (c.minute, ":"), (c.second, ":")] {
        out.extend_from_slice(before.as_bytes());
        digits(n, 2, out);
    }
}

/// `06/Feb/2009:12:14:14`.
pub(super) fn clf_date(at: Duration, out: &mut Vec<u8>) {
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

pub(super) fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("writing to a Vec cannot fail");
}
