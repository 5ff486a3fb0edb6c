//! What happened: the timeline of the page, the same lines in the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roundel_admin::status::Event;
use roundel_model::EventKind;
use tokio::sync::broadcast;

/// The events kept in memory.
const KEPT: usize = 2_000;
/// The events that a slow viewer may lag behind.
const WAITING: usize = 256;

/// Takes events from anywhere; clones lead to the same timeline.
#[derive(Debug, Clone)]
pub(crate) struct EventLog {
    timeline: Arc<Mutex<Timeline>>,
    live: broadcast::Sender<Arc<Event>>,
}

/// The newest events, oldest first.
#[derive(Debug, Default)]
struct Timeline {
    events: VecDeque<Arc<Event>>,
    last_seq: u64,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        Self {
            timeline: Arc::default(),
            live: broadcast::channel(WAITING).0,
        }
    }

    /// Adds one event, tells the viewers, and writes a line to the log.
    pub(crate) fn add(
        &self,
        kind: EventKind,
        subject: impl Into<String>,
        text: impl Into<String>,
        duration: Option<Duration>,
    ) {
        let (subject, text) = (subject.into(), text.into());
        let word = kind.as_str();
        match kind {
            EventKind::Failed
            | EventKind::CheckDown
            | EventKind::NoServer
            | EventKind::Alarm
            | EventKind::Certificate
            | EventKind::ReloadFailed => tracing::warn!("{word} {subject}: {text}"),
            _ => tracing::info!("{word} {subject}: {text}"),
        }
        let event = self.timeline().push(Event {
            seq: 0,
            time: now_text(),
            kind,
            subject,
            text,
            duration_ms: duration.map(|d| d.as_millis() as u64),
            repeats: 1,
        });
        // Nobody listening is fine.
        let _ = self.live.send(event);
    }

    /// The events kept, oldest first.
    pub(crate) fn recent(&self) -> Vec<Arc<Event>> {
        self.timeline().events.iter().cloned().collect()
    }

    /// Where events go the moment they happen.
    pub(crate) fn live(&self) -> broadcast::Sender<Arc<Event>> {
        self.live.clone()
    }

    /// A panic while the lock is held leaves the timeline whole.
    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timeline {
    /// Numbers the event and keeps it. One that says the same as the one before takes its place
    /// and counts how often it was said.
    fn push(&mut self, mut event: Event) -> Arc<Event> {
        self.last_seq += 1;
        event.seq = self.last_seq;
        let said = |last: &&Arc<Event>| {
            last.kind == event.kind && last.subject == event.subject && last.text == event.text
        };
        if let Some(last) = self.events.back().filter(said) {
            event.repeats = last.repeats + 1;
            self.events.pop_back();
        } else if self.events.len() == KEPT {
            self.events.pop_front();
        }
        let event = Arc::new(event);
        self.events.push_back(Arc::clone(&event));
        event
    }
}

/// The time in RFC 3339, UTC, with milliseconds.
fn now_text() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_numbers_them_all() {
        let log = EventLog::new();
        let mut live = log.live().subscribe();
        for n in 0..KEPT + 5 {
            log.add(EventKind::Other, "x", n.to_string(), None);
        }
        let recent = log.recent();
        assert_eq!((recent.len(), recent[0].seq), (KEPT, 6));
        assert!(live.try_recv().is_err(), "a slow viewer lags");
        for _ in 0..3 {
            log.add(EventKind::Other, "x", "again", None);
        }
        let recent = log.recent();
        let last = &recent[KEPT - 1];
        assert_eq!((last.repeats, last.seq), (3, KEPT as u64 + 8));
        let time = &last.time;
        assert_eq!((time.len(), &time[23..]), (24, "Z"), "{time}");
    }
}
