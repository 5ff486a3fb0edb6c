//! The floor under every proxy: passes bytes between client and server and looks at none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where clients connect.
    #[arg(required = true)]
    listen: Vec<SocketAddr>,
    /// Where each client's own connection goes, in turn.
    #[arg(long = "server", required = true)]
    servers: Vec<SocketAddr>,
}

/// Relays until killed.
///
/// What is read is written at once, however long that takes: peers of the bench always read.
pub(crate) fn run(options: &Options) -> Result<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let watch =
        |socket: &TcpStream, n| epoll::add(&poll, socket, EventData::new_u64(n), EventFlags::IN);
    let listeners: std::io::Result<Vec<_>> = options.listen.iter().map(TcpListener::bind).collect();
    let listeners = listeners?;
    for (listener, n) in listeners.iter().zip(0..) {
        epoll::add(&poll, listener, EventData::new_u64(n), EventFlags::IN)?;
    }
    // Two ends of a pair have numbers that differ in the lowest bit.
    let first = listeners.len().next_multiple_of(2);
    let (mut ends, mut free): (Vec<Option<TcpStream>>, Vec<usize>) = (Vec::new(), Vec::new());
    let (mut events, mut block) = (Vec::with_capacity(256), vec![0; 64 * 1024]);
    let mut servers = options.servers.iter().cycle();
    loop {
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        let mut closed = Vec::new();
        for event in events.drain(..) {
            let number = event.data.u64() as usize;
            if let Some(listener) = listeners.get(number) {
                let (client, _) = listener.accept()?;
                let server = TcpStream::connect(servers.next().unwrap_or(&options.servers[0]))?;
                let at = free.pop().unwrap_or(ends.len());
                ends.resize_with(ends.len().max(at + 2), || None);
                for (socket, at) in [client, server].into_iter().zip(at..) {
                    socket.set_nodelay(true)?;
                    watch(&socket, (first + at) as u64)?;
                    ends[at] = Some(socket);
                }
                continue;
            }
            let from = number - first;
            let (Some(one), Some(other)) = (&ends[from], &ends[from ^ 1]) else {
                continue;
            };
            let (mut one, mut other) = (one, other);
            let passed = match one.read(&mut block) {
                Ok(0) | Err(_) => false,
                Ok(n) => other.write_all(&block[..n]).is_ok(),
            };
            if !passed {
                (ends[from], ends[from ^ 1]) = (None, None);
                closed.push(from & !1);
            }
        }
        free.append(&mut closed);
    }
}
