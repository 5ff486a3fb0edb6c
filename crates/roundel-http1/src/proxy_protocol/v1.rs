//! Version 1: one line of text.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Header, Invalid};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The whole line with CR and LF. Source: section 2.1, the worst case of `UNKNOWN`.
const LONGEST: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Invalid> {
    let seen = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return match seen.len() {
            LONGEST => Err(Invalid::TooLong),
            _ => Ok(None),
        };
    };
    // A CR and LF cannot be within the signature, so it is whole here.
    let text = std::str::from_utf8(&seen[SIGNATURE.len()..end]).map_err(|_| Invalid::Line)?;
    let addresses = addresses(text).ok_or(Invalid::Line)?;
    let header = Header {
        addresses: addresses.map(Addresses::canonical),
        tls: false,
    };
    Ok(Some((header, end + 2)))
}

/// Reads what follows the signature; `Some(None)` for `UNKNOWN`, whose rest is to be ignored.
fn addresses(text: &str) -> Option<Option<Addresses>> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let mut ip = || match family {
        "TCP4" => Ipv4Addr::from_str(words.next()?).ok().map(IpAddr::V4),
        "TCP6" => Ipv6Addr::from_str(words.next()?).ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, destination) = (ip()?, ip()?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let addresses = Addresses {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    };
    words.next().is_none().then_some(Some(addresses))
}

/// Digits without sign and without leading zeros, as the standard library alone would not have it.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    (digits && !padded).then(|| text.parse().ok())?
}

pub(super) fn write(addresses: Option<Addresses>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    // Writing to memory cannot fail.
    let _ = match addresses {
        None => write!(out, "UNKNOWN\r\n"),
        Some(a) => write!(
            out,
            "{} {} {} {} {}\r\n",
            if a.source.is_ipv4() { "TCP4" } else { "TCP6" },
            a.source.ip(),
            a.destination.ip(),
            a.source.port(),
            a.destination.port()
        ),
    };
}
