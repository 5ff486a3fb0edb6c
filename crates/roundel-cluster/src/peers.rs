//! The other balancers: who of them lives, who leads in a matter, who has confirmed what.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::limits::LINKS;

/// How long somebody counts whose stream has ended, or who was announced and has not proven itself.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Who leads in a matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// Too little is known of the others yet.
    Unknown,
    /// This balancer.
    Own,
    /// The balancer of this name.
    Other(String),
}

/// The balancers that the gossip calls alive and that say they share, and the streams that stand.
///
/// Time: `now` never goes backwards.
#[derive(Debug)]
pub(crate) struct Peers {
    started: Instant,
    me: String,
    announced: BTreeMap<String, Announced>,
    links: BTreeMap<String, Link>,
    /// When the last stream to somebody ended.
    lost: BTreeMap<String, Instant>,
    last_id: u64,
}

#[derive(Debug)]
struct Announced {
    address: SocketAddr,
    since: Instant,
    /// Whether it was told of that it does not prove itself, or it has.
    told: bool,
}

/// A stream whose other end has proven itself.
#[derive(Debug)]
struct Link {
    id: u64,
    address: SocketAddr,
    since: Instant,
    /// Whether it has told its whole store.
    whole: bool,
    /// The revisions up to which frames tell that it has not confirmed yet.
    told: VecDeque<u64>,
    /// How many it has confirmed.
    taken: u64,
    /// The revision up to which all has taken effect there.
    confirmed: u64,
}

/// Why no stream is begun, or kept, with somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it has this balancer's own name")]
    Own,
    #[error("{LINKS} balancers are the most")]
    Many,
}

