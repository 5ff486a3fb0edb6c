//! Maglev hashing: one read finds the server of a key, and a change of the set moves few keys.

use crate::hash::{Place, hash_name};

/// Table sizes, all prime, so that every server's order of preference runs through the whole
/// table. Source: the sizes measured by Eisenbud et al. 2016.
const SIZES: [u64; 2] = [65_537, 655_373];
/// Entries per server, at least, as far as the largest table goes: shares of equal servers then
/// differ by 5 % at most. The large table takes ten times as long to fill.
const PER_SERVER: usize = 20;
/// Slots looked at for a key whose own server must not be picked, before any other is taken.
const TRIES: u64 = 16;

/// The table of one snapshot: the position of a usable server for each remainder of a key.
///
/// Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", 2016,
/// 3.4; weights as Envoy does them, by turns left out.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Box<[u32]>,
}

/// Where one server stands while the table is filled.
struct Filler {
    /// The slot it prefers next.
    next: usize,
    skip: usize,
    weight: u64,
    /// Turns it has earned so far, in units of the greatest weight.
    earned: u64,
}

impl Table {
    /// Fills the table; O(size · log size) on average. Empty without a place.
    pub(crate) fn new(places: &[Place<'_>]) -> Self {
        let size = size_for(places.len());
        let mut fillers: Vec<Filler> = places.iter().map(|p| Filler::new(p, size)).collect();
        // The order of the table must not change who gets which slot.
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|i| places[*i].name);
        let greatest = places.iter().map(|p| p.weight).max().unwrap_or(1);
        let mut slots = vec![u32::MAX; if places.is_empty() { 0 } else { size as usize }];
        // Most of the time goes into looking for free slots: as bits they stay close at hand.
        let mut taken = vec![0u64; slots.len().div_ceil(64)];
        let mut free = slots.len();
        while free > 0 {
            for &i in &order {
                let filler = &mut fillers[i];
                filler.earned += filler.weight;
                if filler.earned < greatest {
                    continue;
                }
                filler.earned -= greatest;
                let slot = filler.claim(&mut taken, size as usize);
                slots[slot] = i as u32;
                free -= 1;
                if free == 0 {
                    break;
                }
            }
        }
        Self {
            slots: slots.into(),
        }
    }

    /// The position of the server of `key`; other slots derived from the key when that server
    /// must not be picked, then any server. `None` when none may.
    pub(crate) fn find(&self, n: usize, key: u64, skip: impl Fn(usize) -> bool) -> Option<usize> {
        let size = self.slots.len() as u64;
        if size == 0 {
            return None;
        }
        let slot = |try_: u64| {
            // Odd, so that every try is another key; its own slot comes first.
            let key = key.wrapping_add(try_.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            self.slots[(key % size) as usize] as usize
        };
        (0..TRIES)
            .map(slot)
            .find(|position| !skip(*position))
            .or_else(|| {
                let from = slot(0);
                (1..n).map(|step| (from + step) % n).find(|p| !skip(*p))
            })
    }
}

impl Filler {
    fn new(place: &Place<'_>, size: u64) -> Self {
        Self {
            next: (hash_name(place.name, 0) % size) as usize,
            skip: (hash_name(place.name, 1) % (size - 1) + 1) as usize,
            weight: place.weight,
            earned: 0,
        }
    }

    /// Takes the first free slot in this server's order of preference. One must be free.
    fn claim(&mut self, taken: &mut [u64], size: usize) -> usize {
        loop {
            let slot = self.next;
            self.next += self.skip;
            if self.next >= size {
                self.next -= size;
            }
            let (word, bit) = (&mut taken[slot / 64], 1 << (slot % 64));
            if *word & bit == 0 {
                *word |= bit;
                return slot;
            }
        }
    }
}

fn size_for(servers: usize) -> u64 {
    let [small, large] = SIZES;
    match servers * PER_SERVER <= small as usize {
        true => small,
        false => large,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (1..=n).map(|i| format!("webapp-{i}")).collect()
    }

    fn table(names: &[String], weights: &[u64]) -> Table {
        let all = names.iter().zip(weights.iter().cycle());
        let places: Vec<_> = all
            .map(|(name, weight)| Place {
                name,
                weight: *weight,
            })
            .collect();
        Table::new(&places)
    }

    fn shares(table: &Table, n: usize) -> Vec<f64> {
        let mut counts = vec![0.0; n];
        for position in &table.slots {
            counts[*position as usize] += 1.0;
        }
        let size = table.slots.len() as f64;
        counts.into_iter().map(|c| c / size).collect()
    }

    #[test]
    fn sizes_are_prime_and_grow_with_the_servers() {
        for size in SIZES {
            let root = (size as f64).sqrt() as u64 + 1;
            assert!((2..=root).all(|d| size % d != 0), "{size}");
        }
        assert_eq!(size_for(25), 65_537);
        assert_eq!(size_for(3_276), 65_537);
        assert_eq!(size_for(3_277), 655_373);
    }

    #[test]
    fn equal_servers_have_equal_shares() {
        for share in shares(&table(&names(25), &[1]), 25) {
            assert!((share * 25.0 - 1.0).abs() < 0.01, "{share}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [256, 512, 768, 1];
        let shares = shares(&table(&names(4), &weights), 4);
        for (share, weight) in shares.iter().zip(weights) {
            let expected = weight as f64 / 1_537.0;
            assert!((share / expected - 1.0).abs() < 0.05, "{shares:?}");
        }
    }

    #[test]
    fn a_server_that_goes_moves_little_more_than_its_own_share() {
        let names = names(10);
        let (before, after) = (table(&names, &[1]), table(&names[..9], &[1]));
        let pairs = before.slots.iter().zip(&after.slots);
        let (mut own, mut others) = (0usize, 0usize);
        for (old, new) in pairs {
            match *old {
                9 => own += 1,
                old if old != *new => others += 1,
                _ => {}
            }
        }
        let size = before.slots.len();
        assert!((own * 10).abs_diff(size) < size / 50, "{own} of {size}");
        assert!(others * 20 < size, "{others} of {size} moved without need");
    }

    #[test]
    fn the_order_of_the_servers_does_not_matter() {
        let names = names(7);
        let mut turned = names.clone();
        turned.rotate_left(3);
        let (a, b) = (table(&names, &[1]), table(&turned, &[1]));
        for (i, j) in a.slots.iter().zip(&b.slots) {
            assert_eq!(names[*i as usize], turned[*j as usize]);
        }
    }

    #[test]
    fn skips_what_must_not_be_picked() {
        let table = table(&names(3), &[1]);
        for key in 0..1_000 {
            let home = table.find(3, key, |_| false).unwrap();
            let other = table.find(3, key, |p| p == home).unwrap();
            assert_ne!(home, other);
            assert_eq!(table.find(3, key, |p| p == home), Some(other));
            assert_eq!(table.find(3, key, |p| p != 2), Some(2));
        }
        assert_eq!(table.find(3, 5, |_| true), None);
        assert_eq!(Table::new(&[]).find(0, 5, |_| false), None);
    }
    #[test]
    fn one_slot_is_looked_at_among_any_number_of_servers() {
        for n in [10, 1_000, 10_000] {
            let table = table(&names(n), &[1]);
            let looks = std::cell::Cell::new(0);
            let skip = |_| {
                looks.set(looks.get() + 1);
                false
            };
            assert!(table.find(n, 42, skip).is_some());
            assert_eq!(looks.get(), 1);
        }
    }
}
