//! Where this process listens: a server there would send requests round in a circle.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The addresses listened on, and those of this machine, which are looked up when first asked for.
#[derive(Debug, Default)]
pub struct Own {
    listens: Arc<[SocketAddr]>,
    machine: OnceCell<Vec<IpAddr>>,
}

impl Own {
    /// Of a process that listens there.
    pub fn new(listens: Arc<[SocketAddr]>) -> Self {
        Self {
            listens,
            machine: OnceCell::new(),
        }
    }

    /// Whether who connects to `address` reaches this process.
    pub(crate) fn is_reached_at(&self, address: SocketAddr) -> bool {
        let mut listens = self.listens.iter();
        listens.any(|at| {
            let ip = at.ip().to_canonical();
            at.port() == address.port()
                && match ip.is_unspecified() {
                    true => self.is_here(address.ip()),
                    false => ip == address.ip(),
                }
        })
    }

    fn is_here(&self, ip: IpAddr) -> bool {
        let machine = self.machine.get_or_init(roundel_gossip_tokio::own_ips);
        ip.is_loopback() || machine.contains(&ip)
    }

    #[cfg(test)]
    pub(crate) fn with(listens: &[&str], machine: &[&str]) -> Self {
        let listens = listens.iter().map(|at| at.parse().unwrap());
        let machine = machine.iter().map(|ip| ip.parse().unwrap());
        Self {
            listens: listens.collect(),
            machine: machine.collect::<Vec<_>>().into(),
        }
    }
}
