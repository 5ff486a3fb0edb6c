//! Header rules: what is changed in a head on its way through, as edits.

use std::net::IpAddr;

use ipnet::IpNet;
use roundel_http1::{Edits, Fields, Known, Lines};

mod chain;
mod forwarded;
pub(crate) mod identity;
pub(crate) mod rules;
pub(crate) mod via;

/// Fields on requests that are set only when asked for; each costs a little on every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// `Forwarded` is appended (RFC 7239).
    pub forwarded: bool,
    /// `X-Real-IP` names the client.
    pub real_ip: bool,
    /// `X-Request-ID` is kept from trusted proxies, else made anew; answers carry it too.
    pub request_id: bool,
    /// A request without a valid `traceparent` begins a new trace.
    pub traceparent: bool,
}

/// What the forwarding fields say about the client's side of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    /// The peer's address.
    pub(crate) address: IpAddr,
    /// What [`forwarding_lines`] made of its connection.
    pub(crate) lines: &'a Lines,
    /// The port it connected to.
    pub(crate) port: u16,
    /// `http` or `https`.
    pub(crate) proto: &'a str,
    /// Whether what it says about others is believed.
    pub(crate) trusted: bool,
    pub(crate) host: &'a [u8],
}

impl<'a> Client<'a> {
    /// The peer's address as text.
    fn ip(&self) -> &'a [u8] {
        self.lines.iter().next().map_or(b"", |(_, value)| value)
    }
}

/// The forwarding fields that are the same for every request of a connection.
///
/// Shape: X-Forwarded-For first.
pub(crate) fn forwarding_lines(peer: IpAddr, proto: &str, port: u16) -> Lines {
    let mut lines = Lines::new();
    for (known, value) in [
        (Known::XForwardedFor, peer.to_string()),
        (Known::XForwardedProto, proto.to_owned()),
        (Known::XForwardedPort, port.to_string()),
    ] {
        lines.push_known(known, &[value.as_bytes()]);
    }
    lines.shrink();
    lines
}

/// Whether `peer`, which is no IPv4 address mapped by IPv6, is one of the trusted proxies.
pub(crate) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&peer))
}

/// The client's address: the peer's, or if that is a trusted proxy, whom it names.
///
/// Shape: from the right, the first address that is not a trusted proxy's; the peer's where the
/// proxies name none.
pub(crate) fn client_address(fields: Fields<'_>, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    match is_trusted(peer, trusted) {
        true => chain::client(fields, trusted).unwrap_or(peer),
        false => peer,
    }
}

