//! Whether a silent server is still there: TCP alone finds out after many minutes.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::State;
use super::wire::Noted;

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Silence, with streams open, after which the server is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(10);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked while no stream is opened: servers of gRPC end connections that ask more often.
///
/// Source: gRPC's proposal A8, by which a server allows one PING in five minutes.
const SELDOM: Duration = Duration::from_secs(310);

/// Watches over one connection.
pub(super) struct Pulse {
    pings: Option<PingPong>,
    noted: Rc<Noted>,
    look: Interval,
    silence: Silence,
}

impl Pulse {
    pub(super) fn new(pings: Option<PingPong>, noted: Rc<Noted>) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            pings,
            noted,
            look,
            silence: Silence::new(Instant::now()),
        }
    }

    /// Ready when the server has given no sign of life for too long.
    pub(super) fn poll_lost(&mut self, state: &State, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else {
            return Poll::Pending;
        };
        while Pin::new(&mut self.look).poll_tick(cx).is_ready() {
            // An answer is as good as anything else that was heard.
            while matches!(pings.poll_pong(cx), Poll::Ready(Ok(_))) {}
            let heard = self.noted.heard.replace(false) || state.open.get() == 0;
            let asked = state.asked.get();
            match self.silence.look(Instant::now(), heard, asked) {
                Act::None => {}
                Act::Lost => return Poll::Ready(()),
                Act::Ping => {
                    state.asked.set(false);
                    // One that cannot be sent waits for the answer to another one.
                    let _ = pings.send_ping(Ping::opaque());
                }
            }
        }
        Poll::Pending
    }
}

/// What is to be done about silence.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    None,
    Ping,
    Lost,
}

/// How long nothing was heard.
struct Silence {
    /// When something was heard last, or nothing had to be.
    since: Instant,
    pinged_at: Option<Instant>,
    /// Nothing was heard since.
    awaited: bool,
}

impl Silence {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            pinged_at: None,
            awaited: false,
        }
    }

    /// `heard` says that something was, or that nothing is waited for; `asked` that a stream was opened
    /// since the last PING.
    fn look(&mut self, now: Instant, heard: bool, asked: bool) -> Act {
        if heard {
            (self.since, self.awaited) = (now, false);
            return Act::None;
        }
        let past = |at: Instant, limit| now >= at + limit;
        if self.awaited {
            return match self.pinged_at.is_some_and(|at| past(at, PATIENCE)) {
                true => Act::Lost,
                false => Act::None,
            };
        }
        let is_due = asked || self.pinged_at.is_none_or(|at| past(at, SELDOM));
        if !past(self.since, QUIET) || !is_due {
            return Act::None;
        }
        (self.pinged_at, self.awaited) = (Some(now), true);
        Act::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_asked_about_and_then_taken_for_the_end() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let mut look = |second: u32, heard| silence.look(start + second * SECOND, heard, true);
        assert_eq!(look(9, false), Act::None);
        assert_eq!(look(10, false), Act::Ping);
        assert_eq!(look(12, true), Act::None);
        assert_eq!(look(21, false), Act::None);
        assert_eq!(look(22, false), Act::Ping);
        assert_eq!(look(31, false), Act::None);
        assert_eq!(look(32, false), Act::Lost);
    }

    #[test]
    fn streams_that_only_wait_are_asked_about_seldom() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let mut pings = Vec::new();
        for second in 0..1000 {
            // Each PING is answered within a second.
            let heard = pings.last().is_some_and(|last| last + 1 == second);
            if silence.look(start + second * SECOND, heard, false) == Act::Ping {
                pings.push(second);
            }
        }
        assert_eq!(pings, [10, 320, 630, 940]);
        assert_eq!(silence.look(start + 1000 * SECOND, false, true), Act::Ping);
    }
}
