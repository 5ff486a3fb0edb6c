//! Version 2: sixteen bytes, addresses, then typed values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::{Addresses, Header, Invalid, MAX_LENGTH, Tls};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family in the upper half, protocol in the lower one; the families are `UNSPEC`, `INET`,
/// `INET6`, `UNIX`.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const FAMILIES: u8 = 3;
const PROTOCOLS: u8 = 2;
/// The values of section 2.2.1 to 2.2.5 that mean something here.
const TYPE_CRC32C: u8 = 0x03;
const TYPE_SSL: u8 = 0x20;
/// What `TYPE_SSL` holds behind five bytes.
const TYPE_SSL_VERSION: u8 = 0x21;
const TYPE_SSL_CIPHER: u8 = 0x23;
/// Flags of the first byte of `TYPE_SSL`: the client came over TLS; it has shown a certificate on
/// this connection, or when its session began.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT: u8 = 0x02 | 0x04;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Invalid> {
    if let Some(command) = bytes.get(12)
        && !matches!(*command, LOCAL | PROXY)
    {
        return Err(Invalid::Unassigned);
    }
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_LENGTH {
        return Err(Invalid::TooLong);
    }
    let Some(whole) = bytes.get(..length) else {
        return Ok(None);
    };
    let header = match fixed[12] {
        // The rest is to be skipped, whatever it says.
        LOCAL => Header {
            addresses: None,
            tls: false,
        },
        _ => proxied(whole, fixed[13])?,
    };
    Ok(Some((header, length)))
}

fn proxied(whole: &[u8], family: u8) -> Result<Header, Invalid> {
    if family >> 4 > FAMILIES || family & 0x0f > PROTOCOLS {
        return Err(Invalid::Unassigned);
    }
    let block = &whole[FIXED..];
    let size = [0, 12, 36, 216][usize::from(family >> 4)];
    let (ends, values) = block.split_at_checked(size).ok_or(Invalid::Length)?;
    let addresses = match family {
        TCP4 => Some(ends_of::<4>(ends)),
        TCP6 => Some(ends_of::<16>(ends)),
        _ => None,
    };
    let tls = read_values(whole, values)?;
    Ok(Header {
        addresses: addresses.map(Addresses::canonical),
        tls,
    })
}

/// Reads two addresses of `N` bytes, then their ports.
fn ends_of<const N: usize>(ends: &[u8]) -> Addresses
where
    IpAddr: From<[u8; N]>,
{
    let ip = |at: usize| IpAddr::from(<[u8; N]>::try_from(&ends[at..at + N]).expect("N bytes"));
    let port = |at: usize| u16::from_be_bytes([ends[at], ends[at + 1]]);
    Addresses {
        source: SocketAddr::new(ip(0), port(2 * N)),
        destination: SocketAddr::new(ip(N), port(2 * N + 2)),
    }
}

/// Walks over the values at the end of a header, checks its checksum, and says whether the
/// client came over TLS. Values that nobody here knows are skipped.
fn read_values(whole: &[u8], mut values: &[u8]) -> Result<bool, Invalid> {
    let mut tls = false;
    while !values.is_empty() {
        let (head, rest) = values.split_at_checked(3).ok_or(Invalid::Length)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Invalid::Length)?;
        match head[0] {
            TYPE_CRC32C => {
                let told = <[u8; 4]>::try_from(value).map_err(|_| Invalid::Length)?;
                let at = whole.len() - rest.len() - 4;
                // The sum is of the header with zeros in its own place.
                let parts = [&whole[..at], &[0; 4], &whole[at + 4..]];
                if crc32c(&parts) != u32::from_be_bytes(told) {
                    return Err(Invalid::Checksum);
                }
            }
            TYPE_SSL => tls |= value.first().is_some_and(|flags| flags & CLIENT_SSL != 0),
            _ => {}
        }
        values = rest;
    }
    Ok(tls)
}

pub(super) fn write(addresses: Option<Addresses>, tls: Option<Tls<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let Some(Addresses {
        source,
        destination,
    }) = addresses
    else {
        return out.extend_from_slice(&[LOCAL, 0, 0, 0]);
    };
    let mut block = Vec::with_capacity(128);
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            put_v4(from, to, &mut block);
            TCP4
        }
        (from, to) => {
            put_v6(from, to, &mut block);
            TCP6
        }
    };
    block.extend_from_slice(&source.port().to_be_bytes());
    block.extend_from_slice(&destination.port().to_be_bytes());
    if let Some(tls) = tls {
        put_value(TYPE_SSL, &ssl(tls), &mut block);
    }
    out.extend_from_slice(&[PROXY, family]);
    out.extend_from_slice(&length(&block));
    out.extend_from_slice(&block);
}

/// Source: section 2.2.6. The second field is zero for a certificate that was verified.
fn ssl(tls: Tls<'_>) -> Vec<u8> {
    let mut value = match tls.verified {
        true => vec![CLIENT_SSL | CLIENT_CERT, 0, 0, 0, 0],
        false => vec![CLIENT_SSL, 0, 0, 0, 1],
    };
    put_value(TYPE_SSL_VERSION, tls.version.as_bytes(), &mut value);
    put_value(TYPE_SSL_CIPHER, tls.cipher.as_bytes(), &mut value);
    value
}

fn put_value(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&length(value));
    out.extend_from_slice(value);
}

fn length(bytes: &[u8]) -> [u8; 2] {
    let length = u16::try_from(bytes.len()).expect("a few short words");
    length.to_be_bytes()
}

fn put_v4(from: Ipv4Addr, to: Ipv4Addr, out: &mut Vec<u8>) {
    for ip in [from, to] {
        out.extend_from_slice(&ip.octets());
    }
}

fn put_v6(from: IpAddr, to: IpAddr, out: &mut Vec<u8>) {
    for ip in [from, to] {
        let ip: Ipv6Addr = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        out.extend_from_slice(&ip.octets());
    }
}
