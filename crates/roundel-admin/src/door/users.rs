//! Names and passwords, as `htpasswd` writes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// A bcrypt hash of more rounds (as a power of two) takes longer than a second.
const COSTLIEST: u32 = 14;

/// An argon2 hash that takes more memory, in KiB, is refused.
const LARGEST: u32 = 256 * 1024;

/// Passwords that wait to be looked at; each takes a good part of a second.
const WAITING: usize = 16;

/// Names with the hashes of their passwords. A cheap handle; holds no password.
#[derive(Clone)]
pub struct Users(Arc<Inner>);

struct Inner {
    hashes: BTreeMap<String, Hash>,
    /// A digest of the password that was right the last time, so that not every request costs what a
    /// guess costs. Salted by `salt`, which nobody outside knows.
    right: Mutex<BTreeMap<String, [u8; 32]>>,
    salt: [u8; 16],
    waiting: Semaphore,
    turn: Semaphore,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hash {
    Bcrypt(String),
    Argon2(String),
}

/// What is wrong with a file of users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// It has no line.
    #[error("it names nobody")]
    Empty,
    /// A line is no name and hash.
    #[error("line {0} is not NAME:HASH")]
    Line(usize),
    /// A name stands twice.
    #[error("line {0} names somebody who is named before")]
    Twice(usize),
    /// A hash is of another kind, or would take too long.
    #[error("line {line}: {why}")]
    Hash {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl PartialEq for Users {
    fn eq(&self, other: &Self) -> bool {
        self.0.hashes == other.0.hashes
    }
}

impl Eq for Users {}

impl Users {
    /// Reads lines of `NAME:HASH`, bcrypt or argon2; empty lines and those that begin with `#` say
    /// nothing.
    ///
    /// Panics: when the system has no random numbers.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut hashes = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let pair = text.split_once(':').filter(|(name, _)| !name.is_empty());
            let (name, hash) = pair.ok_or(UsersError::Line(line))?;
            let hash = Hash::parse(hash).map_err(|why| UsersError::Hash { line, why })?;
            if hashes.insert(name.to_owned(), hash).is_some() {
                return Err(UsersError::Twice(line));
            }
        }
        if hashes.is_empty() {
            return Err(UsersError::Empty);
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).expect("the system has random numbers");
        Ok(Self(Arc::new(Inner {
            hashes,
            right: Mutex::default(),
            salt,
            waiting: Semaphore::new(WAITING),
            turn: Semaphore::new(1),
        })))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.hashes.len()
    }

    /// Whether there is nobody: never.
    pub fn is_empty(&self) -> bool {
        self.0.hashes.is_empty()
    }

    /// Whether this is the password of this user. `None`: too many are being looked at.
    pub(super) async fn fits(&self, user: &str, password: &str) -> Option<bool> {
        let digest = self.digest(user, password);
        if self.right().get(user) == Some(&digest) {
            return Some(true);
        }
        let inner = &self.0;
        let _waiting = inner.waiting.try_acquire().ok()?;
        let _turn = inner.turn.acquire().await.ok()?;
        let known = inner.hashes.get(user).cloned();
        let is_known = known.is_some();
        // A name that nobody has takes as long.
        let hash = known.or_else(|| inner.hashes.values().next().cloned())?;
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || hash.fits(&password));
        let fits = fits.await.unwrap_or(false) && is_known;
        if fits {
            self.right().insert(user.to_owned(), digest);
        }
        Some(fits)
    }

    fn right(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, [u8; 32]>> {
        self.0.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, user: &str, password: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.0.salt);
        digest.update(user.as_bytes());
        digest.update([0]);
        digest.update(password.as_bytes());
        digest.finalize().into()
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("$2") {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| "not a bcrypt hash")?;
            if parts.get_cost() > COSTLIEST {
                return Err(
                    "this bcrypt hash takes seconds for each guess; use a cost of 14 or less",
                );
            }
            return Ok(Self::Bcrypt(text.to_owned()));
        }
        if text.starts_with("$argon2") {
            let hash = PasswordHash::new(text).map_err(|_| "not an argon2 hash")?;
            let memory = hash.params.get_decimal("m").unwrap_or_default();
            if memory > LARGEST {
                return Err("this argon2 hash takes more than 256 MiB for each guess");
            }
            return Ok(Self::Argon2(text.to_owned()));
        }
        Err("neither bcrypt nor argon2; make one by `htpasswd -nB NAME`")
    }

    fn fits(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => PasswordHash::new(hash).is_ok_and(|hash| {
                let verifier = Argon2::default();
                verifier.verify_password(password.as_bytes(), &hash).is_ok()
            }),
        }
    }
}
