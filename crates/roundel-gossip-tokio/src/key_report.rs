//! What all members say to a change of their keys.

use std::collections::{BTreeMap, BTreeSet};

use roundel_gossip::{Answer, KeyAnswer};

/// What all members say to a [`KeyAct`](roundel_gossip::KeyAct).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyReport {
    /// Living members that were asked, ourselves included.
    pub asked: usize,
    /// How many answered.
    pub answered: usize,
    /// Members that said no, with their words, which come from the network.
    pub refused: BTreeMap<String, String>,
    /// Remarks of members that said yes.
    pub notes: BTreeMap<String, String>,
    /// Members that did not answer in time.
    pub silent: BTreeSet<String>,
    /// When listed: keys in base64, and how many members have each.
    pub keys: BTreeMap<String, usize>,
    /// When listed: primary keys in base64, and how many members encrypt with each.
    pub primary: BTreeMap<String, usize>,
}

impl KeyReport {
    pub(crate) fn of(members: BTreeSet<String>) -> Self {
        Self {
            asked: members.len(),
            silent: members,
            ..Self::default()
        }
    }

    /// Whether every member answered and did it.
    pub fn is_complete(&self) -> bool {
        self.silent.is_empty() && self.refused.is_empty() && self.answered >= self.asked
    }

    pub(crate) fn take(&mut self, answer: &Answer) {
        let Some(payload) = &answer.payload else {
            return;
        };
        self.answered += 1;
        self.silent.remove(&answer.from);
        let from = answer.from.clone();
        let Some(said) = KeyAnswer::read(payload) else {
            self.refused.insert(from, "cannot be understood".to_owned());
            return;
        };
        if !said.done {
            self.refused.insert(from, said.message);
            return;
        }
        if !said.message.is_empty() {
            self.notes.insert(from, said.message);
        }
        for key in said.keys {
            *self.keys.entry(key).or_default() += 1;
        }
        if !said.primary.is_empty() {
            *self.primary.entry(said.primary).or_default() += 1;
        }
    }
}
