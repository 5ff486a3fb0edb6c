//! The addresses of this machine's interfaces.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// An address of an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) interface: String,
    pub(crate) ip: IpAddr,
}

/// All addresses of interfaces that are up, in the kernel's order; none if it does not tell.
pub(crate) fn own() -> Vec<Own> {
    let Ok(found) = getifaddrs() else {
        return Vec::new();
    };
    let up = found.filter(|at| at.flags.contains(InterfaceFlags::IFF_UP));
    let own = |at: nix::ifaddrs::InterfaceAddress| {
        Some(Own {
            ip: ip_of(&at.address?)?,
            interface: at.interface_name,
        })
    };
    up.filter_map(own).collect()
}

/// The addresses of interfaces that are up.
pub fn own_ips() -> Vec<IpAddr> {
    own().into_iter().map(|at| at.ip).collect()
}

/// The address in what the kernel gives, as IPv4 if it is a mapped one.
fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    let v6 = || address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
    v4.or_else(v6).map(|ip| ip.to_canonical())
}

/// Whether others could use an address to reach this machine; link-local ones need more.
pub(crate) fn is_usable(ip: IpAddr) -> bool {
    !match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What there is, for people: `eth0 10.0.0.2, eth1 10.1.0.2`.
pub(crate) fn list(own: &[Own]) -> String {
    let shown: Vec<String> = own
        .iter()
        .filter(|at| is_usable(at.ip))
        .map(|at| format!("{} {}", at.interface, at.ip))
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_them() {
        let own = own();
        let local = |at: &Own| at.interface == "lo" && at.ip.is_loopback();
        assert!(own.iter().any(local), "{own:?}");
        assert!(list(&own).contains("lo 127.0.0.1"));
    }
}
