//! When to order, to renew, to try again: functions of `now`.

use std::time::{Duration, SystemTime};

/// The longest time between two looks at the clock: a clock that is set, or a machine that slept, is
/// noticed within it.
pub(crate) const LOOK: Duration = Duration::from_secs(60);

/// How long after the first failure the next try is.
const FIRST_BACKOFF: Duration = Duration::from_secs(60);
/// No back-off of our own is longer.
const LONGEST_BACKOFF: Duration = Duration::from_hours(6);
/// A time to try again that lies further ahead is not believed: the CA erred, or the clock did when it
/// was written down. Source: Let's Encrypt's limits are of at most a week.
const FURTHEST: Duration = Duration::from_hours(24 * 8);

/// Certificates that live shorter are renewed at half of their life. Source: Let's Encrypt's advice
/// for those of six days.
const SHORT_LIFE: Duration = Duration::from_hours(24 * 10);
/// The part of a life by which renewals are spread, so that many balancers do not come at once.
const SPREAD: f64 = 0.02;

/// How often a CA that offers renewal information is asked at least and at most.
/// Source: RFC 9773, section 4.3.2.
const ASK: (Duration, Duration) = (Duration::from_secs(60), Duration::from_hours(24));
/// When one is asked again that gave no usable answer. Source: RFC 9773, section 4.3.3.
pub(crate) const ASK_AGAIN: Duration = Duration::from_hours(6);

/// The time for which a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// The time in which a CA wants a certificate renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
}

/// What came of earlier tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// How many have failed since the last that did not.
    pub(crate) failures: u32,
    /// No try before that.
    pub(crate) next: Option<SystemTime>,
    /// Whether an order is under way.
    pub(crate) in_flight: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// An order is made, or the one in flight goes on.
    Order,
    /// Nothing until then.
    At(SystemTime),
}

/// Whether an order is due. `fraction` is this balancer's own, from 0 to 1.
pub(crate) fn due(
    now: SystemTime,
    served: Option<Life>,
    window: Option<Window>,
    tries: Tries,
    fraction: f64,
) -> Due {
    let waits = |until: &SystemTime| *until > now && *until <= now + FURTHEST;
    if let Some(next) = tries.next.filter(waits) {
        return Due::At(next);
    }
    let Some(life) = served.filter(|_| !tries.in_flight && tries.failures == 0) else {
        return Due::Order;
    };
    let at = renew_at(life, window, fraction);
    match at <= now {
        true => Due::Order,
        false => Due::At(at),
    }
}

/// When a certificate is renewed: within the CA's window, else by its lifetime.
///
/// A window that ends before it begins, or after the certificate does, is none.
/// Source: RFC 9773, section 4.2 and 4.3.
fn renew_at(life: Life, window: Option<Window>, fraction: f64) -> SystemTime {
    let sane = |w: &Window| w.start < w.end && w.end <= life.not_after;
    if let Some(window) = window.filter(sane) {
        return window.start + span(window.start, window.end).mul_f64(fraction);
    }
    let whole = span(life.not_before, life.not_after);
    let part = if whole < SHORT_LIFE { 0.5 } else { 2.0 / 3.0 };
    life.not_before + whole.mul_f64(part - SPREAD * fraction)
}

fn span(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

/// When to try again after so many failures, of which this is the last. The CA's word counts where it
/// is later than our own back-off.
pub(crate) fn next_try(
    now: SystemTime,
    failures: u32,
    retry_after: Option<SystemTime>,
    fraction: f64,
) -> SystemTime {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let own = now + doubled.min(LONGEST_BACKOFF).mul_f64(1.0 + fraction / 10.0);
    let told = retry_after.map(|at| at.min(now + FURTHEST));
    told.map_or(own, |told| told.max(own))
}

/// When the CA is asked again for its window, of which it said when.
pub(crate) fn ask_at(now: SystemTime, told: Duration) -> SystemTime {
    now + told.clamp(ASK.0, ASK.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn day(n: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY + n * DAY
    }

    fn lives(from: u32, to: u32) -> Life {
        Life {
            not_before: day(from),
            not_after: day(to),
        }
    }

    #[test]
    fn renewal_is_at_two_thirds_of_a_life_and_at_half_of_a_short_one() {
        assert_eq!(renew_at(lives(0, 90), None, 0.0), day(60));
        assert_eq!(renew_at(lives(0, 6), None, 0.0), day(3));
        assert_eq!(
            renew_at(lives(0, 10), None, 0.0),
            day(0) + DAY.mul_f64(10.0 * 2.0 / 3.0)
        );
        let spread = renew_at(lives(0, 90), None, 1.0);
        assert!(spread < day(60) && spread > day(58));
    }

    #[test]
    fn the_ca_s_window_goes_before_unless_it_is_none() {
        let window = |start, end| {
            Some(Window {
                start: day(start),
                end: day(end),
            })
        };
        let check =
            |w, fraction, expected| assert_eq!(renew_at(lives(0, 90), w, fraction), expected);
        check(window(40, 42), 0.0, day(40));
        check(window(40, 42), 0.5, day(41));
        check(window(42, 40), 0.0, day(60));
        check(window(89, 91), 0.0, day(60));
    }

    #[test]
    fn an_order_is_due_when_there_is_nothing_to_serve_or_renewal_has_come() {
        let check = |now, served, tries, expected| {
            assert_eq!(due(day(now), served, None, tries, 0.0), expected);
        };
        let fresh = Tries::default();
        check(1, None, fresh, Due::Order);
        check(1, Some(lives(0, 90)), fresh, Due::At(day(60)));
        check(60, Some(lives(0, 90)), fresh, Due::Order);
        check(200, Some(lives(0, 90)), fresh, Due::Order);
        let in_flight = Tries {
            in_flight: true,
            ..fresh
        };
        check(1, Some(lives(0, 90)), in_flight, Due::Order);
    }

    #[test]
    fn nothing_is_tried_before_its_time_unless_the_clock_was_wrong() {
        let waiting = |next| Tries {
            failures: 3,
            next: Some(day(next)),
            in_flight: true,
        };
        assert_eq!(due(day(1), None, None, waiting(2), 0.0), Due::At(day(2)));
        assert_eq!(due(day(2), None, None, waiting(2), 0.0), Due::Order);
        assert_eq!(due(day(1), None, None, waiting(400), 0.0), Due::Order);
    }

    #[test]
    fn back_off_doubles_from_a_minute_to_six_hours() {
        let wait = |failures| {
            next_try(day(0), failures, None, 0.0)
                .duration_since(day(0))
                .unwrap()
        };
        let minutes: Vec<_> = (1..=4).map(|n| wait(n).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8]);
        assert_eq!(wait(10), LONGEST_BACKOFF);
        assert_eq!(wait(u32::MAX), LONGEST_BACKOFF);
        let spread = next_try(day(0), 1, None, 1.0);
        assert_eq!(spread, day(0) + FIRST_BACKOFF.mul_f64(1.1));
    }

    #[test]
    fn the_ca_s_retry_after_is_kept_within_reason() {
        let check = |told, expected| assert_eq!(next_try(day(0), 1, Some(told), 0.0), expected);
        check(day(3), day(3));
        check(day(0), day(0) + FIRST_BACKOFF);
        check(day(4000), day(8));
        assert_eq!(ask_at(day(0), Duration::ZERO), day(0) + ASK.0);
        assert_eq!(ask_at(day(0), 30 * DAY), day(1));
    }
}
