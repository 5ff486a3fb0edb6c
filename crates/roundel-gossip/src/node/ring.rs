//! Whom a broadcast goes to next, so that together all senders leave nobody out.
//!
//! With random targets of each sender's own choice some member is missed now and then: 24 senders
//! of 8 packets each miss one member of 25 in one of 150 broadcasts. Here all senders follow the
//! same rings, drawn from the broadcast itself: in its `k`-th ring each member has one sender and
//! one receiver. A ring alone reaches everybody, if all members are well; with `k` rings a member
//! is missed when all its `k` senders fail it. Senders that disagree on who is a member only lose
//! that coordination: their targets are as good as random.

/// With so many members the rings of one broadcast are drawn one by one. With fewer they are one
/// ring walked with different strides, so that no receiver comes twice.
const SMALL: u64 = 64;

/// The receivers of one transmission, in order of preference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    order: Shuffle,
    stride: u64,
}

impl Ring {
    /// The ring of transmission `k` of the broadcast `print` among `len` members.
    pub(super) fn new(print: u64, k: u32, len: usize) -> Self {
        let (len, k) = (len as u64, u64::from(k));
        let key = if len > SMALL {
            mix(print ^ (k << 48))
        } else {
            print
        };
        let others = len.saturating_sub(1).max(1);
        Self {
            order: Shuffle::new(key, len),
            stride: 1 + Shuffle::new(!print, others).forth(k % others),
        }
    }

    /// The ranks to which the member of `rank` sends: the first, then those that take its place
    /// if it cannot be used.
    pub(super) fn receivers(self, rank: usize) -> impl Iterator<Item = usize> {
        let len = self.order.len;
        let from = self.order.forth(rank as u64 % len.max(1)) + self.stride;
        let places = (0..len).map(move |more| (from + more) % len);
        places
            .map(move |place| self.order.back(place) as usize)
            .filter(move |receiver| *receiver != rank)
    }
}

/// A random order of `0..len` that needs no memory: a Feistel cipher on the next even number of
/// bits, applied until the result is in range.
///
/// Source: Luby and Rackoff 1988; "cycle walking" after Black and Rogaway 2002.
#[derive(Debug, Clone, Copy)]
struct Shuffle {
    keys: [u64; 4],
    half: u32,
    len: u64,
}

impl Shuffle {
    fn new(key: u64, len: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self {
            keys: [0, 1, 2, 3].map(|round: u64| mix(key.wrapping_add(round << 32))),
            half: bits.div_ceil(2).max(1),
            len,
        }
    }

    /// Where `at` comes.
    fn forth(&self, at: u64) -> u64 {
        let round = |(left, right): (u64, u64), key| (right, left ^ self.part(right ^ key));
        self.within(at, |halves| self.keys.iter().copied().fold(halves, round))
    }

    /// What comes at `at`.
    fn back(&self, at: u64) -> u64 {
        let round = |(left, right): (u64, u64), key| (right ^ self.part(left ^ key), left);
        let keys = || self.keys.iter().rev().copied();
        self.within(at, |halves| keys().fold(halves, round))
    }

    /// Applies the rounds until the result is in range; it will be, as they form cycles.
    fn within(&self, at: u64, rounds: impl Fn((u64, u64)) -> (u64, u64)) -> u64 {
        let mut value = at;
        loop {
            let (left, right) = rounds((value >> self.half, value & self.mask()));
            value = (left << self.half) | right;
            if value < self.len.max(1) {
                return value;
            }
        }
    }

    fn part(&self, x: u64) -> u64 {
        mix(x) & self.mask()
    }

    fn mask(&self) -> u64 {
        (1 << self.half) - 1
    }
}

/// Spreads every bit of `x` over the result.
///
/// Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_shuffle_is_an_order_and_goes_back() {
        for len in [1, 2, 3, 17, 64, 1000] {
            let shuffle = Shuffle::new(len * 7, len);
            let all: BTreeSet<u64> = (0..len).map(|at| shuffle.forth(at)).collect();
            assert_eq!(all, (0..len).collect());
            assert!((0..len).all(|at| shuffle.back(shuffle.forth(at)) == at));
        }
    }

    #[test]
    fn each_member_has_one_sender_in_each_ring() {
        for len in [2, 3, 25, 100, 1000] {
            for k in 0..8 {
                let ring = Ring::new(99, k, len);
                let receivers: BTreeSet<usize> = (0..len)
                    .map(|rank| ring.receivers(rank).next().unwrap())
                    .collect();
                // With one stride for all, each place is met once; we never send to ourselves.
                assert_eq!(receivers.len(), len, "{len} {k}");
            }
        }
    }

    #[test]
    fn few_members_get_no_second_copy_from_one_sender() {
        let first = |k| Ring::new(5, k, 25).receivers(3).next().unwrap();
        let receivers: BTreeSet<usize> = (0..24).map(first).collect();
        assert_eq!(receivers.len(), 24);
    }

    #[test]
    fn whoever_cannot_be_used_is_replaced_by_all_others_in_turn() {
        let receivers: BTreeSet<usize> = Ring::new(5, 0, 10).receivers(3).collect();
        let others: BTreeSet<usize> = (0..10).filter(|rank| *rank != 3).collect();
        assert_eq!(receivers, others);
        assert_eq!(Ring::new(5, 0, 1).receivers(0).count(), 0);
    }
}
