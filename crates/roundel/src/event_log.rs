//! What happened: the timeline of the page, the same lines in the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roundel_admin::status::{Event, EventKind};
use roundel_stats::Ring;
use tokio::sync::broadcast;

/// The events kept in memory.
const KEPT: usize = 2_000;
/// The events that a slow viewer may lag behind.
const WAITING: usize = 256;

/// Takes events from anywhere; clones lead to the same timeline.
#[derive(Debug, Clone)]
pub(crate) struct EventLog {
    ring: Arc<Mutex<Timeline>>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug)]
struct Timeline {
    events: Ring<Arc<Event>>,
    last_seq: u64,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        let timeline = Timeline {
            events: Ring::new(KEPT),
            last_seq: 0,
        };
        Self {
            ring: Arc::new(Mutex::new(timeline)),
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
            | EventKind::ReloadFailed => tracing::warn!("{word} {subject}: {text}"),
            _ => tracing::info!("{word} {subject}: {text}"),
        }
        let event = {
            let mut timeline = self.timeline();
            timeline.last_seq += 1;
            let event = Arc::new(Event {
                seq: timeline.last_seq,
                time: now_text(),
                kind,
                subject,
                text,
                duration_ms: duration.map(|d| d.as_millis() as u64),
                repeats: 1,
            });
            timeline.events.push(Arc::clone(&event));
            event
        };
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
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
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
        let time = &recent[0].time;
        assert_eq!((time.len(), &time[23..]), (24, "Z"), "{time}");
    }
}
