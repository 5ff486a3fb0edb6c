//! Session tickets: what lets a client that was here before skip most of a handshake.
//!
//! A ticket is sealed (AES-256-GCM) under a random key that lives for a day and is never derived
//! from a lasting one. It says under which certificate and conditions it was given, and opens under
//! no others.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// How long one key seals tickets. It opens them for as long before, so that a balancer that turned
/// a little earlier is understood, and for as long afterwards: a day in all.
pub const TURN: Duration = Duration::from_secs(8 * 60 * 60);

const NAME: usize = 16;
const SECRET: usize = 32;

/// How many bytes one key takes outside.
const KEY: usize = NAME + SECRET;

/// The keys that seal tickets, shared by all frontends.
///
/// Time: nothing turns by itself; see [`TicketKeys::advance`].
pub struct TicketKeys(ArcSwap<Ring>);

/// Three keys in the order of their lives.
struct Ring {
    /// When `current` began to seal.
    since: SystemTime,
    next: Arc<Key>,
    current: Arc<Key>,
    previous: Arc<Key>,
}

struct Key {
    name: [u8; NAME],
    secret: Zeroizing<[u8; SECRET]>,
    sealing: LessSafeKey,
}

impl TicketKeys {
    /// New random keys that count from `now` on.
    pub fn new(now: SystemTime) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(Ring::random(now))))
    }

    /// Turns the ring if it is time; to be called every minute or so, from one place. A clock that
    /// was set back by more than a turn begins a new ring.
    pub fn advance(&self, now: SystemTime) {
        let ring = self.0.load();
        let Ok(age) = now.duration_since(ring.since) else {
            if ring
                .since
                .duration_since(now)
                .is_ok_and(|ahead| ahead > TURN)
            {
                self.0.store(Arc::new(Ring::random(now)));
            }
            return;
        };
        if age >= TURN * 3 {
            self.0.store(Arc::new(Ring::random(now)));
            return;
        }
        let turns = age.as_secs() / TURN.as_secs();
        let mut turned = None;
        for _ in 0..turns {
            turned = Some(turned.as_ref().unwrap_or(&**ring).turned());
        }
        if let Some(turned) = turned {
            self.0.store(Arc::new(turned));
        }
    }

    /// All keys, for a process that takes over; as secret as they are.
    pub fn export(&self) -> Zeroizing<Vec<u8>> {
        let ring = self.0.load();
        let since = ring.since.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.map_or(0, |since| since.as_secs());
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 + 3 * KEY));
        bytes.extend(since.to_be_bytes());
        for key in ring.keys() {
            bytes.extend(key.name);
            bytes.extend(&key.secret[..]);
        }
        bytes
    }

    /// Takes the place of its keys what [`TicketKeys::export`] gave; nothing changes if it is not that.
    pub fn inherit(&self, bytes: &[u8]) -> bool {
        let ring = Ring::read(bytes);
        let is_ring = ring.is_some();
        if let Some(ring) = ring {
            self.0.store(Arc::new(ring));
        }
        is_ring
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

impl Ring {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (since, keys) = bytes.split_first_chunk::<8>()?;
        let mut read = keys.chunks_exact(KEY).map(|key| {
            let (name, secret) = key.split_first_chunk::<NAME>()?;
            Some(Arc::new(Key::new(*name, secret.try_into().ok()?)))
        });
        let [current, next, previous] = [read.next()??, read.next()??, read.next()??];
        if keys.len() != 3 * KEY {
            return None;
        }
        let since = Duration::from_secs(u64::from_be_bytes(*since));
        let since = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(Self {
            since,
            next,
            current,
            previous,
        })
    }

    fn random(now: SystemTime) -> Self {
        Self {
            since: now,
            next: Arc::new(Key::random()),
            current: Arc::new(Key::random()),
            previous: Arc::new(Key::random()),
        }
    }

    fn turned(&self) -> Self {
        Self {
            since: self.since + TURN,
            next: Arc::new(Key::random()),
            current: Arc::clone(&self.next),
            previous: Arc::clone(&self.current),
        }
    }

    /// The likeliest first.
    fn keys(&self) -> [&Key; 3] {
        [&self.current, &self.next, &self.previous]
    }
}

impl Key {
    fn random() -> Self {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        let filled = rand::fill(&mut name).and_then(|()| rand::fill(&mut secret));
        filled.expect("the system gives random bytes once it has begun to");
        Self::new(name, secret)
    }

    fn new(name: [u8; NAME], secret: [u8; SECRET]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &secret);
        Self {
            name,
            secret: Zeroizing::new(secret),
            sealing: LessSafeKey::new(key.expect("the key has the length that the cipher takes")),
        }
    }
}

/// Seals and opens the tickets that are given under one certificate and one policy.
pub(crate) struct Ticketer {
    keys: Arc<TicketKeys>,
    /// What a ticket is bound to.
    context: Vec<u8>,
}

impl Ticketer {
    pub(crate) fn new(keys: Arc<TicketKeys>, context: Vec<u8>) -> Self {
        Self { keys, context }
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

/// A ticket: name of the key, nonce, sealed session, tag.
impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    /// For that long every ticket is good, even one that was given just before the ring turned.
    fn lifetime(&self) -> u32 {
        TURN.as_secs() as u32
    }

    /// Random nonces are good for 2^32 tickets of a key: 149,000 a second for a turn.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let ring = self.keys.0.load();
        let key = &ring.current;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let context = Aad::from(&self.context);
        key.sealing
            .seal_in_place_append_tag(unique, context, &mut sealed)
            .ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let ring = self.keys.0.load();
        let key = ring.keys().into_iter().find(|key| key.name == *name)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let opened = key
            .sealing
            .open_in_place(nonce, Aad::from(&self.context), &mut sealed);
        Some(opened.ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests;
