//! Least connections: the fewest requests in flight relative to the weight.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

/// The place where ties go on. Kept apart from the servers: it is written per pick.
#[derive(Debug, Default)]
pub(crate) struct LeastConn {
    cursor: CachePadded<AtomicU64>,
    start: u64,
}

impl LeastConn {
    pub(crate) fn start_at(&mut self, position: usize) {
        self.start = position as u64;
        self.cursor = CachePadded::new(AtomicU64::new(self.start));
    }

    /// The position picked last among `n`; `None` while nothing was picked.
    pub(crate) fn last(&self, n: usize) -> Option<usize> {
        let cursor = self.cursor.load(Relaxed);
        (cursor != self.start).then(|| ((cursor - 1) % n as u64) as usize)
    }

    /// Picks among `n` positions the one with the least `load` (in flight, weight).
    ///
    /// Nothing is less loaded than a server without requests, so the first of those after the
    /// one picked last ends the search: it is behind those picked since they were last free.
    /// O(n) only while every server is busy.
    /// `load` gives `None` for a server that must not be picked. A tie goes to the first after
    /// the one picked last. Two workers may read the same counts and pick the same server; the
    /// next pick sees both.
    pub(crate) fn next(
        &self,
        n: usize,
        load: impl Fn(usize) -> Option<(u32, u64)>,
    ) -> Option<usize> {
        let from = (self.cursor.load(Relaxed) % n as u64) as usize;
        let mut best: Option<(usize, (u32, u64))> = None;
        for position in (from..n).chain(0..from) {
            let Some(this) = load(position) else { continue };
            if best.is_none_or(|(_, that)| is_less(this, that)) {
                best = Some((position, this));
            }
            if this.0 == 0 {
                break;
            }
        }
        let (position, _) = best?;
        // Above `n`, so that it differs from any start.
        let next = (position + 1 + n) as u64;
        self.cursor.store(next, Relaxed);
        Some(position)
    }
}

/// Compares in flight per weight, exactly.
fn is_less((a, a_weight): (u32, u64), (b, b_weight): (u32, u64)) -> bool {
    u128::from(a) * u128::from(b_weight) < u128::from(b) * u128::from(a_weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_relative_to_weight_wins() {
        let loads = [(4, 4), (1, 1), (1, 2)];
        let least = LeastConn::default();
        for _ in 0..3 {
            assert_eq!(least.next(3, |p| Some(loads[p])), Some(2));
        }
        assert_eq!(least.next(3, |p| (p != 2).then(|| loads[p])), Some(0));
        assert_eq!(least.next(3, |_| None), None);
    }

    #[test]
    fn ties_go_in_turn_even_beside_a_busy_server() {
        let loads = [(9, 1), (0, 1), (0, 1)];
        let least = LeastConn::default();
        let picks: Vec<_> = (0..4)
            .map(|_| least.next(3, |p| Some(loads[p])).unwrap())
            .collect();
        assert_eq!(picks, [1, 2, 1, 2]);
        assert_eq!(least.last(3), Some(2));
    }
    #[test]
    fn an_idle_server_is_found_without_looking_at_the_others() {
        for n in [10usize, 1_000, 10_000] {
            let least = LeastConn::default();
            let mut flights = vec![0u32; n];
            let looks = std::cell::Cell::new(0);
            // As many in flight as there are servers but two; the oldest ends each time.
            let mut order = std::collections::VecDeque::new();
            for _ in 0..3 * n {
                let position = least.next(n, |p| {
                    looks.set(looks.get() + 1);
                    Some((flights[p], 1))
                });
                let position = position.unwrap();
                flights[position] += 1;
                order.push_back(position);
                if order.len() > n - 2 {
                    flights[order.pop_front().unwrap()] -= 1;
                }
            }
            assert_eq!(looks.get(), 3 * n);
        }
    }
}
