//! The grammar of Forwarded (RFC 7239) and of the addresses in X-Forwarded-For.

use std::net::IpAddr;

/// What one proxy said about the side that its request came from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// The node that made the request, unquoted: an address, `unknown` or `_hidden`.
    pub(super) node: Option<Vec<u8>>,
    pub(super) proto: Option<Vec<u8>>,
    pub(super) host: Option<Vec<u8>>,
}

/// Reads one line's elements, the oldest first. `None` when the line breaks the grammar.
///
/// Source: RFC 7239 section 4; empty elements are allowed by RFC 9110 5.6.1.2.
pub(super) fn parse(value: &[u8]) -> Option<Vec<Element>> {
    let mut cursor = Cursor(value);
    let mut elements = Vec::new();
    loop {
        let (element, pairs) = cursor.element()?;
        if pairs > 0 {
            elements.push(element);
        }
        if cursor.0.is_empty() {
            return Some(elements);
        }
        cursor.take(b',').then_some(())?;
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Reads up to the next comma; says how many pairs there were.
    fn element(&mut self) -> Option<(Element, usize)> {
        let (mut element, mut pairs) = (Element::default(), 0);
        loop {
            self.skip_blanks();
            if !matches!(self.0.first(), None | Some(b',' | b';')) {
                let (name, value) = self.pair()?;
                pairs += 1;
                let place = match name.to_ascii_lowercase().as_slice() {
                    b"for" => &mut element.node,
                    b"proto" => &mut element.proto,
                    b"host" => &mut element.host,
                    _ => &mut None,
                };
                // RFC 7239 section 4: a parameter occurs once at most.
                if place.replace(value).is_some() {
                    return None;
                }
                self.skip_blanks();
            }
            if !self.take(b';') {
                return Some((element, pairs));
            }
        }
    }

    fn pair(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let name = self.token()?;
        self.take(b'=').then_some(())?;
        let value = match self.take(b'"') {
            true => self.quoted()?,
            false => self.token()?,
        };
        Some((name, value))
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        let fits = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let end = self.0.iter().position(|b| !fits(b));
        let (token, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        (!token.is_empty()).then(|| token.to_vec())
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(text),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    text.push(escaped);
                }
                _ => text.push(byte),
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }
}

/// The address that a node names, with or without a port, in quotes or not; `None` for `unknown`
/// and the like. An address that IPv6 maps is its IPv4.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?.trim();
    let quoted = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (inner, port) = inner.split_once(']')?;
            (IpAddr::V6(inner.parse().ok()?), port)
        }
        None => {
            let colon = text.find(':')?;
            (IpAddr::V4(text[..colon].parse().ok()?), &text[colon..])
        }
    };
    // Obfuscated ports begin with an underscore (RFC 7239 6.2).
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(port) => port.is_empty() || port.starts_with('_') || port.parse::<u16>().is_ok(),
    };
    is_port.then(|| host.to_canonical())
}

/// Writes the value of `for`: IPv6 needs brackets, and therefore quotes (RFC 7239 section 6).
pub(super) fn write_node(ip: Option<IpAddr>) -> String {
    match ip {
        Some(IpAddr::V4(ip)) => format!("for={ip}"),
        Some(IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
        None => "for=unknown".to_owned(),
    }
}

/// Writes our own element.
pub(super) fn write_element(ip: IpAddr, proto: &str, host: &[u8]) -> Vec<u8> {
    let mut text = write_node(Some(ip)).into_bytes();
    text.extend_from_slice(b";proto=");
    text.extend_from_slice(proto.as_bytes());
    if !host.is_empty() {
        text.extend_from_slice(b";host=\"");
        for byte in host {
            if matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        text.push(b'"');
    }
    // An identifier of our own instead of an address that says how we are built (6.3).
    text.extend_from_slice(b";by=_roundel");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(value: &str) -> Option<Vec<String>> {
        let text = |e: Element| String::from_utf8(e.node.unwrap_or_default()).unwrap();
        Some(parse(value.as_bytes())?.into_iter().map(text).collect())
    }

    #[test]
    fn the_examples_of_the_rfc() {
        let check = |value, expected: &[&str]| {
            assert_eq!(nodes(value).unwrap(), expected, "{value}");
        };
        check("for=\"_gazonk\"", &["_gazonk"]);
        check(
            "For=\"[2001:db8:cafe::17]:4711\"",
            &["[2001:db8:cafe::17]:4711"],
        );
        check("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60"]);
        check(
            "for=192.0.2.43, for=198.51.100.17",
            &["192.0.2.43", "198.51.100.17"],
        );
        check(
            "for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown",
            &["192.0.2.43", "[2001:db8:cafe::17]", "unknown"],
        );
        check("for=\"a, b;c\\\"d\"; proto=https", &["a, b;c\"d"]);
        check(" , for=a,, ", &["a"]);
        check("", &[]);
    }

    #[test]
    fn broken_ones_are_not_read() {
        for value in [
            "for",
            "for=",
            "for=a b",
            "for=\"a",
            "for=a;for=b",
            "=a",
            "for=1:2",
            "for=\"\\",
        ] {
            assert_eq!(nodes(value), None, "{value}");
        }
    }

    #[test]
    fn nodes_are_addresses_or_not() {
        let check = |node: &str, expected: Option<&str>| {
            let expected = expected.map(|ip| ip.parse::<IpAddr>().unwrap());
            assert_eq!(address(node.as_bytes()), expected, "{node}");
        };
        check("192.0.2.1", Some("192.0.2.1"));
        check(" 192.0.2.1:80 ", Some("192.0.2.1"));
        check("192.0.2.1:_x", Some("192.0.2.1"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("[2001:db8::1]", Some("2001:db8::1"));
        check("[2001:db8::1]:80", Some("2001:db8::1"));
        check("[2001:db8::1]:_p", Some("2001:db8::1"));
        check("[2001:db8::1]x", None);
        check("unknown", None);
        check("_hidden", None);
        check("192.0.2.1:x", None);
        check("192.0.2.1:", Some("192.0.2.1"));
        check("192.0.2.1:65536", None);
        check("\"192.0.2.1\"", Some("192.0.2.1"));
        check("\"[2001:db8::1]:80\"", Some("2001:db8::1"));
        check("::ffff:10.0.0.5", Some("10.0.0.5"));
        check("[::ffff:a00:5]:80", Some("10.0.0.5"));
        check("[10.0.0.5]", None);
        check("fe80::1%eth0", None);
        check("10.0.0", None);
        check("010.0.0.5", None);
        check("10.0.0.5, 10.0.0.6", None);
        check("\"", None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (ip, host) in [("192.0.2.1", "a.example:80"), ("2001:db8::1", "a\"\\b")] {
            let ip: IpAddr = ip.parse().unwrap();
            let text = write_element(ip, "https", host.as_bytes());
            let elements = parse(&text).unwrap();
            assert_eq!(elements.len(), 1);
            assert_eq!(address(elements[0].node.as_ref().unwrap()), Some(ip));
            assert_eq!(elements[0].proto.as_deref(), Some(b"https".as_slice()));
            assert_eq!(elements[0].host.as_deref(), Some(host.as_bytes()));
        }
    }
}
