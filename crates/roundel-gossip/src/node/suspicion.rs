//! How long a suspected member has to refute.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::config::Timings;

/// A running suspicion: it ends the sooner, the more members share it.
///
/// Source: Lifeguard (Dadgar et al. 2018), section "local health aware suspicion"; the formula
/// is memberlist's.
#[derive(Debug, Clone)]
pub(super) struct Suspicion {
    start: Instant,
    min: Duration,
    max: Duration,
    wanted: usize,
    confirmed: usize,
    from: BTreeSet<String>,
}

impl Suspicion {
    /// Begins a suspicion raised by `from` in a cluster of `nodes` known members.
    ///
    /// With fewer than 4 members nobody is left to confirm, so the shortest time holds at once.
    pub(super) fn new(now: Instant, from: &str, nodes: usize, timings: &Timings) -> Self {
        let min = shortest(timings, nodes);
        let wanted = usize::try_from(timings.suspicion_mult)
            .unwrap_or(usize::MAX)
            .saturating_sub(2);
        let wanted = if nodes < wanted + 2 { 0 } else { wanted };
        Self {
            start: now,
            min,
            max: min * timings.suspicion_max_mult,
            wanted,
            confirmed: 0,
            from: BTreeSet::from([from.to_owned()]),
        }
    }

    /// Counts another accuser. Gives whether that brings the end nearer.
    pub(super) fn confirm(&mut self, from: &str) -> bool {
        if self.confirmed >= self.wanted || !self.from.insert(from.to_owned()) {
            return false;
        }
        self.confirmed += 1;
        true
    }

    /// When the member is to be declared failed.
    pub(super) fn deadline(&self) -> Instant {
        self.start + self.timeout()
    }

    fn timeout(&self) -> Duration {
        if self.wanted == 0 {
            return self.min;
        }
        let share = ((self.confirmed + 1) as f64).ln() / ((self.wanted + 1) as f64).ln();
        let spread = (self.max - self.min).as_secs_f64();
        let millis = ((self.max.as_secs_f64() - spread * share) * 1000.0).floor();
        Duration::from_millis(millis.max(0.0) as u64).max(self.min)
    }
}

/// The shortest suspicion: it grows with the logarithm of the cluster's size.
fn shortest(timings: &Timings, nodes: usize) -> Duration {
    let scale = (nodes.max(1) as f64).log10().max(1.0);
    let thousandths = (scale * 1000.0) as u32;
    timings.probe_interval * timings.suspicion_mult * thousandths / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(nodes: usize, confirmations: usize) -> u128 {
        let now = Instant::now();
        let mut suspicion = Suspicion::new(now, "first", nodes, &Timings::lan());
        for i in 0..confirmations {
            suspicion.confirm(&format!("peer-{i}"));
        }
        (suspicion.deadline() - now).as_millis()
    }

    #[test]
    fn bounds_follow_the_size_of_the_cluster() {
        assert_eq!(millis(3, 0), 4000);
        assert_eq!(millis(10, 0), 24_000);
        assert_eq!(millis(10, 2), 4000);
        assert_eq!(millis(25, 2), 5588);
        assert_eq!(millis(100, 0), 48_000);
        assert_eq!(millis(1000, 2), 12_000);
    }

    #[test]
    fn one_confirmation_goes_most_of_the_way() {
        assert_eq!(millis(10, 1), 11_381);
    }

    #[test]
    fn nobody_counts_twice_and_not_more_than_wanted_count() {
        let mut suspicion = Suspicion::new(Instant::now(), "a", 10, &Timings::lan());
        assert!(!suspicion.confirm("a"));
        assert!(suspicion.confirm("b"));
        assert!(!suspicion.confirm("b"));
        assert!(suspicion.confirm("c"));
        assert!(!suspicion.confirm("d"));
    }
}
