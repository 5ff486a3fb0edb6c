//! Encryption: AES-GCM with a ring of keys.
//!
//! Source: memberlist `security.go` and `keyring.go`.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, KeyInit, aes::Aes192};

use super::limits;

/// Bytes of the version byte and the nonce before the ciphertext.
const HEADER: usize = 1 + NONCE;
const NONCE: usize = 12;
const TAG: usize = 16;
const BLOCK: usize = 16;

/// A number used once per key; the caller draws it from a strong source.
pub type Nonce = [u8; NONCE];

/// How the plain text is laid out before encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncryptionVersion {
    /// Padded to whole blocks (PKCS#7); protocol 1 sent this, all still accept it.
    Padded,
    /// As it is; what everybody sends.
    #[default]
    Plain,
}

impl EncryptionVersion {
    /// Counts the bytes that encryption adds to `len` plain bytes.
    pub fn overhead(self, len: usize) -> usize {
        match self {
            Self::Padded => HEADER + TAG + (BLOCK - len % BLOCK),
            Self::Plain => HEADER + TAG,
        }
    }
}

/// A key for AES-128, AES-192 or AES-256.
///
/// Its bytes show neither in debug output nor in errors.
#[derive(Clone)]
pub struct Key {
    bytes: Vec<u8>,
    cipher: Box<Cipher>,
}

#[derive(Clone)]
enum Cipher {
    Aes128(Aes128Gcm),
    Aes192(AesGcm<Aes192, U12>),
    Aes256(Aes256Gcm),
}

/// Why a key or a change of the ring is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 16, 24 or 32 bytes.
    #[error("a key has 16, 24 or 32 bytes, not {0}")]
    Length(usize),
    /// The key is not in the ring.
    #[error("the key is not in the ring")]
    Unknown,
    /// The primary key cannot be removed.
    #[error("the primary key cannot be removed")]
    Primary,
    /// The ring holds [`limits::KEYS`] keys already.
    #[error("the ring is full")]
    Full,
}

impl Key {
    /// Makes a key of 16, 24 or 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let length = |_| KeyError::Length(bytes.len());
        let cipher = match bytes.len() {
            16 => Cipher::Aes128(Aes128Gcm::new_from_slice(bytes).map_err(length)?),
            24 => Cipher::Aes192(AesGcm::new_from_slice(bytes).map_err(length)?),
            32 => Cipher::Aes256(Aes256Gcm::new_from_slice(bytes).map_err(length)?),
            other => return Err(KeyError::Length(other)),
        };
        Ok(Self {
            bytes: bytes.to_vec(),
            cipher: Box::new(cipher),
        })
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn encrypt(&self, nonce: &Nonce, aad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let nonce = nonce.into();
        match &*self.cipher {
            Cipher::Aes128(c) => c.encrypt_inout_detached(nonce, aad, text.into()),
            Cipher::Aes192(c) => c.encrypt_inout_detached(nonce, aad, text.into()),
            Cipher::Aes256(c) => c.encrypt_inout_detached(nonce, aad, text.into()),
        }
        .expect("all messages are far shorter than the 64 GiB of AES-GCM")
        .into()
    }

    /// Decrypts in place; on failure `text` is left as it was.
    fn decrypt(&self, nonce: &Nonce, aad: &[u8], text: &mut [u8], tag: &[u8; TAG]) -> bool {
        let (nonce, tag) = (nonce.into(), tag.into());
        match &*self.cipher {
            Cipher::Aes128(c) => c.decrypt_inout_detached(nonce, aad, text.into(), tag),
            Cipher::Aes192(c) => c.decrypt_inout_detached(nonce, aad, text.into(), tag),
            Cipher::Aes256(c) => c.decrypt_inout_detached(nonce, aad, text.into(), tag),
        }
        .is_ok()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} secret bytes)", self.bytes.len())
    }
}

