//! Hosts and paths of rules, in the form in which requests are compared with them.

use std::net::{Ipv4Addr, Ipv6Addr};

use roundel_http1::path::{escapes_normal, normal};
use roundel_proxy::HostPattern;

use crate::value::Fault;

/// Labels and names in DNS are no longer (RFC 1035, 2.3.4; without the final dot).
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;

/// Reads the host of a rule: a name, `*.` and a name, or an address.
pub(crate) fn host(text: &str) -> Result<HostPattern, Fault> {
    let fault = |hint: String| Err(Fault::new(format!("`{text}` is not a host"), hint));
    if let Some(address) = text.strip_prefix('[') {
        let (address, rest) = address.split_once(']').unwrap_or((address, "]"));
        let (address, zone) = address.split_once('%').unwrap_or((address, ""));
        return match (address.parse::<Ipv6Addr>(), rest, zone) {
            (Ok(ip), "", "") => Ok(HostPattern::Address(ip.to_canonical())),
            (Ok(ip), "", _) => fault(format!("a request never names a zone: write \"[{ip}]\"")),
            (Ok(ip), ..) => fault(portless(&format!("[{ip}]"))),
            (Err(_), ..) => fault("write an IPv6 address as \"[2001:db8::1]\"".to_owned()),
        };
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return fault(format!("write an IPv6 address in brackets: \"[{ip}]\""));
    }
    if let Some((_, rest)) = text.split_once("://") {
        return fault(format!("leave the scheme out: write \"{rest}\""));
    }
    if let Some((host, _)) = text.split_once('/') {
        return fault(format!(
            "write host = \"{host}\", and the path as path_prefix"
        ));
    }
    if let Some((host, _)) = text.split_once(':') {
        return fault(portless(host));
    }
    if text == "*" {
        return fault("leave host out to match all".to_owned());
    }
    if let Some(parent) = text.strip_prefix('.') {
        return fault(format!("for every host below it write \"*.{parent}\""));
    }
    let plain = text.strip_prefix("*.").unwrap_or(text);
    let Some(name) = name(plain) else {
        return fault("write \"api.example.org\" or \"*.example.org\"".to_owned());
    };
    match (name.parse::<Ipv4Addr>(), plain == text) {
        (Ok(ip), true) => Ok(HostPattern::Address(ip.into())),
        (Ok(ip), false) => fault(format!("nothing is below an address: write \"{ip}\"")),
        (Err(_), true) => Ok(HostPattern::Name(name)),
        (Err(_), false) => Ok(HostPattern::Below(name)),
    }
}

fn portless(host: &str) -> String {
    format!("hosts are compared without their port: write \"{host}\"")
}

/// A name in the form in which requests carry it; none if no request can.
fn name(text: &str) -> Option<String> {
    let text = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii(text).ok()?,
    };
    let name = text.strip_suffix('.').unwrap_or(&text);
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label =
        |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(fits);
    (name.len() <= LONGEST_NAME && name.split('.').all(is_label)).then(|| name.to_owned())
}

/// Reads the `path_prefix` of a route.
pub(crate) fn path_prefix(text: &str) -> Result<String, Fault> {
    path(text, "the start of a path")
}

/// Reads the path of a redirect.
pub(crate) fn new_path(text: &str) -> Result<String, Fault> {
    path(text, "a path")
}

