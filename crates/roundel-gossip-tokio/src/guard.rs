//! A panic over what a peer sent costs only that.
//!
//! The node takes no input that makes it panic, as far as its fuzzing goes. Should there be one
//! nevertheless, the balancer must not lose its members over a datagram.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// Panics are told of at most this often: whoever found one sends more of its kind.
const APART: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether a panic here and now is caught.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does something with what a peer sent; nothing if that panicked.
///
/// What the node holds is as the panic left it: each of its parts is whole, though two of them
/// may disagree until the next exchange of states.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    install();
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    result.ok()
}

/// Has guarded panics told of through the log instead of at length on standard error.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                before(panic);
            } else if is_due(Instant::now()) {
                tell(panic);
            }
        }));
    });
}

fn tell(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    let what = panic.payload_as_str().unwrap_or_default();
    tracing::error!(
        at,
        what,
        "what a gossip peer sent caused an internal error; it is dropped. Please report this"
    );
}

fn is_due(now: Instant) -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else {
        return false;
    };
    let due = last.is_none_or(|last| now.saturating_duration_since(last) >= APART);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_only_the_work_at_hand_and_is_told_of_once_a_second() {
        let mut left = vec![3, 2, 1];
        for _ in 0..3 {
            let one = guarded(|| left.pop().map(|n| [7][n]));
            assert_eq!(one, None, "each is out of range");
        }
        assert!(left.is_empty());
        assert_eq!(guarded(|| 7), Some(7));
        let now = Instant::now() + Duration::from_secs(60);
        assert!(is_due(now) && !is_due(now + APART / 2) && is_due(now + APART));
    }
}