impl Peers {
    pub(crate) fn new(me: String, now: Instant) -> Self {
        Self {
            started: now,
            me,
            announced: BTreeMap::new(),
            links: BTreeMap::new(),
            lost: BTreeMap::new(),
            last_id: 0,
        }
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    /// Takes what the gossip says: this balancer's name, and the others that live and share.
    pub(crate) fn handle_neighbours(
        &mut self,
        me: &str,
        others: &BTreeMap<String, SocketAddr>,
        now: Instant,
    ) -> bool {
        let before = self.announced.len();
        let mut changed = self.me != me;
        me.clone_into(&mut self.me);
        self.announced.retain(|name, _| others.contains_key(name));
        changed |= self.announced.len() != before;
        for (name, address) in others.iter().filter(|(name, _)| *name != me) {
            let fresh = || Announced {
                address: *address,
                since: now,
                told: self.links.contains_key(name),
            };
            if self
                .announced
                .get(name)
                .is_none_or(|known| known.address != *address)
            {
                self.announced.insert(name.clone(), fresh());
                changed = true;
            }
        }
        changed
    }

    /// A stream stands. Gives its number, and that of the one to the same balancer that it replaces.
    pub(crate) fn handle_link(
        &mut self,
        name: &str,
        address: SocketAddr,
        now: Instant,
    ) -> Result<(u64, Option<u64>), Refusal> {
        if name == self.me {
            return Err(Refusal::Own);
        }
        if self.links.len() >= LINKS && !self.links.contains_key(name) {
            return Err(Refusal::Many);
        }
        self.last_id += 1;
        let link = Link {
            id: self.last_id,
            address,
            since: now,
            whole: false,
            told: VecDeque::new(),
            taken: 0,
            confirmed: 0,
        };
        if let Some(known) = self.announced.get_mut(name) {
            known.told = true;
        }
        let before = self.links.insert(name.to_owned(), link);
        Ok((self.last_id, before.map(|link| link.id)))
    }

    /// A stream has ended. Says whether it was the one that counted.
    pub(crate) fn handle_end(&mut self, name: &str, id: u64, now: Instant) -> bool {
        if self.link(name, id).is_none() {
            return false;
        }
        self.links.remove(name);
        self.lost
            .retain(|_, at| now.saturating_duration_since(*at) < GRACE);
        self.lost.insert(name.to_owned(), now);
        true
    }

    /// The other end has told its whole store.
    pub(crate) fn handle_whole(&mut self, name: &str, id: u64) {
        if let Some(link) = self.link(name, id) {
            link.whole = true;
        }
    }

    /// A frame goes out that tells all changes up to a revision.
    pub(crate) fn handle_told(&mut self, name: &str, id: u64, revision: u64) {
        if let Some(link) = self.link(name, id) {
            link.told.push_back(revision);
        }
    }

    /// The other end has confirmed so many frames in all. What was never sent is not believed.
    pub(crate) fn handle_taken(&mut self, name: &str, id: u64, count: u64) {
        let Some(link) = self.link(name, id) else {
            return;
        };
        while link.taken < count {
            let Some(revision) = link.told.pop_front() else {
                return;
            };
            link.taken += 1;
            link.confirmed = revision;
        }
    }

    fn link(&mut self, name: &str, id: u64) -> Option<&mut Link> {
        self.links.get_mut(name).filter(|link| link.id == id)
    }

    /// The other balancers that count: announced, and proven by a stream that stands or ended a moment ago.
    pub(crate) fn live(&self, now: Instant) -> impl Iterator<Item = &str> {
        let proven =
            move |name: &&String| self.links.contains_key(*name) || self.is_back_soon(name, now);
        self.announced.keys().filter(proven).map(String::as_str)
    }

    /// The others that have not confirmed a revision, and are waited for. `asked` is when the waiting
    /// began: who proves nothing is waited for until [`GRACE`] after it.
    pub(crate) fn pending(&self, revision: u64, asked: Instant, now: Instant) -> Vec<&str> {
        let names = self.announced.iter();
        let pending = names.filter(|(name, announced)| match self.links.get(*name) {
            Some(link) => link.confirmed < revision,
            None => {
                self.is_back_soon(name, now)
                    || within_grace(announced.since, now) && within_grace(asked, now)
            }
        });
        pending.map(|(name, _)| name.as_str()).collect()
    }

    fn is_back_soon(&self, name: &str, now: Instant) -> bool {
        self.lost.get(name).is_some_and(|at| within_grace(*at, now))
    }

    /// Whether enough is known of the others to decide anything: all that are there have told their
    /// stores, or had the time to. Certain after twice [`GRACE`].
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.started);
        let told = |name: &String| self.links.get(name).is_some_and(|link| link.whole);
        let waits = |(name, announced): (&String, &Announced)| {
            !told(name) && (within_grace(announced.since, now) || self.links.contains_key(name))
        };
        let heard = self.announced.keys().any(told);
        age >= GRACE * 2 || (heard || age >= GRACE) && !self.announced.iter().any(waits)
    }

    /// Who leads in a matter: whoever has claimed it, as long as it lives, else the one that all choose who
    /// see the same balancers.
    pub(crate) fn lead(&self, matter: &str, claimed: Option<&str>, now: Instant) -> Lead {
        if !self.is_settled(now) {
            return Lead::Unknown;
        }
        let all = || self.live(now).chain([self.me()]);
        let claimed = claimed.filter(|name| all().any(|one| one == *name));
        let chosen =
            claimed.or_else(|| all().max_by_key(|name| (weight(matter, name), name.to_owned())));
        match chosen {
            Some(name) if name != self.me => Lead::Other(name.to_owned()),
            _ => Lead::Own,
        }
    }

    /// Whom this balancer is to reach: those of a greater name, to which no stream stands. So of two one
    /// begins.
    pub(crate) fn wanted(&self) -> Vec<(String, SocketAddr)> {
        let greater = self.announced.iter().filter(|(name, _)| **name > self.me);
        let missing = greater.filter(|(name, _)| !self.links.contains_key(*name));
        missing
            .map(|(name, announced)| (name.clone(), announced.address))
            .collect()
    }

    /// Those that have not proven themselves in time and were not told of yet.
    pub(crate) fn unproven(&mut self, now: Instant) -> Vec<(String, SocketAddr)> {
        let (links, lost) = (&self.links, &self.lost);
        let late = self.announced.iter_mut().filter(|(name, announced)| {
            let seen = lost.get(*name).is_some_and(|at| within_grace(*at, now));
            !links.contains_key(*name)
                && !seen
                && !within_grace(announced.since, now)
                && !announced.told
        });
        late.map(|(name, announced)| {
            announced.told = true;
            (name.clone(), announced.address)
        })
        .collect()
    }

    /// The streams that stand: name, address, since when, whether the other end's store is here.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&str, SocketAddr, Instant, bool)> {
        let links = self.links.iter();
        links.map(|(name, link)| (name.as_str(), link.address, link.since, link.whole))
    }
}

