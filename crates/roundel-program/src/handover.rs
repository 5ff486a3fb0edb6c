//! One process after another: the listening sockets pass from the running one to its successor,
//! which is the program of the same path with the same arguments.
//!
//! They talk over a pair of Unix sockets of which the successor has one as its standard input:
//! a message is a line of text, with sockets attached or not. What is said, in order:
//!
//! | from | says | meaning |
//! |---|---|---|
//! | old | `sockets` | these are attached; any number of times |
//! | old | `all` | those were all |
//! | new | `refused WHY` | instead of all that follows: it has no configuration to serve with, and ends |
//! | new | `bound` | the configuration is fine, everything is bound, gossip is wanted |
//! | old | `yours BACKEND=SERVERS… ADDRESS…` | its gossip holds still; so many servers are usable, and so are the other members reached; attached are a file with the legacy and the gossip's sockets, UDP and TCP |
//! | new | `ready` | it accepts; the old one may go |
//! | old | `rest` | its last request has ended; the legacy with the last totals is attached |

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

pub(crate) mod heir;
pub(crate) mod legacy;
pub(crate) mod successor;

/// The variable that names the process whose standard input leads to this conversation. A child
/// of another process that has inherited it does not match, and starts on its own.
pub(crate) const VARIABLE: &str = "ROUNDEL_HANDOVER_FROM";
/// What the new side says before the reason.
const REFUSED: &str = "refused ";
/// Sockets in one message; Linux takes up to 253.
const SOCKETS: usize = 64;
/// The longest line: the addresses of a thousand members.
const LINE: usize = 64 * 1024;
/// How long one side waits for the other. A successor first waits for its servers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process knows that its successor has yet to find.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// How many servers of each backend are usable.
    pub(crate) usable: BTreeMap<String, usize>,
    /// Where other members gossip.
    pub(crate) members: Vec<SocketAddr>,
}

impl Known {
    fn read(text: &str) -> Self {
        let mut known = Self::default();
        for word in text.split_ascii_whitespace().skip(1) {
            match word.split_once('=') {
                Some((backend, count)) => {
                    let count = count.parse().unwrap_or(0);
                    known.usable.insert(backend.to_owned(), count);
                }
                None => known.members.extend(word.parse::<SocketAddr>().ok()),
            }
        }
        known
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("yours")?;
        for (backend, count) in &self.usable {
            write!(f, " {backend}={count}")?;
        }
        for member in &self.members {
            write!(f, " {member}")?;
        }
        Ok(())
    }
}

/// One end of the conversation.
#[derive(Debug)]
struct Line(OwnedFd);

impl Line {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Says something, with at most [`SOCKETS`] sockets attached.
    fn say(&self, text: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !attached.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::other("too many sockets for a message"));
        }
        let bytes = [IoSlice::new(text.as_bytes())];
        sendmsg(&self.0, &bytes, &mut attached, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Hears the next thing said. Errors: the other side is gone, or silent for too long.
    fn hear(&self) -> io::Result<(String, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; LINE];
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let heard = recvmsg(&self.0, &mut slices, &mut attached, flags)?.bytes;
        if heard == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut sockets = Vec::new();
        for message in attached.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
        Ok((
            String::from_utf8_lossy(&bytes[..heard]).into_owned(),
            sockets,
        ))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn lines() -> [Line; 2] {
        let (unix, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (a, b) = socketpair(unix, kind, SocketFlags::CLOEXEC, None).unwrap();
        [a, b].map(|socket| Line::new(socket).unwrap())
    }

    #[test]
    fn a_listener_arrives_and_outlives_the_sender() {
        let [old, new] = lines();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        old.say("sockets", &[listener.as_fd()]).unwrap();
        let (text, mut sockets) = new.hear().unwrap();
        drop(listener);
        assert_eq!(text, "sockets");
        let listener = TcpListener::from(sockets.pop().unwrap());
        assert_eq!(listener.local_addr().unwrap(), address);
        std::net::TcpStream::connect(address).unwrap();
        assert!(sockets.is_empty());
    }

    #[test]
    fn the_end_of_the_other_side_is_an_error() {
        let [old, new] = lines();
        drop(old);
        let error = new.hear().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(new.say("ready", &[]).is_err());
    }

    #[test]
    fn what_is_known_reads_as_it_was_written() {
        let known = Known {
            usable: [("nodes".to_owned(), 3), ("other".to_owned(), 0)].into(),
            members: vec![([10, 0, 0, 1], 7946).into(), "[::1]:7946".parse().unwrap()],
        };
        assert_eq!(Known::read(&known.to_string()), known);
    }
}
