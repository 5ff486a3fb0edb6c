//! Which of our addresses others shall use, and how it is followed when it moves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use crate::config::StartError;
use crate::interfaces::{self, Own};

/// What the configuration says about the address that others shall use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// This one, whatever the interfaces have; port 0 stands for the port listened on.
    Address(SocketAddr),
    /// The first of the interface of this name.
    Interface(String),
    /// The first one in this network.
    Network(IpNet),
}

impl Advertise {
    /// Whether there is such an address now. Errors: none of an interface's fits.
    pub fn check(&self) -> Result<(), StartError> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let found = choose(Some(self), any);
        found.map(drop).map_err(StartError::Advertise)
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Interface(name) => f.write_str(name),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// The address that others use to reach us, and how we came by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAddress {
    /// Where others reach us.
    pub address: SocketAddr,
    /// Why it is this one, as a clause for people.
    pub why: String,
}

impl OwnAddress {
    /// Whether no peer has shown yet that it is right.
    pub(crate) fn is_guess(&self) -> bool {
        self.why == GUESS
    }
}

/// Why an address is taken before anything is known.
const GUESS: &str = "a guess by the routes, until a peer reaches us";

/// Where our address comes from when the present one is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Basis {
    /// It was told, or is the one listened on: it stays.
    Fixed,
    /// It is the first that fits what was told.
    Chosen(Advertise),
    /// It is a guess, which peers correct.
    Learnt,
}

/// The address to begin with. Errors: no interface has what was told; a sentence for people.
pub(crate) fn choose(
    told: Option<&Advertise>,
    listened: SocketAddr,
) -> Result<(OwnAddress, Basis), String> {
    let port = listened.port();
    let ip = listened.ip().to_canonical();
    let own = |ip: IpAddr, why: &str| OwnAddress {
        address: SocketAddr::new(ip, port),
        why: why.to_owned(),
    };
    Ok(match told {
        Some(Advertise::Address(told)) => {
            let port = if told.port() == 0 { port } else { told.port() };
            let told = OwnAddress {
                address: SocketAddr::new(told.ip(), port),
                why: "as told by --advertise".to_owned(),
            };
            (told, Basis::Fixed)
        }
        Some(told) => {
            let there = interfaces::own();
            let Some((ip, why)) = fitting(told, &there) else {
                return Err(format!(
                    "no address fits `advertise` {told}; this machine has {}",
                    interfaces::list(&there)
                ));
            };
            (own(ip, &why), Basis::Chosen(told.clone()))
        }
        None if !ip.is_unspecified() => (own(ip, "the address listened on"), Basis::Fixed),
        None => (own(guess(), GUESS), Basis::Learnt),
    })
}

/// The first address that fits what was told, IPv4 before IPv6, and why.
pub(crate) fn fitting(told: &Advertise, own: &[Own]) -> Option<(IpAddr, String)> {
    let fits = |at: &&Own| match told {
        Advertise::Address(address) => address.ip() == at.ip,
        Advertise::Interface(name) => at.interface == *name,
        Advertise::Network(network) => network.contains(&at.ip),
    };
    let usable = own.iter().filter(|at| interfaces::is_usable(at.ip));
    let first = usable.filter(fits).min_by_key(|at| at.ip.is_ipv6())?;
    let why = match told {
        Advertise::Network(network) => format!("{}'s in {network}", first.interface),
        _ => format!("{}'s", first.interface),
    };
    Some((first.ip, why))
}

/// Finds another address for one that is gone: that towards a peer, else any that is not loopback.
pub(crate) fn instead(peers: &[SocketAddr], own: &[Own]) -> Option<(IpAddr, String)> {
    let has = |ip: &IpAddr| {
        !ip.is_loopback() && interfaces::is_usable(*ip) && own.iter().any(|at| at.ip == *ip)
    };
    let to_peer = |peer: SocketAddr| Some((towards(peer).filter(has)?, peer));
    if let Some((ip, peer)) = peers.iter().copied().find_map(to_peer) {
        return Some((ip, format!("towards the member at {peer}")));
    }
    let ip = Some(guess()).filter(has)?;
    Some((ip, GUESS.to_owned()))
}

