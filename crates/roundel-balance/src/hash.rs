//! Consistent hashing with bounded loads: a key keeps its server, unless that one is too busy.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Points on the ring of a server of the greatest weight. Shares then differ by about 8 %
/// (1/√160); the bound on loads evens out the rest.
const POINTS: u64 = 160;

/// How far above its share a server may be loaded, in hundredths. Low enough to spread a hot
/// key, high enough that few others move. Source: HAProxy's manual advises 125 to 200 for
/// `hash-balance-factor`.
const BOUND: u128 = 125;

/// So many requests in flight are no load worth moving a key for: the parallel requests of one
/// browser stay together, and a request that follows an answer at once finds its server again.
const FREE: u32 = 16;

/// The hash of a key that a request carries; equal on every balancer.
pub fn hash_key(key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(b"roundel-pick-key");
    hasher.write(key);
    hasher.finish()
}

/// The hash number `n` of a server's name.
pub(crate) fn hash_name(name: &str, n: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_key(b"roundel-pick-srv");
    hasher.write(&n.to_le_bytes());
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// The part of a point that is hash.
const HASH: u64 = 0xffff_ffff_0000_0000;

/// The hash number `n` out of `seed`. Source: SplitMix64 (Steele, Lea, Flood 2014).
fn scatter(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One usable server as a table of keys sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    /// Above zero.
    pub(crate) weight: u64,
}

/// What a pick needs to know about a server at this moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) in_flight: u32,
    pub(crate) weight: u64,
}

/// Points looked at from a key's place on, before the servers are looked at one by one: the
/// first that fits comes far earlier, unless most are tried or full.
const WALK: usize = 64;

/// The ring of one snapshot.
///
/// Shape: a point is 32 bits of hash above the position of a usable server; `points` is sorted.
/// `starts` has a place for each value of a hash's first bits, about as many as points: the first
/// point from there on. A server's points depend on its name and its weight relative to the
/// greatest one, never on the others' names, so that a server that goes takes only its own keys
/// along.
/// Source: Karger et al. 1997; Mirrokni, Thorup, Zadimoghaddam 2016 for the bound.
#[derive(Debug)]
pub(crate) struct Ring {
    points: Box<[u64]>,
    starts: Box<[u32]>,
    weights: u128,
}

impl Ring {
    /// Builds the ring; O(points · log points).
    pub(crate) fn new(places: &[Place<'_>]) -> Self {
        let greatest = places.iter().map(|p| p.weight).max().unwrap_or(1);
        let mut points = Vec::with_capacity(places.len() * POINTS as usize);
        for (position, place) in (0u64..).zip(places) {
            let n = (place.weight * POINTS).div_ceil(greatest);
            let seed = hash_name(place.name, 0);
            points.extend((0..n).map(|i| (scatter(seed, i) & HASH) | position));
        }
        points.sort_unstable();
        let mut ring = Self {
            starts: vec![0; points.len().next_power_of_two() + 1].into(),
            points: points.into(),
            weights: places.iter().map(|p| u128::from(p.weight)).sum(),
        };
        for i in 0..ring.points.len() {
            let place = ring.place(ring.points[i]);
            ring.starts[place + 1] = i as u32 + 1;
        }
        // Places without a point begin where the one before ended.
        for i in 1..ring.starts.len() {
            ring.starts[i] = ring.starts[i].max(ring.starts[i - 1]);
        }
        ring
    }

    /// The index in `starts` of a hash.
    fn place(&self, hash: u64) -> usize {
        let places = self.starts.len() as u64 - 1;
        (((hash >> 32) * places) >> 32) as usize
    }

    /// The position of the server of `key`: the first one clockwise that is not loaded beyond
    /// 1.25 times its share of all requests in flight, and not below [`FREE`] in any case.
    ///
    /// `all` gives the requests in flight on the whole backend, `load` `None` for a server that
    /// must not be picked. Servers above the bound are taken only when every other one must not
    /// be picked. O(1) as long as one in [`WALK`] points leads to a server that fits, else O(n).
    pub(crate) fn find(
        &self,
        n: usize,
        key: u64,
        all: impl FnOnce() -> u64,
        load: impl Fn(usize) -> Option<Load>,
    ) -> Option<usize> {
        let from = self.starts[self.place(key)] as usize;
        let within = self.points[from..].iter().take_while(|p| **p < key & HASH);
        let (before, after) = self.points.split_at(from + within.count());
        let candidates = || {
            let points = after.iter().chain(before).take(WALK);
            let near = points.map(|point| (point & !HASH) as usize);
            near.chain(0..n).filter_map(|p| Some((p, load(p)?)))
        };
        let (first, its) = candidates().next()?;
        if its.in_flight < FREE {
            return Some(first);
        }
        let all = u128::from(all());
        let fits = |(_, l): &(usize, Load)| self.fits(*l, all);
        candidates()
            .find(fits)
            .map_or(Some(first), |(position, _)| Some(position))
    }

    /// Whether one more request stays within the bound, rounded up.
    fn fits(&self, load: Load, all: u128) -> bool {
        if load.in_flight < FREE {
            return true;
        }
        let share = (all + 1) * u128::from(load.weight) * BOUND;
        u128::from(load.in_flight) < share.div_ceil(self.weights * 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (1..=n).map(|i| format!("webapp-{i}")).collect()
    }

    fn places<'a>(names: &'a [String], weights: &[u64]) -> Vec<Place<'a>> {
        let all = names.iter().zip(weights.iter().cycle());
        all.map(|(name, weight)| Place {
            name,
            weight: *weight,
        })
        .collect()
    }

