//! Why the proxy cannot start or take a new configuration.

use std::io;
use std::net::SocketAddr;

/// Why listeners or workers could not be set up. Nothing stays open or changed after it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {}", cure(source, *address))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A worker thread or its runtime could not be made.
    #[error("cannot start a worker thread: {0}")]
    Worker(#[source] io::Error),
    /// The proxy is being drained; nothing new is opened.
    #[error("the proxy is shutting down")]
    ShuttingDown,
}

/// The system's words and what to do about them.
fn cure(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is taken by another program; stop it, or choose another port with --listen \
             (`ss -ltnp 'sport = :{port}'` shows who has it)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "permission denied; ports below 1024 need the capability CAP_NET_BIND_SERVICE \
             (or `sysctl net.ipv4.ip_unprivileged_port_start={port}`), or choose a higher port with --listen"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; use one of its own, or 0.0.0.0 for all".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_itself_and_the_cure() {
        let error = StartError::Bind {
            address: "0.0.0.0:80".parse().unwrap(),
            source: io::ErrorKind::AddrInUse.into(),
        };
        let text = error.to_string();
        assert!(text.contains("0.0.0.0:80"), "{text}");
        assert!(text.contains("--listen"), "{text}");
    }
}
