//! Signals, all of them handled, since as process 1 those without a handler are dropped.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// TERM, INT, QUIT, USR1: end gracefully; a second one means at once.
    End(&'static str),
    /// HUP: read the configuration again.
    Reload,
    /// USR2: start the program anew and hand over to it.
    Renew,
}

/// Every signal that means something.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    usr1: Signal,
    hup: Signal,
    usr2: Signal,
}

impl Signals {
    /// Installs the handlers. The standard library has SIGPIPE ignored already.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            hup: signal(SignalKind::hangup())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal that asks for something.
    pub(crate) async fn next(&mut self) -> Ask {
        tokio::select! {
                _ = self.term.recv() => Ask::End("SIGTERM"),
                _ = self.int.recv() => Ask::End("SIGINT"),
                _ = self.quit.recv() => Ask::End("SIGQUIT"),
                _ = self.usr1.recv() => Ask::End("SIGUSR1"),
                _ = self.hup.recv() => Ask::Reload,
                _ = self.usr2.recv() => Ask::Renew,
        }
    }

    /// Waits for a signal that asks for the end.
    pub(crate) async fn ended(mut self) {
        while !matches!(self.next().await, Ask::End(_)) {}
    }
}