    fn idle(_: usize) -> Option<Load> {
        Some(Load {
            in_flight: 0,
            weight: 1,
        })
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..20_000u32).map(|i| hash_key(&i.to_be_bytes()))
    }

    #[test]
    fn shares_follow_weights() {
        let names = names(4);
        let weights = [1, 2, 3, 4];
        let ring = Ring::new(&places(&names, &weights));
        let mut counts = [0u32; 4];
        for key in keys() {
            counts[ring.find(4, key, || 0, idle).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let expected = 20_000.0 * weight as f64 / 10.0;
            let off = f64::from(*count) / expected - 1.0;
            assert!(off.abs() < 0.3, "{counts:?}");
        }
    }

    #[test]
    fn a_server_that_goes_takes_only_its_own_keys_along() {
        let names = names(10);
        let before = Ring::new(&places(&names, &[1]));
        let after = Ring::new(&places(&names[..9], &[1]));
        let mut moved = 0;
        for key in keys() {
            let old = before.find(10, key, || 0, idle);
            let new = after.find(9, key, || 0, idle);
            if old == Some(9) {
                moved += 1;
            } else {
                assert_eq!(old, new);
            }
        }
        assert!((1_200..2_800).contains(&moved), "{moved} of 20,000");
    }

    #[test]
    fn no_server_is_loaded_beyond_its_bound() {
        let names = names(5);
        let ring = Ring::new(&places(&names, &[1]));
        let mut flights = [0u32; 5];
        // One hot key only, and nothing ends.
        for sent in 0..1_000u32 {
            let load = |p: usize| {
                Some(Load {
                    in_flight: flights[p],
                    weight: 1,
                })
            };
            let position = ring.find(5, 42, || u64::from(sent), load).unwrap();
            flights[position] += 1;
            let bound = (f64::from(sent + 1) * 1.25 / 5.0).ceil().max(16.0);
            assert!(f64::from(flights[position]) <= bound, "{flights:?}");
        }
        let used = flights.iter().filter(|f| **f > 0).count();
        assert!(used >= 4, "a server takes 1/4 at most: {flights:?}");
    }

    #[test]
    fn skips_what_must_not_be_picked_and_takes_the_busy_rather_than_none() {
        let names = names(3);
        let ring = Ring::new(&places(&names, &[1]));
        let home = ring.find(3, 7, || 0, idle).unwrap();
        let other = ring.find(3, 7, || 0, |p| (p != home).then(|| idle(p)).flatten());
        assert_ne!(other, Some(home));
        let only_busy = |p: usize| {
            (p == home).then_some(Load {
                in_flight: 900,
                weight: 1,
            })
        };
        assert_eq!(ring.find(3, 7, || 900, only_busy), Some(home));
        assert_eq!(ring.find(3, 7, || 0, |_| None), None);
    }
    #[test]
    fn one_server_is_looked_at_among_any_number() {
        for n in [10, 100, 1_000] {
            let names = names(n);
            let ring = Ring::new(&places(&names, &[1]));
            // Sorted, so that a key's place is found by halving.
            assert!(ring.points.is_sorted());
            let looks = std::cell::Cell::new(0);
            let load = |p| {
                looks.set(looks.get() + 1);
                idle(p)
            };
            assert!(ring.find(n, hash_key(b"key"), || 0, load).is_some());
            assert_eq!(looks.get(), 1);
        }
    }

    #[test]
    fn the_first_point_clockwise_is_found_from_any_key() {
        let names = names(30);
        let ring = Ring::new(&places(&names, &[1, 5]));
        let edges = [0, 1, HASH - 1, HASH, u64::MAX];
        for key in keys().chain(edges) {
            let after = ring.points.iter().find(|p| **p >= key & HASH);
            let point = after.unwrap_or(&ring.points[0]);
            let position = (point & !HASH) as usize;
            assert_eq!(ring.find(30, key, || 0, idle), Some(position), "{key:x}");
        }
        assert_eq!(Ring::new(&[]).find(0, 5, || 0, idle), None);
    }

    #[test]
    fn few_are_looked_at_when_one_is_busy_and_each_once_when_all_are_full() {
        let n = 1_000;
        let names = names(n);
        let ring = Ring::new(&places(&names, &[1]));
        let key = hash_key(b"key");
        let home = ring.find(n, key, || 0, idle).unwrap();
        let looks = std::cell::Cell::new(0);
        let load = |p: usize| {
            looks.set(looks.get() + 1);
            let in_flight = if p == home { 900 } else { 0 };
            Some(Load {
                in_flight,
                weight: 1,
            })
        };
        let other = ring.find(n, key, || 900, load);
        assert!(other.is_some_and(|other| other != home));
        assert!(looks.take() < 10);
        let none = |_| {
            looks.set(looks.get() + 1);
            None
        };
        assert_eq!(ring.find(n, key, || 900, none), None);
        assert_eq!(looks.get(), WALK + n);
    }
}
