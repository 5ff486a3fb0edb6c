//! Free loopback addresses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Gives an address out of 127.0.0.0/8 that no other test of this machine is likely to use.
///
/// Shape: 127.64.0.1 to 127.127.255.254, from the process id and a counter.
pub fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Fibonacci hashing spreads neighbouring process ids over the range.
    let mixed = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, a, b] = (mixed + u32::from(count / 250)).to_be_bytes();
    Ipv4Addr::new(127, 64 + (a & 63), b, 1 + (count % 250) as u8)
}

/// Gives a port that was free for TCP and UDP on `ip` a moment ago; never the same one twice.
///
/// Panics if the system has no free port.
pub fn free_port(ip: Ipv4Addr) -> u16 {
    static GIVEN: Mutex<BTreeSet<(Ipv4Addr, u16)>> = Mutex::new(BTreeSet::new());
    for _ in 0..64 {
        let tcp = TcpListener::bind((ip, 0)).expect("a free TCP port");
        let port = tcp.local_addr().expect("a bound socket").port();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if UdpSocket::bind((ip, port)).is_ok() && given.insert((ip, port)) {
            return port;
        }
    }
    panic!("no port of {ip} is free for both TCP and UDP");
}

/// Gives an address of its own with a free port on it.
pub fn free_address() -> SocketAddr {
    let ip = loopback();
    (ip, free_port(ip)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_are_loopback() {
        let all: BTreeSet<_> = (0..600).map(|_| loopback()).collect();
        assert_eq!(all.len(), 600);
        assert!(all.iter().all(Ipv4Addr::is_loopback));
    }

    #[test]
    fn a_free_address_can_be_bound() {
        let address = free_address();
        TcpListener::bind(address).unwrap();
        UdpSocket::bind(address).unwrap();
    }
}