/// Brings a path into its normal form.
fn path(text: &str, what: &str) -> Result<String, Fault> {
    let fault = |hint: String| Err(Fault::new(format!("`{text}` is not {what}"), hint));
    if let Some((path, _)) = text.split_once(['?', '#']) {
        return fault(format!("a path ends before them: write \"{path}\""));
    }
    if !text.starts_with('/') || text.contains(char::is_control) {
        return fault("write \"/v1\"".to_owned());
    }
    if text.contains(char::is_whitespace) {
        return fault("write %20 for a space".to_owned());
    }
    let found = String::from_utf8_lossy(&normal(text.as_bytes())).into_owned();
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return fault("a percent sign begins an escape: write %25 for one".to_owned());
    }
    if found.as_bytes() != escapes_normal(text.as_bytes()) {
        return fault(format!(
            "`.` and `..` are resolved before paths are compared: write \"{found}\""
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_brought_into_the_form_of_requests() {
        let check = |text: &str, expected: &str| {
            let found = host(text).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(found.to_string(), expected);
            assert_eq!(host(expected), Ok(found), "reads back");
        };
        check("API.test", "api.test");
        check("api.test.", "api.test");
        check("*.Example.org.", "*.example.org");
        check("my_host-1", "my_host-1");
        check("bücher.example", "xn--bcher-kva.example");
        check("*.BÜCHER.example", "*.xn--bcher-kva.example");
        check("XN--bcher-kva.example", "xn--bcher-kva.example");
        check("10.0.0.5", "10.0.0.5");
        check("[::1]", "[::1]");
        check("[0:0::0001]", "[::1]");
        check("[2001:DB8::A]", "[2001:db8::a]");
        check("[::ffff:10.0.0.5]", "10.0.0.5");
    }

    #[test]
    fn hosts_that_no_request_can_name_are_refused_with_the_cure() {
        let check = |text: &str, hint: &str| {
            let fault = host(text).expect_err(text);
            assert!(fault.message.contains("is not a host"), "{fault}");
            assert!(fault.hint.as_deref().unwrap().contains(hint), "{fault}");
        };
        check("api.test:8080", "without their port: write \"api.test\"");
        check("*.api.test:8080", "write \"*.api.test\"");
        check("[::1]:21250", "write \"[::1]\"");
        check("::1", "in brackets: \"[::1]\"");
        check("[fe80::1%eth0]", "never names a zone: write \"[fe80::1]\"");
        check("[::1", "write \"[::1]\"");
        check("[::g]", "[2001:db8::1]");
        check("*", "leave host out");
        check(".example.org", "\"*.example.org\"");
        check("http://api.test", "write \"api.test\"");
        check("api.test/v1", "as path_prefix");
        check("*.10.0.0.1", "nothing is below");
        for text in [
            "", "*.", "a..b", "*.*.b", "a.*", "*a.b", "a b", "a@b", ".", "a.b..", "a%62",
        ] {
            let hint = if text == "." { "*." } else { "api.example.org" };
            check(text, hint);
        }
        check(&"a".repeat(64), "api.example.org");
        check(&"a.".repeat(128), "api.example.org");
    }

    #[test]
    fn paths_are_brought_into_the_form_of_requests() {
        let check = |text: &str, expected: &str| {
            assert_eq!(path_prefix(text).as_deref(), Ok(expected));
            assert_eq!(path_prefix(expected).as_deref(), Ok(expected));
        };
        check("/", "/");
        check("/v1/", "/v1/");
        check("/é", "/%C3%A9");
        check("/caf%c3%a9", "/caf%C3%A9");
        check("/%6cogin", "/login");
        check("/a|b", "/a%7Cb");
        check("//x;y", "//x;y");
        check("/.well-known", "/.well-known");
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused_with_the_cure() {
        let check = |text: &str, hint: &str| {
            let fault = path_prefix(text).expect_err(text);
            assert!(fault.hint.as_deref().unwrap().contains(hint), "{fault}");
        };
        check("v1", "\"/v1\"");
        check("", "\"/v1\"");
        check("/a?b=c", "write \"/a\"");
        check("/a b", "%20");
        check("/100%", "%25");
        check("/%zz", "%25");
        check("/a/../b", "write \"/b\"");
        check("/a/%2e/b", "write \"/a/b\"");
        check("/a/.", "write \"/a/\"");
        check("/..", "write \"/\"");
        check("/a\tb", "\"/v1\"");
    }
}
