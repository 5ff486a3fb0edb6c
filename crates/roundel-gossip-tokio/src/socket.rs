//! The two sockets of a node: UDP and TCP on one address.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, UdpSocket};

/// Bytes asked for as the UDP receive buffer, halved until the system agrees; memberlist's figure.
const RECEIVE_BUFFER: usize = 2 << 20;

/// How often a port that is free for UDP is tried for TCP, when any port will do.
const ATTEMPTS: usize = 32;

/// UDP and TCP on one port.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
    /// The address listened on, with the real port.
    pub(crate) local: SocketAddr,
}

/// Binds both sockets. `[::]` takes IPv4 too, and stands for `0.0.0.0` where there is no IPv6.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Sockets> {
    match bind_exactly(address) {
        Err(error) if is_any_v6(address) && no_ipv6(&error) => {
            bind_exactly((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        result => result,
    }
}

/// Takes sockets that another process has bound, UDP and TCP, if they are what `address` means.
pub(crate) fn adopt(address: SocketAddr, [udp, tcp]: [OwnedFd; 2]) -> io::Result<Option<Sockets>> {
    let (udp, tcp) = (Socket::from(udp), Socket::from(tcp));
    let bound = |socket: &Socket| socket.local_addr().ok()?.as_socket();
    let (Some(local), Some(other)) = (bound(&udp), bound(&tcp)) else {
        return Ok(None);
    };
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let same_ip = local.ip() == address.ip() || (is_any_v6(address) && local.ip() == any);
    let same_port = address.port() == 0 || local.port() == address.port();
    let as_made = udp.r#type()? == Type::DGRAM && tcp.r#type()? == Type::STREAM;
    if local != other || !same_ip || !same_port || !as_made {
        return Ok(None);
    }
    tell_destination(&udp, local);
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok(Some(Sockets {
        udp: UdpSocket::from_std(udp.into())?,
        tcp: TcpListener::from_std(tcp.into())?,
        local,
    }))
}

impl Sockets {
    /// Copies both descriptors, UDP and TCP: the port stays ours as long as any copy is open.
    pub(crate) fn copies(&self) -> io::Result<[OwnedFd; 2]> {
        let udp = self.udp.as_fd().try_clone_to_owned()?;
        Ok([udp, self.tcp.as_fd().try_clone_to_owned()?])
    }
}

fn is_any_v6(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified())
}

/// Whether the system has no IPv6, or none on any interface.
fn no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bind_exactly(address: SocketAddr) -> io::Result<Sockets> {
    let attempts = if address.port() == 0 { ATTEMPTS } else { 1 };
    let mut result = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..attempts {
        let udp = bind_udp(address)?;
        let local = udp.local_addr()?;
        match bind_tcp(local) {
            Ok(tcp) => return Ok(Sockets { udp, tcp, local }),
            Err(error) => result = Err(error),
        }
    }
    result
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    prepare(&socket, address)?;
    tell_destination(&socket, address);
    let mut bytes = RECEIVE_BUFFER;
    while bytes >= 64 << 10 && socket.set_recv_buffer_size(bytes).is_err() {
        bytes /= 2;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Has the kernel say to which of our addresses each datagram was sent. Where it does not, we know
/// less, and go on.
fn tell_destination(socket: &Socket, address: SocketAddr) {
    let told = match address {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4PacketInfo, &true),
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvPacketInfo, &true),
    };
    if let Err(error) = told {
        tracing::debug!(%error, "the kernel does not say where datagrams were sent to");
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    prepare(&socket, address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if is_any_v6(address) {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)
}

/// Room for one datagram at a time, and for what the kernel says about it.
pub(crate) struct Datagrams {
    bytes: Vec<u8>,
    about: Vec<u8>,
}

impl Datagrams {
    /// Room for datagrams of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            bytes: vec![0; longest],
            about: nix::cmsg_space!(nix::libc::in_pktinfo, nix::libc::in6_pktinfo),
        }
    }

    /// Takes the next datagram: what it says, who sent it, and to which of our addresses.
    ///
    /// Errors: `WouldBlock` when there is none; anything else is as from `recvmsg`.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
    ) -> io::Result<(&[u8], SocketAddr, Option<IpAddr>)> {
        let (bytes, about) = (&mut self.bytes, &mut self.about);
        let (len, from, at) = socket.try_io(Interest::READABLE, || {
            let mut parts = [IoSliceMut::new(bytes)];
            let fd = socket.as_raw_fd();
            let got = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(about), MsgFlags::empty())?;
            let from = got.address.as_ref().and_then(address_of);
            let from = from.ok_or(io::ErrorKind::InvalidData)?;
            Ok((
                got.bytes,
                from,
                got.cmsgs()?.find_map(|about| destination(&about)),
            ))
        })?;
        Ok((&self.bytes[..len], from, at))
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|a| (a.ip(), a.port()).into());
    // The scope of a link-local sender is needed to answer it.
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|a| SocketAddr::V6((*a).into()))
    })
}

