//! Lines about clients, so seldom that no client can fill the log with them.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Between two lines of one worker about one kind of trouble at one frontend.
const COMPLAINT: Duration = Duration::from_secs(1);

/// Those of one frontend, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// Connections without the header of the PROXY protocol that they need.
    pub(crate) proxy_protocol: Complaint,
    /// Logins over HTTP/2 that would belong to a connection.
    pub(crate) logins: Complaint,
    /// Connections of HTTP/2 that were ended for what they cost.
    pub(crate) calmed: Complaint,
    /// Streams of HTTP/2 for which there was no memory.
    pub(crate) refused: Complaint,
}

/// Limits how often a worker tells of one kind of trouble.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    last: Cell<Option<Instant>>,
    held_back: Cell<u64>,
}

impl Complaint {
    /// What to add about those held back since the last line, if one is due.
    pub(crate) fn due(&self, now: Instant) -> Option<String> {
        let last = self.last.get();
        if last.is_some_and(|at| now.saturating_duration_since(at) < COMPLAINT) {
            self.held_back.set(self.held_back.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(match self.held_back.take() {
            0 => String::new(),
            n => format!(" ({n} more since the line before)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_held_back_and_counted() {
        let (complaint, start) = (Complaint::default(), Instant::now());
        let due = |at| complaint.due(at);
        assert_eq!(due(start).as_deref(), Some(""));
        for _ in 0..5 {
            assert_eq!(due(start), None);
        }
        let later = due(start + COMPLAINT);
        assert_eq!(later.as_deref(), Some(" (5 more since the line before)"));
        assert_eq!(due(start + 2 * COMPLAINT).as_deref(), Some(""));
    }
}
