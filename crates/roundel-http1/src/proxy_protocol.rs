//! The PROXY protocol: a header before the first byte of HTTP that names the client of a
//! connection which a proxy has made.
//!
//! Source: "The PROXY protocol", versions 1 and 2, by Willy Tarreau; sections 2.1 and 2.2.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

mod crc32c;
mod v1;
mod v2;

/// The longest header that is read: version 1 allows 107 bytes, and the addresses and values of
/// version 2 stay far below this.
pub const MAX_LENGTH: usize = 4096;

/// The form of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who is connected through the proxy, and to what. `None` when it speaks for itself (`LOCAL`,
    /// for checks) or about something that has no such addresses (`UNKNOWN`): then those of the
    /// connection count.
    pub addresses: Option<Addresses>,
    /// The client's connection to the proxy is encrypted (version 2 only).
    pub tls: bool,
}

/// How the client's connection to a proxy is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls<'a> {
    /// `TLSv1.3`, say.
    pub version: &'a str,
    /// The cipher, as OpenSSL spells it.
    pub cipher: &'a str,
    /// The client has shown a certificate, which was verified.
    pub verified: bool,
}

/// Both ends of the client's connection to a proxy, with IPv4 shown as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// The one that the client connected to.
    pub destination: SocketAddr,
}

/// Why bytes are not a header that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Invalid {
    /// They begin like something else.
    #[error("this is not a PROXY protocol header")]
    NotAHeader,
    /// It is longer than its version or [`MAX_LENGTH`] allows.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// Version 1: the line breaks the grammar.
    #[error("the line of the PROXY protocol is malformed")]
    Line,
    /// Version 2: another version, or an unassigned command, family or protocol.
    #[error("the PROXY protocol header has an unknown version, command or family")]
    Unassigned,
    /// Version 2: the length does not hold what it should.
    #[error("the length of the PROXY protocol header does not fit its contents")]
    Length,
    /// Version 2: the checksum is wrong.
    #[error("the checksum of the PROXY protocol header is wrong")]
    Checksum,
}

/// Reads the header at the beginning of `bytes`.
///
/// Shape: the header and its length in bytes, at most [`MAX_LENGTH`]; `None` while it is not
/// complete. What follows is not looked at.
/// Errors: never for the beginning of a valid header.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Invalid> {
    if starts_alike(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if starts_alike(bytes, v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(Invalid::NotAHeader)
    }
}

/// Appends a header of this version; without addresses it says that the proxy speaks for itself.
/// Version 1 has no place for what is said of TLS.
///
/// An IPv4 address beside an IPv6 one is written as a mapped one.
pub fn write(
    version: Version,
    addresses: Option<Addresses>,
    tls: Option<Tls<'_>>,
    out: &mut Vec<u8>,
) {
    let addresses = addresses.map(Addresses::of_one_family);
    match version {
        Version::V1 => v1::write(addresses, out),
        Version::V2 => v2::write(addresses, tls, out),
    }
}

/// Whether `bytes` begin with `signature` or may still come to.
fn starts_alike(bytes: &[u8], signature: &[u8]) -> bool {
    let n = bytes.len().min(signature.len());
    bytes[..n] == signature[..n]
}

impl Addresses {
    fn of_one_family(self) -> Self {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => self,
            _ => Self {
                source: mapped(self.source),
                destination: mapped(self.destination),
            },
        }
    }

    fn canonical(self) -> Self {
        let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        Self {
            source: plain(self.source),
            destination: plain(self.destination),
        }
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests;
