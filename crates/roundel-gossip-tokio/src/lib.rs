//! Drives [`roundel_gossip`] over UDP and TCP with tokio.
//!
//! Owns: the two sockets on one port, the one timer, name resolution of seeds, the one task that
//! feeds the state machine and carries out what it asks for, the files of keys and of members,
//! and scripts run for events. Does not own: any rule of the
//! protocol (those are in `roundel-gossip`), and knows neither backends nor balancing.
//!
//! Start at [`start`], which gives a [`Handle`].
//!
//! Invariants: one task owns the [`roundel_gossip::Node`]; the clock is read once per wake-up; the
//! work per wake-up is bounded; a slow subscriber never slows the node down.

mod advertise;
mod answers;
mod config;
mod estate;
mod guard;
mod handle;
mod handler;
mod interfaces;
mod joins;
mod key_report;
mod keyring;
mod log;
mod places;
mod seeds;
mod snapshot;
mod socket;
mod streams;
mod task;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, mpsc, watch};

pub use advertise::{Advertise, OwnAddress};
pub use answers::Answers;
pub use config::{Config, DEFAULT_PORT, StartError};
pub use estate::Estate;
pub use handle::{Handle, JoinError};
pub use handler::{Handler, HandlerError};
pub use interfaces::own_ips;
pub use key_report::KeyReport;
pub use keyring::{KeyringError, new_key, parse_key, show_key};
pub use roundel_gossip::{
    ANSWERS, Acquaintance, Answer, Clocks, ConfigError, DRAIN, DRAINS, DrainAnswer, DrainRequest,
    DropReason, EXTENSION, Event, KeyAct, KeyAnswer, Known, Limits, Member, QueryId, QueryParams,
    Question, SayError, Stats, Status, Timings, is_valid_name,
};

use crate::advertise::Basis;
use crate::handle::Shared;
use crate::seeds::{Pace, Seed};
use crate::snapshot::Former;
use crate::socket::Sockets;
use crate::task::{Files, Publish, Seeding, Task, Unanswered};

/// Events kept for a subscriber that is busy.
const EVENTS: usize = 1024;

/// Commands waiting for the task.
const COMMANDS: usize = 64;

/// Starts a node on the current runtime: binds UDP and TCP on one port, spawns one task.
///
/// Errors: see [`StartError`]; nothing is left behind. Seeds that do not answer are no error.
pub async fn start(config: Config) -> Result<Handle, StartError> {
    start_from(config, Estate::default()).await
}

/// As [`start`], but goes on as the member that another node was, on its sockets if they are at
/// the address of `config`. Nobody sees the member leave or fail, as long as its tags and its
/// address stay.
///
/// Errors: as for [`start`].
pub async fn start_from(mut config: Config, estate: Estate) -> Result<Handle, StartError> {
    let seeds = parse_seeds(&config.join)?;
    keep_keys(&mut config)?;
    let asked = config.name.clone();
    if let [same, name] = estate.names
        && same == asked
    {
        config.name = name;
    }
    let mut former = former_life(&config)?;
    former.clocks = former.clocks.newest(estate.clocks);
    let sockets = open(config.listen, estate.sockets).map_err(|source| StartError::Bind {
        address: config.listen,
        source,
    })?;
    let (own, basis) = own_address(&config, &sockets, estate.address)?;
    tracing::info!(address = %own.address, why = own.why, "other members reach us here");
    let address = own.address;
    let now = Instant::now();
    let (seed, nonce) = random()?;
    let incarnation = unix_seconds().max(estate.incarnation.saturating_add(1));
    let mut node = roundel_gossip::Node::new(
        core_config(&config, address, seed, nonce, former.clocks, incarnation),
        now,
    )?;
    node.learn_address(basis == Basis::Learnt);
    node.remember(now, estate.acquaintances);
    let members = Arc::new(node.members().cloned().collect());
    if config.keys.is_empty() && !sockets.local.ip().to_canonical().is_loopback() {
        tracing::warn!(
            "gossip is NOT encrypted: whoever reaches {} can add and remove servers; make a key \
             with `roundel keygen` and give it to all members with --gossip-key-file",
            sockets.local
        );
    }
    let (name_tx, name) = watch::channel(config.name.as_str().into());
    let (members_tx, members) = watch::channel(members);
    let (own_tx, own) = watch::channel(own);
    let (trouble_tx, trouble) = watch::channel(String::new());
    let (stats_tx, stats) = watch::channel(node.stats());
    let (clocks_tx, clocks) = watch::channel(node.clocks());
    let (events, _) = broadcast::channel(EVENTS);
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let shared = Shared {
        name,
        local: sockets.local,
        own,
        trouble,
        members,
        stats,
        limits: config.limits.clone(),
        events: events.downgrade(),
        commands,
    };
    let publish = Publish {
        name: name_tx,
        own: own_tx,
        trouble: trouble_tx,
        members: members_tx,
        stats: stats_tx,
        clocks: clocks_tx,
        events,
        revision: node.revision(),
        members_from: now,
        stats_at: now,
    };
    let cached = former
        .alive
        .iter()
        .filter(|(name, _)| **name != config.name);
    let cached = cached.map(|(_, address)| *address);
    let cached: Vec<SocketAddr> = estate.members.into_iter().chain(cached).collect();
    let keeper = config
        .snapshot
        .map(|path| snapshot::keep(path, former, shared.members.clone(), clocks));
    let seeding = Seeding {
        next: (!seeds.is_empty() || !cached.is_empty()).then(tokio::time::Instant::now),
        seeds,
        cached,
        pace: Pace::default(),
        rng: fastrand::Rng::with_seed(!seed),
        basis,
        answered: BTreeMap::new(),
        complaint: String::new(),
        unanswered: Unanswered::default(),
    };
    let files = Files {
        keyring: config.keyring,
        keeper,
    };
    let handle = Handle {
        shared: Arc::new(shared),
    };
    if !config.handlers.is_empty() {
        handler::start(handle.clone(), config.handlers);
    }
    tokio::spawn(Task::new(node, asked, sockets, inbox, publish, seeding, files).run());
    Ok(handle)
}

