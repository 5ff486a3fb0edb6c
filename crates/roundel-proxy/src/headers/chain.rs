//! What a trusted proxy said about the way of a request, extended by what we see.
//!
//! The two families of fields are kept consistent: what came only as Forwarded is also told as
//! X-Forwarded-*, and the other way round where Forwarded is switched on (RFC 7239 7.4).

use std::net::IpAddr;

use ipnet::IpNet;
use roundel_http1::{Edits, Fields, Known};

use super::forwarded::{Element, address, parse, write_element, write_node};
use super::{Client, Marks, forwarded_for, is_trusted};

/// The proxies on the way, the client first.
struct Chain {
    /// The elements of Forwarded; `None` if it is absent or malformed.
    told: Option<Vec<Element>>,
    addresses: Vec<Option<IpAddr>>,
}

impl Chain {
    fn read(fields: Fields<'_>) -> Self {
        let told = fields.has(Known::Forwarded).then(|| {
            let lines = fields.all(Known::Forwarded).map(|line| parse(line.value));
            let lines: Option<Vec<Vec<Element>>> = lines.collect();
            lines.map(|lines| lines.concat())
        });
        let told = told.flatten();
        let addresses = match (&told, fields.has(Known::XForwardedFor)) {
            (Some(elements), false) => elements.iter().map(|e| address(e.node.as_ref()?)).collect(),
            _ => fields
                .all(Known::XForwardedFor)
                .flat_map(|line| line.value.split(|b| *b == b','))
                .filter(|text| !text.trim_ascii().is_empty())
                .map(address)
                .collect(),
        };
        Self { told, addresses }
    }

    /// The index of the client: from the right, the first that is not a trusted proxy.
    fn client(&self, trusted: &[IpNet]) -> Option<usize> {
        let is_proxy = |at: &Option<IpAddr>| at.is_some_and(|ip| is_trusted(ip, trusted));
        let last = self.addresses.iter().rposition(|at| !is_proxy(at));
        last.or((!self.addresses.is_empty()).then_some(0))
    }

    /// The element of Forwarded that tells how the client came.
    fn arrival(&self, trusted: &[IpNet]) -> Option<&Element> {
        let told = self.told.as_ref()?;
        // The two lists may differ in length when both fields came; then neither is sure.
        let same = told.len() == self.addresses.len();
        told.get(self.client(trusted).filter(|_| same)?)
    }
}

/// The client that trusted proxies name, if they name one.
pub(super) fn client(fields: Fields<'_>, trusted: &[IpNet]) -> Option<IpAddr> {
    let chain = Chain::read(fields);
    chain.addresses[chain.client(trusted)?]
}

/// Whether the last proxy of Forwarded got the request by HTTPS, if that is told.
pub(super) fn is_https(fields: Fields<'_>) -> Option<bool> {
    let told = Chain::read(fields).told?;
    let proto = told.last()?.proto.as_deref()?;
    Some(proto.eq_ignore_ascii_case(b"https"))
}

/// Edits the forwarding fields of a request from a trusted proxy.
pub(super) fn extend(
    fields: Fields<'_>,
    client: Client<'_>,
    marks: Marks,
    trusted: &[IpNet],
    edits: &mut Edits,
) {
    let chain = Chain::read(fields);
    if fields.has(Known::XForwardedFor) || chain.told.is_none() {
        forwarded_for(fields, client, edits);
    } else {
        let mut list = String::new();
        for at in &chain.addresses {
            list += &at.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
            list += ", ";
        }
        edits.append_known(Known::XForwardedFor, &[list.as_bytes(), client.ip()]);
    }
    let arrival = chain.arrival(trusted);
    let proto = arrival.and_then(|e| e.proto.as_deref());
    let host = arrival.and_then(|e| e.host.as_deref());
    let mut port = itoa::Buffer::new();
    for (known, value) in [
        (
            Known::XForwardedProto,
            proto.unwrap_or(client.proto.as_bytes()),
        ),
        (Known::XForwardedPort, port.format(client.port).as_bytes()),
        (Known::XForwardedHost, host.unwrap_or(client.host)),
    ] {
        if !fields.has(known) && !value.is_empty() {
            edits.append_known(known, &[value]);
        }
    }
    if marks.real_ip && !fields.has(Known::XRealIp) {
        let at = chain.client(trusted).and_then(|at| chain.addresses[at]);
        let ip = at.map(|ip| ip.to_string());
        let ip = ip.as_ref().map_or(client.ip(), String::as_bytes);
        edits.append_known(Known::XRealIp, &[ip]);
    }
    if marks.forwarded {
        forwarded(fields, client, &chain, edits);
    }
}

/// Appends our element to Forwarded; tells it from X-Forwarded-For if that alone came.
fn forwarded(fields: Fields<'_>, client: Client<'_>, chain: &Chain, edits: &mut Edits) {
    let own = write_element(client.address, client.proto, client.host);
    let mut before = Vec::new();
    match chain.told {
        Some(_) => {
            for line in fields.all(Known::Forwarded) {
                before.extend_from_slice(line.value.trim_ascii());
                before.extend_from_slice(b", ");
            }
        }
        None => {
            for at in &chain.addresses {
                before.extend_from_slice(write_node(*at).as_bytes());
                before.extend_from_slice(b", ");
            }
        }
    }
    edits.remove_all(fields, Known::Forwarded);
    edits.append_known(Known::Forwarded, &[&before, &own]);
}
