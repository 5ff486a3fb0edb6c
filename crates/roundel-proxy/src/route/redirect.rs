//! Sending clients to another address.

use roundel_http1::{RequestHead, path};

use super::host::without_port;

/// Where a route sends clients. What is `None` stays as it was asked for; the query always does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`. The port that was asked for belongs to the old one and goes.
    pub scheme: Option<&'static str>,
    /// The host without a port.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<NewPath>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// What becomes of a path. Texts begin with a slash and are of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPath {
    /// This one instead.
    Whole(String),
    /// This one instead of the route's prefix.
    Prefix(String),
}

/// Where a request is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There: the value of Location.
    To(String),
    /// Nowhere: it asks for just that address already.
    Here,
    /// Nowhere: the new address needs a host, and the request names none.
    NoHost,
}

impl Redirect {
    /// Makes the new address of a request that came by `scheme`, through a route with this prefix.
    ///
    /// Shape: `normal` is the normal form of the request's path, by which it is compared and of
    /// which a prefix is replaced. The result is an absolute URI, or where only the path changes a path, which no Host of the
    /// client's can turn elsewhere. Bytes that no URI may have are percent-encoded.
    /// Source: RFC 9110 10.2.2; RFC 3986 4.2: a relative reference must not begin with `//`.
    pub(crate) fn send(
        &self,
        head: &RequestHead,
        normal: &[u8],
        scheme: &str,
        prefix: &str,
    ) -> Sent {
        let old_path = head.path();
        if !old_path.starts_with(b"/") {
            // `OPTIONS *` is about the server, not about anything at an address.
            return Sent::Here;
        }
        let path = match &self.path {
            None => old_path.to_vec(),
            Some(NewPath::Whole(path)) => path.clone().into_bytes(),
            Some(NewPath::Prefix(new)) => replaced(new, &normal[prefix.len()..]),
        };
        let is_same_path = path == old_path || *path::normal(&path) == *normal;
        let mut query = Vec::new();
        if let Some(old) = head.query() {
            query.push(b'?');
            query.extend_from_slice(old);
        }
        let is_relative = (self.scheme, &self.host, self.port) == (None, &None, None);
        if is_relative {
            if is_same_path {
                return Sent::Here;
            }
            let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
            return Sent::To(encoded(&[b"/", &path[start..], &query]));
        }
        let asked = head.host().unwrap_or_default();
        if asked.is_empty() && self.host.is_none() {
            return Sent::NoHost;
        }
        let new_scheme = self.scheme.unwrap_or(scheme);
        let name = without_port(asked);
        let old_port = port(asked, scheme);
        let new_name = self.host.as_deref().map_or(name, str::as_bytes);
        let new_port = self.port.or(match self.scheme {
            None => old_port,
            Some(_) => None,
        });
        let new_port = new_port.filter(|port| *port != usual_port(new_scheme));
        let is_same_host = new_name.eq_ignore_ascii_case(name) && new_port == old_port;
        if is_same_path && is_same_host && new_scheme == scheme {
            return Sent::Here;
        }
        let port = new_port.map_or_else(String::new, |port| format!(":{port}"));
        Sent::To(encoded(&[
            new_scheme.as_bytes(),
            b"://",
            new_name,
            port.as_bytes(),
            &path,
            &query,
        ]))
    }
}

/// The new prefix before the rest of a path, with exactly one slash between the two.
fn replaced(new: &str, rest: &[u8]) -> Vec<u8> {
    let new = match rest.is_empty() {
        true => new,
        false => new.trim_end_matches('/'),
    };
    let slash: &[u8] = if rest.is_empty() || rest[0] == b'/' {
        b""
    } else {
        b"/"
    };
    [new.as_bytes(), slash, rest].concat()
}

/// The port that an authority names, unless it is the usual one of its scheme.
fn port(authority: &[u8], scheme: &str) -> Option<u16> {
    let digits = authority.get(without_port(authority).len() + 1..)?;
    let port = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (port != usual_port(scheme)).then_some(port)
}

fn usual_port(scheme: &str) -> u16 {
    match scheme {
        "https" => 443,
        _ => 80,
    }
}

