//! A ring of the newest samples.

use std::collections::VecDeque;

/// Keeps the newest `capacity` samples in order of arrival.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    samples: VecDeque<T>,
    capacity: usize,
}

impl<T> Ring<T> {
    /// Makes an empty ring; `capacity` is at least 1.
    pub fn new(capacity: usize) -> Self {
        Self {
            samples: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds the newest sample and drops the oldest of a full ring.
    pub fn push(&mut self, sample: T) {
        if self.samples.len() == self.capacity {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The samples, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.samples.iter()
    }

    /// The newest sample.
    pub fn last(&self) -> Option<&T> {
        self.samples.back()
    }

    /// How many samples are held.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no sample is held.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let mut ring = Ring::new(2);
        for n in 1..=3 {
            ring.push(n);
        }
        assert_eq!(ring.iter().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!((ring.last(), ring.len()), (Some(&3), 2));
    }
}