/// Takes the keys of the file if there is one, else begins it with those given.
fn keep_keys(config: &mut Config) -> Result<(), StartError> {
    let Some(path) = &config.keyring else {
        return Ok(());
    };
    let fault = |source| StartError::Keyring {
        path: path.clone(),
        source,
    };
    match keyring::load(path).map_err(fault)? {
        Some(keys) => {
            if config.keys.first().is_some_and(|key| !keys.contains(key)) {
                let path = path.display();
                tracing::warn!("the gossip key given is not in the keyring {path}, which counts");
            }
            config.keys = keys;
        }
        None if !config.keys.is_empty() => keyring::save(path, &config.keys).map_err(fault)?,
        None => {}
    }
    Ok(())
}

/// The sockets of another node if they fit, else new ones.
fn open(listen: SocketAddr, left: Option<[OwnedFd; 2]>) -> std::io::Result<Sockets> {
    match left {
        Some(left) => match socket::adopt(listen, left)? {
            Some(sockets) => Ok(sockets),
            None => socket::bind(listen),
        },
        None => socket::bind(listen),
    }
}

fn former_life(config: &Config) -> Result<Former, StartError> {
    let Some(path) = &config.snapshot else {
        return Ok(Former::default());
    };
    snapshot::load(path).map_err(|source| StartError::Snapshot {
        path: path.clone(),
        source,
    })
}

fn parse_seeds(texts: &[String]) -> Result<Vec<Seed>, StartError> {
    let parse = |text: &String| Seed::parse(text).ok_or_else(|| StartError::Seed(text.clone()));
    texts.iter().map(parse).collect()
}

fn core_config(
    config: &Config,
    advertise: SocketAddr,
    seed: u64,
    nonce: [u8; 12],
    clocks: Clocks,
    incarnation: u32,
) -> roundel_gossip::Config {
    roundel_gossip::Config {
        name: config.name.clone(),
        advertise,
        tags: config.tags.clone(),
        keys: config.keys.clone(),
        label: String::new(),
        nonce,
        compress: config.compress,
        incarnation,
        unix_seconds: unix_seconds(),
        seed,
        timings: config.timings.clone(),
        limits: config.limits.clone(),
        clocks,
        keys_are_saved: config.keyring.is_some(),
    }
}

/// The address that others shall use: as told, else the one of a former life in this process's
/// line if it is still ours, else a guess.
fn own_address(
    config: &Config,
    sockets: &Sockets,
    former: Option<OwnAddress>,
) -> Result<(OwnAddress, Basis), StartError> {
    let chosen = advertise::choose(config.advertise.as_ref(), sockets.local);
    let (own, basis) = chosen.map_err(StartError::Advertise)?;
    let still_ours = |former: &OwnAddress| {
        let ip = former.address.ip();
        former.address.port() == own.address.port() && interfaces::own().iter().any(|o| o.ip == ip)
    };
    Ok(match former.filter(still_ours) {
        Some(former) if basis == Basis::Learnt => (former, basis),
        _ => (own, basis),
    })
}

fn random() -> Result<(u64, [u8; 12]), StartError> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).map_err(StartError::Random)?;
    Ok((getrandom::u64().map_err(StartError::Random)?, nonce))
}

/// A restarted node begins with a higher incarnation than its former self reached, unless the
/// clock was set back; then it must refute once.
fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u32::try_from(since.unwrap_or_default().as_secs()).unwrap_or(0)
}
