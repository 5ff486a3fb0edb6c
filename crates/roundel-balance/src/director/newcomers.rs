//! Who comes in: a bound on the servers of each kind of source, and turns for those never checked.
//!
//! Whoever can name servers can name them by the thousand. Those that are there stay; who is new waits
//! for a place and for a turn, every host alike, so that made-up servers delay neither the checks of
//! others nor, for long, a real one among them. Who passes its first check gives its turn back: only
//! those that fail are slow. Where no place is left, one that failed gives its to one that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use roundel_model::{Server, SourceKind};

use super::record::Record;
use super::waiting::Waiting;
use super::{Director, EventKind};

/// First checks that may begin at once.
const TURNS: u32 = 200;
/// The time after which one more may: made-up servers cost a hundred connects a second.
const TURN: Duration = Duration::from_millis(10);
/// How often those that wait are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Those that are named and not taken in, and the turns of those that come.
#[derive(Debug)]
pub(super) struct Newcomers {
    turns: u32,
    /// Until when turns are counted; `None` before the first were taken.
    counted: Option<Instant>,
    waiting: BTreeMap<SourceKind, Waiting>,
    look_at: Option<Instant>,
    /// How many had no place, in sum.
    refused: u64,
    /// It was told that there are too many.
    told: bool,
}

impl Newcomers {
    pub(super) fn new() -> Self {
        Self {
            turns: TURNS,
            counted: None,
            waiting: BTreeMap::new(),
            look_at: None,
            refused: 0,
            told: false,
        }
    }

    /// When some of those that wait may come in.
    pub(super) fn due(&self) -> Option<Instant> {
        self.look_at
    }

    fn count_turns(&mut self, now: Instant) {
        let since = *self.counted.get_or_insert(now);
        let more = now.saturating_duration_since(since).as_millis() / TURN.as_millis();
        let more = u32::try_from(more).unwrap_or(TURNS);
        self.turns = self.turns.saturating_add(more).min(TURNS);
        self.counted = Some(match self.turns {
            TURNS => now,
            _ => since + TURN * more,
        });
    }

    /// Takes out whose turn it is, at most so many. `paced` says whether they need one.
    fn draw(&mut self, now: Instant, kind: SourceKind, most: usize, paced: bool) -> Vec<Server> {
        let mut drawn = Vec::new();
        let Some(waiting) = self.waiting.get_mut(&kind) else {
            return drawn;
        };
        while drawn.len() < most && waiting.len() > 0 {
            if paced && self.turns == 0 {
                self.look_at.get_or_insert(now + LOOK);
                break;
            }
            self.turns -= u32::from(paced);
            drawn.extend(waiting.next());
        }
        drawn
    }

    fn count(&self) -> usize {
        self.waiting.values().map(Waiting::len).sum()
    }
}

/// What sources name, beside [`super::DirectorConfig::max_servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Servers taken of the kind of source that has most.
    pub taken: usize,
    /// Servers that wait for a place or a turn.
    pub waiting: usize,
    /// Servers that found no place when they were named, so far.
    pub refused: u64,
}

/// A server of a set, and what is known of it.
pub(super) type Place<'a> = (&'a Server, Option<Record>);

/// Those who come in, in the order of the bytes of their names.
pub(super) struct Chosen(Vec<Server>);

impl Chosen {
    pub(super) fn has(&self, server: &Server) -> bool {
        let by_bytes = |s: &Server| s.name.as_str().cmp(server.name.as_str());
        self.0.binary_search_by(by_bytes).is_ok()
    }
}

impl Director {
    /// How near the sources are to what they may name.
    pub fn crowd(&self) -> Crowd {
        let mut taken: BTreeMap<SourceKind, usize> = BTreeMap::new();
        for record in self.records.iter().filter(|r| is_bounded(r.server.source)) {
            *taken.entry(record.server.source).or_default() += 1;
        }
        Crowd {
            taken: taken.into_values().max().unwrap_or_default(),
            waiting: self.newcomers.count(),
            refused: self.newcomers.refused,
        }
    }

