//! How well this node itself is doing.

use std::time::Duration;

/// Scores our own health: 0 is well; each point makes our probes that much more patient.
///
/// Source: Lifeguard (Dadgar et al. 2018), section "local health multiplier".
#[derive(Debug, Clone)]
pub(super) struct Awareness {
    score: u32,
    max: u32,
}

impl Awareness {
    /// Shape: the score stays below `max`, which is at least 1.
    pub(super) fn new(max: u32) -> Self {
        Self {
            score: 0,
            max: max.max(1),
        }
    }

    /// Moves the score, within its bounds.
    pub(super) fn shift(&mut self, delta: i32) {
        self.score = self.score.saturating_add_signed(delta).min(self.max - 1);
    }

    pub(super) fn score(&self) -> u32 {
        self.score
    }

    /// Stretches an interval by score + 1.
    pub(super) fn scale(&self, interval: Duration) -> Duration {
        interval * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_stays_within_its_bounds() {
        let mut awareness = Awareness::new(8);
        awareness.shift(-1);
        assert_eq!(awareness.score(), 0);
        awareness.shift(3);
        assert_eq!(
            awareness.scale(Duration::from_secs(1)),
            Duration::from_secs(4)
        );
        awareness.shift(100);
        assert_eq!(awareness.score(), 7);
        awareness.shift(-2);
        assert_eq!(awareness.score(), 5);
    }
}
