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

/// The ring of one snapshot.
///
/// Shape: `points` is sorted by hash; each holds the position of a usable server. A server's
/// points depend on its name and its weight relative to the greatest one, never on the others'
/// names, so that a server that goes takes only its own keys along.
/// Source: Karger et al. 1997; Mirrokni, Thorup, Zadimoghaddam 2016 for the bound.
#[derive(Debug)]
pub(crate) struct Ring {
    points: Box<[(u64, u32)]>,
    weights: u128,
}

impl Ring {
    /// Builds the ring; O(points · log points).
    pub(crate) fn new(places: &[Place<'_>]) -> Self {
        let greatest = places.iter().map(|p| p.weight).max().unwrap_or(1);
        let mut points = Vec::with_capacity(places.len() * POINTS as usize);
        for (position, place) in (0u32..).zip(places) {
            let n = (place.weight * POINTS).div_ceil(greatest);
            points.extend((0..n).map(|i| (hash_name(place.name, i), position)));
        }
        points.sort_unstable();
        Self {
            points: points.into(),
            weights: places.iter().map(|p| u128::from(p.weight)).sum(),
        }
    }

    /// The position of the server of `key`: the first one clockwise that is not loaded beyond
    /// 1.25 times its share of all requests in flight, and not below [`FREE`] in any case.
    ///
    /// `load` gives `None` for a server that must not be picked. Servers above the bound are
    /// taken only when every other one must not be picked. O(log points) when the first server
    /// has little to do, else O(n) for the sum of the loads.
    pub(crate) fn find(
        &self,
        n: usize,
        key: u64,
        load: impl Fn(usize) -> Option<Load>,
    ) -> Option<usize> {
        let start = self.points.partition_point(|(hash, _)| *hash < key);
        let (before, after) = self.points.split_at(start);
        let clockwise = || {
            let points = after.iter().chain(before);
            points.filter_map(|(_, p)| Some((*p as usize, load(*p as usize)?)))
        };
        let (first, its) = clockwise().next()?;
        if its.in_flight < FREE {
            return Some(first);
        }
        let all: u128 = (0..n)
            .filter_map(&load)
            .map(|l| u128::from(l.in_flight))
            .sum();
        let fits = |(_, l): &(usize, Load)| self.fits(*l, all);
        clockwise()
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
            counts[ring.find(4, key, idle).unwrap()] += 1;
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
            let (old, new) = (before.find(10, key, idle), after.find(9, key, idle));
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
            let position = ring.find(5, 42, load).unwrap();
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
        let home = ring.find(3, 7, idle).unwrap();
        let other = ring.find(3, 7, |p| (p != home).then(|| idle(p)).flatten());
        assert_ne!(other, Some(home));
        let only_busy = |p: usize| {
            (p == home).then_some(Load {
                in_flight: 900,
                weight: 1,
            })
        };
        assert_eq!(ring.find(3, 7, only_busy), Some(home));
        assert_eq!(ring.find(3, 7, |_| None), None);
    }
}
