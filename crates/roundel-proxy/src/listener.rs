//! Listening sockets: one per worker and address, sharing the port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::StartError;

/// The accept queue asked for; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The sockets of one address and where they listen.
pub(crate) type Opened = (SocketAddr, Vec<Arc<TcpListener>>);

/// Binds one socket to `address`, which may be wider or narrower than those of `mine`, on which
/// this process or its predecessor listens.
///
/// Errors: what the system says; nobody else may listen on the address.
pub fn listen_beside(address: SocketAddr, mine: &[SocketAddr]) -> io::Result<TcpListener> {
    refuse_taken(address, mine)?;
    bind(address)
}

/// Takes the sockets of one address from those that another process opened, else binds `workers`
/// of them.
///
/// Shape: as [`bind_all`]; inherited sockets may be fewer or more than the workers. None of them
/// is closed, since connections may wait in each. `mine` are the addresses on which this process
/// or its predecessor listens.
pub(crate) fn open_all(
    address: SocketAddr,
    workers: usize,
    inherited: &mut Vec<TcpListener>,
    mine: &[SocketAddr],
) -> Result<Opened, StartError> {
    let found = take(address, inherited);
    let Some(first) = found.first() else {
        let (local, all) = bind_all(address, workers, mine)?;
        return Ok((local, all.into_iter().map(Arc::new).collect()));
    };
    let failed = |source| StartError::Bind { address, source };
    let local = first.local_addr().map_err(failed)?;
    let more = if SockRef::from(first).reuse_port().map_err(failed)? {
        workers.saturating_sub(found.len())
    } else {
        0
    };
    let mut all = found;
    for _ in 0..more {
        all.push(bind(local).map_err(failed)?);
    }
    for listener in &all {
        let socket = SockRef::from(listener);
        socket.set_nonblocking(true).map_err(failed)?;
        socket.set_tcp_nodelay(true).map_err(failed)?;
    }
    Ok((local, all.into_iter().map(Arc::new).collect()))
}

/// Takes the listeners of an address out of `inherited`; `0.0.0.0` will do for `[::]`.
fn take(address: SocketAddr, inherited: &mut Vec<TcpListener>) -> Vec<TcpListener> {
    let of =
        |wanted: SocketAddr| move |l: &mut TcpListener| l.local_addr().is_ok_and(|a| a == wanted);
    let found: Vec<TcpListener> = inherited.extract_if(.., of(address)).collect();
    if found.is_empty() && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        let four = (Ipv4Addr::UNSPECIFIED, address.port()).into();
        return inherited.extract_if(.., of(four)).collect();
    }
    found
}

/// Binds `workers` sockets to one address.
///
/// Shape: all share one port; with port 0 the first takes a free one and the others join it. On
/// a machine without IPv6, `[::]` means `0.0.0.0`, unless that is among `mine`.
/// Errors: the first failure; sockets bound before it are closed.
fn bind_all(
    address: SocketAddr,
    workers: usize,
    mine: &[SocketAddr],
) -> Result<(SocketAddr, Vec<TcpListener>), StartError> {
    let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let is_every = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let bound = match try_all(address, workers, mine) {
        Err(error) if is_every && lacks_ipv6(&error) && !mine.contains(&four) => {
            try_all(four, workers, mine)
        }
        bound => bound,
    };
    bound.map_err(|source| StartError::Bind { address, source })
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn try_all(
    address: SocketAddr,
    workers: usize,
    mine: &[SocketAddr],
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    refuse_taken(address, mine)?;
    let first = bind(address)?;
    let local = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..workers {
        all.push(bind(local)?);
    }
    Ok((local, all))
}

/// Fails if anybody else listens on `address`, even a process of our own user with `SO_REUSEPORT`.
///
/// With that option the kernel would let two balancers share a port by accident, and each would
/// get half of the connections. Where a listener of our own is in the way of finding out (`mine`),
/// such a balancer would have met that one when it started; the kernel refuses all others.
fn refuse_taken(address: SocketAddr, mine: &[SocketAddr]) -> io::Result<()> {
    let overlaps = |own: &SocketAddr| covers(*own, address) || covers(address, *own);
    if address.port() == 0 || mine.iter().any(overlaps) {
        return Ok(());
    }
    let socket = socket(address)?;
    socket.bind(&address.into())
}

/// Whether a listener on `wide` gets the connections to `narrow` too, where nobody else listens.
/// `[::]` stands for both families.
pub fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let is_within = match wide.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        IpAddr::V4(ip) if ip.is_unspecified() => narrow.is_ipv4(),
        ip => ip == narrow.ip(),
    };
    wide.port() == narrow.port() && is_within
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it on Linux, which saves a call per connection.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Has the kernel drop whoever begins to connect; who has begun may finish.
///
/// A listener that closes resets those who wait in its queue and those in the middle of a
/// handshake. So a filter lets nobody begin, until the queue was emptied for the last time.
/// Source: Linux hands a socket's filter the TCP header; byte 13 holds the flags (RFC 9293 3.1).
pub(crate) fn close_door(listener: &TcpListener) -> io::Result<()> {
    const SYN: u32 = 0x02;
    const SYN_ACK: u32 = 0x12;
    let program = [
        SockFilter::new(0x30, 0, 0, 13),      // load the byte of flags
        SockFilter::new(0x54, 0, 0, SYN_ACK), // keep two of them
        SockFilter::new(0x15, 0, 1, SYN),     // SYN alone?
        SockFilter::new(0x06, 0, 0, 0),       // drop it
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&program)
}

