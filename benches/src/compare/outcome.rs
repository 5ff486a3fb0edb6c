//! All that a comparison found, and how it stands to what must be reached.

use serde::Serialize;

use super::idle::Idle;
use super::own::{self, OwnResult};
use super::peer::{OURS, Peer};
use super::rounds::Cell;
use super::row::Bound;
use super::{NGINX, RELAY, Setting};
use crate::machine::Machine;
use crate::stat::Spread;

/// What is written as JSON.
#[derive(Serialize)]
pub(super) struct Outcome {
    pub(super) machine: Machine,
    pub(super) peers: Vec<Peer>,
    pub(super) rounds: usize,
    pub(super) sample_seconds: f64,
    pub(super) rows: Vec<RowResult>,
    pub(super) own: Vec<OwnResult>,
    pub(super) idle: Vec<Idle>,
    pub(super) verdicts: Vec<Verdict>,
}

/// One row of the table.
#[derive(Serialize)]
pub(super) struct RowResult {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) open_loop: bool,
    pub(super) cells: Vec<Cell>,
    pub(super) bound: Option<Bound>,
    pub(super) nginx_goal: Option<f64>,
    pub(super) relay_bound: Option<Bound>,
}

/// How Roundel stands in one row.
#[derive(Serialize)]
pub(super) struct Verdict {
    pub(super) title: String,
    pub(super) measure: String,
    pub(super) bound: Bound,
    pub(super) reached: Spread,
    pub(super) stands: Stands,
    /// Requests of Roundel that failed in this row.
    pub(super) failed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stands {
    /// The goal is reached.
    Goal,
    /// What must be is reached, or there is only a goal and it is not.
    Must,
    Short,
    Missed,
}

impl Stands {
    fn of(bound: Bound, value: f64, rises: bool) -> Self {
        let reaches = |limit: f64| match rises {
            true => value >= limit,
            false => value <= limit,
        };
        match bound.must {
            _ if reaches(bound.goal) => Self::Goal,
            Some(must) if reaches(must) => Self::Must,
            Some(_) => Self::Missed,
            None => Self::Short,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Goal => "goal reached",
            Self::Must => "must reached",
            Self::Short => "goal not reached",
            Self::Missed => "**missed**",
        }
    }
}

impl Outcome {
    pub(super) fn new(machine: Machine, setting: &Setting<'_>) -> Self {
        Self {
            machine,
            peers: Vec::new(),
            rounds: setting.rounds,
            sample_seconds: setting.sample.as_secs_f64(),
            rows: Vec::new(),
            own: Vec::new(),
            idle: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Judges what was found.
    pub(super) fn finish(&mut self) {
        let reference = self.peers.first().map_or("", |peer| &peer.name);
        let rows = self.rows.iter();
        let mut verdicts: Vec<Verdict> = rows.flat_map(|row| row.verdicts(reference)).collect();
        verdicts.extend(self.own.iter().filter_map(OwnResult::verdict));
        verdicts.extend(self.idle.iter().filter_map(Idle::verdict));
        self.verdicts = verdicts;
    }
}

impl RowResult {
    fn verdicts(&self, reference: &str) -> Vec<Verdict> {
        let Some(ours) = self.cells.iter().find(|cell| cell.peer == OURS) else {
            return Vec::new();
        };
        let verdict = |to: &str, bound: Bound, reached: Spread| Verdict {
            title: self.title.to_owned(),
            measure: format!("CPU per request to {to}'s"),
            bound,
            reached,
            stands: Stands::of(bound, reached.median, false),
            failed: ours.failed,
        };
        let to_reference = self
            .bound
            .map(|bound| verdict(reference, bound, ours.ratio));
        let to_nginx = self.nginx_goal.map(|goal| {
            let bound = Bound { must: None, goal };
            verdict(NGINX, bound, ours.ratio_to_nginx)
        });
        let to_relay = self
            .relay_bound
            .map(|bound| verdict(RELAY, bound, ours.ratio_to_relay));
        [to_reference, to_nginx, to_relay]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl OwnResult {
    fn verdict(&self) -> Option<Verdict> {
        let row = own::ALL.iter().find(|row| row.key == self.key)?;
        let bound = row.bound?;
        Some(Verdict {
            title: self.title.to_owned(),
            measure: format!("{}, ratio", self.unit),
            bound,
            reached: self.ratio,
            stands: Stands::of(bound, self.ratio.median, row.rises),
            failed: self.failed,
        })
    }
}

impl Idle {
    fn verdict(&self) -> Option<Verdict> {
        let kib = self.kib_per_connection();
        (self.peer == OURS).then(|| Verdict {
            title: self.row.title.to_owned(),
            measure: format!("KiB, of {} connections", self.connections),
            bound: self.row.bound,
            reached: Spread::of([kib]),
            stands: Stands::of(self.row.bound, kib, false),
            failed: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_their_bounds_say() {
        let bound = |must, goal| Bound { must, goal };
        let cases = [
            (bound(Some(0.9), 0.8), 0.8, false, Stands::Goal),
            (bound(Some(0.9), 0.8), 0.85, false, Stands::Must),
            (bound(Some(0.9), 0.8), 0.91, false, Stands::Missed),
            (bound(None, 0.75), 0.8, false, Stands::Short),
            (bound(Some(0.95), 0.98), 0.96, true, Stands::Must),
            (bound(Some(0.95), 0.98), 0.9, true, Stands::Missed),
        ];
        for (bound, value, rises, expected) in cases {
            assert_eq!(
                Stands::of(bound, value, rises),
                expected,
                "{bound:?} {value}"
            );
        }
    }
}
