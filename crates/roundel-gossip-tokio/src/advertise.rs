//! Which of our addresses others shall use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

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
}
