//! Round robin: an immutable order and one shared cursor.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

/// The longest order of rotation in slots. 256 KiB of memory; reached only by hundreds of
/// servers with weights that share no divisor.
pub const MAX_SCHEDULE: usize = 65_536;

/// Says that weights were rounded so that the order stays within [`MAX_SCHEDULE`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounding {
    /// The slots that exact weights would take.
    pub exact: u64,
    /// The greatest relative error of one server's share, 0 to 1.
    pub worst: f64,
}

/// The order of one snapshot and the place where it stands.
///
/// Shape: `slots` holds positions in the list of usable servers; each turns up as often as its
/// weight says, spread evenly.
#[derive(Debug)]
pub(crate) struct Schedule {
    slots: Box<[u32]>,
    cursor: CachePadded<AtomicU64>,
    start: u64,
    pub(crate) rounding: Option<Rounding>,
}

impl Schedule {
    /// Builds the order for `weights`, each above zero. The start is slot 0.
    pub(crate) fn new(weights: &[u64]) -> Self {
        let (weights, rounding) = reduce(weights);
        Self {
            slots: smooth(&weights).into(),
            cursor: CachePadded::default(),
            start: 0,
            rounding,
        }
    }

    pub(crate) fn start_at(&mut self, slot: usize) {
        self.start = slot as u64;
        self.cursor = CachePadded::new(AtomicU64::new(self.start));
    }

    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The slot picked last; `None` while nothing was picked.
    pub(crate) fn last(&self) -> Option<usize> {
        let cursor = self.cursor.load(Relaxed);
        (cursor != self.start).then(|| self.slot(cursor - 1))
    }

    /// The next position whose server is not to be skipped; `None` when all are.
    ///
    /// A request that comes back takes the next turn, so that the order stays exact for the
    /// others. Skipping never shifts a server's share: it happens only to servers that failed
    /// for this very request.
    pub(crate) fn next(&self, skip: impl Fn(usize) -> bool) -> Option<usize> {
        // Other workers may take the turns in between, so a bounded number of tries comes first.
        for _ in 0..self.slots.len().min(64) {
            let turn = self.cursor.fetch_add(1, Relaxed);
            let position = self.slots[self.slot(turn)] as usize;
            if !skip(position) {
                return Some(position);
            }
        }
        let rest = self.slots.iter().map(|position| *position as usize);
        rest.into_iter().find(|position| !skip(*position))
    }

    fn slot(&self, turn: u64) -> usize {
        (turn % self.slots.len() as u64) as usize
    }
}

