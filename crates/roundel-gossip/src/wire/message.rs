//! The messages of memberlist that travel in UDP packets.

use std::net::{IpAddr, SocketAddr};

use super::limits;
use super::msgpack::{ReadError, Reader, Writer, read_map};
use super::record::{NodeRecord, read_ip, write_ip};
use super::{BadRecord, Reason, Rejected};

pub(super) const PING: u8 = 0;
pub(super) const INDIRECT_PING: u8 = 1;
pub(super) const ACK: u8 = 2;
pub(super) const SUSPECT: u8 = 3;
pub(super) const ALIVE: u8 = 4;
pub(super) const DEAD: u8 = 5;
pub(super) const PUSH_PULL: u8 = 6;
pub(super) const COMPOUND: u8 = 7;
pub(super) const USER: u8 = 8;
pub(super) const COMPRESS: u8 = 9;
pub(super) const ENCRYPT: u8 = 10;
pub(super) const NACK: u8 = 11;
pub(super) const HAS_CRC: u8 = 12;
pub(super) const ERR: u8 = 13;
pub(super) const HAS_LABEL: u8 = 244;

/// One message of memberlist, as gossiped or sent to one node over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Are you there?
    Ping(Ping),
    /// Ask another node for me.
    IndirectPing(IndirectPing),
    /// I am, or it is.
    Ack(Ack),
    /// It did not answer me.
    Nack(Nack),
    /// A node did not answer `from`.
    Suspect(Accusation),
    /// A node speaks for itself.
    Alive(NodeRecord),
    /// A node is dead; if `from` is the node itself, it left.
    Dead(Accusation),
    /// The application's own bytes; here always one [`super::SerfMessage`].
    User(Vec<u8>),
}

/// Asks a node to answer with an ack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ping {
    /// Who is meant; a node of another name stays silent. Empty means whoever listens.
    pub node: String,
    /// Number that the ack repeats.
    pub seq: u32,
    /// Who asks, if told.
    pub source: Source,
}

/// Asks a node to ping another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndirectPing {
    /// The name of the node to ping.
    pub node: String,
    /// Where the node to ping listens. Port 0 stands for the configured port.
    pub target: SocketAddr,
    /// Number that the ack or nack repeats.
    pub seq: u32,
    /// Whether a nack is wanted when the target stays silent.
    pub nack: bool,
    /// Who asks, if told.
    pub source: Source,
}

/// Who sent a ping; agents before 0.9 do not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// Where the ack shall go, instead of the datagram's source.
    pub address: Option<SocketAddr>,
    /// The sender's name, or empty.
    pub node: String,
}

/// Answers a ping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// Number of the ping.
    pub seq: u32,
    /// Network coordinate of the sender, not looked into; agents accept its absence.
    pub payload: Option<Vec<u8>>,
}

/// Tells that an indirectly pinged node did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nack {
    /// Number of the indirect ping.
    pub seq: u32,
}

/// Says something bad of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accusation {
    /// The node accused.
    pub node: String,
    /// Its incarnation as the accuser knows it.
    pub incarnation: u32,
    /// The accuser.
    pub from: String,
}

impl Message {
    /// Encodes the message, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.encode_into(&mut out);
        out
    }

    /// Appends the encoded message, type byte first.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(self.type_byte());
        let mut w = Writer::new(out);
        match self {
            Self::Ping(ping) => ping.write(&mut w),
            Self::IndirectPing(ping) => ping.write(&mut w),
            Self::Ack(ack) => ack.write(&mut w),
            Self::Nack(nack) => nack.write(&mut w),
            Self::Suspect(accusation) | Self::Dead(accusation) => accusation.write(&mut w),
            Self::Alive(record) => record.write_alive(&mut w),
            Self::User(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// Decodes one message, type byte first; bytes behind the value are ignored.
    ///
    /// Errors: unknown types, malformed bodies, and what [`BadRecord`] says.
    pub fn decode(bytes: &[u8]) -> Result<Self, Rejected> {
        let Some((&kind, body)) = bytes.split_first() else {
            return Err(Rejected::new(&[], Reason::Empty));
        };
        let r = &mut Reader::new(body);
        let message = match kind {
            PING => Ping::read(r).map(Self::Ping),
            INDIRECT_PING => IndirectPing::read(r).map(Self::IndirectPing),
            ACK => Ack::read(r).map(Self::Ack),
            NACK => Nack::read(r).map(Self::Nack),
            SUSPECT => Accusation::read(r).map(Self::Suspect),
            DEAD => Accusation::read(r).map(Self::Dead),
            ALIVE => return NodeRecord::read_alive(r).map(Self::Alive),
            USER => Ok(Self::User(body.to_vec())),
            other => Err(Reason::UnknownType(other)),
        };
        message.map_err(|reason| Rejected::new(&[], reason))
    }

    fn type_byte(&self) -> u8 {
        match self {
            Self::Ping(_) => PING,
            Self::IndirectPing(_) => INDIRECT_PING,
            Self::Ack(_) => ACK,
            Self::Nack(_) => NACK,
            Self::Suspect(_) => SUSPECT,
            Self::Alive(_) => ALIVE,
            Self::Dead(_) => DEAD,
            Self::User(_) => USER,
        }
    }
}

impl Ping {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(2 + self.source.fields());
        w.key("Node");
        w.raw(self.node.as_bytes());
        w.key("SeqNo");
        w.uint(self.seq.into());
        self.source.write(w);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        let mut ping = Self::default();
        let mut source = RawSource::default();
        read_map(r, |key, r| {
            match key {
                b"Node" => ping.node = name(r)?,
                b"SeqNo" => ping.seq = r.uint()?,
                _ => source.read(key, r)?,
            }
            Ok(())
        })?;
        ping.source = source.finish();
        Ok(ping)
    }
}

