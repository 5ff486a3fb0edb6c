//! Waiting on a condition, never on luck.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two looks at a condition: short beside what tests measure, long beside the work.
const STEP: Duration = Duration::from_millis(10);

/// Looks until `condition` gives a value or `within` is over.
///
/// Looks at least once, and once more at the deadline.
pub fn poll<T>(within: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let last = Instant::now() >= deadline;
        if let Some(value) = condition() {
            return Some(value);
        }
        if last {
            return None;
        }
        sleep(STEP);
    }
}

/// Looks until `condition` gives a value; panics with `what` after `within`.
pub fn wait_for<T>(what: &str, within: Duration, condition: impl FnMut() -> Option<T>) -> T {
    poll(within, condition).unwrap_or_else(|| panic!("{what}: not within {within:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_until_true() {
        let mut looks = 0;
        let got = poll(Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(got, Some(3));
    }

    #[test]
    fn gives_up_at_the_deadline() {
        let started = Instant::now();
        assert_eq!(poll(Duration::from_millis(30), || None::<()>), None);
        assert!(started.elapsed() >= Duration::from_millis(30));
    }
}
