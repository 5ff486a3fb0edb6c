//! What comes out of an experiment.

/// How broadcasts reached the other members.
pub(super) struct Spread {
    others: usize,
    /// Seconds until each was reached, all broadcasts together.
    all: Vec<f64>,
    /// Seconds until the last was reached, for broadcasts that reached all.
    last: Vec<f64>,
    pub(super) broadcasts: usize,
    /// Broadcasts that missed a member.
    pub(super) incomplete: usize,
}

impl Spread {
    pub(super) fn new(members: usize) -> Self {
        Self {
            others: members - 1,
            all: Vec::new(),
            last: Vec::new(),
            broadcasts: 0,
            incomplete: 0,
        }
    }

    /// Adds one broadcast by the seconds until each of those was reached who were.
    pub(super) fn add(&mut self, reached: Vec<f64>) {
        self.broadcasts += 1;
        if reached.len() < self.others {
            self.incomplete += 1;
        } else if let Some(last) = reached.iter().copied().max_by(f64::total_cmp) {
            self.last.push(last);
        }
        self.all.extend(reached);
    }

    pub(super) fn last_mean(&self) -> f64 {
        self.last.iter().sum::<f64>() / self.last.len().max(1) as f64
    }

    pub(super) fn last_max(&self) -> f64 {
        quantile(&self.last, 1.0)
    }

    pub(super) fn half(&self) -> f64 {
        quantile(&self.all, 0.5)
    }

    /// Share of the members reached by `seconds`.
    pub(super) fn share_at(&self, seconds: f64) -> f64 {
        let reached = self.all.iter().filter(|at| **at <= seconds).count();
        reached as f64 / (self.others * self.broadcasts).max(1) as f64
    }
}

/// How crashes were found out, in seconds since the crash.
#[derive(Default)]
pub(super) struct Detection {
    /// Until the first suspicion anywhere.
    pub(super) suspected: Vec<f64>,
    /// Until the first verdict anywhere.
    pub(super) failed: Vec<f64>,
    /// Until the last member had the verdict.
    pub(super) failed_at_all: Vec<f64>,
    /// From the first suspicion to the first verdict, in shortest suspicions that the rule allows
    /// among so many members as were not known dead by then.
    pub(super) over_rule: Vec<f64>,
    /// Verdicts about members that ran.
    pub(super) false_failures: usize,
}

impl Detection {
    pub(super) fn failed_median(&self) -> f64 {
        quantile(&self.failed, 0.5)
    }

    /// The shortest suspicion, in those that the rule allows.
    pub(super) fn shortest_suspicion(&self) -> f64 {
        quantile(&self.over_rule, 0.0)
    }

    /// Share of the crashes found out by `seconds`.
    pub(super) fn share_at(&self, seconds: f64) -> f64 {
        let found = self.failed.iter().filter(|at| **at <= seconds).count();
        found as f64 / self.failed.len().max(1) as f64
    }
}

/// The value below which a share `q` of the values lies; not a number if there are none.
pub(super) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or(f64::NAN)
}
