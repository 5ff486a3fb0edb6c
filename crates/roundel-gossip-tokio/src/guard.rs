//! A panic over what a peer sent costs only that; any other one has the node begin anew.
//!
//! The node takes no input that makes it panic, as far as its fuzzing goes. Should there be one
//! nevertheless, the balancer must not lose its members over a datagram.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, Once};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Panics are told of at most this often: whoever found one sends more of its kind.
const APART: Duration = Duration::from_secs(1);

/// So many panics of a driver within [`SPAN`] end it: whatever is wrong is not over with one.
const MANY: usize = 3;
const SPAN: Duration = Duration::from_secs(60);

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

/// Gives what a future gives, or nothing once it panics.
pub(crate) async fn caught<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

/// The latest panics of a driver.
#[derive(Debug, Default)]
pub(crate) struct Panics(VecDeque<Instant>);

impl Panics {
    /// Notes one. Returns whether there were too many.
    pub(crate) fn note(&mut self, now: Instant) -> bool {
        self.0
            .retain(|at| now.saturating_duration_since(*at) < SPAN);
        self.0.push_back(now);
        self.0.len() >= MANY
    }
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

    #[tokio::test]
    async fn a_future_that_panics_gives_nothing() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        let late = async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "a panic that was asked for");
        };
        assert_eq!(caught(late).await, None);
    }

    #[test]
    fn the_third_panic_within_a_minute_is_one_too_many() {
        let mut panics = Panics::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (seconds, many) in [(0, false), (30, false), (61, false), (80, true)] {
            assert_eq!(panics.note(at(seconds)), many, "{seconds}");
        }
    }

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
