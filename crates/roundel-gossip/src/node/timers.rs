//! Deadlines of a node, ordered by time, then by the order in which they were set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::StreamId;
use super::doubt::Subject;
use crate::query::QueryId;

/// What is to be done when a deadline is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    /// Probe the next member.
    Probe,
    /// A direct or forwarded ping was not answered in time.
    PingTimeout(u32),
    /// The probe interval is over: the probe has failed.
    ProbeEnd(u32),
    /// Gossip, and set the next round.
    Gossip,
    /// Gossip what is fresh, out of turn.
    GossipSoon,
    /// Exchange full states with a random member.
    PushPull,
    /// Do so once more, as we have joined.
    CatchUp,
    /// A suspicion has lasted long enough.
    Suspicion(Arc<str>),
    /// A stream took too long.
    Stream(StreamId),
    /// Forget old members and intents.
    Reap,
    /// Try to reach a failed member.
    Reconnect,
    /// Ping watched members.
    Watch,
    /// See whether a watched member that missed a ping answers the next.
    WatchAgain(Arc<str>),
    /// Say again or go on with our own leave.
    Leave,
    /// The time for answers to our query is over.
    QueryEnd(QueryId),
    /// Say the next word of a move to another address.
    Moved,
    /// Ask a member again what others say of it, or believe it.
    Doubt(Subject),
    /// Say again what was beyond the border when it was said first.
    Passed,
    /// Ping those who never answered, as they are many.
    Unmet,
}

/// Names a deadline that was set, to cancel it.
pub(super) type TimerKey = (Instant, u64);

/// Holds deadlines.
///
/// Shape: at most a few per member, stream and ping; the owner bounds those.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeMap<TimerKey, Timer>,
    next: u64,
}

impl Timers {
    /// Sets a deadline. Two for the same instant are reached in the order of setting.
    pub(super) fn set(&mut self, at: Instant, timer: Timer) -> TimerKey {
        let key = (at, self.next);
        self.next += 1;
        self.queue.insert(key, timer);
        key
    }

    /// Takes a deadline back; one that was reached already is ignored.
    pub(super) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes the earliest deadline that is reached at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// How many deadlines are set.
    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_can_be_cancelled() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(at(20), Timer::Gossip);
        timers.set(at(10), Timer::Probe);
        let gone = timers.set(at(10), Timer::Reap);
        timers.set(at(10), Timer::PushPull);
        timers.cancel(gone);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(15)), Some(Timer::Probe));
        assert_eq!(timers.pop_due(at(15)), Some(Timer::PushPull));
        assert_eq!(timers.pop_due(at(15)), None);
        assert_eq!(timers.len(), 1);
    }
}
