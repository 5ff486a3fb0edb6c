//! Host and authority.

use std::net::Ipv6Addr;

use crate::{syntax, tokens};

/// Says whether `value` is `uri-host [":" port]` (RFC 9110, 7.2), as a proxy can trust it.
///
/// Shape: the empty host is valid; user info, commas, IPvFuture, zones and ports above 65535 are not.
pub fn is_valid_host(value: &[u8]) -> bool {
    if tokens::is_usual(value) {
        return true;
    }
    if value.first() == Some(&b'[') {
        return is_valid_literal(value);
    }
    let length = syntax::reg_name_length(value);
    match value.get(length) {
        None => true,
        Some(b':') => length > 0 && is_port(&value[length + 1..]),
        Some(_) => false,
    }
}

fn is_valid_literal(value: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b']', value) else {
        return false;
    };
    let Ok(address) = std::str::from_utf8(&value[1..end]) else {
        return false;
    };
    let rest = &value[end + 1..];
    address.parse::<Ipv6Addr>().is_ok()
        && (rest.is_empty() || (rest[0] == b':' && is_port(&rest[1..])))
}

/// The empty port is valid (RFC 3986, 3.2.3).
#[inline]
fn is_port(digits: &[u8]) -> bool {
    let mut port = 0_u32;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return false;
        }
        port = port * 10 + u32::from(digit);
        if port > 65_535 {
            return false;
        }
    }
    digits.len() <= 5
}

/// Splits a valid authority into host and port digits.
pub(crate) fn split(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = memchr::memrchr(b']', authority).unwrap_or(0);
    match memchr::memrchr(b':', &authority[from..]) {
        Some(colon) => (
            &authority[..from + colon],
            Some(&authority[from + colon + 1..]),
        ),
        None => (authority, None),
    }
}

/// Compares two authorities: names without case, port 80 and no port the same.
pub(crate) fn is_same(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    let normal = |authority| {
        let (host, port) = split(authority);
        (
            host,
            port.filter(|port| !port.is_empty()).unwrap_or(default_port),
        )
    };
    let ((host, port), (other_host, other_port)) = (normal(one), normal(other));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}