/// Joins the parts of a URI; what has no place in one is percent-encoded. A backslash is such a
/// byte: browsers take it for a slash.
fn encoded(parts: &[&[u8]]) -> String {
    let mut out = String::new();
    for byte in parts.iter().flat_map(|part| part.iter()) {
        match byte {
            b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out += &format!("%{byte:02X}");
            }
            b'!'..=b'~' => out.push(char::from(*byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundel_http1::{Limits, Progress};

    const NOTHING: Redirect = Redirect {
        scheme: None,
        host: None,
        port: None,
        path: None,
        status: 302,
    };

    #[track_caller]
    fn check(redirect: &Redirect, (scheme, target, host): (&str, &str, &str), expected: &str) {
        let mut head = RequestHead::new();
        let version = if host.is_empty() { "1.0" } else { "1.1" };
        let host = match host {
            "" => String::new(),
            host => format!("Host: {host}\r\n"),
        };
        head.block
            .put(format!("GET {target} HTTP/{version}\r\n{host}\r\n").as_bytes());
        let parsed = head.parse(&Limits::default());
        assert_eq!(parsed, Ok(Progress::Complete), "{target}");
        let normal = path::normal(head.path());
        let shown = match redirect.send(&head, &normal, scheme, "/old") {
            Sent::To(location) => location,
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{target} {host}");
    }

    #[test]
    fn a_scheme_keeps_host_path_and_query() {
        let https = Redirect {
            scheme: Some("https"),
            ..NOTHING
        };
        check(&https, ("http", "/a?b=c", "h"), "https://h/a?b=c");
        check(&https, ("http", "/", "h:8080"), "https://h/");
        check(&https, ("http", "/", "[::1]:8080"), "https://[::1]/");
        check(&https, ("http", "http://h/y?", "h"), "https://h/y?");
        check(&https, ("https", "/a", "h"), "Here");
        check(&https, ("https", "/a", "h:443"), "Here");
        check(&https, ("http", "/a", ""), "NoHost");
        check(
            &https,
            ("http", "/", "evil.example"),
            "https://evil.example/",
        );
        let port = Redirect {
            port: Some(8443),
            ..https
        };
        check(&port, ("http", "/", "h:8080"), "https://h:8443/");
        check(&port, ("https", "/", "H:8443"), "Here");
    }

    #[test]
    fn a_host_keeps_scheme_and_port() {
        let host = Redirect {
            host: Some("www.h".to_owned()),
            ..NOTHING
        };
        check(&host, ("http", "/a?b", "h"), "http://www.h/a?b");
        check(&host, ("https", "/", "h:8443"), "https://www.h:8443/");
        check(&host, ("http", "/", "WWW.h:80"), "Here");
        check(&host, ("http", "/a", ""), "http://www.h/a");
    }

    #[test]
    fn paths_are_replaced_and_stay_on_their_host() {
        let whole = Redirect {
            path: Some(NewPath::Whole("/new".to_owned())),
            ..NOTHING
        };
        check(&whole, ("http", "/old/x?q=1", "h"), "/new?q=1");
        check(&whole, ("http", "/old", ""), "/new");
        check(&whole, ("http", "/new?q", "h"), "Here");
        check(&whole, ("http", "/x/../%6eew?q", "h"), "Here");
        let prefix = |new: &str| Redirect {
            path: Some(NewPath::Prefix(new.to_owned())),
            ..NOTHING
        };
        check(&prefix("/new"), ("http", "/old", "h"), "/new");
        check(&prefix("/new/"), ("http", "/old/x", "h"), "/new/x");
        check(&prefix("/"), ("http", "/old", "h"), "/");
        check(&prefix("/"), ("http", "/old/x", "h"), "/x");
        check(&prefix("/new"), ("http", "/%6fld/./x", "h"), "/new/x");
        // Neither of these may lead to evil.example.
        check(
            &prefix("/"),
            ("http", "/old//evil.example", "h"),
            "/evil.example",
        );
        check(
            &prefix("/"),
            ("http", "/old/\\evil.example", "h"),
            "/%5Cevil.example",
        );
        check(&prefix("/n"), ("http", "/old/a|b", "h"), "/n/a%7Cb");
    }
}
