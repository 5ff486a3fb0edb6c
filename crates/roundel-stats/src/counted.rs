//! Counters by name, so that they can go on in another process.

use std::collections::BTreeMap;

use crate::{Counter, Histogram};

/// The values of a set of counters by name.
pub type Totals = BTreeMap<String, u64>;

/// What a counter's values of two processes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Their sum.
    Sum,
    /// The greater one.
    Most,
}

/// A set of counters that can be walked over. [`counted`](macro@crate::counted) writes this for a struct.
pub trait Counted {
    /// Calls `visit` with the name of each counter, its kind and itself, always in one order.
    fn each(&self, name: &str, kind: Kind, visit: &mut dyn FnMut(&str, Kind, &Counter));
}

impl Counted for Counter {
    fn each(&self, name: &str, kind: Kind, visit: &mut dyn FnMut(&str, Kind, &Counter)) {
        visit(name, kind, self);
    }
}

impl<T: Counted, const N: usize> Counted for [T; N] {
    fn each(&self, name: &str, kind: Kind, visit: &mut dyn FnMut(&str, Kind, &Counter)) {
        for (i, one) in self.iter().enumerate() {
            one.each(&format!("{name}.{i}"), kind, visit);
        }
    }
}

impl Counted for Histogram {
    fn each(&self, name: &str, kind: Kind, visit: &mut dyn FnMut(&str, Kind, &Counter)) {
        self.counters(|part, counter| visit(&format!("{name}.{part}"), kind, counter));
    }
}

/// Adds the values of `counters` to `totals`.
pub(crate) fn add_up(counters: &impl Counted, totals: &mut Totals) {
    counters.each("", Kind::Sum, &mut |name, kind, counter| {
        let total = totals.entry(name.to_owned()).or_default();
        *total = match kind {
            Kind::Sum => *total + counter.get(),
            Kind::Most => (*total).max(counter.get()),
        };
    });
}

/// Sets `counters` to these values; those without one stay, names unknown here are left out.
pub(crate) fn set(counters: &impl Counted, totals: &Totals) {
    counters.each("", Kind::Sum, &mut |name, _, counter| {
        if let Some(total) = totals.get(name) {
            counter.set(*total);
        }
    });
}

/// Implements [`Counted`] for a struct of counters: those that add up, then those of which the
/// greatest counts. A field that is in neither list does not compile.
#[macro_export]
macro_rules! counted {
    ($type:ty, sums: [$($sum:ident),* $(,)?], most: [$($most:ident),* $(,)?]) => {
        impl $crate::Counted for $type {
            fn each(
                &self,
                _: &str,
                _: $crate::Kind,
                visit: &mut dyn FnMut(&str, $crate::Kind, &$crate::Counter),
            ) {
                let Self { $($sum,)* $($most,)* } = self;
                $($crate::Counted::each($sum, stringify!($sum), $crate::Kind::Sum, visit);)*
                $($crate::Counted::each($most, stringify!($most), $crate::Kind::Most, visit);)*
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::PerWorker;

    use super::*;

    #[derive(Default)]
    struct Cell {
        requests: Counter,
        classes: [Counter; 2],
        time: Histogram,
        longest: Counter,
    }

    counted!(Cell, sums: [requests, classes, time], most: [longest]);

    #[test]
    fn another_process_goes_on_where_one_stood() {
        let old = PerWorker::<Cell>::new(2);
        for (worker, n) in [(0, 3), (1, 4)] {
            old[worker].requests.add(n);
            old[worker].classes[1].add(1);
            old[worker].time.record_us(800 * n);
            old[worker].longest.raise(n);
        }
        let totals = old.totals();
        assert_eq!((totals["requests"], totals["classes.1"]), (7, 2));
        assert_eq!((totals["longest"], totals["time.sum_us"]), (4, 5600));
        let new = PerWorker::<Cell>::new(1);
        new[0].requests.add(1);
        for _ in 0..2 {
            // Told again, it counts once.
            new.inherit(&totals);
        }
        assert_eq!(new.sum(|c| c.requests.get()), 8);
        assert_eq!(
            new.iter().map(|c| c.time.snapshot().count()).sum::<u64>(),
            2
        );
        assert_eq!(new.totals()["longest"], 4);
        assert_eq!(new.totals()["requests"], 8);
    }

    #[test]
    fn names_of_another_version_do_no_harm() {
        let cells = PerWorker::<Cell>::new(1);
        cells.inherit(&Totals::from([
            ("gone".to_owned(), 1),
            ("requests".to_owned(), 2),
        ]));
        assert_eq!(cells.sum(|c| c.requests.get()), 2);
    }
}