/// The keys of a cluster: the first encrypts, every one decrypts. An empty ring encrypts nothing.
///
/// Invariant: no key twice, at most [`limits::KEYS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// Why encrypted bytes could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than any encrypted message, so most likely not encrypted.
    #[error("too short to be encrypted")]
    TooShort,
    /// A version byte that is not known, so most likely not encrypted.
    #[error("encryption version {0} is unknown")]
    Version(u8),
    /// No key of the ring fits.
    #[error("no installed key fits")]
    NoKey,
    /// The padding of version 0 is wrong.
    #[error("wrong padding")]
    Padding,
}

impl Keyring {
    /// Makes a ring; the first key is the primary one.
    ///
    /// Errors: `Full` for more than [`limits::KEYS`] different keys.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, KeyError> {
        let mut ring = Self::default();
        keys.into_iter().try_for_each(|key| ring.install(key))?;
        Ok(ring)
    }

    /// The keys, primary first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key that encrypts.
    pub fn primary(&self) -> Option<&Key> {
        self.keys.first()
    }

    /// Says whether nothing is encrypted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key behind the others; one that is there already is not added again.
    pub fn install(&mut self, key: Key) -> Result<(), KeyError> {
        if self.keys.contains(&key) {
            return Ok(());
        }
        if self.keys.len() == limits::KEYS {
            return Err(KeyError::Full);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Makes an installed key the primary one.
    pub fn use_key(&mut self, key: &Key) -> Result<(), KeyError> {
        let at = self.position(key)?;
        self.keys[..=at].rotate_right(1);
        Ok(())
    }

    /// Removes a key that is not the primary one; one that is not there is gone already, as Serf
    /// takes it: who joined late with the new key fails no rotation.
    pub fn remove(&mut self, key: &Key) -> Result<(), KeyError> {
        if self.primary() == Some(key) {
            return Err(KeyError::Primary);
        }
        self.keys.retain(|other| other != key);
        Ok(())
    }

    fn position(&self, key: &Key) -> Result<usize, KeyError> {
        let at = self.keys.iter().position(|other| other == key);
        at.ok_or(KeyError::Unknown)
    }

    /// Encrypts with the primary key and appends version, nonce, ciphertext and tag to `out`;
    /// without a key, appends `plain` as it is.
    pub fn seal(
        &self,
        version: EncryptionVersion,
        nonce: &Nonce,
        aad: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Some(key) = self.primary() else {
            out.extend_from_slice(plain);
            return;
        };
        out.reserve(plain.len() + version.overhead(plain.len()));
        out.push(match version {
            EncryptionVersion::Padded => 0,
            EncryptionVersion::Plain => 1,
        });
        out.extend_from_slice(nonce);
        let text_at = out.len();
        out.extend_from_slice(plain);
        if version == EncryptionVersion::Padded {
            let pad = BLOCK - plain.len() % BLOCK;
            out.resize(out.len() + pad, pad as u8);
        }
        let tag = key.encrypt(nonce, aad, &mut out[text_at..]);
        out.extend_from_slice(&tag);
    }

    /// Decrypts version, nonce, ciphertext and tag with whichever key fits.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::TooShort)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(OpenError::TooShort)?;
        let (text, tag) = rest.split_last_chunk().ok_or(OpenError::TooShort)?;
        if version > 1 {
            return Err(OpenError::Version(version));
        }
        let mut plain = text.to_vec();
        let fits = |key: &Key| key.decrypt(nonce, aad, &mut plain, tag);
        if !self.keys.iter().any(fits) {
            return Err(OpenError::NoKey);
        }
        if version == 0 {
            strip_padding(&mut plain)?;
        }
        Ok(plain)
    }
}

