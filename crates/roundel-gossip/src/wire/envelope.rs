//! What all traffic of one node is wrapped in, and the wrapping of what goes out.

use super::keyring::{EncryptionVersion, Keyring, Nonce};
use super::limits;
use super::lzw;
use super::message::{ENCRYPT, HAS_CRC, HAS_LABEL};

/// Bytes that a CRC adds to a packet.
const CRC_OVERHEAD: usize = 5;

/// Longer stream messages go plain: ten thousand members take some 40 ms to pack and unpack, and
/// 10 ms to send plain at 1 Gb/s. Receivers take either form.
const PACKED_AT_MOST: usize = 128 << 10;

/// The cluster's wrapping: same on all nodes, except that compression is each sender's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Keys; empty means that nothing is encrypted and encrypted traffic is refused.
    pub keyring: Keyring,
    /// Label that sets clusters on one network apart; Serf agents use none.
    pub label: Label,
    /// Whether what goes out is compressed; what comes in may always be.
    pub compress: bool,
}

/// A label of at most [`limits::LABEL`] bytes; empty means none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label(String);

/// The label is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a label has at most {limit} bytes, not {len}", limit = limits::LABEL)]
pub struct LabelError {
    /// Bytes of the refused label.
    pub len: usize,
}

impl Label {
    /// Makes a label; the empty text means that none is used.
    pub fn new(text: impl Into<String>) -> Result<Self, LabelError> {
        let text = text.into();
        match text.len() {
            len if len > limits::LABEL => Err(LabelError { len }),
            _ => Ok(Self(text)),
        }
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether no label is used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the bytes that the label adds in front.
    pub(super) fn overhead(&self) -> usize {
        if self.is_empty() { 0 } else { 2 + self.0.len() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            let len = u8::try_from(self.0.len()).expect("a label fits its length byte");
            out.extend_from_slice(&[HAS_LABEL, len]);
            out.extend_from_slice(self.0.as_bytes());
        }
    }

    /// Takes this label off the front of received bytes.
    ///
    /// Errors: a label that is missing, different, or there while none is expected.
    pub(super) fn strip<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Unlabelled> {
        let [HAS_LABEL, rest @ ..] = bytes else {
            return if self.is_empty() {
                Ok(bytes)
            } else {
                Err(Unlabelled::Mismatch)
            };
        };
        let (&len, rest) = rest.split_first().ok_or(Unlabelled::Truncated)?;
        let split = rest.split_at_checked(len.into());
        let (label, rest) = split.ok_or(Unlabelled::Truncated)?;
        if self.is_empty() || label != self.0.as_bytes() {
            return Err(Unlabelled::Mismatch);
        }
        Ok(rest)
    }
}

/// Why a label could not be taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlabelled {
    /// More bytes may complete it.
    Truncated,
    /// Not the label of this cluster.
    Mismatch,
}

impl Envelope {
    /// Counts the bytes that the layers add to a packet, at the most.
    pub fn packet_overhead(&self, crc: bool) -> usize {
        let encryption = match self.keyring.primary() {
            Some(_) => EncryptionVersion::Plain.overhead(0),
            None => 0,
        };
        let crc = if crc { CRC_OVERHEAD } else { 0 };
        self.label.overhead() + encryption + crc
    }

    /// Wraps one encoded message or compound into a packet.
    ///
    /// Shape: `crc` may be set only for receivers whose highest memberlist protocol is 5 or more.
    /// `nonce` is used only when there is a key, and must then never have been used before.
    pub fn seal_packet(&self, message: &[u8], crc: bool, nonce: &Nonce) -> Vec<u8> {
        let packed = self.compress.then(|| lzw::pack_message(message));
        let shorter = packed.filter(|packed| packed.len() < message.len());
        let message = shorter.as_deref().unwrap_or(message);
        let mut checked;
        let plain = if crc {
            checked = Vec::with_capacity(message.len() + CRC_OVERHEAD);
            checked.push(HAS_CRC);
            checked.extend_from_slice(&crc32fast::hash(message).to_be_bytes());
            checked.extend_from_slice(message);
            checked.as_slice()
        } else {
            message
        };
        let mut out = Vec::with_capacity(plain.len() + self.packet_overhead(false));
        self.label.write(&mut out);
        let aad = self.label.as_str().as_bytes();
        let version = EncryptionVersion::Plain;
        self.keyring.seal(version, nonce, aad, plain, &mut out);
        out
    }

    /// Wraps one encoded stream message into all that is written to a connection.
    ///
    /// Shape: compressed when compression is on, as agents do, unless the message is so long that
    /// packing it would take longer than sending it. `nonce` as in `seal_packet`.
    pub fn seal_stream(&self, message: &[u8], nonce: &Nonce) -> Vec<u8> {
        let pays = self.compress && message.len() <= PACKED_AT_MOST;
        let packed = pays.then(|| lzw::pack_message(message));
        let plain = packed.as_deref().unwrap_or(message);
        let mut out = Vec::with_capacity(plain.len() + 5 + self.packet_overhead(false));
        self.label.write(&mut out);
        if self.keyring.is_empty() {
            out.extend_from_slice(plain);
            return out;
        }
        let version = EncryptionVersion::Plain;
        let length = plain.len() + version.overhead(plain.len());
        let length = u32::try_from(length).expect("a stream message is far below 4 GiB");
        let mut aad = vec![ENCRYPT];
        aad.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&aad);
        aad.extend_from_slice(self.label.as_str().as_bytes());
        self.keyring.seal(version, nonce, &aad, plain, &mut out);
        out
    }
}
