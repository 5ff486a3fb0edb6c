//! Packets and stream messages on their way out.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Node, Output};
use crate::MAX_PACKET;
use crate::config::{Config, ConfigError};
use crate::wire::{Envelope, Key, Keyring, Label, Message, Nonce, PacketWriter, limits};

/// What a message costs in a compound beside itself: its length.
const PART: usize = 2;

/// What a compound costs beside its parts: type and count.
const COMPOUND: usize = 2;

/// Wraps what goes out; gives each packet a nonce of its own.
#[derive(Debug)]
pub(super) struct Seal {
    pub(super) envelope: Envelope,
    nonce: u128,
}

impl Seal {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.keys.len() > limits::KEYS {
            return Err(ConfigError::Keys(config.keys.len()));
        }
        let keys: Vec<Key> = config
            .keys
            .iter()
            .map(|key| Key::new(key).map_err(|_| ConfigError::Key(key.len())))
            .collect::<Result<_, _>>()?;
        let label = Label::new(config.label.as_str()).map_err(|e| ConfigError::Label(e.len))?;
        let mut nonce = [0; 16];
        nonce[4..].copy_from_slice(&config.nonce);
        Ok(Self {
            envelope: Envelope {
                keyring: Keyring::new(keys).expect("the number of keys was checked"),
                label,
                compress: config.compress,
            },
            nonce: u128::from_be_bytes(nonce),
        })
    }

    /// Counts on from a random start in 96 bits, so no two nodes of a cluster meet.
    fn next_nonce(&mut self) -> Nonce {
        self.nonce = self.nonce.wrapping_add(1);
        let bytes = self.nonce.to_be_bytes();
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&bytes[4..]);
        nonce
    }

    /// Wraps an encoded stream message.
    pub(super) fn stream(&mut self, message: &[u8]) -> Vec<u8> {
        let nonce = self.next_nonce();
        self.envelope.seal_stream(message, &nonce)
    }
}

impl Node {
    /// Sends messages in one packet and fills it with waiting broadcasts.
    pub(super) fn send(&mut self, to: SocketAddr, messages: &[Message]) {
        let encoded: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
        let used: usize = encoded.iter().map(|m| m.len() + PART).sum();
        let more = self.take_broadcasts(used, false, limits::COMPOUND_PARTS - encoded.len());
        let parts = encoded.iter().map(Vec::as_slice);
        self.send_parts(to, parts.chain(more.iter().map(|m| &**m)), false);
    }

    /// Sends one encoded message and nothing with it; drops it if it is too long.
    pub(super) fn send_alone(&mut self, to: SocketAddr, message: &[u8]) {
        self.send_parts(to, std::iter::once(message), false);
    }

    /// The longest encoded message that a packet can carry.
    pub(super) fn longest_message(&self) -> usize {
        MAX_PACKET - self.seal.envelope.packet_overhead(true) - COMPOUND - PART
    }

    /// Sends waiting broadcasts only. `crc` is for receivers that understand it.
    pub(super) fn send_broadcasts(&mut self, to: SocketAddr, crc: bool) {
        let parts = self.take_broadcasts(0, crc, limits::COMPOUND_PARTS);
        self.send_parts(to, parts.iter().map(|m| &**m), crc);
    }

    /// Takes broadcasts that fit beside `used` bytes.
    fn take_broadcasts(&mut self, used: usize, crc: bool, count: usize) -> Vec<Arc<[u8]>> {
        let overhead = self.seal.envelope.packet_overhead(crc) + COMPOUND + used;
        let room = MAX_PACKET.saturating_sub(overhead);
        let times = self.transmissions();
        self.queue.take(room, PART, count, times)
    }

    fn send_parts<'a>(&mut self, to: SocketAddr, parts: impl Iterator<Item = &'a [u8]>, crc: bool) {
        let nonce = self.seal.next_nonce();
        let mut writer = PacketWriter::new(&self.seal.envelope, MAX_PACKET, crc);
        for part in parts {
            // Our own messages always fit; a relayed one that does not is dropped.
            writer.push(part);
        }
        if let Some(bytes) = writer.finish(&nonce) {
            debug_assert!(bytes.len() <= MAX_PACKET, "packet of {}", bytes.len());
            self.stats.datagrams_out += 1;
            self.stats.datagram_bytes_out += bytes.len() as u64;
            self.outputs.push_back(Output::Datagram { to, bytes });
        }
    }
}
