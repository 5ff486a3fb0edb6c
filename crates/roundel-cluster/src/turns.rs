//! How often a trouble is told of.

use std::time::Instant;

use crate::limits::TELL;

/// Lets some lines of each span of time through, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    since: Option<Instant>,
    told: u32,
    /// Lines that were kept back since the last one.
    kept_back: u64,
}

impl Turns {
    /// Whether a line may be written; with how many were not before it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        let (span, most) = TELL;
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= span)
        {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told >= most {
            self.kept_back += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_in_a_span_and_then_a_count_of_the_rest() {
        let (now, mut turns) = (Instant::now(), Turns::default());
        let (span, most) = TELL;
        let told: Vec<_> = (0..most + 3).map(|_| turns.take(now)).collect();
        assert!(told[..most as usize].iter().all(|t| *t == Some(0)));
        assert!(told[most as usize..].iter().all(Option::is_none));
        assert_eq!(turns.take(now + span), Some(3));
        assert_eq!(turns.take(now + span), Some(0));
    }
}