/// Divides by the greatest common divisor and, if still too long, rounds down to the cap.
fn reduce(weights: &[u64]) -> (Vec<u64>, Option<Rounding>) {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let exact: Vec<u64> = weights.iter().map(|w| w / divisor).collect();
    let total: u64 = exact.iter().sum();
    let cap = MAX_SCHEDULE as u64;
    if total <= cap {
        return (exact, None);
    }
    let rounded: Vec<u64> = exact.iter().map(|w| (w * cap / total).max(1)).collect();
    let got: u64 = rounded.iter().sum();
    let worst = exact.iter().zip(&rounded).map(|(e, r)| {
        let (want, is) = (*e as f64 / total as f64, *r as f64 / got as f64);
        (is / want - 1.0).abs()
    });
    let worst = worst.fold(0.0, f64::max).min(1.0);
    let rounding = Rounding {
        exact: total,
        worst,
    };
    (rounded, Some(rounding))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Positions in an order in which every prefix of length `t` holds position `i` between
/// `t·w/W − 1` and `t·w/W + 1` times.
///
/// Source: Tijdeman, "The chairman assignment problem", 1980: among those whose shortfall is
/// at least 1/(2n−2), the one that would first exceed 1 − 1/(2n−2) is next.
fn smooth(weights: &[u64]) -> Vec<u32> {
    let n = weights.len() as u64;
    if weights.iter().all(|w| *w == 1) {
        return (0..n as u32).collect();
    }
    let total: u64 = weights.iter().sum();
    let scale = (2 * n).saturating_sub(2).max(1);
    // Waiting: ordered by the turn from which the shortfall is large enough.
    let mut waiting: BinaryHeap<Reverse<(u64, u32)>> = (0u32..)
        .zip(weights)
        .map(|(i, w)| Reverse((eligible_from(0, *w, total, scale), i)))
        .collect();
    let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    let mut taken = vec![0u64; weights.len()];
    let mut order = Vec::with_capacity(total as usize);
    for turn in 1..=total {
        while let Some(Reverse((from, i))) = waiting.peek().copied() {
            if from > turn && !(due.is_empty()) {
                break;
            }
            waiting.pop();
            let w = weights[i as usize];
            let num = (taken[i as usize] + 1) * scale - 1;
            due.push(Reverse(Due { num, w, i }));
        }
        let Reverse(Due { i, w, .. }) = due.pop().expect("a turn has a server while weights last");
        order.push(i);
        taken[i as usize] += 1;
        let from = eligible_from(taken[i as usize], w, total, scale);
        waiting.push(Reverse((from, i)));
    }
    order
}

/// The first turn `t` with `t·w/W − taken ≥ 1/scale`.
fn eligible_from(taken: u64, w: u64, total: u64, scale: u64) -> u64 {
    (total * (taken * scale + 1)).div_ceil(w * scale)
}

/// A server that may be next; the least `num / w` is the most urgent, ties by position.
#[derive(PartialEq, Eq)]
struct Due {
    num: u64,
    w: u64,
    i: u32,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (
            u128::from(self.num) * u128::from(other.w),
            u128::from(other.num) * u128::from(self.w),
        );
        a.cmp(&b).then_with(|| self.i.cmp(&other.i))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(weights: &[u64]) -> Vec<u32> {
        Schedule::new(weights).slots.to_vec()
    }

    #[test]
    fn equal_weights_keep_the_order_given() {
        assert_eq!(order(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(order(&[7, 7]), [0, 1]);
        assert_eq!(order(&[256]), [0]);
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn unequal_weights_are_spread() {
        assert_eq!(order(&[2, 1]), [0, 1, 0]);
        assert_eq!(order(&[2, 2, 4]), [2, 0, 1, 2]);
        let heavy = order(&[5, 1, 1]);
        let ones = |at: u32| heavy.iter().position(|i| *i == at).unwrap();
        assert!(ones(1).abs_diff(ones(2)) >= 2, "{heavy:?}");
    }

    #[test]
    fn a_long_order_is_rounded_and_says_so() {
        let weights: Vec<u64> = (1..=600).map(|i| 256 * 256 - i).collect();
        let schedule = Schedule::new(&weights);
        assert!(schedule.slots.len() <= MAX_SCHEDULE + weights.len());
        let rounding = schedule.rounding.unwrap();
        assert!(rounding.exact > MAX_SCHEDULE as u64 && rounding.worst < 0.01);
        assert_eq!(Schedule::new(&[3, 5]).rounding, None);
    }

    #[test]
    fn a_repeated_request_takes_the_next_turn_of_another() {
        let schedule = Schedule::new(&[1, 1, 1]);
        assert_eq!(schedule.last(), None);
        assert_eq!(schedule.next(|_| false), Some(0));
        assert_eq!(schedule.next(|p| p == 1), Some(2));
        assert_eq!(schedule.next(|_| false), Some(0));
        assert_eq!(schedule.last(), Some(0));
        assert_eq!(schedule.next(|_| true), None);
    }

    #[test]
    fn one_server_is_looked_at_among_any_number() {
        for n in [10, 1_000, 10_000] {
            let schedule = Schedule::new(&vec![1; n]);
            let looks = std::cell::Cell::new(0);
            let skip = |_| {
                looks.set(looks.get() + 1);
                false
            };
            assert!(schedule.next(skip).is_some());
            assert_eq!(looks.get(), 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_prefix_stays_within_one_of_the_exact_share(
            weights in proptest::collection::vec(1u64..=256, 1..40),
        ) {
            let (reduced, _) = reduce(&weights);
            let total: u64 = reduced.iter().sum();
            let mut counts = vec![0i128; weights.len()];
            for (turn, position) in (1i128..).zip(order(&weights)) {
                counts[position as usize] += 1;
                for (count, w) in counts.iter().zip(&reduced) {
                    let off = count * i128::from(total) - turn * i128::from(*w);
                    proptest::prop_assert!(off.abs() < i128::from(total));
                }
            }
            for (count, w) in counts.iter().zip(&reduced) {
                proptest::prop_assert_eq!(*count, i128::from(*w));
            }
        }
    }
}
