//! The new side: takes what an older process, or the service manager, hands over.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use roundel_gossip_tokio::Estate;
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

use super::legacy::Legacy;
use super::{Known, Line, REFUSED, VARIABLE};

/// Listening sockets that another process opened.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
}

impl Inherited {
    /// Takes what the service manager opened for us (`sd_listen_fds(3)`). The names that it gave
    /// do not matter, since the addresses say what each socket is for.
    pub(crate) fn from_manager() -> Self {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                inherited.tcp.push(listener);
            } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
                inherited.unix.push(listener);
            } else {
                tracing::warn!(
                    "descriptor {} of the service manager is no stream socket",
                    index + 3
                );
            }
        }
        inherited
    }

    fn add(&mut self, socket: OwnedFd) {
        match socket_domain(&socket) {
            Ok(AddressFamily::UNIX) => self.unix.push(socket.into()),
            Ok(AddressFamily::INET | AddressFamily::INET6) => self.tcp.push(socket.into()),
            _ => tracing::warn!("an inherited descriptor is no socket to listen on; closed"),
        }
    }

    /// Takes the listener of one address, if there is one.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let same = |l: &TcpListener| l.local_addr().is_ok_and(|a| a == address);
        let at = self.tcp.iter().position(same)?;
        let listener = self.tcp.swap_remove(at);
        listener.set_nonblocking(true).ok()?;
        Some(listener)
    }

    /// Where those that nobody has taken yet listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let local = |l: &TcpListener| l.local_addr().ok();
        self.tcp.iter().filter_map(local).collect()
    }

    /// Takes the listener of one path, if there is one.
    pub(crate) fn take_path(&mut self, path: &Path) -> Option<UnixListener> {
        let same = |l: &UnixListener| l.local_addr().is_ok_and(|a| a.as_pathname() == Some(path));
        let at = self.unix.iter().position(same)?;
        let listener = self.unix.swap_remove(at);
        listener.set_nonblocking(true).ok()?;
        Some(listener)
    }

    /// Takes what is left of those that frontends may ask for.
    pub(crate) fn rest(self) -> Vec<TcpListener> {
        self.tcp
    }
}

/// A process that takes over from its parent.
#[derive(Debug)]
pub(crate) struct Heir {
    line: Line,
}

impl Heir {
    /// Takes the sockets, if this process was started to take over.
    ///
    /// Errors: the parent is gone or says something else; there is nothing to take over then.
    pub(crate) fn called(inherited: &mut Inherited) -> io::Result<Option<Self>> {
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if !std::env::var(VARIABLE).is_ok_and(|from| from == parent.to_string()) {
            return Ok(None);
        }
        let heir = Self {
            line: Line::new(io::stdin().as_fd().try_clone_to_owned()?)?,
        };
        loop {
            let (text, sockets) = heir.line.hear()?;
            sockets.into_iter().for_each(|s| inherited.add(s));
            match text.as_str() {
                "sockets" => {}
                "all" => return Ok(Some(heir)),
                _ => return Err(io::Error::other(format!("the old process said {text:?}"))),
            }
        }
    }

    /// Says that everything is bound; gives what the old process knows and leaves once its gossip
    /// holds still, and the member that it was. One that has died leaves nothing.
    pub(crate) fn bound(&self) -> (Known, Legacy, Estate) {
        let heard = self.line.say("bound", &[]).and_then(|()| self.line.hear());
        match heard {
            Ok((text, mut files)) => {
                let sockets = <[OwnedFd; 2]>::try_from(files.split_off(files.len().min(1))).ok();
                let (known, legacy) = (Known::read(&text), legacy(files));
                let estate = Estate {
                    sockets,
                    members: known.members.clone(),
                    ..legacy.member.estate()
                };
                (known, legacy, estate)
            }
            Err(error) => {
                tracing::warn!("the old process is gone: {error}");
                Default::default()
            }
        }
    }

    /// Lets the old process go. Gives what it has counted once its last request has ended, which
    /// may take long; nothing if it has died.
    pub(crate) fn ready(self) -> Legacy {
        if let Err(error) = self.line.say("ready", &[]) {
            tracing::warn!("the old process is gone: {error}");
            return Legacy::default();
        }
        loop {
            match self.line.hear() {
                Ok((text, files)) if text == "rest" => return legacy(files),
                Ok(_) => {}
                // Its last requests may take longer than the line's patience.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!("the last counts of the old process are lost: {error}");
                    return Legacy::default();
                }
            }
        }
    }
}

/// Tells the process that called, if one did, why it is not followed.
pub(crate) fn refuse(why: &str) {
    // What is handed over has to be taken first: what lies unread makes the end an error there.
    if let Ok(Some(heir)) = Heir::called(&mut Inherited::default()) {
        let _ = heir.line.say(&format!("{REFUSED}{why}"), &[]);
    }
}

fn legacy(files: Vec<OwnedFd>) -> Legacy {
    let first = files.into_iter().next();
    first.map(Legacy::from_file).unwrap_or_default()
}
