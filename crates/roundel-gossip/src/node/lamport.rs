//! Lamport clocks, as Serf uses three of.

/// A logical clock: it orders what members announce without comparing their clocks.
#[derive(Debug, Clone)]
pub(super) struct Lamport(u64);

impl Lamport {
    pub(super) fn new() -> Self {
        Self(1)
    }

    /// A clock that goes on from the last time of a former life.
    pub(super) fn after(last: u64) -> Self {
        let mut clock = Self::new();
        if last > 0 {
            clock.witness(last);
        }
        clock
    }

    /// The current time.
    pub(super) fn time(&self) -> u64 {
        self.0
    }

    /// Goes one on.
    pub(super) fn increment(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Goes past a time that was heard, never back.
    pub(super) fn witness(&mut self, heard: u64) {
        self.0 = self.0.max(heard.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witness_goes_past_what_was_heard_and_never_back() {
        let mut clock = Lamport::new();
        clock.witness(1);
        assert_eq!(clock.time(), 2);
        clock.witness(41);
        clock.witness(3);
        assert_eq!(clock.time(), 42);
        clock.increment();
        assert_eq!(clock.time(), 43);
        clock.witness(u64::MAX);
        assert_eq!(clock.time(), u64::MAX);
    }
}
