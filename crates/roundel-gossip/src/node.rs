//! The state machine: what happened goes in with the time, what is to be done comes out.

mod accusations;
mod accusers;
mod acquaintance;
mod address;
mod anew;
mod answering;
mod asking;
mod awareness;
mod border;
mod contacts;
mod doubt;
mod gossip;
mod housekeeping;
mod inbound;
mod incoming;
mod intents;
mod join;
mod keyring;
mod lamport;
mod leave;
mod newcomers;
mod origin;
mod outbound;
mod output;
mod probe;
mod queue;
mod recent;
mod record;
mod relay;
mod ring;
mod roster;
mod rotation;
mod seen;
mod serf;
mod states;
mod streams;
mod suspicion;
mod swim;
mod sync;
mod tcp_only;
mod timers;
mod times;
mod unmet;
mod vote;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::accusers::Accusers;
pub use self::acquaintance::Acquaintance;
use self::address::OwnAddress;
use self::answering::Questions;
use self::asking::{Asking, Purpose};
use self::awareness::Awareness;
use self::border::TimeOfDay;
use self::contacts::Contacts;
use self::doubt::Doubts;
use self::gossip::Rounds;
use self::incoming::Incoming;
pub use self::incoming::network;
use self::intents::Intents;
use self::keyring::Saving;
use self::lamport::Lamport;
use self::leave::Leave;
use self::newcomers::Newcomers;
use self::outbound::Seal;
pub use self::output::{Output, StreamId};
use self::probe::{Pings, Probe};
use self::queue::Queue;
use self::recent::Recent;
use self::record::Record;
use self::roster::Roster;
use self::rotation::Rotation;
use self::seen::{Directs, Seen};
use self::states::States;
pub use self::streams::Crowd;
use self::streams::Stream;
use self::tcp_only::TcpOnly;
use self::timers::{Timer, Timers};
use self::times::Times;
use self::unmet::Unmet;
use self::vote::Vote;
use self::watch::Watches;
use crate::config::{Clocks, Config, ConfigError};
use crate::event::{DropReason, Event};
use crate::member::{Known, Member, Status, is_valid_name};
use crate::query::{QueryId, QueryParams, SayError};
use crate::stats::Stats;
use crate::wire::{Versions, canonical, tags};

/// Most peers and names that are remembered as having been complained about.
const COMPLAINTS: usize = 1024;

/// Room for so many outputs is kept while there are none.
const OUTPUTS: usize = 256;

/// Members that each change may cost a look at, in the mean, to see whether all is as it must be: a
/// flood of members must not make a debug build stand still.
#[cfg(debug_assertions)]
const LOOK: usize = 1024;

/// One member of a cluster, without sockets or a clock.
///
/// Shape: one owner. After each call of a `handle_*` method or a command, take outputs with
/// [`Node::poll_output`] until there is none; then wait for input or until
/// [`Node::poll_timeout`] and call [`Node::handle_timeout`].
/// Time: `now` never goes backwards.
/// Errors: what peers send is at worst refused and counted.
#[derive(Debug)]
pub struct Node {
    config: Config,
    name: Arc<str>,
    time_of_day: TimeOfDay,
    rng: fastrand::Rng,
    seal: Seal,
    members: Roster,
    /// Raised with each change of a member.
    revision: u64,
    /// Members that are known to the SWIM level, ourselves left out, in probing order.
    to_probe: Rotation,
    /// How many members the SWIM level knows, ourselves included.
    known: usize,
    queue: Queue,
    rounds: Rounds,
    timers: Timers,
    awareness: Awareness,
    probe: Option<Probe>,
    pings: Pings,
    watches: Watches,
    contacts: Contacts,
    doubts: Doubts,
    /// Whether our newest incarnation was beyond the border, and is to be said again.
    passes: bool,
    newcomers: Newcomers,
    unmet: Unmet,
    tcp_only: TcpOnly,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    incoming: Incoming,
    states: States,
    /// When the next stranger may be asked for its state.
    strangers_from: Option<Instant>,
    clock: Lamport,
    times: Times,
    event_clock: Lamport,
    query_clock: Lamport,
    /// Older user events are not told: we were not there, or heard them in a former life.
    event_floor: u64,
    /// Likewise for queries.
    query_floor: u64,
    events_seen: Seen,
    queries_seen: Seen,
    directs_seen: Directs,
    recent: Recent,
    asking: Asking,
    questions: Questions,
    saving: Saving,
    vote: Vote,
    accusers: Accusers,
    address: OwnAddress,
    intents: Intents,
    leave: Option<Leave>,
    outputs: VecDeque<Output>,
    complaints: BTreeSet<(IpAddr, DropReason)>,
    conflicts: BTreeSet<(String, SocketAddr)>,
    stats: Stats,
    #[cfg(debug_assertions)]
    unchecked: usize,
}

