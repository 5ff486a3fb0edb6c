//! How many rounds, and how long a sample, so that all is done in the time given.

use std::time::Duration;

use anyhow::{Result, bail};

use super::own::OwnRow;
use super::row::Row;
use super::{Options, idle};
use crate::machine::since_start;

/// An unmeasured sample before the first of each peer in each row.
pub(super) const WARM: Duration = Duration::from_millis(200);
/// What a sample takes beside its own time: a process started, answers that are still due.
const AROUND: Duration = Duration::from_millis(90);
/// What filling one peer with idle connections takes at most.
const FILLING: Duration = Duration::from_secs(7);
/// Starting, stopping, writing.
const FRAME: Duration = Duration::from_secs(10);

/// Beyond this more rounds serve better: what the neighbours of a machine take changes from second
/// to second, and only those samples that are close in time meet the same.
const LONGEST: Duration = Duration::from_millis(400);
/// Below this the kernel's own ticks show.
const SHORTEST: Duration = Duration::from_millis(300);
const FEWEST_ROUNDS: usize = 5;
const MOST_ROUNDS: usize = 21;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) rounds: usize,
    pub(super) sample: Duration,
    /// The time that all measurements take.
    total: Duration,
}

/// Samples of one round of all rows: how many, and their length together in samples.
struct Count {
    samples: u32,
    lengths: u32,
    warm: u32,
    fixed: Duration,
}

impl Schedule {
    pub(super) fn plan(
        options: &Options,
        rows: &[&Row],
        own: &[&OwnRow],
        peers: usize,
    ) -> Result<Self> {
        if options.rounds == Some(0) {
            bail!("--rounds is at least 1");
        }
        let peers = peers as u32;
        let stretches = rows.iter().map(|row| row.stretch);
        let own_stretches = own.iter().map(|row| row.stretch);
        let is_wanted = |key| options.rows.is_empty() || options.rows.iter().any(|k| k == key);
        let idle = idle::ALL.iter().filter(|row| is_wanted(row.key)).count() as u32;
        let count = Count {
            samples: rows.len() as u32 * (peers + 1) + own.len() as u32 * 2,
            lengths: stretches.sum::<u32>() * (peers + 1) + own_stretches.sum::<u32>() * 2,
            warm: rows.len() as u32 * peers + own.len() as u32 * 2,
            fixed: FRAME + FILLING * peers * idle,
        };
        let budget = Duration::from_secs_f64(options.minutes * 60.0);
        let left = budget.saturating_sub(since_start()?);
        Ok(Self::fit(&count, left, options.rounds))
    }

    /// The most rounds with the longest samples; rounds of 300 ms when there is no time at all.
    fn fit(count: &Count, left: Duration, rounds: Option<usize>) -> Self {
        let fixed = count.fixed + (WARM + AROUND) * count.warm;
        let total = |rounds: u32, sample: Duration| {
            fixed + (AROUND * count.samples + sample * count.lengths) * rounds
        };
        let rounds = rounds.unwrap_or_else(|| {
            let fits = |rounds: &usize| total(*rounds as u32, LONGEST) <= left;
            let mut choices = (FEWEST_ROUNDS..=MOST_ROUNDS).rev();
            choices.find(fits).unwrap_or(FEWEST_ROUNDS)
        });
        let n = rounds as u32;
        let for_samples = left.saturating_sub(total(n, Duration::ZERO));
        let sample = for_samples / (count.lengths * n).max(1);
        let sample = sample.clamp(SHORTEST, LONGEST);
        Self {
            rounds,
            sample,
            total: total(n, sample),
        }
    }

    pub(super) fn sentence(&self) -> String {
        format!(
            "{} rounds of {:.2} s; this takes {:.0} s",
            self.rounds,
            self.sample.as_secs_f64(),
            self.total.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(seconds: u64, rounds: Option<usize>) -> Schedule {
        let count = Count {
            samples: 42,
            lengths: 50,
            warm: 33,
            fixed: Duration::from_secs(31),
        };
        Schedule::fit(&count, Duration::from_secs(seconds), rounds)
    }

    #[test]
    fn what_is_planned_fits_into_what_is_left() {
        for seconds in [150, 300, 420, 590] {
            let schedule = fit(seconds, None);
            assert!(
                schedule.total <= Duration::from_secs(seconds),
                "{schedule:?}"
            );
        }
    }

    #[test]
    fn more_time_means_more_rounds_and_little_means_short_samples() {
        assert_eq!(
            (fit(590, None).rounds, fit(590, None).sample),
            (MOST_ROUNDS, LONGEST)
        );
        assert_eq!(fit(400, None).rounds, 15);
        assert_eq!(fit(140, None).rounds, FEWEST_ROUNDS);
        assert!(fit(140, None).sample < LONGEST);
        assert_eq!((fit(0, None).rounds, fit(0, None).sample), (5, SHORTEST));
        assert_eq!(fit(0, Some(3)).rounds, 3);
    }
}