/// Takes PKCS#7 padding off after checking all of it.
fn strip_padding(plain: &mut Vec<u8>) -> Result<(), OpenError> {
    let pad = usize::from(*plain.last().ok_or(OpenError::Padding)?);
    let keep = plain.len().checked_sub(pad).ok_or(OpenError::Padding)?;
    let is_padding = |byte: &u8| usize::from(*byte) == pad;
    if !(1..=BLOCK).contains(&pad) || !plain[keep..].iter().all(is_padding) {
        return Err(OpenError::Padding);
    }
    plain.truncate(keep);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> Key {
        Key::new(&[fill; 16]).unwrap()
    }

    fn ring(fills: &[u8]) -> Keyring {
        Keyring::new(fills.iter().map(|fill| key(*fill))).unwrap()
    }

    #[test]
    fn keys_have_three_lengths() {
        for len in 0..40 {
            let made = Key::new(&vec![0; len]);
            let expected = matches!(len, 16 | 24 | 32);
            assert_eq!(made.is_ok(), expected, "{len}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", ring(&[0x5a]));
        assert!(shown.contains("16 secret bytes"), "{shown}");
        assert!(
            !shown.contains("90") && !shown.to_lowercase().contains("5a"),
            "{shown}"
        );
    }

    #[test]
    fn the_first_key_is_the_primary_one() {
        let mut ring = ring(&[1, 2, 3, 1]);
        assert_eq!(ring.keys(), [key(1), key(2), key(3)]);
        ring.use_key(&key(3)).unwrap();
        assert_eq!(ring.keys(), [key(3), key(1), key(2)]);
        assert_eq!(ring.use_key(&key(9)), Err(KeyError::Unknown));
        assert_eq!(ring.remove(&key(3)), Err(KeyError::Primary));
        ring.remove(&key(1)).unwrap();
        ring.remove(&key(1)).unwrap();
        assert_eq!(ring.keys(), [key(3), key(2)]);
    }

    #[test]
    fn a_ring_is_bounded() {
        let fills: Vec<u8> = (0..16).collect();
        let mut ring = ring(&fills);
        assert_eq!(ring.install(key(3)), Ok(()));
        assert_eq!(ring.install(key(99)), Err(KeyError::Full));
    }

    /// AES-GCM test case 4 of the mode's submission (McGrew and Viega 2005), 128-bit key.
    #[test]
    fn matches_the_published_vector() {
        let key = [
            0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30,
            0x83, 0x08,
        ];
        let nonce = [
            0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88,
        ];
        let plain = [0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5];
        let ring = Keyring::new([Key::new(&key).unwrap()]).unwrap();
        let mut sealed = Vec::new();
        let version = EncryptionVersion::Plain;
        ring.seal(version, &nonce, b"", &plain, &mut sealed);
        let cipher = [0x42, 0x83, 0x1e, 0xc2, 0x21, 0x77, 0x74, 0x24];
        assert_eq!(sealed[0], 1);
        assert_eq!(sealed[1..13], nonce);
        assert_eq!(sealed[13..21], cipher);
    }

    #[test]
    fn padding_is_checked() {
        let check = |mut plain: Vec<u8>, expected: Result<&[u8], OpenError>| {
            let result = strip_padding(&mut plain).map(|()| plain.as_slice());
            assert_eq!(result, expected);
        };
        check(vec![9, 9, 2, 2], Ok(&[9, 9]));
        check(vec![1], Ok(&[]));
        check(vec![16; 16], Ok(&[]));
        check(vec![], Err(OpenError::Padding));
        check(vec![9, 0], Err(OpenError::Padding));
        check(vec![9, 3], Err(OpenError::Padding));
        check(vec![9, 1, 2, 3], Err(OpenError::Padding));
        check(vec![17; 32], Err(OpenError::Padding));
    }

    #[test]
    fn what_is_not_sealed_does_not_open() {
        let ring = ring(&[1]);
        assert_eq!(ring.open(b"", &[]), Err(OpenError::TooShort));
        assert_eq!(ring.open(b"", &[1; 28]), Err(OpenError::TooShort));
        assert_eq!(ring.open(b"", &[1; 29]), Err(OpenError::NoKey));
        assert_eq!(ring.open(b"", &[2; 29]), Err(OpenError::Version(2)));
        let none = Keyring::default();
        assert_eq!(none.open(b"", &[1; 29]), Err(OpenError::NoKey));
    }
}