/// How the client of a trusted proxy came, if the proxy says so.
pub(crate) fn scheme(fields: Fields<'_>) -> Option<&'static str> {
    let is_https = match fields.first(Known::XForwardedProto) {
        Some(scheme) => scheme.trim_ascii().eq_ignore_ascii_case(b"https"),
        None => chain::is_https(fields.has(Known::Forwarded).then_some(fields)?)?,
    };
    Some(if is_https { "https" } else { "http" })
}

/// Edits a request's forwarding fields. `trusted` are the networks of proxies that are believed.
///
/// An untrusted client's words are dropped and replaced by what the connection shows. A trusted
/// proxy's are kept, its own address is appended, and what it did not say is filled in.
/// Source: RFC 7239 (Forwarded); the X- fields are custom.
pub(crate) fn forward(
    fields: Fields<'_>,
    client: Client<'_>,
    marks: Marks,
    trusted: &[IpNet],
    edits: &mut Edits,
) {
    match client.trusted {
        true => chain::extend(fields, client, marks, trusted, edits),
        false => replace(fields, client, marks, edits),
    }
}

/// Drops what an untrusted client said and tells what the connection shows.
fn replace(fields: Fields<'_>, client: Client<'_>, marks: Marks, edits: &mut Edits) {
    const SAID: [Known; 6] = [
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedPort,
        Known::XForwardedHost,
        Known::XRealIp,
        Known::Forwarded,
    ];
    if fields.has_any(&SAID) {
        for known in SAID {
            edits.remove_all(fields, known);
        }
    }
    edits.append_lines(client.lines);
    if !client.host.is_empty() {
        edits.append_known(Known::XForwardedHost, &[client.host]);
    }
    if marks.real_ip || fields.has(Known::XRealIp) {
        edits.append_known(Known::XRealIp, &[client.ip()]);
    }
    if marks.forwarded {
        let own = forwarded::write_element(client.address, client.proto, client.host);
        edits.append_known(Known::Forwarded, &[&own]);
    }
}

/// Appends the peer to a trusted proxy's X-Forwarded-For: to its last line, else alone.
fn forwarded_for(fields: Fields<'_>, client: Client<'_>, edits: &mut Edits) {
    if !fields.has(Known::XForwardedFor) {
        return edits.append_known(Known::XForwardedFor, &[client.ip()]);
    }
    if let Some(last) = fields.all(Known::XForwardedFor).last() {
        let separator: &[u8] = if last.value.is_empty() { b"" } else { b", " };
        edits.replace(last.index, &[last.value, separator, client.ip()].concat());
    }
}

/// Gives a message exactly one field of this kind.
pub(crate) fn set(fields: Fields<'_>, known: Known, value: &[u8], edits: &mut Edits) {
    edits.remove_all(fields, known);
    edits.append_known(known, &[value]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use roundel_http1::{Limits, Progress, RequestHead};

    const ALL: Marks = Marks {
        forwarded: true,
        real_ip: true,
        request_id: false,
        traceparent: false,
    };

    /// The forwarding fields that a server gets for these lines, sorted, names in lower case.
    fn told(lines: &str, trusted: bool, marks: Marks) -> Vec<String> {
        let mut head = RequestHead::new();
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        head.block.put(text.as_bytes());
        assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
        let address = IpAddr::from([10, 0, 0, 1]);
        let client = Client {
            address,
            lines: &forwarding_lines(address, "http", 80),
            port: 80,
            proto: "http",
            trusted,
            host: b"h",
        };
        let nets = ["10.0.0.0/8".parse().unwrap()];
        let mut edits = Edits::new();
        forward(head.fields(), client, marks, &nets, &mut edits);
        let shown = |(name, value): (&[u8], &[u8])| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            format!("{name}: {}", String::from_utf8_lossy(value))
        };
        let mut list: Vec<String> = edits.apply(head.fields()).map(shown).collect();
        list.retain(|line| line.starts_with("x-") || line.starts_with("forwarded"));
        list.sort();
        list
    }

    #[test]
    fn an_untrusted_client_is_not_believed() {
        let spoofed = "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\n\
                       X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n";
        let mut expected = vec![
            "forwarded: for=10.0.0.1;proto=http;host=\"h\";by=_roundel",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: h",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-real-ip: 10.0.0.1",
        ];
        assert_eq!(told(spoofed, false, ALL), expected);
        assert_eq!(told("", false, ALL), expected);
        expected.remove(0);
        assert_eq!(told(spoofed, false, Marks::default()), expected);
    }

    #[test]
    fn both_families_tell_the_same_for_a_trusted_proxy() {
        let own = "for=10.0.0.1;proto=http;host=\"h\";by=_roundel";
        let from_forwarded = told(
            "Forwarded: for=\"[2001:db8::1]:1\";proto=https;host=a.example\r\nForwarded: for=10.0.0.9\r\n",
            true,
            ALL,
        );
        assert_eq!(
            from_forwarded,
            [
                format!(
                    "forwarded: for=\"[2001:db8::1]:1\";proto=https;host=a.example, for=10.0.0.9, {own}"
                )
                .as_str(),
                "x-forwarded-for: 2001:db8::1, 10.0.0.9, 10.0.0.1",
                "x-forwarded-host: a.example",
                "x-forwarded-port: 80",
                "x-forwarded-proto: https",
                "x-real-ip: 2001:db8::1",
            ]
        );
        let from_list = told(
            "X-Forwarded-For: 6.6.6.6, 192.0.2.1 ,10.0.0.9\r\n",
            true,
            ALL,
        );
        assert_eq!(
            from_list[..2],
            [
                format!("forwarded: for=6.6.6.6, for=192.0.2.1, for=10.0.0.9, {own}").as_str(),
                "x-forwarded-for: 6.6.6.6, 192.0.2.1 ,10.0.0.9, 10.0.0.1",
            ]
        );
        assert_eq!(from_list[5], "x-real-ip: 192.0.2.1");
    }

    #[test]
    fn mapped_addresses_are_their_ipv4() {
        let told = told(
            "X-Forwarded-For: 192.0.2.1:4711, \"[::ffff:10.0.0.9]:80\", ::ffff:10.0.0.5\r\n",
            true,
            ALL,
        );
        assert_eq!(
            told[0],
            "forwarded: for=192.0.2.1, for=10.0.0.9, for=10.0.0.5, \
             for=10.0.0.1;proto=http;host=\"h\";by=_roundel"
        );
        assert_eq!(told[5], "x-real-ip: 192.0.2.1");
    }

    #[test]
    fn a_malformed_field_is_not_extended() {
        let told = told("Forwarded: for=\"a\r\n", true, ALL);
        assert_eq!(
            told[0],
            "forwarded: for=10.0.0.1;proto=http;host=\"h\";by=_roundel"
        );
        assert_eq!(told[1], "x-forwarded-for: 10.0.0.1");
    }
}
