//! How many connections the app's port has, from the kernel's tables (proc(5), `/proc/net/tcp`).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kernel's number for an established connection (`TCP_ESTABLISHED`, include/net/tcp_states.h).
const ESTABLISHED: &str = "01";

/// Counts the established connections that came in on `port`.
///
/// Shape: with `ip` only those to that local address. Errors: no table can be read, as outside
/// Linux.
pub(crate) fn inbound(ip: Option<IpAddr>, port: u16) -> io::Result<usize> {
    let four = fs::read_to_string("/proc/net/tcp")?;
    // Absent where IPv6 is switched off.
    let six = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Ok(count(&four, ip, port) + count(&six, ip, port))
}

fn count(table: &str, ip: Option<IpAddr>, port: u16) -> usize {
    let matches = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(address);
        let state = fields.nth(1);
        state == Some(ESTABLISHED)
            && local.is_some_and(|(at, p)| p == port && ip.is_none_or(|ip| ip == at))
    };
    table.lines().skip(1).filter(matches).count()
}

/// Reads `0100007F:0BB8`: 32-bit words of the address in the machine's byte order.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    let ip = if ip.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes()))
    } else {
        let mut bytes = [0; 16];
        for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
            part.copy_from_slice(&word(at)?.to_ne_bytes());
        }
        IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use roundel_testkit::wait_for;

    fn check(listen: IpAddr, connect: IpAddr) {
        let listener = TcpListener::bind((listen, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(inbound(None, port).unwrap(), 0);
        let client = TcpStream::connect((connect, port)).unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(inbound(Some(connect), port).unwrap(), 1);
        assert_eq!(inbound(None, port).unwrap(), 1);
        assert_eq!(inbound(Some([192, 0, 2, 1].into()), port).unwrap(), 0);
        drop((client, accepted));
        wait_for("both ends closed", Duration::from_secs(5), || {
            (inbound(None, port).unwrap() == 0).then_some(())
        });
    }

    #[test]
    fn sees_connections_of_both_families() {
        let four = roundel_testkit::loopback().into();
        check(four, four);
        check(IpAddr::V6(Ipv6Addr::UNSPECIFIED), four);
        let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if TcpListener::bind((six, 0)).is_ok() {
            check(six, six);
        }
    }

    #[test]
    fn skips_what_it_cannot_read() {
        assert_eq!(count("header\n  0: nonsense 0:0 01\n\n 1:\n", None, 0), 0);
    }
}