impl IndirectPing {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(5 + self.source.fields());
        w.key("Nack");
        w.bool(self.nack);
        w.key("Node");
        w.raw(self.node.as_bytes());
        w.key("Port");
        w.uint(self.target.port().into());
        w.key("SeqNo");
        w.uint(self.seq.into());
        self.source.write(w);
        w.key("Target");
        write_ip(w, self.target.ip());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        let (mut node, mut seq, mut nack) = (String::new(), 0, false);
        let (mut target, mut port): (&[u8], u16) = (&[], 0);
        let mut source = RawSource::default();
        read_map(r, |key, r| {
            match key {
                b"Nack" => nack = r.bool()?,
                b"Node" => node = name(r)?,
                b"Port" => port = r.uint()?,
                b"SeqNo" => seq = r.uint()?,
                b"Target" => target = r.raw()?.unwrap_or_default(),
                _ => source.read(key, r)?,
            }
            Ok(())
        })?;
        let ip = read_ip(target).ok_or(BadRecord::AddressLength(target.len()))?;
        Ok(Self {
            node,
            target: SocketAddr::new(ip, port),
            seq,
            nack,
            source: source.finish(),
        })
    }
}

impl Source {
    /// Counts the fields that are written; empty ones are left out.
    fn fields(&self) -> usize {
        let address = if self.address.is_some() { 2 } else { 0 };
        address + usize::from(!self.node.is_empty())
    }

    fn write(&self, w: &mut Writer<'_>) {
        if let Some(address) = self.address {
            w.key("SourceAddr");
            write_ip(w, address.ip());
        }
        if !self.node.is_empty() {
            w.key("SourceNode");
            w.raw(self.node.as_bytes());
        }
        if let Some(address) = self.address {
            w.key("SourcePort");
            w.uint(address.port().into());
        }
    }
}

/// The `Source*` fields before it is known whether they make an address.
#[derive(Default)]
struct RawSource {
    ip: Option<IpAddr>,
    port: u16,
    node: String,
}

impl RawSource {
    fn read(&mut self, key: &[u8], r: &mut Reader<'_>) -> Result<(), ReadError> {
        match key {
            b"SourceAddr" => self.ip = read_ip(r.raw()?.unwrap_or_default()),
            b"SourceNode" => self.node = name(r)?,
            b"SourcePort" => self.port = r.uint()?,
            _ => r.skip()?,
        }
        Ok(())
    }

    /// An address counts only with its port, as memberlist has it (`net.go`, `handlePing`).
    fn finish(self) -> Source {
        let address = self.ip.filter(|_| self.port > 0);
        Source {
            address: address.map(|ip| SocketAddr::new(ip, self.port)),
            node: self.node,
        }
    }
}

impl Ack {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(2);
        w.key("Payload");
        w.raw_or_nil(self.payload.as_deref());
        w.key("SeqNo");
        w.uint(self.seq.into());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        let mut ack = Self::default();
        read_map(r, |key, r| {
            match key {
                b"Payload" => ack.payload = r.raw()?.map(<[u8]>::to_vec),
                b"SeqNo" => ack.seq = r.uint()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(ack)
    }
}

impl Nack {
    fn write(self, w: &mut Writer<'_>) {
        w.map(1);
        w.key("SeqNo");
        w.uint(self.seq.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        let mut nack = Self::default();
        read_map(r, |key, r| {
            match key {
                b"SeqNo" => nack.seq = r.uint()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(nack)
    }
}

impl Accusation {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(3);
        w.key("From");
        w.raw(self.from.as_bytes());
        w.key("Incarnation");
        w.uint(self.incarnation.into());
        w.key("Node");
        w.raw(self.node.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        let mut accusation = Self::default();
        read_map(r, |key, r| {
            match key {
                b"From" => accusation.from = name(r)?,
                b"Incarnation" => accusation.incarnation = r.uint()?,
                b"Node" => accusation.node = name(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(accusation)
    }
}

/// Reads the name of a node; empty if absent.
pub(super) fn name(r: &mut Reader<'_>) -> Result<String, ReadError> {
    r.text(limits::NAME).map(str::to_owned)
}

#[cfg(test)]
mod tests;
