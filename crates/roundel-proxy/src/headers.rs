//! Header rules: what is changed in a head on its way through, as edits.

use std::net::IpAddr;

use ipnet::IpNet;
use roundel_http1::{Edits, Fields, Known, Version};

/// What the forwarding fields say about the client's side of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    /// The peer's address, as text.
    pub(crate) ip: &'a str,
    /// The port it connected to, as text.
    pub(crate) port: &'a str,
    /// `http` or `https`.
    pub(crate) proto: &'a str,
    /// Whether what it says about others is believed.
    pub(crate) trusted: bool,
    pub(crate) version: Version,
    pub(crate) host: &'a [u8],
}

/// Whether `peer` is one of the trusted proxies.
pub(crate) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&peer))
}

/// Edits a request's forwarding fields and, if `via`, adds Via.
///
/// An untrusted client's words are dropped and replaced by what the connection shows. A trusted
/// proxy's are kept, its own address is appended, and what it did not say is filled in.
/// Source: RFC 9110 7.6.3 (Via), RFC 7239 (Forwarded); the X- fields are custom.
pub(crate) fn forward(fields: Fields<'_>, client: Client<'_>, via: bool, edits: &mut Edits) {
    forwarded_for(fields, client, edits);
    for (known, value) in [
        (Known::XForwardedProto, client.proto.as_bytes()),
        (Known::XForwardedPort, client.port.as_bytes()),
        (Known::XForwardedHost, client.host),
    ] {
        if fields.has(known) {
            if client.trusted {
                continue;
            }
            edits.remove_all(fields, known);
        }
        if !value.is_empty() {
            edits.append_known(known, &[value]);
        }
    }
    if !client.trusted {
        if fields.has(Known::XRealIp) {
            edits.remove_all(fields, Known::XRealIp);
            edits.append_known(Known::XRealIp, &[client.ip.as_bytes()]);
        }
        edits.remove_all(fields, Known::Forwarded);
    }
    if via {
        let received: &[u8] = match client.version {
            Version::Http10 => b"1.0 roundel",
            Version::Http11 => b"1.1 roundel",
            Version::Http2 => b"2.0 roundel",
        };
        edits.append_known(Known::Via, &[received]);
    }
}

/// Appends the peer to X-Forwarded-For: to the last line of a trusted proxy, else alone.
fn forwarded_for(fields: Fields<'_>, client: Client<'_>, edits: &mut Edits) {
    if !fields.has(Known::XForwardedFor) {
        return edits.append_known(Known::XForwardedFor, &[client.ip.as_bytes()]);
    }
    if !client.trusted {
        edits.remove_all(fields, Known::XForwardedFor);
        return edits.append_known(Known::XForwardedFor, &[client.ip.as_bytes()]);
    }
    if let Some(last) = fields.all(Known::XForwardedFor).last() {
        let separator: &[u8] = if last.value.is_empty() { b"" } else { b", " };
        edits.replace(
            last.index,
            &[last.value, separator, client.ip.as_bytes()].concat(),
        );
    }
}

/// Adds Date to an answer without one (RFC 9110 6.6.1). `date` is an IMF-fixdate.
pub(crate) fn add_date(fields: Fields<'_>, date: &[u8], edits: &mut Edits) {
    if !fields.has(Known::Date) {
        edits.append_known(Known::Date, &[date]);
    }
}

/// Lowers Max-Forwards by one (RFC 9110 7.6.2); zero never comes here.
pub(crate) fn one_forward_less(fields: Fields<'_>, value: Option<u64>, edits: &mut Edits) {
    let Some(value) = value else { return };
    for line in fields.all(Known::MaxForwards) {
        let mut text = itoa::Buffer::new();
        edits.replace(line.index, text.format(value.saturating_sub(1)).as_bytes());
    }
}