/// Shows an IPv4 peer of a dual-stack socket as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_share_the_port_that_the_first_took() {
        let (local, all) = bind_all("127.0.0.1:0".parse().unwrap(), 3, &[]).unwrap();
        assert_ne!(local.port(), 0);
        assert!(all.iter().all(|l| l.local_addr().unwrap() == local));
    }

    #[test]
    fn a_port_of_another_balancer_is_not_shared() {
        let (local, _all) = bind_all("127.0.0.1:0".parse().unwrap(), 2, &[]).unwrap();
        let error = bind_all(local, 2, &[]).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
    }

    #[test]
    fn wider_and_narrower_addresses_share_a_port_with_our_own() {
        let (narrow, _kept) = bind_all("127.0.0.1:0".parse().unwrap(), 2, &[]).unwrap();
        let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, narrow.port()));
        let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, narrow.port()));
        assert!(bind_all(four, 2, &[]).is_err());
        let (_, _wide) = bind_all(four, 2, &[narrow]).unwrap();
        // A machine without IPv6 has nothing more to show here.
        let has_six = bind_all("[::]:0".parse().unwrap(), 1, &[]).is_ok();
        assert_eq!(bind_all(six, 2, &[narrow, four]).is_ok(), has_six);
        let other = SocketAddr::from(([127, 0, 0, 2], narrow.port()));
        assert!(covers(six, four) && covers(six, narrow) && covers(four, narrow));
        assert!(!covers(four, six) && !covers(narrow, four) && !covers(narrow, other));
    }

    #[test]
    fn behind_a_closed_door_those_inside_are_accepted() {
        let (local, all) = bind_all("127.0.0.1:0".parse().unwrap(), 1, &[]).unwrap();
        let short = std::time::Duration::from_millis(50);
        let _inside = std::net::TcpStream::connect(local).unwrap();
        close_door(&all[0]).unwrap();
        let outside = std::net::TcpStream::connect_timeout(&local, short);
        assert_eq!(outside.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(all[0].accept().is_ok());
        let nobody = all[0].accept().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn only_a_lack_of_ipv6_is_made_up_for() {
        let code = |errno: Errno| lacks_ipv6(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert!(code(Errno::AFNOSUPPORT) && code(Errno::ADDRNOTAVAIL));
        assert!(!code(Errno::ADDRINUSE) && !code(Errno::ACCESS));
    }

    #[test]
    fn the_unspecified_address_takes_both_families() {
        let Ok((local, all)) = bind_all("[::]:0".parse().unwrap(), 1, &[]) else {
            return; // A machine without IPv6 has nothing to show here.
        };
        let four = SocketAddr::from(([127, 0, 0, 1], local.port()));
        std::net::TcpStream::connect(four).unwrap();
        let peer = loop {
            match all[0].accept() {
                Ok((_, peer)) => break peer,
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!(canonical(peer).ip(), four.ip());
    }
}
