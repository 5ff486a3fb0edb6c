//! User events on their way to the scripts: merged by name where that is asked for, and in the
//! order in which they were announced, whatever the order in which gossip brought them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Events that may be merged wait until nothing came for this long; Serf's figure.
const QUIESCENT: Duration = Duration::from_secs(1);

/// They wait no longer than this; Serf's figure.
const COALESCE: Duration = Duration::from_secs(3);

/// Other events wait this long for earlier ones: a round of gossip and a bit, as each packet
/// holds the newest first.
const ORDER: Duration = Duration::from_millis(250);

/// They wait no longer than this, however many come.
const ORDER_LONGEST: Duration = Duration::from_secs(1);

/// Most events that are held; the oldest are dropped.
const HELD: usize = 1024;

/// One user event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserEvent {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    /// The Lamport time.
    pub(crate) time: u64,
}

/// User events that wait.
#[derive(Debug, Default)]
pub(crate) struct UserEvents {
    /// By name, those of the newest time.
    merged: BTreeMap<String, Vec<UserEvent>>,
    merged_window: Option<Window>,
    plain: Vec<UserEvent>,
    plain_window: Option<Window>,
    /// How many were dropped because too many waited.
    pub(crate) dropped: u64,
}

/// When the first and the last of those that wait came.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: Instant,
    last: Instant,
}

impl Window {
    fn renewed(window: Option<Self>, now: Instant) -> Self {
        let first = window.map_or(now, |window| window.first);
        Self { first, last: now }
    }

    fn end(self, quiet: Duration, longest: Duration) -> Instant {
        (self.last + quiet).min(self.first + longest)
    }
}

impl UserEvents {
    /// Takes an event; `coalesce` says whether it may be merged with others of its name.
    pub(crate) fn add(&mut self, now: Instant, event: UserEvent, coalesce: bool) {
        if !coalesce {
            self.plain_window = Some(Window::renewed(self.plain_window, now));
            if self.plain.len() >= HELD {
                self.plain.remove(0);
                self.dropped += 1;
            }
            self.plain.push(event);
            return;
        }
        if self.merged.len() >= HELD && !self.merged.contains_key(&event.name) {
            self.dropped += 1;
            return;
        }
        self.merged_window = Some(Window::renewed(self.merged_window, now));
        let held = self.merged.entry(event.name.clone()).or_default();
        match held.first().map(|first| first.time) {
            Some(time) if time > event.time => {}
            // Two members announced at the same time: neither is newer.
            Some(time) if time == event.time && held.len() < HELD => held.push(event),
            _ => *held = vec![event],
        }
    }

    /// When some of them are due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let merged = self.merged_window.map(|w| w.end(QUIESCENT, COALESCE));
        let plain = self.plain_window.map(|w| w.end(ORDER, ORDER_LONGEST));
        merged.into_iter().chain(plain).min()
    }

    /// Takes those that are due at `now`, in the order of their Lamport times.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<UserEvent> {
        let mut taken = Vec::new();
        let over = |window: Option<Window>, quiet, longest| {
            window.is_some_and(|window| window.end(quiet, longest) <= now)
        };
        if over(self.plain_window, ORDER, ORDER_LONGEST) {
            self.plain_window = None;
            taken.append(&mut self.plain);
        }
        if over(self.merged_window, QUIESCENT, COALESCE) {
            self.merged_window = None;
            taken.extend(std::mem::take(&mut self.merged).into_values().flatten());
        }
        taken.sort_by_key(|event| event.time);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, time: u64) -> UserEvent {
        UserEvent {
            name: name.to_owned(),
            payload: format!("v{time}").into_bytes(),
            time,
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_newest_of_a_name_is_told_once_when_all_is_quiet() {
        let (mut events, start) = (UserEvents::default(), Instant::now());
        for (i, time) in (1..=20).rev().enumerate() {
            events.add(start + millis(50 * i as u64), event("deploy", time), true);
        }
        events.add(start + millis(950), event("other", 3), true);
        assert_eq!(events.take(start + millis(1900)), []);
        assert_eq!(events.due(), Some(start + millis(1950)));
        let taken = events.take(start + millis(1950));
        assert_eq!(taken, [event("other", 3), event("deploy", 20)]);
        assert_eq!(events.due(), None);
    }

    #[test]
    fn an_unending_burst_is_told_of_every_three_seconds() {
        let (mut events, start) = (UserEvents::default(), Instant::now());
        for i in 0..40 {
            events.add(start + millis(100 * i), event("deploy", i), true);
        }
        assert_eq!(events.due(), Some(start + COALESCE));
    }

    #[test]
    fn events_of_one_time_are_all_told() {
        let (mut events, start) = (UserEvents::default(), Instant::now());
        let twin = UserEvent {
            payload: b"by another".to_vec(),
            ..event("deploy", 7)
        };
        for event in [event("deploy", 7), twin.clone(), event("deploy", 6)] {
            events.add(start, event, true);
        }
        assert_eq!(events.take(start + QUIESCENT), [event("deploy", 7), twin]);
    }

    #[test]
    fn events_that_must_not_be_merged_come_in_the_order_of_their_times() {
        let (mut events, start) = (UserEvents::default(), Instant::now());
        for time in (1..=20).rev() {
            events.add(start, event("deploy", time), false);
        }
        assert_eq!(events.take(start), []);
        let times = events.take(start + ORDER).into_iter().map(|e| e.time);
        assert_eq!(times.collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_than_so_many_are_held() {
        let (mut events, start) = (UserEvents::default(), Instant::now());
        for i in 0..2000 {
            events.add(start, event("plain", i), false);
            events.add(start, event(&format!("n{i}"), i), true);
        }
        assert_eq!(events.take(start + COALESCE).len(), 2 * HELD);
        assert_eq!(events.dropped, 2 * (2000 - HELD as u64));
    }
}
