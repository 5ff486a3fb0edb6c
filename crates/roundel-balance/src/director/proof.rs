//! How much weight servers may have that anybody can announce.
//!
//! A gossip without a key takes every word from the network. A weight counts in full once its server has
//! served for a minute, and until then as far as one that has.

use std::time::{Duration, Instant};

use roundel_model::{SourceKind, Weight};

use super::record::Record;
use super::{Director, EventKind};

/// For how long a server passes its checks before its weight counts.
const MINUTE: Duration = Duration::from_secs(60);

/// The weight with which a server has served for a minute.
#[derive(Debug, Default)]
pub(super) struct Proof {
    weight: Option<Weight>,
    /// Since when it serves with the weight announced, while that is not proven.
    since: Option<Instant>,
}

impl Proof {
    /// When the weight announced may be proven.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + MINUTE)
    }

    /// The weight that is proven.
    pub(super) fn weight(&self) -> Option<Weight> {
        self.weight
    }

    /// Takes over what another process has seen.
    pub(super) fn inherit(&mut self, weight: Option<Weight>) {
        self.weight = weight;
    }
}

impl Record {
    /// Takes the weight that its source gives it.
    pub(super) fn announce(&mut self, now: Instant, weight: Weight) {
        if weight != self.weights.given {
            self.weights.given = weight;
            self.proof.weight = self.proof.weight.map(|proven| proven.min(weight));
            self.proof.since = self.proof.since.map(|_| now);
        }
    }

    /// Follows whether it serves. Returns whether more is proven than before.
    fn prove(&mut self, now: Instant) -> bool {
        let given = self.weights.given;
        if self.proof.weight == Some(given) || !self.state.takes_sticky() {
            self.proof.since = None;
            return false;
        }
        let since = *self.proof.since.get_or_insert(now);
        if now.saturating_duration_since(since) < MINUTE {
            return false;
        }
        self.proof = Proof {
            weight: Some(given),
            since: None,
        };
        true
    }
}

impl Director {
    /// Counts how long a server has served.
    pub(super) fn prove(&mut self, now: Instant, i: usize) {
        if self.config.open_gossip {
            self.reweigh |= self.records[i].prove(now);
        }
    }

    /// Gives every announced weight what may count of it.
    pub(super) fn weigh_announced(&mut self) {
        let here = self.records.iter().filter(|r| r.departure.is_none());
        let proven = here.filter_map(|r| r.proof.weight()).max();
        let most = proven.unwrap_or(Weight::ONE).max(Weight::ONE);
        let most = self.config.open_gossip.then_some(most);
        let mut told = Vec::new();
        for record in &mut self.records {
            if record.server.source != SourceKind::Gossip {
                continue;
            }
            let (before, was_capped) = (record.weights.counted(), record.weights.is_capped());
            record.weights.most = most;
            let counted = record.weights.counted();
            self.dirty |= counted != before;
            let name = record.server.name.clone();
            if record.weights.is_capped() && !(was_capped && counted == before) {
                told.push((name, record.weights.why_capped()));
            } else if was_capped && counted != before {
                told.push((
                    name,
                    format!("weight {before} → {counted}: it has served for a minute"),
                ));
            }
        }
        for (name, text) in told {
            self.tell(EventKind::Weight, Some(name), text, None);
        }
    }
}
