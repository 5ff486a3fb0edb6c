//! A list that is walked in random order without missing anyone.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Walks members in a random order that is drawn anew when all have had their turn.
///
/// Independent draws would miss some members for long; SWIM bounds the time until a member is
/// probed by walking a shuffled list. Gossip targets profit alike.
///
/// Shape: each name once. `insert` and `remove` are O(n), `next` O(1) amortised.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    order: Vec<Arc<str>>,
    next: usize,
}

impl Rotation {
    /// Adds a name at a random place.
    pub(super) fn insert(&mut self, rng: &mut fastrand::Rng, name: Arc<str>) {
        let at = rng.usize(..=self.order.len());
        self.order.insert(at, name);
        if at < self.next {
            self.next += 1;
        }
    }

    /// Adds a name at the end; [`Rotation::restart`] is to follow.
    pub(super) fn append(&mut self, name: Arc<str>) {
        self.order.push(name);
    }

    /// Begins a new round, in a new order.
    pub(super) fn restart(&mut self) {
        self.next = self.order.len();
    }

    /// Takes names out; unknown ones are ignored. O(n), however many they are.
    pub(super) fn remove(&mut self, names: &BTreeSet<Arc<str>>) {
        if names.is_empty() {
            return;
        }
        let mut at = 0;
        let (before, mut next) = (self.next, self.next);
        self.order.retain(|name| {
            let goes = names.contains(name);
            next -= usize::from(goes && at < before);
            at += 1;
            !goes
        });
        self.next = next;
    }

    /// Gives the next name for which `fits` holds, or none if there is none.
    pub(super) fn next(
        &mut self,
        rng: &mut fastrand::Rng,
        fits: impl Fn(&str) -> bool,
    ) -> Option<Arc<str>> {
        // What is left of this round and one whole round meet everyone.
        for _ in 0..2 * self.order.len() {
            if self.next >= self.order.len() {
                rng.shuffle(&mut self.order);
                self.next = 0;
            }
            let name = &self.order[self.next];
            self.next += 1;
            if fits(name) {
                return Some(name.clone());
            }
        }
        None
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everyone_has_a_turn_before_anyone_has_a_second() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut rotation = Rotation::default();
        for i in 0..10 {
            rotation.insert(&mut rng, format!("n{i}").into());
        }
        rotation.remove(&["n3".into(), "unknown".into()].into());
        for _ in 0..5 {
            let round: BTreeSet<_> = (0..9)
                .filter_map(|_| rotation.next(&mut rng, |_| true))
                .collect();
            assert_eq!(round.len(), 9);
        }
    }

    #[test]
    fn those_that_do_not_fit_are_passed_over() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut rotation = Rotation::default();
        assert_eq!(rotation.next(&mut rng, |_| true), None);
        rotation.insert(&mut rng, "a".into());
        rotation.insert(&mut rng, "b".into());
        for _ in 0..4 {
            assert_eq!(rotation.next(&mut rng, |n| n == "b").as_deref(), Some("b"));
        }
        assert_eq!(rotation.next(&mut rng, |_| false), None);
    }
}
