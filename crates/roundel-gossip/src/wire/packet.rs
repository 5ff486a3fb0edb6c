//! UDP packets: layers off, messages out; and packing messages into one packet.

use super::envelope::{Envelope, Unlabelled};
use super::keyring::{Nonce, OpenError};
use super::limits;
use super::lzw::{self, UnpackError};
use super::message::{COMPOUND, COMPRESS, HAS_CRC, Message};
use super::msgpack::ReadError;
use super::{Reason, Rejected};

/// What came out of one datagram, in the order in which it stood there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The messages.
    pub messages: Vec<Message>,
    /// The parts that were dropped.
    pub rejected: Vec<Rejected>,
}

/// Why a whole packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// No byte at all, or a layer that ends too early.
    #[error("the packet is cut off")]
    Truncated,
    /// Over [`limits::DATAGRAM`] bytes.
    #[error("the packet is too long")]
    TooLong,
    /// Another cluster's label, or one where none is used, or none where one is.
    #[error("the label is not ours")]
    Label,
    /// Not encrypted, or not for us.
    #[error("cannot decrypt: {0}")]
    Encryption(#[from] OpenError),
    /// The bytes were damaged on the way.
    #[error("wrong checksum")]
    Checksum,
    /// The compressed part cannot be unpacked.
    #[error("cannot unpack: {0}")]
    Compression(#[from] UnpackError),
}

/// Decodes one datagram into `out`, which is emptied first; its capacity serves again.
///
/// Shape: the layers are label, encryption, checksum, compression, compound, each at most once and
/// in this order. Errors: the whole packet is dropped, `out` is empty.
pub fn decode_packet(
    bytes: &[u8],
    envelope: &Envelope,
    out: &mut Packet,
) -> Result<(), PacketError> {
    out.messages.clear();
    out.rejected.clear();
    if bytes.len() > limits::DATAGRAM {
        return Err(PacketError::TooLong);
    }
    let bytes = envelope.label.strip(bytes).map_err(|error| match error {
        Unlabelled::Truncated => PacketError::Truncated,
        Unlabelled::Mismatch => PacketError::Label,
    })?;
    if envelope.keyring.is_empty() {
        return open_plain(bytes, out);
    }
    let aad = envelope.label.as_str().as_bytes();
    let plain = envelope.keyring.open(aad, bytes)?;
    open_plain(&plain, out)
}

fn open_plain(bytes: &[u8], out: &mut Packet) -> Result<(), PacketError> {
    let bytes = match bytes {
        [HAS_CRC, rest @ ..] => strip_crc(rest)?,
        _ => bytes,
    };
    match bytes {
        [COMPRESS, body @ ..] => {
            let unpacked = lzw::unpack_message(body, usize::MAX, limits::PACKET_UNPACKED)?;
            open_messages(&unpacked, out)
        }
        _ => open_messages(bytes, out),
    }
}

fn strip_crc(bytes: &[u8]) -> Result<&[u8], PacketError> {
    let (sum, rest) = bytes.split_first_chunk().ok_or(PacketError::Truncated)?;
    if crc32fast::hash(rest) != u32::from_be_bytes(*sum) {
        return Err(PacketError::Checksum);
    }
    Ok(rest)
}

fn open_messages(bytes: &[u8], out: &mut Packet) -> Result<(), PacketError> {
    match bytes {
        [] => Err(PacketError::Truncated),
        [COMPOUND, rest @ ..] => open_compound(rest, out),
        _ => {
            out.take(bytes);
            Ok(())
        }
    }
}

/// Delivers the parts that are whole; a compound that ends early loses only the rest.
fn open_compound(bytes: &[u8], out: &mut Packet) -> Result<(), PacketError> {
    let (&count, rest) = bytes.split_first().ok_or(PacketError::Truncated)?;
    let split = rest.split_at_checked(2 * usize::from(count));
    let (lengths, mut bodies) = split.ok_or(PacketError::Truncated)?;
    for length in lengths.chunks_exact(2) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let Some((body, rest)) = bodies.split_at_checked(length) else {
            let reason = Reason::Malformed(ReadError::Truncated);
            out.rejected.push(Rejected::new(&[], reason));
            break;
        };
        out.take(body);
        bodies = rest;
    }
    Ok(())
}

impl Packet {
    fn take(&mut self, bytes: &[u8]) {
        match Message::decode(bytes) {
            Ok(message) => self.messages.push(message),
            Err(rejected) => self.rejected.push(rejected),
        }
    }
}

/// Packs encoded messages into one packet of bounded size.
///
/// Shape: what [`PacketWriter::push`] takes always fits, all layers included; compression can only
/// make the packet shorter.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    envelope: &'a Envelope,
    crc: bool,
    room: usize,
    lengths: Vec<u16>,
    bodies: Vec<u8>,
}

impl<'a> PacketWriter<'a> {
    /// Starts a packet of at most `budget` bytes; `crc` as in [`Envelope::seal_packet`].
    pub fn new(envelope: &'a Envelope, budget: usize, crc: bool) -> Self {
        let budget = budget.min(limits::DATAGRAM - 1);
        Self {
            envelope,
            crc,
            room: budget.saturating_sub(envelope.packet_overhead(crc)),
            lengths: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Counts the bytes of the longest message that still fits.
    pub fn remaining(&self) -> usize {
        let parts = self.lengths.len();
        if parts == limits::COMPOUND_PARTS {
            return 0;
        }
        let framing = if parts == 0 { 0 } else { 2 + 2 * (parts + 1) };
        self.room.saturating_sub(self.bodies.len() + framing)
    }

    /// Adds an encoded message if it fits, and says whether it did.
    pub fn push(&mut self, message: &[u8]) -> bool {
        if message.len() > self.remaining() {
            return false;
        }
        let length = u16::try_from(message.len()).expect("the room is below 64 KiB");
        self.lengths.push(length);
        self.bodies.extend_from_slice(message);
        true
    }

    /// Says whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Counts the messages added.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Wraps what was added into a packet; `nonce` as in [`Envelope::seal_packet`].
    ///
    /// Shape: `None` if nothing was added.
    pub fn finish(self, nonce: &Nonce) -> Option<Vec<u8>> {
        match self.lengths.len() {
            0 => None,
            1 => Some(self.envelope.seal_packet(&self.bodies, self.crc, nonce)),
            parts => {
                let count = u8::try_from(parts).expect("remaining() stops at 255 parts");
                let mut out = Vec::with_capacity(2 + 2 * parts + self.bodies.len());
                out.extend_from_slice(&[COMPOUND, count]);
                out.extend(self.lengths.iter().flat_map(|length| length.to_be_bytes()));
                out.extend_from_slice(&self.bodies);
                Some(self.envelope.seal_packet(&out, self.crc, nonce))
            }
        }
    }
}

#[cfg(test)]
mod tests;
