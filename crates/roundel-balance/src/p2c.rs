//! Power of two choices: the less loaded of two servers drawn at random.

/// The latency assumed of a server that has not answered yet, in microseconds. Of the order of
/// an answer inside a data centre, so that a fresh server is neither flooded nor starved.
pub(crate) const UNMEASURED_US: f32 = 1_000.0;

/// Picks among `n` positions; `load` gives `None` for a server that must not be picked.
///
/// Units: lower loads win; a tie goes to the first drawn. O(1) unless servers were tried.
/// Source: Mitzenmacher 2001.
pub(crate) fn next(
    n: usize,
    rng: &mut fastrand::Rng,
    load: impl Fn(usize) -> Option<f32>,
) -> Option<usize> {
    if n == 0 {
        return None;
    }
    let a = rng.usize(..n);
    let b = match n {
        1 => a,
        _ => (a + 1 + rng.usize(..n - 1)) % n,
    };
    match (load(a), load(b)) {
        (Some(x), Some(y)) => Some(if y < x { b } else { a }),
        (Some(_), None) => Some(a),
        (None, Some(_)) => Some(b),
        (None, None) => any(n, rng, load),
    }
}

/// Any server that may be picked, uniformly: both drawn ones were tried.
fn any(n: usize, rng: &mut fastrand::Rng, load: impl Fn(usize) -> Option<f32>) -> Option<usize> {
    rng.choice((0..n).filter(|p| load(*p).is_some()).collect::<Vec<_>>())
}

/// Latency times the requests that would be in flight, per weight.
pub(crate) fn load(latency_us: Option<f32>, in_flight: u32, weight: u64) -> f32 {
    latency_us.unwrap_or(UNMEASURED_US) * (in_flight + 1) as f32 / weight as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_many_is_never_picked_and_the_others_are() {
        let mut rng = fastrand::Rng::with_seed(1);
        let loads = [1.0, 2.0, 3.0, 9.0];
        let mut counts = [0; 4];
        for _ in 0..1_000 {
            counts[next(4, &mut rng, |p| Some(loads[p])).unwrap()] += 1;
        }
        assert_eq!(counts[3], 0);
        assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 0);
    }

    #[test]
    fn skips_tried_servers_and_finds_the_last_one() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            assert_eq!(next(5, &mut rng, |p| (p == 3).then_some(1.0)), Some(3));
        }
        assert_eq!(next(5, &mut rng, |_| None), None);
        assert_eq!(next(0, &mut rng, |_| Some(1.0)), None);
    }
    #[test]
    fn two_servers_are_looked_at_among_any_number() {
        let mut rng = fastrand::Rng::with_seed(1);
        for n in [10, 1_000, 10_000] {
            let looks = std::cell::Cell::new(0);
            let load = |_| {
                looks.set(looks.get() + 1);
                Some(1.0)
            };
            assert!(next(n, &mut rng, load).is_some());
            assert_eq!(looks.get(), 2);
        }
    }
}