    /// Chooses who comes in of those without a record; those that make room lose theirs.
    pub(super) fn choose(&mut self, now: Instant, places: &mut [Place<'_>]) -> Chosen {
        let (mut chosen, mut named) = (Vec::new(), BTreeMap::<_, Vec<&Server>>::new());
        for (server, _) in places.iter().filter(|(_, record)| record.is_none()) {
            // Who was there before this process has its place.
            if is_bounded(server.source) && !self.heritage.contains_key(&server.name) {
                named.entry(server.source).or_default().push(server);
            } else {
                chosen.push((*server).clone());
            }
        }
        let before = self.newcomers.waiting.keys().copied();
        let kinds: BTreeSet<SourceKind> = before.chain(named.keys().copied()).collect();
        for kind in kinds {
            let taken = places.iter().filter_map(|(_, record)| record.as_ref());
            let taken = taken.filter(|r| r.has_place_of(kind)).count()
                + chosen.iter().filter(|s| s.source == kind).count();
            let waiting = self.newcomers.waiting.entry(kind).or_default();
            let news = waiting.renew(&named.remove(&kind).unwrap_or_default());
            self.count_excess(kind, taken, news);
            let records = places.iter_mut().map(|(_, record)| record);
            chosen.extend(self.let_in(now, kind, taken, records));
        }
        self.forget_crowd();
        chosen.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        Chosen(chosen)
    }

    /// Takes in who waits and may come.
    pub(super) fn admit_waiting(&mut self, now: Instant) {
        if self.newcomers.look_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let kinds: Vec<SourceKind> = self.newcomers.waiting.keys().copied().collect();
        let mut records: Vec<_> = std::mem::take(&mut self.records)
            .into_iter()
            .map(Some)
            .collect();
        let mut notes = Vec::new();
        for kind in kinds {
            let taken = records.iter().flatten().filter(|r| r.has_place_of(kind));
            let taken = taken.count();
            for server in self.let_in(now, kind, taken, records.iter_mut()) {
                let record = self.admit(now, &server, &mut notes);
                records.push(Some(record));
            }
        }
        self.forget_crowd();
        self.records = records.into_iter().flatten().collect();
        self.reindex();
        (self.dirty, self.reweigh) = (true, true);
        for (name, kind, text) in notes {
            self.tell(kind, Some(name), text, None);
        }
        for i in 0..self.records.len() {
            if self.records[i].timer.is_none() {
                self.settle(now, i);
            }
        }
    }

    /// Draws those for whom there is a place, or one that failed makes room.
    fn let_in<'r>(
        &mut self,
        now: Instant,
        kind: SourceKind,
        taken: usize,
        records: impl Iterator<Item = &'r mut Option<Record>>,
    ) -> Vec<Server> {
        self.newcomers.count_turns(now);
        let room = self.config.max_servers.saturating_sub(taken);
        let spare = |r: &Record| r.server.source == kind && r.is_dispensable();
        let spare: Vec<_> = records
            .filter(|r| (**r).as_ref().is_some_and(spare))
            .collect();
        let paced = self.config.check.is_on();
        let drawn = self.newcomers.draw(now, kind, room + spare.len(), paced);
        let displaced = drawn.len().saturating_sub(room);
        for record in spare.into_iter().take(displaced).filter_map(Option::take) {
            self.displace(record);
        }
        drawn
    }

    /// Sends one that failed back to those that wait.
    fn displace(&mut self, record: Record) {
        if let Some(at) = record.timer {
            self.timers.remove(&(at, record.live.id));
        }
        self.balancer.forget(&record.server.name);
        let waiting = self.newcomers.waiting.entry(record.server.source);
        waiting.or_default().retry(record.server);
    }

    /// Counts those that were named and have no place, and tells of the first.
    fn count_excess(&mut self, kind: SourceKind, taken: usize, news: usize) {
        let waiting = self.newcomers.waiting.get(&kind).map_or(0, Waiting::len);
        let most = self.config.max_servers;
        let excess = (taken + waiting).saturating_sub(most);
        self.newcomers.refused += news.min(excess) as u64;
        if excess > 0 && !std::mem::replace(&mut self.newcomers.told, true) {
            let text = format!(
                "{kind} names too many servers: {most} are taken (max_servers), {excess} wait for a \
                 place"
            );
            self.tell(EventKind::Other, None, text, None);
        }
    }

    fn forget_crowd(&mut self) {
        self.newcomers
            .waiting
            .retain(|_, waiting| waiting.len() > 0);
        self.newcomers.told &= !self.newcomers.waiting.is_empty();
    }

    /// Whether there are so many that not each of them is worth a line.
    pub(super) fn is_crowded(&self) -> bool {
        self.newcomers.told
    }

    /// Notes that somebody may come who waits, by a place or a turn that is free.
    pub(super) fn make_room(&mut self, now: Instant) {
        if !self.newcomers.waiting.is_empty() {
            self.newcomers.look_at.get_or_insert(now + LOOK);
        }
    }

    /// Gives back the turn of one that passed its first check.
    pub(super) fn return_turn(&mut self, now: Instant) {
        self.newcomers.turns = (self.newcomers.turns + 1).min(TURNS);
        self.make_room(now);
    }
}

impl Record {
    fn has_place_of(&self, kind: SourceKind) -> bool {
        self.server.source == kind && self.departure.is_none()
    }

    /// Whether it may give its place away: it came, was checked, and has never passed.
    fn is_dispensable(&self) -> bool {
        self.departure.is_none()
            && self.has_failed_at_birth()
            && self.orders().is_none()
            && self.live.in_flight() == 0
    }
}

/// Whether it is not the operator who names them.
fn is_bounded(kind: SourceKind) -> bool {
    match kind {
        SourceKind::Gossip | SourceKind::Dns | SourceKind::File => true,
        SourceKind::Static | SourceKind::Operator => false,
    }
}
