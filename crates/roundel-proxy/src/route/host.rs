//! Which hosts a route is for.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use roundel_http1::path::escapes_normal;

/// The hosts that a route is for, compared without case, port, final dot and escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// The host of this name: lower case, no final dot, ASCII (an international name in its
    /// `xn--` form).
    Name(String),
    /// Every name below this one, which is written like that of [`Self::Name`].
    Below(String),
    /// The host of this address, in any spelling; one that IPv6 maps is its IPv4.
    Address(IpAddr),
}

impl HostPattern {
    /// Whether `host`, a valid one without its port, is among them.
    pub(crate) fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Address(wanted) => address(host) == Some(*wanted),
            Self::Name(wanted) => plain(host).eq_ignore_ascii_case(wanted.as_bytes()),
            Self::Below(parent) => {
                let host = plain(host);
                let above = host.len().saturating_sub(parent.len());
                let (below, tail) = host.split_at(above);
                below.len() > 1
                    && below.ends_with(b".")
                    && tail.eq_ignore_ascii_case(parent.as_bytes())
            }
        }
    }
}

impl fmt::Display for HostPattern {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Address(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A name without escapes and without the dot in which a fully qualified one may end (RFC 3986, 3.2.2).
fn plain(host: &[u8]) -> Cow<'_, [u8]> {
    if !host.contains(&b'%') {
        return Cow::Borrowed(host.strip_suffix(b".").unwrap_or(host));
    }
    let mut host = escapes_normal(host);
    if host.ends_with(b".") {
        host.pop();
    }
    Cow::Owned(host)
}

fn address(host: &[u8]) -> Option<IpAddr> {
    let host = plain(host);
    let text = std::str::from_utf8(&host).ok()?;
    match text.strip_prefix('[') {
        Some(rest) => {
            let ip: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(ip.to_canonical())
        }
        None => Some(IpAddr::V4(text.parse().ok()?)),
    }
}

/// Cuts `:port` off, minding that an IPv6 address in brackets has colons too.
pub(crate) fn without_port(host: &[u8]) -> &[u8] {
    let from = host.iter().rposition(|b| *b == b']').unwrap_or(0);
    match host[from..].iter().position(|b| *b == b':') {
        Some(at) => &host[..from + at],
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_in_any_spelling() {
        let check = |pattern: &HostPattern, host: &str, expected| {
            let found = pattern.matches(without_port(host.as_bytes()));
            assert_eq!(found, expected, "{pattern} {host}");
        };
        let name = HostPattern::Name("example.org".to_owned());
        check(&name, "Example.ORG:8080", true);
        check(&name, "example.org.", true);
        check(&name, "example.org.:80", true);
        check(&name, "%65xample%2Eorg", true);
        check(&name, "example.org%2e", true);
        check(&name, "example.org..", false);
        check(&name, "www.example.org", false);
        check(&name, "", false);
        let below = HostPattern::Below("example.org".to_owned());
        check(&below, "www.example.org:1", true);
        check(&below, "a.B.example.ORG.", true);
        check(&below, ".example.org", false);
        check(&below, "example.org", false);
        check(&below, "badexample.org", false);
        check(&below, "org", false);
        let six = HostPattern::Address("::1".parse().unwrap());
        check(&six, "[::1]:80", true);
        check(&six, "[0:0:0:0:0:0:0:1]", true);
        check(&six, "[::0001]:21250", true);
        check(&six, "[::2]", false);
        check(&six, "localhost", false);
        let four = HostPattern::Address("10.0.0.5".parse().unwrap());
        check(&four, "10.0.0.5:80", true);
        check(&four, "10.0.0.5.", true);
        check(&four, "[::ffff:10.0.0.5]", true);
        check(&four, "[::ffff:a00:5]", true);
        check(&four, "10.0.0.50", false);
    }
}
