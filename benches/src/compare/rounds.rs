//! The order of measurements: interleaved, reversed every other round, each with its own pair.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::sample::Sample;
use crate::stat::Spread;

/// One round: a sample of each peer, and the reference once more at its end.
pub(crate) struct Round {
    samples: Vec<Sample>,
    reference_again: Sample,
}

/// One peer in one row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) peer: String,
    /// CPU time per request in microseconds.
    pub(crate) cpu_us: Spread,
    /// CPU time to the reference's around it, pair by pair.
    pub(crate) ratio: Spread,
    /// CPU time to nginx's of the same round.
    pub(crate) ratio_to_nginx: Spread,
    /// CPU time to the relay's of the same round.
    pub(crate) ratio_to_relay: Spread,
    pub(crate) requests_per_second: Spread,
    /// Latencies in microseconds: in an open loop from the moment when a request was due.
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) p999_us: Spread,
    pub(crate) failed: u64,
    /// The same by cause.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// Takes `rounds` rounds; `take` measures the peer at an index, 0 is the reference.
pub(crate) fn interleave(
    peers: usize,
    rounds: usize,
    mut take: impl FnMut(usize) -> Result<Sample>,
) -> Result<Vec<Round>> {
    let round = |number: usize| {
        let mut order: Vec<usize> = (1..peers).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        let mut taken = vec![(0, take(0)?)];
        for index in order {
            taken.push((index, take(index)?));
        }
        taken.sort_by_key(|(index, _)| *index);
        Ok(Round {
            samples: taken.into_iter().map(|(_, sample)| sample).collect(),
            reference_again: take(0)?,
        })
    };
    (0..rounds).map(round).collect()
}

impl Round {
    /// The reference's CPU time around this round.
    fn reference(&self) -> f64 {
        (self.samples[0].cpu_us_per_request + self.reference_again.cpu_us_per_request) / 2.0
    }

    fn ratio(&self, index: usize) -> f64 {
        match index {
            0 => 1.0,
            _ => self.samples[index].cpu_us_per_request / self.reference(),
        }
    }
}

impl Cell {
    /// What the rounds say of the peer at `index`; nginx and the relay are at the others.
    pub(crate) fn of(
        peer: &str,
        rounds: &[Round],
        index: usize,
        (nginx, relay): (usize, usize),
    ) -> Self {
        let of = |field: &dyn Fn(&Sample) -> f64| {
            Spread::of(rounds.iter().map(|round| field(&round.samples[index])))
        };
        let cpu = |round: &Round, index: usize| round.samples[index].cpu_us_per_request;
        let to = |other| Spread::of(rounds.iter().map(|r| cpu(r, index) / cpu(r, other)));
        let all = || rounds.iter().map(|round| &round.samples[index]);
        let mut failures = BTreeMap::new();
        for (why, count) in all().flat_map(|sample| &sample.failures) {
            *failures.entry(why.clone()).or_default() += count;
        }
        Self {
            peer: peer.to_owned(),
            cpu_us: of(&|s| s.cpu_us_per_request),
            ratio: Spread::of(rounds.iter().map(|round| round.ratio(index))),
            ratio_to_nginx: to(nginx),
            ratio_to_relay: to(relay),
            requests_per_second: of(&|s| s.requests_per_second),
            p50_us: of(&|s| s.latency_us.p50),
            p99_us: of(&|s| s.latency_us.p99),
            p999_us: of(&|s| s.latency_us.p999),
            failed: all().map(Sample::failed).sum(),
            failures,
        }
    }
}

/// Paired measurements of two ways, A and B, the first of each pair in turn; returns B to A.
pub(crate) fn pairs(
    rounds: usize,
    mut take: impl FnMut(bool) -> Result<Sample>,
) -> Result<Vec<(Sample, Sample)>> {
    let pair = |number: usize| {
        let b_first = number % 2 == 1;
        let first = take(b_first)?;
        let second = take(!b_first)?;
        Ok(match b_first {
            true => (second, first),
            false => (first, second),
        })
    };
    (0..rounds).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Latency;

    fn sample(cpu: f64) -> Sample {
        let latency_us = Latency {
            p50: cpu,
            p90: cpu,
            p99: cpu,
            p999: cpu,
            max: cpu,
        };
        Sample {
            cpu_us_per_request: cpu,
            completed: 1,
            requests_per_second: 1.0,
            latency_us,
            failures: [("reset".to_owned(), 1)].into(),
        }
    }

    #[test]
    fn each_round_is_paired_with_its_own_reference() {
        let mut order = Vec::new();
        // The machine gets slower from measurement to measurement.
        let rounds = interleave(3, 2, |index| {
            order.push(index);
            Ok(sample((index + 1) as f64 * order.len() as f64))
        });
        let rounds = rounds.unwrap();
        assert_eq!(order, [0, 1, 2, 0, 0, 2, 1, 0]);
        let cell = Cell::of("b", &rounds, 1, (2, 2));
        // 2·2 to the mean of 1 and 4; 2·7 to the mean of 5 and 8.
        assert_eq!(cell.ratio.median, (1.6 + 14.0 / 6.5) / 2.0);
        assert_eq!((cell.failed, cell.failures["reset"]), (2, 2));
        assert_eq!(Cell::of("a", &rounds, 0, (2, 2)).ratio.median, 1.0);
    }

    #[test]
    fn pairs_take_turns_in_who_comes_first() {
        let mut order = Vec::new();
        let pairs = pairs(2, |b| {
            order.push(b);
            Ok(sample(if b { 3.0 } else { 2.0 }))
        });
        assert_eq!(order, [false, true, true, false]);
        for (a, b) in pairs.unwrap() {
            assert_eq!((a.cpu_us_per_request, b.cpu_us_per_request), (2.0, 3.0));
        }
    }
}
