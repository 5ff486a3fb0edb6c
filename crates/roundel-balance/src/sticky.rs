//! The sticky cookie's values: opaque, and equal on every balancer with the same key.

use std::hash::Hasher;

use roundel_model::Name;
use siphasher::sip128::{Hasher128, SipHasher24};

/// The key of the sticky values.
#[derive(Clone, PartialEq, Eq)]
pub struct StickyKey([u8; 16]);

impl StickyKey {
    /// Derives the key from configured bytes of any length.
    pub fn derive(secret: &[u8]) -> Self {
        let mut hasher = SipHasher24::new_with_key(b"roundel-sticky-1");
        hasher.write(secret);
        Self(hasher.finish128().as_bytes())
    }

    /// The cookie value of a server.
    ///
    /// Source: SipHash-2-4-128 (Aumasson, Bernstein 2012) over both names, length first, so that
    /// no two pairs of names share their bytes.
    pub(crate) fn value(&self, backend: &Name, server: &Name) -> CookieValue {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for name in [backend, server] {
            hasher.write(&(name.as_str().len() as u64).to_le_bytes());
            hasher.write(name.as_str().as_bytes());
        }
        let mut digits = [0; 32];
        for (pair, byte) in digits
            .chunks_exact_mut(2)
            .zip(hasher.finish128().as_bytes())
        {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        CookieValue(digits)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The cookie value of a server: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieValue([u8; 32]);

impl CookieValue {
    /// Orders values as their bytes do; quicker to compare.
    pub(crate) fn rank(&self) -> (u128, u128) {
        let (head, tail) = self.0.split_at(16);
        let number = |half: &[u8]| u128::from_be_bytes(half.try_into().expect("it is a half"));
        (number(head), number(tail))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are text")
    }
}

impl Default for StickyKey {
    /// The key used when nothing secret is configured: values stay opaque but can be computed.
    fn default() -> Self {
        Self::derive(b"")
    }
}

impl std::fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StickyKey(..)")
    }
}

/// What a client's sticky cookie means at this moment. Indices are those of the snapshot asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StickyVerdict {
    /// Its server serves: send it there.
    Valid(usize),
    /// Its server is drained by an operator: still send it there.
    Draining(usize),
    /// Its server is known and does not serve: pick another, renew the cookie.
    Down(usize),
    /// Its server leaves: pick another, renew the cookie.
    Leaving(usize),
    /// No server has this value: pick one, renew the cookie.
    Unknown,
    /// Empty, over 256 bytes, or not made of cookie characters: as unknown.
    Invalid,
}

impl StickyVerdict {
    /// The metric labels, in the order of [`crate::BackendCounters::sticky`]; the last one is for
    /// requests without a cookie.
    pub const LABELS: [&'static str; 7] = [
        "valid", "draining", "down", "leaving", "unknown", "invalid", "none",
    ];
    /// The index in [`Self::LABELS`] of requests without a cookie.
    pub const NONE: usize = 6;

    /// The server to send the request to, if the cookie decides it.
    pub fn server(self) -> Option<usize> {
        match self {
            Self::Valid(index) | Self::Draining(index) => Some(index),
            _ => None,
        }
    }

    /// The index of this verdict in [`Self::LABELS`].
    pub fn label(self) -> usize {
        match self {
            Self::Valid(_) => 0,
            Self::Draining(_) => 1,
            Self::Down(_) => 2,
            Self::Leaving(_) => 3,
            Self::Unknown => 4,
            Self::Invalid => 5,
        }
    }
}

/// The longest cookie value looked at.
const MAX_VALUE: usize = 256;

/// Whether `value` may be looked up. Source: RFC 6265 4.1.1, cookie-octet.
pub(crate) fn is_cookie_value(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len() <= MAX_VALUE
        && value
            .iter()
            .all(|b| matches!(b, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn values_depend_on_key_backend_and_server_only() {
        let key = StickyKey::derive(b"k");
        let value = key.value(&name("nodes"), &name("s1"));
        assert_eq!(value.as_str().len(), 32);
        assert!(value.as_str().bytes().all(|b| DIGITS.contains(&b)));
        assert_eq!(
            value,
            StickyKey::derive(b"k").value(&name("nodes"), &name("s1"))
        );
        assert_ne!(
            value,
            StickyKey::derive(b"j").value(&name("nodes"), &name("s1"))
        );
        assert_ne!(value, key.value(&name("nodes"), &name("s2")));
        assert_ne!(
            key.value(&name("ab"), &name("c")),
            key.value(&name("a"), &name("bc"))
        );
    }

    #[test]
    fn cookie_characters() {
        assert!(is_cookie_value(b"abc!#+-:[]~"));
        for bad in [
            &b""[..],
            b"\"s1\"",
            b"a b",
            b"a,b",
            b"a;b",
            b"a\\b",
            b"\x7f",
            "é".as_bytes(),
            &[b'a'; 257],
        ] {
            assert!(!is_cookie_value(bad), "{bad:?}");
        }
    }
}
