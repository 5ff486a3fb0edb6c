//! A balancer's part of the cluster, as the rest of the program uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::peers::{Peers, Refusal};
use crate::store::{Entry, Store};
use crate::turns::Turns;

pub use crate::peers::Lead;
pub use crate::store::PutError;

/// How often it is looked again whether somebody who is waited for is gone.
const LOOK: Duration = Duration::from_millis(100);

/// What entries do when they change.
pub trait Effect: Send + Sync {
    /// An entry has this value, or none. Called in the order of changes, under a lock: it neither waits nor
    /// calls the cluster. A change is confirmed to others when this has returned.
    fn apply(&self, name: &str, value: Option<&[u8]>);
}

/// What the gossip says: hearsay, until each proves itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// This balancer's name, unique among all.
    pub me: String,
    /// The others that live and say that they share, and where they say that they do.
    pub others: BTreeMap<String, SocketAddr>,
}

/// A balancer that shares, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// Its name in the gossip.
    pub name: String,
    /// The other end of its stream.
    pub address: SocketAddr,
    /// How long the stream has stood.
    pub age: Duration,
    /// Whether its whole store has come.
    pub is_told: bool,
}

/// How the sharing goes, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharing {
    /// The others to which a stream stands, by name.
    pub balancers: Vec<Balancer>,
    /// Entries that have a value.
    pub entries: usize,
    /// Streams that were refused: strangers, and what was not understood.
    pub refused_total: u64,
}

/// A balancer's part of the cluster. Cheap to clone; all are the same.
#[derive(Clone)]
pub struct Cluster(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) identity: Identity,
    effect: Box<dyn Effect>,
    state: Mutex<State>,
    /// Counts changes of entries, streams and of who lives.
    changed: watch::Sender<u64>,
    pub(crate) held: watch::Sender<bool>,
}

/// What changes.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    /// Dropping one ends the stream of this number.
    stops: BTreeMap<u64, oneshot::Sender<()>>,
    refused: u64,
    turns: Turns,
}

