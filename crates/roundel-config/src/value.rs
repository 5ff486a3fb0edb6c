//! The small notations that flags, variables and the configuration file share.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use roundel_gossip_tokio::Advertise;

/// Says what is wrong with a text, and how to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// How to write it instead.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault with a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads a duration such as `5s`, `250ms`, `1m30s`.
///
/// Units: `us`, `ms`, `s`, `m`, `h`, `d`; a number without one is refused, since HAProxy would
/// read it as milliseconds and most others as seconds.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let fault = || {
        Fault::new(
            format!("`{text}` is not a duration"),
            "write a number and a unit, such as \"5s\", \"250ms\" or \"1h\"",
        )
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(fault());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?;
        let amount: u64 = rest[..digits].parse().map_err(|_| fault())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let micros: u64 = match rest[..letters].trim() {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(fault()),
        };
        rest = &rest[letters..];
        let part = amount.checked_mul(micros).ok_or_else(fault)?;
        total = total
            .checked_add(Duration::from_micros(part))
            .ok_or_else(fault)?;
    }
    Ok(total)
}

/// Writes a duration so that [`duration`] reads it back.
pub fn show_duration(value: Duration) -> String {
    let us = value.as_micros();
    let units = [
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    if us == 0 {
        return "0s".to_owned();
    }
    match units.iter().find(|(unit, _)| us.is_multiple_of(*unit)) {
        Some((unit, word)) => format!("{}{word}", us / unit),
        None => format!("{us}us"),
    }
}

/// Reads a size in bytes such as `64KiB`, `1MB` or `4096`.
pub fn size(text: &str) -> Result<u64, Fault> {
    let fault = || {
        Fault::new(
            format!("`{text}` is not a size"),
            "write a number and a unit, such as \"64KiB\", \"1MiB\" or \"4096\"",
        )
    };
    let text_ = text.trim();
    let digits = text_
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text_.len());
    let amount: u64 = text_[..digits].parse().map_err(|_| fault())?;
    let unit = match text_[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(fault()),
    };
    amount.checked_mul(unit).ok_or_else(fault)
}

/// Writes a size so that [`size`] reads it back.
pub fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// Reads an address to listen on: `:80`, `*:80`, `127.0.0.1:8080`, `[::]:80`.
///
/// Without a host it is every address of the machine, IPv6 and IPv4 in one socket.
pub fn listen(text: &str) -> Result<SocketAddr, Fault> {
    let any = text.strip_prefix('*').unwrap_or(text);
    if let Some(port) = any.strip_prefix(':')
        && let Ok(port) = port.parse::<u16>()
    {
        return Ok(SocketAddr::new(every_address(), port));
    }
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse::<u16>()
    {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let address: SocketAddr = text.parse().map_err(|_| not_listen(text))?;
    Ok(canonical(address))
}

/// Writes an IPv4 address that IPv6 maps as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // As it was, with its zone.
        IpAddr::V6(_) => address,
    }
}

fn not_listen(text: &str) -> Fault {
    let hint = if let Ok(port) = text.parse::<u16>() {
        format!("did you mean \":{port}\"?")
    } else if text.starts_with('[') && text.contains('%') {
        "write the number of the zone's interface, from `ip link`: \"[fe80::1%2]:80\"".to_owned()
    } else if let Ok(IpAddr::V6(ip)) = text.parse::<IpAddr>() {
        format!("add a port: \"[{ip}]:80\"")
    } else if text.parse::<Ipv4Addr>().is_ok() {
        format!("add a port: \"{text}:80\"")
    } else {
        "write \":80\", \"127.0.0.1:8080\" or \"[::]:80\"; a port is 0 to 65535".to_owned()
    };
    Fault::new(format!("`{text}` is not an address to listen on"), hint)
}

/// The unspecified address that reaches most: `::` (both families), `0.0.0.0` on a machine
/// whose kernel has no IPv6.
fn every_address() -> IpAddr {
    static HAS_V6: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok());
    if *HAS_V6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// Writes an address to listen on in its shortest form.
pub fn show_listen(address: SocketAddr) -> String {
    if address.ip() == every_address() {
        format!(":{}", address.port())
    } else {
        address.to_string()
    }
}

/// Reads a server's address, `10.0.0.1:3000`, or without a port when `default_port` says one.
pub fn server_address(text: &str, default_port: u16) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(canonical(address));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip.to_canonical(), default_port));
    }
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse::<u16>()
    {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    Err(Fault::new(
        format!("`{text}` is not the address of a server"),
        "write \"10.0.0.1:3000\" or \"[fd00::1]:3000\"; for a host name use discover = [{ dns = { name = \"…\" } }]",
    ))
}

/// Reads what other gossip nodes shall reach us by: an address with or without a port, an
/// interface's name, or a network.
pub fn advertise(text: &str) -> Result<Advertise, Fault> {
    if text.contains('/') {
        return network(text).map(Advertise::Network);
    }
    let Ok(address) = server_address(text, 0) else {
        return interface(text).map(Advertise::Interface);
    };
    if address.ip().is_unspecified() {
        return Err(Fault::new(
            format!("`{text}` is not an address that others can reach"),
            "advertise one address of this machine, an interface such as \"eth1\" or a network \
             such as \"10.0.0.0/8\"",
        ));
    }
    Ok(Advertise::Address(address))
}

/// The name of an interface as the kernel allows it, with a letter: `10.0.0.300` is a mistake.
fn interface(text: &str) -> Result<String, Fault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    let is_name = (1..=15).contains(&text.len())
        && text.bytes().all(allowed)
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    if is_name {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        format!("`{text}` is not an address to advertise"),
        "write \"192.0.2.7\", \"192.0.2.7:7946\", an interface such as \"eth1\" or a network such \
         as \"10.0.0.0/8\"",
    ))
}

