//! Lines `name ip[:port] [weight]`.

use std::net::{IpAddr, SocketAddr};

use roundel_model::{Name, NameError, Presence, Server, SourceKind, Weight, WeightError};

use crate::notices::quoted;

/// Says what is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    #[error("{0}")]
    Name(NameError),
    #[error("an address is missing; write: name ip[:port] [weight]")]
    NoAddress,
    #[error("{0} is not an address; write ip, ip:port or [ipv6]:port")]
    Address(String),
    #[error("{0}")]
    Weight(WeightError),
    #[error("{0} is not a weight")]
    NotANumber(String),
    #[error("nothing may follow the weight, found {0}")]
    Trailing(String),
}

/// Reads one line; `None` for an empty one or a comment.
pub(crate) fn parse(line: &str, default_port: u16) -> Result<Option<Server>, LineError> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else {
        return Ok(None);
    };
    let name = Name::new(name).map_err(LineError::Name)?;
    let address = words.next().ok_or(LineError::NoAddress)?;
    let address =
        parse_address(address, default_port).ok_or_else(|| LineError::Address(quoted(address)))?;
    let weight = words.next().map_or(Ok(Weight::ONE), parse_weight)?;
    if let Some(more) = words.next() {
        return Err(LineError::Trailing(quoted(more)));
    }
    Ok(Some(Server {
        name,
        address,
        weight,
        backup: false,
        source: SourceKind::File,
        presence: Presence::Present,
    }))
}

pub(crate) fn parse_weight(text: &str) -> Result<Weight, LineError> {
    let value: u64 = text
        .parse()
        .map_err(|_| LineError::NotANumber(quoted(text)))?;
    Weight::new(value).map_err(LineError::Weight)
}

/// Reads `ip`, `ip:port`, `ipv6` or `[ipv6]:port`; port 0 is none.
pub(crate) fn parse_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = |text: &str| text.parse::<IpAddr>().ok();
    let address = match text.parse::<SocketAddr>() {
        Ok(address) => Some(address),
        Err(_) => bare(text)
            .or_else(|| bare(text.strip_prefix('[')?.strip_suffix(']')?))
            .map(|ip| SocketAddr::new(ip, default_port)),
    };
    let address = address?;
    let is_server = address.port() != 0 && !address.ip().is_unspecified();
    is_server.then(|| canonical(address))
}

/// Writes an IPv4 address that IPv6 maps as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // As it was, with its zone.
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_addresses_and_weights() {
        for (line, address, weight) in [
            ("s1 172.18.0.2", "172.18.0.2:3000", 1),
            ("s1\t172.18.0.2:80  4\r", "172.18.0.2:80", 4),
            ("  s1 fd00::2 # a comment", "[fd00::2]:3000", 1),
            ("s1 [fd00::2]", "[fd00::2]:3000", 1),
            ("s1 [fd00::2]:8080 256", "[fd00::2]:8080", 256),
            ("s1 10.0.0.1 0", "10.0.0.1:3000", 0),
        ] {
            let server = parse(line, 3000).unwrap().unwrap();
            assert_eq!(server.name, "s1");
            assert_eq!(server.address.to_string(), address);
            assert_eq!(server.weight.get(), weight);
        }
        for empty in ["", "   ", "# s1 10.0.0.1", "\r"] {
            assert_eq!(parse(empty, 3000), Ok(None));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, words) in [
            ("s1", "an address is missing"),
            ("<b> 10.0.0.1", "character 1 is not allowed"),
            ("s1 webapp", "\"webapp\" is not an address"),
            ("s1 10.0.0.1:0", "is not an address"),
            ("s1 0.0.0.0:80", "is not an address"),
            ("s1 10.0.0.1:70000", "is not an address"),
            ("s1 10.0.0.1 257", "257 is not a weight"),
            ("s1 10.0.0.1 many", "\"many\" is not a weight"),
            ("s1 10.0.0.1 1 backup", "found \"backup\""),
        ] {
            let error = parse(line, 3000).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
