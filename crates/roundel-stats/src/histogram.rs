//! Histograms with fixed buckets.

use crate::Counter;

/// Upper bounds of latency buckets in seconds (OpenTelemetry's advice plus steps below 5 ms).
pub const LATENCY_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The same bounds in microseconds, for comparison without floating point.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Counts durations in the buckets of [`LATENCY_BUCKETS`]; one writing thread.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; 15],
    sum_us: Counter,
}

impl Histogram {
    /// Records one duration in microseconds.
    pub fn record_us(&self, us: u64) {
        let slot = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[slot].add(1);
        self.sum_us.add(us);
    }

    /// Calls `visit` with each counter inside, by a name of its own.
    pub(crate) fn counters(&self, mut visit: impl FnMut(&str, &Counter)) {
        for (i, bucket) in self.buckets.iter().enumerate() {
            visit(&i.to_string(), bucket);
        }
        visit("sum_us", &self.sum_us);
    }

    /// The counts at this moment.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: std::array::from_fn(|i| self.buckets[i].get()),
            sum_us: self.sum_us.get(),
        }
    }
}

/// Counts per bucket (not cumulative; the last is above every bound) and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Counts of durations at most the bound of the same index, and above the one before.
    pub buckets: [u64; 15],
    /// The sum of all durations in microseconds.
    pub sum_us: u64,
}

impl HistogramSnapshot {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds another worker's counts.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_us += other.sum_us;
    }

    /// What was recorded since `earlier`, a snapshot of the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|i| self.buckets[i].saturating_sub(earlier.buckets[i])),
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
        }
    }

    /// The `q` quantile (0 to 1) in seconds, linear within its bucket; `None` when empty.
    ///
    /// Above the last bound the answer is that bound.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (q * count as f64).max(1.0);
        let mut below = 0u64;
        for (i, n) in self.buckets.iter().enumerate() {
            if *n > 0 && (below + n) as f64 >= rank {
                let Some(high) = LATENCY_BUCKETS.get(i) else {
                    break;
                };
                let low = if i == 0 { 0.0 } else { LATENCY_BUCKETS[i - 1] };
                return Some(low + (high - low) * ((rank - below as f64) / *n as f64));
            }
            below += n;
        }
        LATENCY_BUCKETS.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_agree_in_both_units() {
        for (seconds, us) in LATENCY_BUCKETS.iter().zip(BOUNDS_US) {
            assert_eq!((seconds * 1e6).round() as u64, us);
        }
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_rank() {
        let h = Histogram::default();
        for _ in 0..99 {
            h.record_us(800);
        }
        h.record_us(40_000);
        let s = h.snapshot();
        assert_eq!(s.count(), 100);
        let p50 = s.quantile(0.5).unwrap();
        assert!((0.0005..=0.001).contains(&p50), "{p50}");
        let top = s.quantile(1.0).unwrap();
        assert!((0.025..=0.05).contains(&top), "{top}");
        assert_eq!(HistogramSnapshot::default().quantile(0.5), None);
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let h = Histogram::default();
        h.record_us(500);
        h.record_us(501);
        h.record_us(u64::from(u32::MAX));
        let s = h.snapshot();
        assert_eq!((s.buckets[0], s.buckets[1], s.buckets[14]), (1, 1, 1));
    }
}