/// Reads a network such as `10.0.0.0/8`; an address alone is a network of one.
pub fn network(text: &str) -> Result<ipnet::IpNet, Fault> {
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from));
    let network = network.map_err(|_| {
        Fault::new(
            format!("`{text}` is not a network"),
            "write \"10.0.0.0/8\" or one address",
        )
    })?;
    Ok(canonical_network(network))
}

/// Writes a network of IPv4 addresses that IPv6 maps as one of IPv4.
fn canonical_network(network: ipnet::IpNet) -> ipnet::IpNet {
    const MAPPED: u8 = 96;
    let length = network.prefix_len().checked_sub(MAPPED);
    match (network.addr().to_canonical(), length) {
        (IpAddr::V4(ip), Some(length)) if network.addr().is_ipv6() => {
            ipnet::Ipv4Net::new(ip, length).map_or(network, Into::into)
        }
        _ => network,
    }
}

/// Splits `K=V`.
pub fn pair(text: &str) -> Result<(String, String), Fault> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Fault::new(
            format!("`{text}` is not a pair"),
            "write NAME=VALUE",
        )),
    }
}

/// Finds the word of `known` that `word` most likely stands for.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let most = |k: &str| 1 + k.len().max(word.len()) / 4;
    known
        .into_iter()
        // Each character that one has more is a step of the distance, which is dear to compute.
        .filter(|k| k.chars().count().abs_diff(length) <= most(k))
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, k)| *distance <= most(k))
        .min()
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let ok = |t: &str, ms: u64| assert_eq!(duration(t), Ok(Duration::from_millis(ms)), "{t}");
        ok("5s", 5_000);
        ok("250ms", 250);
        ok("1m30s", 90_000);
        ok("1h", 3_600_000);
        ok("0", 0);
        for bad in [
            "",
            "5",
            "s",
            "5 parsecs",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "20000000000000d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_ipv6_maps_is_ipv4() {
        let shown = |text: &str| network(text).map(|n| n.to_string());
        assert_eq!(shown("::ffff:10.0.0.0/104").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(shown("::ffff:10.0.0.5").as_deref(), Ok("10.0.0.5/32"));
        assert_eq!(shown("::/0").as_deref(), Ok("::/0"));
        assert_eq!(shown("2001:db8::/32").as_deref(), Ok("2001:db8::/32"));
        let four: SocketAddr = "10.0.0.5:80".parse().unwrap();
        assert_eq!(server_address("[::ffff:10.0.0.5]:80", 1), Ok(four));
        assert_eq!(server_address("::ffff:10.0.0.5", 80), Ok(four));
        assert_eq!(listen("[::ffff:10.0.0.5]:80"), Ok(four));
        let zone: SocketAddr = "[fe80::1%2]:80".parse().unwrap();
        assert_eq!(listen("[fe80::1%2]:80"), Ok(zone));
    }

    #[test]
    fn durations_and_sizes_round_trip() {
        for t in ["5s", "250ms", "90s", "1h", "3m", "7us"] {
            let d = duration(t).unwrap();
            assert_eq!(duration(&show_duration(d)), Ok(d));
        }
        for t in ["64KiB", "1MiB", "4097", "0"] {
            let s = size(t).unwrap();
            assert_eq!(size(&show_size(s)), Ok(s));
        }
        assert_eq!(size("16KiB"), Ok(16_384));
        assert!(size("lots").is_err() && size("1XB").is_err() && size("99999999999GiB").is_err());
    }

    #[test]
    fn listen_addresses() {
        let every = listen(":80").unwrap();
        assert!(every.ip().is_unspecified() && every.port() == 80);
        assert_eq!(listen("*:80").unwrap(), every);
        assert_eq!(listen("127.0.0.1:0").unwrap().to_string(), "127.0.0.1:0");
        assert_eq!(listen("[::1]:8080").unwrap().to_string(), "[::1]:8080");
        assert!(listen("8080").unwrap_err().hint.unwrap().contains(":8080"));
        assert!(listen(":80000").is_err() && listen("example.org:80").is_err());
    }

    #[test]
    fn server_addresses_take_the_default_port() {
        assert_eq!(server_address("10.0.0.1", 3000).unwrap().port(), 3000);
        assert_eq!(server_address("10.0.0.1:81", 3000).unwrap().port(), 81);
        assert_eq!(
            server_address("fd00::1", 3000).unwrap().to_string(),
            "[fd00::1]:3000"
        );
        assert!(server_address("webapp:3000", 3000).is_err());
    }

    #[test]
    fn what_is_advertised_is_an_address_an_interface_or_a_network() {
        for text in [
            "192.0.2.7",
            "192.0.2.7:7947",
            "[fd00::1]:7946",
            "eth1",
            "br-0.100",
            "10.0.0.0/8",
            "fd00::/8",
        ] {
            assert_eq!(advertise(text).unwrap().to_string(), text);
        }
        assert_eq!(advertise("fd00::1").unwrap().to_string(), "fd00::1");
        for bad in [
            "0.0.0.0",
            "::",
            "10.0.0.300",
            "eth1:7946",
            "10.0.0.0/33",
            "",
            "a name",
            "a-name-that-is-too-long",
        ] {
            assert!(advertise(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let known = ["retries", "timeouts", "listen"];
        assert_eq!(closest("retires", known), Some("retries"));
        assert_eq!(closest("timeout", known), Some("timeouts"));
        assert_eq!(closest("colour", known), None);
    }
}
