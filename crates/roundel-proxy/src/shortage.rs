//! Descriptors that run out: clients go without first, servers next, the rest of the program never.
//!
//! The kernel gives the lowest number that is free, so the number of a new descriptor tells how
//! many are open at least.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// The last descriptors: for the page, checks, gossip, files.
const FOR_OTHERS: u64 = 32;
/// Those before them: for connections to servers.
const FOR_SERVERS: u64 = 32;
/// The pause before a descriptor is asked for again.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How many descriptors there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    /// The first number that is not for servers.
    end_of_servers: u64,
    /// The first number that is not for clients.
    end_of_clients: u64,
}

impl Descriptors {
    /// Divides `limit` descriptors up; 0 if it is not known how many there may be.
    pub(crate) fn new(limit: u64) -> Self {
        if limit == 0 {
            return Self {
                end_of_servers: u64::MAX,
                end_of_clients: u64::MAX,
            };
        }
        let end_of_servers = limit - FOR_OTHERS.min(limit / 4);
        Self {
            end_of_servers,
            end_of_clients: end_of_servers - FOR_SERVERS.min(limit / 4),
        }
    }

    /// Whether a descriptor is one of those that are not for clients.
    pub(crate) fn is_beyond_clients(self, fd: impl AsFd) -> bool {
        number(fd) >= self.end_of_clients
    }

    /// Whether a descriptor is one of those that are not for servers.
    pub(crate) fn is_beyond_servers(self, fd: impl AsFd) -> bool {
        number(fd) >= self.end_of_servers
    }

    /// Whether one for a client is free; `any` is some descriptor that is open.
    pub(crate) fn has_one_for_clients(self, any: impl AsFd) -> bool {
        fcntl_dupfd_cloexec(any, 0).is_ok_and(|fd| !self.is_beyond_clients(&fd))
    }
}

fn number(fd: impl AsFd) -> u64 {
    u64::try_from(fd.as_fd().as_raw_fd()).unwrap_or_default()
}

/// The error of a descriptor that cannot be had.
pub(crate) fn error() -> io::Error {
    Errno::MFILE.into()
}

/// Whether it was our own descriptors or memory that ran out.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let check = |limit, ends| {
            let d = Descriptors::new(limit);
            assert_eq!((d.end_of_clients, d.end_of_servers), ends, "{limit}");
        };
        check(1024, (960, 992));
        check(128, (64, 96));
        check(40, (20, 30));
        check(0, (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_number_tells_what_is_left() {
        let some = std::fs::File::open("/dev/null").unwrap();
        assert!(Descriptors::new(0).has_one_for_clients(&some));
        assert!(!Descriptors::new(1).has_one_for_clients(&some));
    }
}