/// A stream as the cluster knows it.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) name: String,
    pub(crate) id: u64,
    /// Ready when the stream is to end.
    pub(crate) stopped: oneshot::Receiver<()>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// A balancer of this name that knows no other yet. See [`Cluster::run`].
    pub fn new(identity: Identity, me: &str, effect: impl Effect + 'static) -> Self {
        let state = State {
            store: Store::default(),
            peers: Peers::new(me.to_owned(), Instant::now()),
            stops: BTreeMap::new(),
            refused: 0,
            turns: Turns::default(),
        };
        Self(Arc::new(Inner {
            identity,
            effect: Box::new(effect),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            held: watch::Sender::new(false),
        }))
    }

    /// This balancer's name.
    pub fn me(&self) -> String {
        self.0.state().peers.me().to_owned()
    }

    /// The value of an entry with its version; `None` where it has none.
    pub fn get(&self, name: &str) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        let state = self.0.state();
        let entry = state.store.get(name)?;
        Some((entry.version, entry.value.clone()?))
    }

    /// Puts a value in the place of the one that is there, or takes it away. Gives the revision that
    /// [`Cluster::confirmed`] waits for.
    ///
    /// Errors: beyond the bounds; nothing has changed.
    pub fn put(&self, name: &str, value: Option<Vec<u8>>) -> Result<u64, PutError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_millis() as u64);
        let mut state = self.0.state();
        let version = state.store.next_version(name, now);
        self.0.take(&mut state, name, version, value)?;
        Ok(state.store.revision())
    }

    /// Puts a value of an earlier time: it stays unless there is a later one. Says whether it does.
    ///
    /// Errors: as [`Cluster::put`].
    pub fn offer(&self, name: &str, version: u64, value: Vec<u8>) -> Result<bool, PutError> {
        let mut state = self.0.state();
        self.0.take(&mut state, name, version, Some(value))
    }

    /// Returns when every live balancer has confirmed what had been put here up to a revision: it has
    /// taken effect there. Who dies, or does not prove itself in time, is waited for no more.
    pub async fn confirmed(&self, revision: u64) {
        let asked = Instant::now();
        let mut changes = self.changes();
        while !self
            .0
            .state()
            .peers
            .pending(revision, asked, Instant::now())
            .is_empty()
        {
            let _ = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    }

    /// Who leads in a matter: `claimed`, if that balancer lives, else one that all agree on.
    pub fn lead(&self, matter: &str, claimed: Option<&str>) -> Lead {
        self.0.state().peers.lead(matter, claimed, Instant::now())
    }

    /// Changes whenever entries do, or who lives.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Takes what the gossip says.
    pub fn set_neighbours(&self, neighbours: &Neighbours) {
        let mut state = self.0.state();
        let Neighbours { me, others } = neighbours;
        let changed = state.peers.handle_neighbours(me, others, Instant::now());
        drop(state);
        if changed {
            self.0.touch();
        }
    }

    /// Ends all streams, and begins and accepts none while held: another process goes on under this name.
    pub fn hold(&self, held: bool) {
        self.0.held.send_replace(held);
        if held {
            self.0.state().stops.clear();
        }
    }

    /// How it is going.
    pub fn sharing(&self) -> Sharing {
        let now = Instant::now();
        let state = self.0.state();
        let balancer =
            |(name, address, since, is_told): (&str, SocketAddr, Instant, bool)| Balancer {
                name: name.to_owned(),
                address,
                age: now.saturating_duration_since(since),
                is_told,
            };
        Sharing {
            balancers: state.peers.links().map(balancer).collect(),
            entries: state.store.len(),
            refused_total: state.refused,
        }
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has everybody look who waits for a change.
    pub(crate) fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn take(
        &self,
        state: &mut State,
        name: &str,
        version: u64,
        value: Option<Vec<u8>>,
    ) -> Result<bool, PutError> {
        let author = state.peers.me().to_owned();
        let value = value.map(Zeroizing::new);
        self.merge(
            state,
            name,
            Entry {
                version,
                author,
                value,
            },
        )
    }

    /// Takes an entry, and has it take effect if it is later than the one that was there.
    pub(crate) fn merge(
        &self,
        state: &mut State,
        name: &str,
        entry: Entry,
    ) -> Result<bool, PutError> {
        let value = entry.value.clone();
        let is_later = state.store.merge(name, entry)?;
        if is_later {
            self.effect
                .apply(name, value.as_ref().map(|value| &value[..]));
            self.touch();
        }
        Ok(is_later)
    }

    /// A stream stands to the balancer of this name.
    pub(crate) fn begin(&self, name: &str, address: SocketAddr) -> Result<Ticket, Refusal> {
        let mut state = self.state();
        let (id, replaced) = state.peers.handle_link(name, address, Instant::now())?;
        if let Some(replaced) = replaced {
            state.stops.remove(&replaced);
        }
        let (stop, stopped) = oneshot::channel();
        state.stops.insert(id, stop);
        drop(state);
        self.touch();
        let name = name.to_owned();
        Ok(Ticket { name, id, stopped })
    }

    /// A stream has ended. Says whether it was the only one to that balancer.
    pub(crate) fn end(&self, ticket: &Ticket) -> bool {
        let mut state = self.state();
        state.stops.remove(&ticket.id);
        let counted = state
            .peers
            .handle_end(&ticket.name, ticket.id, Instant::now());
        drop(state);
        self.touch();
        counted
    }

    /// Counts somebody who was refused, and tells of it when it is the time.
    pub(crate) fn refuse(&self, address: SocketAddr, why: &dyn fmt::Display) {
        let mut state = self.state();
        state.refused += 1;
        if let Some(kept_back) = state.turns.take(Instant::now()) {
            drop(state);
            tracing::warn!("cluster: refused {address}: {why}{}", more(kept_back));
        }
    }

    /// Tells, when it is the time, of what kept a balancer that the gossip names from sharing.
    pub(crate) fn complain(&self, text: &str) {
        let turn = self.state().turns.take(Instant::now());
        if let Some(kept_back) = turn {
            tracing::warn!("cluster: {text}{}", more(kept_back));
        }
    }
}

fn more(kept_back: u64) -> String {
    match kept_back {
        0 => String::new(),
        n => format!(" (and {n} more were not told of)"),
    }
}