fn destination(about: &ControlMessageOwned) -> Option<IpAddr> {
    match about {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical())
        }
        _ => None,
    }
}

/// Gives the address in the form that a socket bound to `local` takes: one for both families
/// takes IPv4 only in its mapped form.
pub(crate) fn for_socket(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    match (local, to) {
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
            SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
        }
        _ => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_port_means_the_same_port_for_both() {
        let sockets = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(sockets.local.port(), 0);
        assert_eq!(sockets.tcp.local_addr().unwrap(), sockets.local);
        assert_eq!(sockets.udp.local_addr().unwrap(), sockets.local);
    }

    #[tokio::test]
    async fn the_unspecified_ipv6_address_takes_ipv4() {
        let sockets = bind("[::]:0".parse().unwrap()).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = ("127.0.0.1", sockets.local.port());
        sender.send_to(b"hello", to).await.unwrap();
        let mut buffer = [0; 16];
        let (len, from) = sockets.udp.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"hello");
        assert_eq!(from.ip().to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let back = for_socket(sockets.local, sender.local_addr().unwrap());
        sockets.udp.send_to(b"back", back).await.unwrap();
        assert_eq!(sender.recv(&mut buffer).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn datagrams_tell_where_they_were_sent_to() {
        for (listen, to) in [
            ("0.0.0.0:0", "127.0.0.7"),
            ("[::]:0", "127.0.0.7"),
            ("[::]:0", "::1"),
            ("127.0.0.7:0", "127.0.0.7"),
        ] {
            let Ok(sockets) = bind(listen.parse().unwrap()) else {
                continue;
            };
            let to: IpAddr = to.parse().unwrap();
            let Ok(sender) =
                std::net::UdpSocket::bind((if to.is_ipv4() { "127.0.0.1" } else { "::1" }, 0))
            else {
                continue;
            };
            sender
                .send_to(b"hello", (to, sockets.local.port()))
                .unwrap();
            let mut room = Datagrams::new(16);
            sockets.udp.readable().await.unwrap();
            let (bytes, from, at) = room.receive(&sockets.udp).unwrap();
            assert_eq!((bytes, at), (&b"hello"[..], Some(to)), "{listen}");
            assert_eq!(from.port(), sender.local_addr().unwrap().port());
            let none = room.receive(&sockets.udp).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[tokio::test]
    async fn what_waits_in_a_socket_is_read_by_whoever_goes_on() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let local = first.local;
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.send_to(b"hello", local).await.unwrap();
        let copies = first.copies().unwrap();
        drop(first);
        let other = (local.ip(), local.port() ^ 1).into();
        let again = first_copies(&copies);
        assert!(adopt(other, again).unwrap().is_none(), "another address");
        let second = adopt(local, copies).unwrap().unwrap();
        let mut buffer = [0; 16];
        let (len, _) = second.udp.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], second.local), (&b"hello"[..], local));
    }

    fn first_copies(copies: &[OwnedFd; 2]) -> [OwnedFd; 2] {
        copies.each_ref().map(|fd| fd.try_clone().unwrap())
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(first.local).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
