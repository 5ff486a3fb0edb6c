//! Addresses that nobody may announce as a server's.
//!
//! A member of the gossip says where requests shall go. Some addresses lead to what only this machine or
//! its host may ask (loopback, a cloud's metadata), some to nobody in particular, and some are another
//! address in disguise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// What is refused wherever it stands, and nobody can permit: no server is there.
const NOWHERE: [(&str, &str); 5] = [
    ("0.0.0.0/8", "unspecified"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("::/128", "unspecified"),
    ("ff00::/8", "multicast"),
];

/// What is refused unless its network is named; of two that overlap the narrower one first.
///
/// Source: the special-purpose registries of IANA for IPv4 and IPv6 (RFC 6890 and its successors) but for
/// private networks (10/8, 172.16/12, 192.168/16, fc00::/7); cloud providers' documentation for the
/// addresses of their metadata; RFC 4291 for what is no unicast address yet.
const SPECIAL: [(&str, &str); 39] = [
    ("100.64.0.0/10", "carrier-grade"),
    ("127.0.0.0/8", LOOPBACK),
    ("168.63.129.16/32", "cloud metadata"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "protocol"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.175.48.0/24", "AS112"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("240.0.0.0/4", "reserved"),
    ("::1/128", LOOPBACK),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("100::/64", "discard-only"),
    ("100:0:0:1::/64", "dummy"),
    // IPv4-compatible, IPv4-translated and all else below the global unicast addresses.
    ("::/3", "reserved"),
    ("2001::/32", "Teredo"),
    ("2001:2::/48", "benchmarking"),
    ("2001::/23", "protocol"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "AS112"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("4000::/2", "reserved"),
    ("8000::/2", "reserved"),
    ("fd00:ec2::/32", "cloud metadata"),
    ("fd20:ce::/32", "cloud metadata"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("c000::/3", "reserved"),
    ("e000::/4", "reserved"),
    ("f000::/5", "reserved"),
    ("f800::/6", "reserved"),
    ("fe00::/9", "reserved"),
];

const LOOPBACK: &str = "loopback";

static RANGES: LazyLock<[Vec<(IpNet, &str)>; 2]> = LazyLock::new(|| {
    let read = |(network, what): &(&str, &'static str)| {
        let network = network
            .parse()
            .expect("a network, as a test reads them all");
        (network, *what)
    };
    [
        NOWHERE.iter().map(read).collect(),
        SPECIAL.iter().map(read).collect(),
    ]
});

/// Where servers may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permitted {
    /// The networks in which they must be; none for any. A network that lies within a range that is
    /// refused otherwise permits itself: `100.64.0.0/10` does, `0.0.0.0/0` permits nothing special.
    pub from: Vec<IpNet>,
    /// Whether loopback addresses may be servers: only where the gossip itself stays on this machine.
    pub loopback: bool,
}

impl Permitted {
    /// Why there may be no server at `ip`, in a few words with the cure; `None` if there may be one.
    pub(crate) fn refusal(&self, ip: IpAddr) -> Option<String> {
        let ip = ip.to_canonical();
        if !self.from.is_empty() && !self.from.iter().any(|net| net.contains(&ip)) {
            return Some(format!("address {ip} is in no network of `from`"));
        }
        if let Some((_, what)) = find(&RANGES[0], ip) {
            return Some(format!("{what} address {ip}"));
        }
        if let Some((range, what)) = find(&RANGES[1], ip)
            && !(what == LOOPBACK && self.loopback)
            && !self.names(range, ip)
        {
            return Some(format!(
                "{what} address {ip}; if servers are there, name its network in `from`"
            ));
        }
        let inner = embedded(ip)?;
        let why = Self::default().refusal(inner.into());
        why.map(|_| format!("address {ip} stands for {inner}, which may be no server's"))
    }

    /// Whether a network is named that has `ip` and lies within `range`.
    fn names(&self, range: IpNet, ip: IpAddr) -> bool {
        let mut from = self.from.iter();
        from.any(|net| range.contains(net) && net.contains(&ip))
    }
}

fn find(ranges: &[(IpNet, &'static str)], ip: IpAddr) -> Option<(IpNet, &'static str)> {
    let mut ranges = ranges.iter();
    ranges.find(|(range, _)| range.contains(&ip)).copied()
}

/// The IPv4 address that an IPv6 address leads to.
///
/// Source: RFC 6052 (the prefix of 96 bits), RFC 3056 (6to4), RFC 4380 (Teredo).
fn embedded(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    let at = Ipv6Addr::segments(&ip);
    match at {
        [0x64, 0xff9b, ..] => Some(v4(at[6], at[7])),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x2001, 0, ..] => Some(v4(!at[6], !at[7])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(from: &[&str]) -> Permitted {
        Permitted {
            from: from.iter().map(|net| net.parse().unwrap()).collect(),
            loopback: false,
        }
    }

    fn refused(permitted: &Permitted, ip: &str) -> Option<String> {
        permitted.refusal(ip.parse().unwrap())
    }

    #[test]
    fn servers_are_in_private_and_public_networks() {
        for ip in [
            "10.0.0.7",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.1.1",
            "fd00::7",
            "fc00::1",
            "::ffff:10.0.0.7",
            "93.184.215.14",
            "2a00:1450:4001::1",
            "2620:fe::fe",
            "100.63.0.1",
            "100.128.0.1",
            "198.20.0.1",
        ] {
            assert_eq!(refused(&Permitted::default(), ip), None, "{ip}");
        }
    }

    #[test]
    fn special_ranges_are_refused_in_every_form() {
        for ip in [
            "0.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::169.254.169.254",
            "::10.0.0.7",
            "::ffff:0:169.254.169.254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::10.0.0.7",
            "64:ff9b:1::a9fe:a9fe",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:a9fe:a9fe::1",
            "2002:a00:7::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "a000::1",
            "e000::1",
            "f800::1",
            "fe00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(refused(&Permitted::default(), ip).is_some(), "{ip}");
        }
    }

    #[test]
    fn a_network_that_is_named_restricts_and_permits() {
        let private = permitted(&["10.0.0.0/8"]);
        assert_eq!(refused(&private, "10.0.0.7"), None);
        let why = refused(&private, "172.16.0.1").unwrap();
        assert_eq!(why, "address 172.16.0.1 is in no network of `from`");
        for (from, ip) in [
            ("100.64.0.0/10", "100.100.1.2"),
            ("100.64.7.0/24", "100.64.7.1"),
            ("fd00:ec2::/32", "fd00:ec2::254"),
            ("127.0.0.0/8", "127.0.0.1"),
            ("64:ff9b::/96", "64:ff9b::10.0.0.7"),
        ] {
            assert_eq!(refused(&permitted(&[from]), ip), None, "{ip}");
        }
        for (from, ip) in [
            ("0.0.0.0/0", "100.64.0.1"),
            ("0.0.0.0/0", "169.254.169.254"),
            ("::/0", "fd00:ec2::254"),
            ("224.0.0.0/4", "224.0.0.1"),
            ("64:ff9b::/96", "64:ff9b::a9fe:a9fe"),
            ("2002::/16", "2002:7f00:1::1"),
        ] {
            assert!(refused(&permitted(&[from]), ip).is_some(), "{from} {ip}");
        }
    }

    #[test]
    fn the_cure_is_named() {
        let why = refused(&Permitted::default(), "100.64.0.1").unwrap();
        let cure =
            "carrier-grade address 100.64.0.1; if servers are there, name its network in `from`";
        assert_eq!(why, cure);
    }
}
