//! Browsers that have signed in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

pub(super) const COOKIE: &str = "roundel_session";

/// How long a browser stays signed in.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Sessions at a time; the oldest goes.
const MOST: usize = 1024;

/// The sessions, by the digest of their secret, so that none can be found by how long a look takes.
/// They end with the process.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    until: Mutex<BTreeMap<[u8; 32], Instant>>,
}

impl Sessions {
    /// Begins one; gives its secret. Panics: when the system has no random numbers.
    pub(super) fn begin(&self) -> String {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has random numbers");
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = Instant::now();
        let mut until = self.until();
        until.retain(|_, end| *end > now);
        if until.len() >= MOST {
            let oldest = until.iter().min_by_key(|(_, end)| **end);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                until.remove(&oldest);
            }
        }
        until.insert(digest(&secret), now + LIFE);
        secret
    }

    pub(super) fn is_known(&self, headers: &HeaderMap) -> bool {
        let now = Instant::now();
        let until = self.until();
        secrets(headers).any(|secret| until.get(&digest(secret)).is_some_and(|end| *end > now))
    }

    /// Ends those that these fields name.
    pub(super) fn end(&self, headers: &HeaderMap) {
        let mut until = self.until();
        for secret in secrets(headers) {
            until.remove(&digest(secret));
        }
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Cookies know no ports: another program of this host may have set one of this name as well.
fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let pairs = fields.filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|value| value.split(';').take(64));
    pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn with(cookies: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookies.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_known_until_it_ends() {
        let sessions = Sessions::default();
        let (first, second) = (sessions.begin(), sessions.begin());
        let both = with(&format!("a=b; {COOKIE}=other; {COOKIE}={first}"));
        assert!(sessions.is_known(&both));
        assert!(!sessions.is_known(&with(&format!("{COOKIE}=x; x{COOKIE}={first}"))));
        sessions.end(&both);
        assert!(!sessions.is_known(&both));
        let second = with(&format!("{COOKIE}={second}"));
        assert!(sessions.is_known(&second));
        advance(LIFE).await;
        assert!(!sessions.is_known(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_so_many() {
        let sessions = Sessions::default();
        let oldest = with(&format!("{COOKIE}={}", sessions.begin()));
        for _ in 0..MOST {
            assert!(sessions.until().len() <= MOST);
            advance(Duration::from_millis(1)).await;
            sessions.begin();
        }
        assert!(!sessions.is_known(&oldest));
    }
}