/// Finds the address of ours that packets to `peer` carry. Nothing is sent.
pub(crate) fn towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    // Port 0 cannot be connected to.
    let port = peer.port().max(1);
    socket.connect((peer.ip(), port)).ok()?;
    let ip = socket.local_addr().ok()?.ip().to_canonical();
    (!ip.is_unspecified()).then_some(ip)
}

/// Finds an address of ours without knowing any peer: that of the default route, else of any
/// network we are on, else loopback.
pub(crate) fn guess() -> IpAddr {
    // Documentation addresses (RFC 5737, RFC 3849): routed like any other, never sent to.
    let beyond: [SocketAddr; 2] = [
        (Ipv4Addr::new(192, 0, 2, 1), 1).into(),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 1).into(),
    ];
    let [v4, v6] = beyond.map(towards);
    v4.or_else(on_a_network)
        .or(v6)
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A container on an internal network has no default route, but a route to that network.
fn on_a_network() -> Option<IpAddr> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    networks(&routes)
        .filter_map(|network| towards((network, 1).into()))
        .find(|ip| !ip.is_loopback())
}

/// Reads the first host of each network out of the kernel's table of routes.
fn networks(routes: &str) -> impl Iterator<Item = Ipv4Addr> {
    routes.lines().skip(1).filter_map(|line| {
        let destination = line.split_ascii_whitespace().nth(1)?;
        let network = u32::from_str_radix(destination, 16).ok()?.swap_bytes();
        (network != 0).then(|| Ipv4Addr::from(network.saturating_add(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let ip = towards("127.0.0.1:7946".parse().unwrap());
        assert_eq!(ip, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn a_guess_is_never_unspecified() {
        assert!(!guess().is_unspecified());
    }

    #[test]
    fn networks_are_read_from_the_kernels_table() {
        let table = "Iface\tDestination\tGateway\tFlags\n\
                     eth0\t00000000\t010011AC\t0003\n\
                     eth0\t000011AC\t00000000\t0001\n\
                     junk\n";
        let found: Vec<_> = networks(table).collect();
        assert_eq!(found, [Ipv4Addr::new(172, 17, 0, 1)]);
    }

    fn own(interface: &str, ip: &str) -> Own {
        Own {
            interface: interface.to_owned(),
            ip: ip.parse().unwrap(),
        }
    }

    #[test]
    fn an_interface_or_a_network_stands_for_the_first_address_that_fits() {
        let own = [
            own("lo", "127.0.0.1"),
            own("eth0", "172.18.0.2"),
            own("eth1", "fe80::1"),
            own("eth1", "fd00::7"),
            own("eth1", "10.0.1.7"),
        ];
        let found = |told: Advertise| fitting(&told, &own).map(|(ip, _)| ip.to_string());
        let interface = |name: &str| found(Advertise::Interface(name.to_owned()));
        let network = |text: &str| found(Advertise::Network(text.parse().unwrap()));
        assert_eq!(interface("eth1").as_deref(), Some("10.0.1.7"));
        assert_eq!(interface("eth2"), None);
        assert_eq!(network("10.0.0.0/8").as_deref(), Some("10.0.1.7"));
        assert_eq!(network("fd00::/8").as_deref(), Some("fd00::7"));
        assert_eq!(
            network("fe80::/10"),
            None,
            "means something on one link only"
        );
        assert_eq!(network("192.168.0.0/16"), None);
    }

    #[test]
    fn what_no_interface_has_is_told_with_what_there_is() {
        let told = Advertise::Interface("nosuch0".to_owned());
        let error = choose(Some(&told), "0.0.0.0:7".parse().unwrap()).unwrap_err();
        assert!(
            error.contains("nosuch0") && error.contains("lo 127.0.0.1"),
            "{error}"
        );
        let lo = Advertise::Network("127.0.0.0/8".parse().unwrap());
        let (own, basis) = choose(Some(&lo), "0.0.0.0:7".parse().unwrap()).unwrap();
        assert_eq!(own.address, "127.0.0.1:7".parse().unwrap());
        assert_eq!(basis, Basis::Chosen(lo));
    }
}
