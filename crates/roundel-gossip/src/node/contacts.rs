//! Whom we know first-hand: members that answered us at their own addresses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::record::Record;
use crate::member::Known;

/// An answer says something for at least so long.
const RECENT: Duration = Duration::from_secs(30);

/// And in a large cluster for so many rounds of probes, each of which reaches every member once.
const ROUNDS: u32 = 2;

/// Newcomers that are pinged within one second, so that they are known from the start. Others wait
/// for their turn in the round of probes.
const GREETED: u32 = 32;

/// What became of the last ping to each member.
///
/// Shape: at most one per known member.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// When it answered; nothing if it did not answer since.
    heard: BTreeMap<Arc<str>, Option<Instant>>,
    /// The second in which newcomers were greeted last, and how many.
    greeted: Option<(Instant, u32)>,
}

impl Contacts {
    /// A member answered what we asked of it.
    fn heard(&mut self, now: Instant, name: &Arc<str>) {
        self.heard.insert(name.clone(), Some(now));
    }

    /// A member did not answer.
    pub(super) fn lost(&mut self, name: &Arc<str>) {
        self.heard.insert(name.clone(), None);
    }

    /// A member is gone.
    pub(super) fn forget(&mut self, name: &str) {
        self.heard.remove(name);
    }

    /// When it answered last, unless it did not answer since.
    pub(super) fn last(&self, name: &str) -> Option<Instant> {
        self.heard.get(name).copied().flatten()
    }

    /// Whether it did not answer when it was asked last.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        matches!(self.heard.get(name), Some(None))
    }

    /// Forgets all others.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.heard.retain(|name, _| keep(name));
    }

    /// Those that answered.
    pub(super) fn answering(&self) -> impl Iterator<Item = &Arc<str>> {
        let answering = self.heard.iter().filter(|(_, heard)| heard.is_some());
        answering.map(|(name, _)| name)
    }

    #[cfg(debug_assertions)]
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.heard.keys()
    }

    /// Whether one more newcomer may be greeted.
    fn may_greet(&mut self, now: Instant) -> bool {
        let (since, count) = self.greeted.unwrap_or((now, 0));
        let is_over = now.saturating_duration_since(since) >= Duration::from_secs(1);
        let (since, count) = if is_over { (now, 0) } else { (since, count) };
        self.greeted = Some((since, count + 1));
        count < GREETED
    }
}

impl Node {
    /// Pings a newcomer.
    pub(super) fn greet(&mut self, now: Instant, name: &Arc<str>) {
        if self.contacts.may_greet(now)
            && let Some(record) = self.members.get(name)
        {
            let to = record.member.address;
            self.ping_newcomer(now, name, to);
        }
    }

    /// A member answered us at its own address.
    pub(super) fn answered(&mut self, now: Instant, name: &Arc<str>) {
        let Some(record) = self.members.get(name).filter(|r| Record::is_up(r)) else {
            return;
        };
        self.contacts.heard(now, name);
        // Only what is news may copy a shared record.
        if record.member.known == Known::Hearsay
            && let Some(record) = self.members.get_mut(name)
        {
            record.member.known = Known::Asked;
            self.revision += 1;
        }
    }

    /// Whether we know a member well enough to ask it what others say of it.
    pub(super) fn knows(&self, now: Instant, name: &str) -> bool {
        let members = u32::try_from(self.known).unwrap_or(u32::MAX);
        let round = self.config.timings.probe_interval.saturating_mul(members);
        let recent = RECENT.max(round.saturating_mul(ROUNDS));
        let last = self.contacts.last(name);
        last.is_some_and(|at| now.saturating_duration_since(at) < recent)
    }
}
