//! The signals an agent takes. As process 1 the kernel drops those without a handler.

use std::future::poll_fn;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::AgentError;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// End in order; the app gets this signal at its end.
    Stop(Signal),
    /// Nothing for us: the app gets it.
    Forward(Signal),
    /// A child ended: maybe an orphan that was handed to us.
    Reap,
}

/// Every signal and what it asks for. A terminal's Ctrl-C ends the app as politely as a
/// supervisor does; QUIT is the graceful stop of some servers, so it is passed on as it is.
const TABLE: [(SignalKind, Request); 8] = [
    (SignalKind::terminate(), Request::Stop(Signal::TERM)),
    (SignalKind::interrupt(), Request::Stop(Signal::TERM)),
    (SignalKind::quit(), Request::Stop(Signal::QUIT)),
    (SignalKind::hangup(), Request::Forward(Signal::HUP)),
    (SignalKind::user_defined1(), Request::Forward(Signal::USR1)),
    (SignalKind::user_defined2(), Request::Forward(Signal::USR2)),
    (SignalKind::window_change(), Request::Forward(Signal::WINCH)),
    (SignalKind::child(), Request::Reap),
];

/// The installed handlers.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(unix::Signal, Request)>);

impl Signals {
    /// Installs all handlers. Errors: the system refuses one.
    pub(crate) fn install() -> Result<Self, AgentError> {
        let install = |(kind, request)| Ok((unix::signal(kind)?, request));
        let all: Result<_, std::io::Error> = TABLE.into_iter().map(install).collect();
        all.map(Self).map_err(|source| AgentError::System {
            what: "a signal handler",
            source,
        })
    }

    /// Waits for the next signal. Safe to cancel: a signal not given is given next time.
    pub(crate) async fn next(&mut self) -> Request {
        poll_fn(|context| {
            for (signal, request) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*request);
                }
            }
            Poll::Pending
        })
        .await
    }
}