fn within_grace(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < GRACE
}

/// Rendezvous hashing: of each matter the balancer of the greatest weight leads, so that one that comes or
/// goes moves only what is its own. Source: Thaler and Ravishankar, 1998.
fn weight(matter: &str, name: &str) -> [u8; 8] {
    let hash = digest(&SHA256, format!("{matter}\n{name}").as_bytes());
    let first = hash.as_ref().first_chunk();
    *first.expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn others(names: &[&str]) -> BTreeMap<String, SocketAddr> {
        names
            .iter()
            .map(|name| (name.to_string(), address(1)))
            .collect()
    }

    /// A balancer that sees these others, each with a stream and told.
    fn settled(me: &str, names: &[&str], now: Instant) -> Peers {
        let mut peers = Peers::new(me.into(), now);
        peers.handle_neighbours(me, &others(names), now);
        for name in names.iter().filter(|name| **name != me) {
            let (id, _) = peers.handle_link(name, address(1), now).unwrap();
            peers.handle_whole(name, id);
        }
        peers
    }

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    proptest! {
        #[test]
        fn all_choose_the_same_and_who_leaves_moves_only_its_own(matter in "[a-z]{1,8}", gone in 0..5usize) {
            let now = Instant::now();
            let chosen = |names: &[&str]| {
                let each: Vec<_> = names.iter().map(|me| match settled(me, names, now).lead(&matter, None, now) {
                    Lead::Own => me.to_string(),
                    Lead::Other(name) => name,
                    Lead::Unknown => panic!("settled"),
                }).collect();
                assert!(each.iter().all(|name| *name == each[0]), "{each:?}");
                each[0].clone()
            };
            let before = chosen(&NAMES);
            let left: Vec<_> = NAMES.into_iter().filter(|name| *name != NAMES[gone]).collect();
            let after = chosen(&left);
            prop_assert!(before == after || before == NAMES[gone]);
        }

        #[test]
        fn a_revision_is_confirmed_when_the_frames_up_to_it_are(told in proptest::collection::vec(1..4u64, 0..6), taken in 0..9u64, asked in 0..20u64) {
            let now = Instant::now();
            let mut peers = settled("a", &["b"], now);
            let (id, _) = peers.handle_link("b", address(1), now).unwrap();
            let mut revisions = vec![0];
            for step in told {
                revisions.push(revisions.last().unwrap() + step);
                peers.handle_told("b", id, *revisions.last().unwrap());
            }
            peers.handle_taken("b", id, taken);
            let upto = revisions[(taken as usize).min(revisions.len() - 1)];
            let pending = peers.pending(asked, now, now);
            prop_assert_eq!(pending.is_empty(), asked <= upto);
        }
    }

    #[test]
    fn matters_are_spread() {
        let now = Instant::now();
        let peers = settled("a", &NAMES, now);
        let own = (0..500)
            .filter(|n| peers.lead(&n.to_string(), None, now) == Lead::Own)
            .count();
        assert!((60..140).contains(&own), "{own} of 500 with five");
    }

    #[test]
    fn who_has_claimed_a_matter_leads_as_long_as_it_lives() {
        let now = Instant::now();
        let mut peers = settled("a", &["b", "c"], now);
        let now = now + GRACE * 2;
        for name in ["b", "c"] {
            assert_eq!(peers.lead("m", Some(name), now), Lead::Other(name.into()));
        }
        assert_eq!(peers.lead("m", Some("a"), now), Lead::Own);
        assert_eq!(
            peers.lead("m", Some("stranger"), now),
            peers.lead("m", None, now)
        );
        // Its stream ends: it may come back in a moment.
        assert!(peers.handle_end("b", 1, now));
        assert_eq!(peers.lead("m", Some("b"), now), Lead::Other("b".into()));
        let later = now + GRACE;
        assert_ne!(peers.lead("m", Some("b"), later), Lead::Other("b".into()));
        // The gossip calls it dead: at once.
        peers.handle_neighbours("a", &others(&["b"]), later);
        assert_eq!(peers.lead("m", Some("c"), later), Lead::Own);
    }

    #[test]
    fn whoever_proves_nothing_is_waited_for_a_moment_only_and_told_of_once() {
        let now = Instant::now();
        let mut peers = settled("a", &["b"], now);
        peers.handle_neighbours("a", &others(&["b", "liar"]), now);
        assert_eq!(peers.live(now).collect::<Vec<_>>(), ["b"]);
        assert_eq!(peers.pending(0, now, now), ["liar"]);
        assert!(!peers.is_settled(now) && peers.unproven(now).is_empty());
        let later = now + GRACE;
        assert!(peers.pending(0, later, later).is_empty() && peers.is_settled(later));
        assert_eq!(peers.unproven(later).len(), 1);
        assert!(peers.unproven(later).is_empty());
        // Under names that change all the time it holds nothing up either.
        peers.handle_neighbours("a", &others(&["b", "liar-2"]), later);
        assert!(peers.pending(0, now, later).is_empty());
        assert!(peers.is_settled(now + GRACE * 2));
    }

    #[test]
    fn a_balancer_that_starts_decides_nothing_before_it_has_heard_the_others() {
        let now = Instant::now();
        let mut peers = Peers::new("a".into(), now);
        assert_eq!(peers.lead("m", None, now), Lead::Unknown);
        peers.handle_neighbours("a", &others(&["b"]), now);
        let (id, _) = peers.handle_link("b", address(1), now).unwrap();
        assert_eq!(peers.lead("m", None, now), Lead::Unknown);
        peers.handle_whole("b", id);
        assert_ne!(peers.lead("m", None, now), Lead::Unknown);
        // Alone it is sure after a while.
        let alone = Peers::new("a".into(), now);
        assert_eq!(alone.lead("m", None, now + GRACE), Lead::Own);
    }

    #[test]
    fn of_two_streams_the_later_one_counts_and_of_two_balancers_one_begins() {
        let now = Instant::now();
        let mut peers = Peers::new("b".into(), now);
        peers.handle_neighbours("b", &others(&["a", "b", "c"]), now);
        assert_eq!(peers.wanted(), [("c".to_owned(), address(1))]);
        let (first, none) = peers.handle_link("c", address(1), now).unwrap();
        let (second, replaced) = peers.handle_link("c", address(1), now).unwrap();
        assert_eq!((none, replaced), (None, Some(first)));
        assert!(peers.wanted().is_empty());
        assert!(!peers.handle_end("c", first, now) && peers.handle_end("c", second, now));
        assert_eq!(peers.handle_link("b", address(1), now), Err(Refusal::Own));
        for n in 0..LINKS {
            peers
                .handle_link(&format!("n{n}"), address(1), now)
                .unwrap();
        }
        assert_eq!(
            peers.handle_link("more", address(1), now),
            Err(Refusal::Many)
        );
    }
}
