//! Lamport clocks, as Serf uses three of.

/// A time that is further ahead of ours is refused. Honest members are apart by what one of them
/// missed; and each step takes all others along, as it is passed on.
const WINDOW: u64 = 1 << 20;

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

    /// Whether a time is not too far ahead.
    pub(super) fn is_near(&self, time: u64) -> bool {
        time <= self.0.saturating_add(WINDOW)
    }

    /// Goes back to a time if it is far ahead of that. Gives whether it did.
    pub(super) fn step_back(&mut self, time: u64) -> bool {
        let is_far = self.0 > time.saturating_add(WINDOW);
        if is_far {
            self.0 = time.max(1);
        }
        is_far
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

    #[test]
    fn far_is_more_than_a_million() {
        let mut clock = Lamport::new();
        assert!(clock.is_near(1 << 20) && !clock.is_near(1 << 21));
        assert!(!clock.step_back(1));
        clock.witness(u64::MAX);
        assert!(clock.is_near(u64::MAX), "there is no time beyond the last");
        assert!(clock.step_back(5_000_000));
        assert_eq!(clock.time(), 5_000_000);
    }
}