impl Node {
    /// Makes a node that knows only itself.
    ///
    /// Errors: a setting that no cluster could work with.
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        if !is_valid_name(&config.name) {
            return Err(ConfigError::Name(config.name));
        }
        if config.advertise.ip().is_unspecified() || config.advertise.port() == 0 {
            return Err(ConfigError::Advertise(config.advertise));
        }
        let meta = tags::encode(&config.tags).map_err(|error| ConfigError::Tags(error.len))?;
        let seal = Seal::new(&config)?;
        let name: Arc<str> = config.name.as_str().into();
        let time_of_day = TimeOfDay::new(config.unix_seconds, now);
        let mut own = own_member(&config, now);
        // A former life may have been driven to where nobody would believe us.
        if own.incarnation >= time_of_day.border(now) {
            own.incarnation = config.unix_seconds.max(1);
        }
        let own = Record::new(own, meta, now);
        let mut members = Roster::default();
        members.insert(name.clone(), own);
        let mut node = Self {
            time_of_day,
            rng: fastrand::Rng::with_seed(config.seed),
            seal,
            members,
            name,
            revision: 1,
            to_probe: Rotation::default(),
            known: 1,
            queue: Queue::new(config.limits.broadcasts),
            rounds: Rounds::new(now),
            timers: Timers::default(),
            awareness: Awareness::new(config.timings.awareness_max),
            probe: None,
            pings: Pings::default(),
            watches: Watches::default(),
            contacts: Contacts::default(),
            doubts: Doubts::default(),
            passes: false,
            newcomers: Newcomers::default(),
            unmet: Unmet::default(),
            tcp_only: TcpOnly::default(),
            streams: BTreeMap::new(),
            next_stream: 0,
            incoming: Incoming::of(&config.limits),
            states: States::default(),
            strangers_from: None,
            clock: Lamport::after(config.clocks.member),
            times: Times::default(),
            event_clock: Lamport::after(config.clocks.event),
            query_clock: Lamport::after(config.clocks.query),
            event_floor: config.clocks.event.saturating_add(1),
            query_floor: config.clocks.query.saturating_add(1),
            events_seen: Seen::new(),
            queries_seen: Seen::new(),
            directs_seen: Directs::default(),
            recent: Recent::default(),
            asking: Asking::default(),
            questions: Questions::default(),
            saving: Saving::default(),
            vote: Vote::default(),
            accusers: Accusers::default(),
            address: OwnAddress::default(),
            intents: Intents::default(),
            leave: None,
            outputs: VecDeque::new(),
            complaints: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            stats: Stats::default(),
            #[cfg(debug_assertions)]
            unchecked: 0,
            config,
        };
        node.start_timers(now);
        Ok(node)
    }

    /// Spreads the first ticks, so that nodes started together do not act in step.
    fn start_timers(&mut self, now: Instant) {
        self.pings.start_at(self.rng.u32(..));
        let timings = self.config.timings.clone();
        self.rounds = Rounds::new(now + self.random_part(timings.gossip_interval));
        for (interval, timer) in [
            (timings.probe_interval, Timer::Probe),
            (timings.push_pull_interval, Timer::PushPull),
            (timings.reconnect_interval, Timer::Reconnect),
            (timings.reap_interval, Timer::Reap),
        ] {
            let delay = self.random_part(interval);
            self.timers.set(now + delay, timer);
        }
    }

    /// Takes one datagram, of which it is not known to which address of ours it was sent.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.handle_datagram_at(now, from, None, bytes);
    }

    /// Takes one datagram that was sent to the address `at` of ours.
    pub fn handle_datagram_at(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: Option<IpAddr>,
        bytes: &[u8],
    ) {
        self.stats.datagrams_in += 1;
        self.stats.datagram_bytes_in += bytes.len() as u64;
        self.packet_received(now, canonical(from), at, bytes);
        self.finish(now);
    }

    /// Notes at which address of ours a stream ends here, before anything is said on it.
    pub fn handle_stream_at(&mut self, id: StreamId, at: IpAddr) {
        self.stream_is_at(id, at);
    }

    /// Takes an incoming stream and names it; nothing if there are too many already: close it.
    pub fn accept_stream(&mut self, now: Instant, from: SocketAddr) -> Option<StreamId> {
        let id = self.stream_accepted(now, canonical(from));
        self.finish(now);
        id
    }

    /// Notes that a stream was closed for a newer one of `newer`, as there were too many. It may be
    /// one of which all was said, and not all sent.
    pub fn handle_stream_crowded(
        &mut self,
        now: Instant,
        id: StreamId,
        newer: SocketAddr,
        crowd: Crowd,
    ) {
        self.stream_closed(id, "closed for a newer one");
        match crowd {
            Crowd::All => self.stats.streams_refused += 1,
            Crowd::Peer => self.stats.peer_streams_refused += 1,
        }
        self.refuse(canonical(newer), DropReason::Limit);
        self.finish(now);
    }

    /// Notes that a datagram was given up in the middle, over an error of our own.
    pub fn refuse_broken(&mut self, from: SocketAddr) {
        self.refuse(canonical(from), DropReason::Internal);
    }

    /// Gives up a stream whose bytes could not be taken in, over an error of our own.
    pub fn refuse_broken_stream(&mut self, id: StreamId) {
        self.stream_broken(id);
    }

    /// Notes that a stream asked for by [`Output::Open`] is connected.
    pub fn handle_stream_opened(&mut self, now: Instant, id: StreamId) {
        self.stream_opened(now, id);
        self.finish(now);
    }

    /// Takes bytes of a stream. Unknown streams are ignored: they were closed already.
    pub fn handle_stream_bytes(&mut self, now: Instant, id: StreamId, bytes: &[u8]) {
        self.stream_bytes(now, id, bytes);
        self.finish(now);
    }

    /// Notes that a stream could not be connected, failed, or was closed by the peer; `why` is
    /// for people.
    pub fn handle_stream_closed(&mut self, now: Instant, id: StreamId, why: &str) {
        self.stream_closed(id, why);
        self.finish(now);
    }

    /// Does everything whose time has come at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Probe => self.probe_next(now),
                Timer::PingTimeout(seq) => self.ping_timed_out(now, seq),
                Timer::ProbeEnd(seq) => self.probe_ended(now, seq),
                Timer::Gossip => self.gossip_tick(now),
                Timer::GossipSoon => self.gossip_soon_due(),
                Timer::PushPull => self.push_pull_tick(now),
                Timer::CatchUp => self.push_pull(now),
                Timer::Suspicion(name) => self.suspicion_ended(now, &name),
                Timer::Stream(id) => self.stream_timed_out(id),
                Timer::Reap => self.reap_tick(now),
                Timer::Reconnect => self.reconnect_tick(now),
                Timer::Watch => self.watch_tick(now),
                Timer::WatchAgain(name) => self.watch_again(&name),
                Timer::Leave => self.leave_tick(now),
                Timer::QueryEnd(id) => self.query_ended(id),
                Timer::Moved => self.moved_tick(now),
                Timer::Doubt(subject) => self.doubt_tick(now, &subject),
                Timer::Passed => self.border_passed(),
                Timer::Unmet => self.unmet_tick(now),
            }
        }
        self.finish(now);
    }

    /// Exchanges states with each address; [`Event::Joined`] or [`Event::JoinFailed`] follows for
    /// each. A node that leaves refuses.
    pub fn join(&mut self, now: Instant, addresses: &[SocketAddr]) {
        self.join_all(now, addresses);
        self.finish(now);
    }

    /// Takes over what another node of this process knows of the members, as if the two had met
    /// long ago: nobody is told. For simulations of clusters that are too large to be put together
    /// one by one; the copies share their memory.
    pub fn learn_from(&mut self, other: &Node) {
        self.adopt(other);
    }

    /// Announces that we leave; [`Event::Departed`] follows when that is spread. The node goes on
    /// answering probes; it cannot come back: make another one.
    pub fn leave(&mut self, now: Instant) {
        self.leave_begin(now);
        self.finish(now);
    }

    /// Replaces our tags and spreads them.
    ///
    /// Errors: too long when encoded; nothing is changed.
    pub fn set_tags(
        &mut self,
        now: Instant,
        tags: BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let meta = tags::encode(&tags).map_err(|error| ConfigError::Tags(error.len))?;
        self.own_tags_changed(tags, meta);
        self.finish(now);
        Ok(())
    }

    /// Replaces our own address, as long as nobody else is known here: others keep a name at the
    /// address where they met it first. Gives whether it was replaced.
    pub fn set_address(&mut self, now: Instant, address: SocketAddr) -> bool {
        let address = canonical(address);
        let usable = !address.ip().is_unspecified() && address.port() != 0;
        let changes = usable && self.known == 1 && address != self.own().member.address;
        if changes {
            self.own_mut().member.address = address;
            self.address.forget_peer();
            self.announce_ourselves();
        }
        self.finish(now);
        changes
    }

    /// Pings `name` while nothing else is heard of it and tells by [`Event::Silent`] and
    /// [`Event::Heard`] whether it answers; or stops doing so. The member may be unknown yet.
    /// Nothing of it is told to the cluster.
    pub fn watch(&mut self, now: Instant, name: &str, on: bool) {
        self.watch_set(now, name, on);
        self.finish(now);
    }

    /// Watches these and no others, as [`Node::watch`] does.
    pub fn watch_only(&mut self, now: Instant, names: &BTreeSet<String>) {
        self.watch_all(now, names);
        self.finish(now);
    }

    /// Asks all members, or some. [`Event::Answer`] follows for each answer and acknowledgement,
    /// ours too, and [`Event::QueryEnded`] when the time is over.
    ///
    /// Errors: too long, too many at once, a filter that is none, or we have left.
    pub fn query(&mut self, now: Instant, params: &QueryParams) -> Result<QueryId, SayError> {
        let id = self.ask(now, params, Purpose::Application);
        self.finish(now);
        id
    }

    /// Answers a query that [`Event::Query`] told of, once.
    ///
    /// Errors: too long, or the query is over or answered already.
    pub fn respond(&mut self, now: Instant, id: QueryId, payload: &[u8]) -> Result<(), SayError> {
        let result = self.answer(now, id, payload.to_vec());
        self.finish(now);
        result
    }

    /// Announces a user event to all members; we are told of it too. `coalesce` lets handlers
    /// merge events of one name.
    ///
    /// Errors: name and payload are too long, or we have left.
    pub fn user_event(
        &mut self,
        now: Instant,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<(), SayError> {
        let result = self.announce_event(name, payload, coalesce);
        self.finish(now);
        result
    }

    /// Notes that the keys of an [`Output::SaveKeys`] were saved, or could not be.
    pub fn handle_keys_saved(&mut self, now: Instant, query: QueryId, error: Option<&str>) {
        self.saved(now, query, error);
        self.finish(now);
    }

    /// The newest Lamport times seen, to be kept over a restart.
    pub fn clocks(&self) -> Clocks {
        Clocks {
            member: self.clock.time().saturating_sub(1),
            event: self.event_clock.time().saturating_sub(1),
            query: self.query_clock.time().saturating_sub(1),
        }
    }

    /// Gives the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // A large state makes thousands.
            self.outputs.shrink_to(OUTPUTS);
        }
        output
    }

    /// Gives when to call [`Node::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The settings that it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Our own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All members, ourselves included, sorted by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|record| &record.member)
    }

    /// One member.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name).map(|record| &record.member)
    }

    /// A number that is raised with each change of a member.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What the node counts and holds. O(members).
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        for member in self.members() {
            match member.status {
                Status::Alive => stats.alive += 1,
                Status::Leaving => stats.leaving += 1,
                Status::Left => stats.left += 1,
                Status::Failed => stats.failed += 1,
            }
            stats.suspect += usize::from(member.suspect);
        }
        stats.awareness = self.awareness.score();
        stats.queued = self.queue.len();
        stats.streams = self.streams.len();
        stats.incoming = self.incoming.held();
        stats.states = self.states.held();
        stats
    }

    /// Ends every public change: sends what is fresh, then checks what must hold.
    fn finish(&mut self, now: Instant) {
        self.gossip_fresh(now);
        self.keep_beating(now);
        #[cfg(debug_assertions)]
        {
            self.unchecked += LOOK;
            if self.unchecked >= self.members.len() {
                self.unchecked = 0;
                self.check_invariants();
            }
        }
    }

    /// Checks what must hold between any two calls.
    ///
    /// Panics: when it does not hold.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self) {
        self.queue.check_invariants();
        let known = self
            .members
            .values()
            .filter(|r| r.swim != record::Swim::Gone);
        assert_eq!(known.count(), self.known, "the count of known members");
        assert_eq!(self.to_probe.len() + 1, self.known, "who is probed");
        self.members.check_invariants();
        assert!(self.members.contains_key(&self.name), "we know ourselves");
        for record in self.members.values() {
            record.check_invariants();
        }
        assert!(self.intents.len() <= self.config.limits.intents);
        assert!(self.members.len() <= self.config.limits.members.max(1));
        self.recent.check_invariants();
        self.questions.check_invariants();
        let named = self.contacts.names().chain(self.doubts.names());
        let named = named.chain(self.queue.names()).chain(self.unmet.names());
        for name in named {
            assert!(self.members.contains_key(name), "{name:?} is forgotten");
        }
        let bound = 64
            + 4 * self.members.len()
            + self.doubts.len()
            + 2 * self.streams.len()
            + 2 * self.pings.len()
            + self.asking.len();
        assert!(self.timers.len() <= bound, "timers: {}", self.timers.len());
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Counts something refused, and tells of it once per peer and reason.
    fn refuse(&mut self, from: SocketAddr, reason: DropReason) {
        *self.stats.dropped.entry(reason).or_default() += 1;
        if self.complaints.len() >= COMPLAINTS {
            self.complaints.clear();
        }
        if self.complaints.insert((from.ip(), reason)) {
            self.event(Event::Dropped { from, reason });
        }
    }

    fn own(&self) -> &Record {
        &self.members[&self.name]
    }

    fn own_mut(&mut self) -> &mut Record {
        self.members
            .get_mut(&self.name)
            .expect("our own record is never removed")
    }

    /// A random part of `interval`.
    fn random_part(&mut self, interval: Duration) -> Duration {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.u64(0..=nanos))
    }
}

fn own_member(config: &Config, now: Instant) -> Member {
    Member {
        name: config.name.clone(),
        address: canonical(config.advertise),
        tags: config.tags.clone(),
        status: Status::Alive,
        suspect: false,
        incarnation: config.incarnation.max(1),
        versions: *Versions::SERF.as_bytes(),
        since: now,
        known: Known::Itself,
    }
}

#[cfg(test)]
mod tests;
