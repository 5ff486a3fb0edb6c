//! The old side: starts the new process and hands everything over.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use super::legacy::Legacy;
use super::{Known, Line, REFUSED, SOCKETS, VARIABLE};

/// How this program was called.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

impl Program {
    /// Reads it from the system; early, since a file replaced later has another name there.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self {
            path: std::env::current_exe()?,
            args: std::env::args_os().skip(1).collect(),
        })
    }
}

/// A process that is to take over. It is killed when this is dropped before it has.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Option<Child>,
    line: Arc<Line>,
}

impl Successor {
    /// Starts it and gives it these sockets.
    pub(crate) fn start(program: &Program, sockets: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let child = Command::new(&program.path)
            .args(&program.args)
            // It names us; without it the watchdog's interval is for whoever reads it.
            .env_remove("WATCHDOG_PID")
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(theirs))
            .spawn()?;
        let successor = Self {
            child: Some(child),
            line: Arc::new(Line::new(ours)?),
        };
        for some in sockets.chunks(SOCKETS) {
            successor.line.say("sockets", some)?;
        }
        successor.line.say("all", &[])?;
        Ok(successor)
    }

    /// Its process id; 0 once it has taken over.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Waits until it has bound everything.
    pub(crate) async fn bound(&self) -> io::Result<()> {
        self.expect("bound").await
    }

    /// Leaves the gossip to it with these sockets, and tells what it is to find and what it
    /// inherits.
    pub(crate) fn leave_to_it(
        &self,
        known: &Known,
        legacy: &Legacy,
        gossip: &[OwnedFd],
    ) -> io::Result<()> {
        let file = legacy.to_file()?;
        let attached = std::iter::once(&file).chain(gossip);
        let attached: Vec<BorrowedFd<'_>> = attached.map(AsFd::as_fd).collect();
        self.line.say(&known.to_string(), &attached)
    }

    /// Tells what was counted until the end.
    pub(crate) fn leave_the_rest(&self, legacy: &Legacy) -> io::Result<()> {
        self.line.say("rest", &[legacy.to_file()?.as_fd()])
    }

    /// Waits until it accepts connections; from then on it lives without us.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        self.expect("ready").await?;
        self.child = None;
        Ok(())
    }

    async fn expect(&self, word: &'static str) -> io::Result<()> {
        let line = self.line.clone();
        let heard = tokio::task::spawn_blocking(move || line.hear());
        match heard.await.map_err(io::Error::other)? {
            Ok((text, _)) if text == word => Ok(()),
            Ok((text, _)) => Err(io::Error::other(match text.strip_prefix(REFUSED) {
                Some(why) => format!("it refused its configuration: {why}"),
                None => format!("it said {text:?}, not {word}"),
            })),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(io::Error::other("it ended; what it wrote says why"))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::other("it is silent for too long"))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Ends a thread that listens.
        let _ = shutdown(&*self.line, Shutdown::Both);
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
