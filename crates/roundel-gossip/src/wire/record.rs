//! What is said about one node: only records that no agent chokes on can be built.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::limits;
use super::msgpack::{ReadError, Reader, Writer, read_map};
use super::{Reason, Rejected};

/// The protocol versions a node speaks: lowest, highest and spoken one, of memberlist and of Serf.
///
/// Invariant: `1 <= min <= current <= max` for memberlist, `min <= current <= max` for Serf.
/// Source: memberlist `state.go`, `verifyProtocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Versions {
    bytes: [u8; 6],
}

impl Versions {
    /// The versions that every Serf agent since 0.8 announces, and so do we.
    pub const SERF: Self = Self {
        bytes: [1, 5, 2, 2, 5, 5],
    };

    /// Checks six version bytes: memberlist min, max, current, then Serf min, max, current.
    ///
    /// Errors: not of this form, or ranges that contradict themselves.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, BadRecord> {
        let bytes: [u8; 6] = bytes.try_into().map_err(|_| BadRecord::VersionForm)?;
        let [pmin, pmax, pcur, dmin, dmax, dcur] = bytes;
        let consistent = pmin >= 1 && pmin <= pcur && pcur <= pmax && dmin <= dcur && dcur <= dmax;
        if consistent {
            Ok(Self { bytes })
        } else {
            Err(BadRecord::VersionForm)
        }
    }

    /// Returns the six bytes as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8; 6] {
        &self.bytes
    }

    /// Lowest memberlist protocol understood.
    pub fn protocol_min(&self) -> u8 {
        self.bytes[0]
    }

    /// Highest memberlist protocol understood: 3 answers TCP pings, 4 sends nacks, 5 takes a CRC.
    pub fn protocol_max(&self) -> u8 {
        self.bytes[1]
    }

    /// Memberlist protocol spoken.
    pub fn protocol_current(&self) -> u8 {
        self.bytes[2]
    }

    /// Lowest Serf protocol understood.
    pub fn delegate_min(&self) -> u8 {
        self.bytes[3]
    }

    /// Highest Serf protocol understood.
    pub fn delegate_max(&self) -> u8 {
        self.bytes[4]
    }

    /// Serf protocol spoken.
    pub fn delegate_current(&self) -> u8 {
        self.bytes[5]
    }

    /// Says whether each side speaks a version that the other understands, on both levels.
    pub fn is_compatible_with(&self, other: &Self) -> bool {
        let within = |low: u8, current: u8, high: u8| low <= current && current <= high;
        let takes = |a: &Self, b: &Self| {
            within(a.protocol_min(), b.protocol_current(), a.protocol_max())
                && within(a.delegate_min(), b.delegate_current(), a.delegate_max())
        };
        takes(self, other) && takes(other, self)
    }
}

/// Why a record about a node is not accepted, nor ever passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Protocol versions that do not have the form of [`Versions`].
    #[error("malformed protocol versions")]
    VersionForm,
    /// Versions that no Serf agent understands.
    #[error("protocol versions {0:?} are incompatible with Serf's")]
    Incompatible([u8; 6]),
    /// A node without a name.
    #[error("empty node name")]
    EmptyName,
    /// A name longer than [`limits::NAME`].
    #[error("node name of {0} bytes")]
    NameTooLong(usize),
    /// An address of neither 4 nor 16 bytes.
    #[error("address of {0} bytes")]
    AddressLength(usize),
    /// An address that no single node can have: unspecified, multicast or broadcast.
    #[error("{0} cannot be the address of a node")]
    UnusableAddress(IpAddr),
    /// Metadata longer than [`limits::META`].
    #[error("metadata of {0} bytes")]
    MetaTooLong(usize),
    /// A state that is none of alive, suspect, dead, left.
    #[error("unknown node state {0}")]
    UnknownState(u64),
}

/// What a node says about itself: the content of an `alive` message.
///
/// Invariant: name of 1..=255 bytes, address of one host, metadata of at most 512 bytes, versions
/// that every Serf agent gets along with. The port may be 0, which means the configured one.
///
/// An agent that binds to all addresses writes its IPv4 address in 16 bytes, one that is given an
/// address in 4. Peers compare the bytes, so each record is passed on in the form in which it came.
/// Source: memberlist `state.go`, `aliveNode`; `default-bind-debian-0.9.4.jsonl` of the vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    name: String,
    address: SocketAddr,
    meta: Vec<u8>,
    incarnation: u32,
    versions: Versions,
}

impl NodeRecord {
    /// Builds a record that agents accept.
    ///
    /// Shape: an IPv4 address in its IPv6-mapped form is written so, and read as plain IPv4.
    /// Errors: what [`BadRecord`] says about names, addresses, metadata and incompatible versions.
    pub fn new(
        name: String,
        address: SocketAddr,
        meta: Vec<u8>,
        incarnation: u32,
        versions: Versions,
    ) -> Result<Self, BadRecord> {
        let ip = address.ip().to_canonical();
        if !versions.is_compatible_with(&Versions::SERF) {
            return Err(BadRecord::Incompatible(versions.bytes));
        }
        if name.is_empty() {
            return Err(BadRecord::EmptyName);
        }
        if name.len() > limits::NAME {
            return Err(BadRecord::NameTooLong(name.len()));
        }
        if meta.len() > limits::META {
            return Err(BadRecord::MetaTooLong(meta.len()));
        }
        let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(BadRecord::UnusableAddress(ip));
        }
        Ok(Self {
            name,
            address,
            meta,
            incarnation,
            versions,
        })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the node listens, UDP and TCP. Port 0 stands for the configured port.
    pub fn address(&self) -> SocketAddr {
        canonical(self.address)
    }

    /// The same in the form in which it is written: IPv4 may be mapped to IPv6.
    pub fn written_address(&self) -> SocketAddr {
        self.address
    }

    /// The node's metadata; see [`super::tags`].
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// The node's own counter; a higher one overrules what was said before.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The versions the node speaks.
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// Returns the same record with another incarnation.
    #[must_use]
    pub fn with_incarnation(mut self, incarnation: u32) -> Self {
        self.incarnation = incarnation;
        self
    }

    /// Replaces the port, for records that came with port 0.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// Takes the record apart: name, written address, metadata, incarnation, versions.
    pub fn into_parts(self) -> (String, SocketAddr, Vec<u8>, u32, Versions) {
        (
            self.name,
            self.address,
            self.meta,
            self.incarnation,
            self.versions,
        )
    }

    /// Writes the body of an `alive` message.
    pub(super) fn write_alive(&self, w: &mut Writer<'_>) {
        w.map(6);
        w.key("Addr");
        write_ip(w, self.address.ip());
        w.key("Incarnation");
        w.uint(self.incarnation.into());
        w.key("Meta");
        w.raw(&self.meta);
        w.key("Node");
        w.raw(self.name.as_bytes());
        w.key("Port");
        w.uint(self.address.port().into());
        w.key("Vsn");
        w.raw(&self.versions.bytes);
    }

    /// Reads the body of an `alive` message.
    pub(super) fn read_alive(r: &mut Reader<'_>) -> Result<Self, Rejected> {
        RawRecord::read(r).and_then(|raw| raw.check())
    }
}

/// The state of a node as a push/pull carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// Answers.
    Alive,
    /// Did not answer somebody.
    Suspect,
    /// Was declared dead.
    Dead,
    /// Said that it leaves.
    Left,
}

impl RecordState {
    fn from_wire(value: u64) -> Result<Self, BadRecord> {
        match value {
            0 => Ok(Self::Alive),
            1 => Ok(Self::Suspect),
            2 => Ok(Self::Dead),
            3 => Ok(Self::Left),
            other => Err(BadRecord::UnknownState(other)),
        }
    }

    fn to_wire(self) -> u64 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }
}

/// One node of a push/pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// What the node said about itself.
    pub record: NodeRecord,
    /// What the sender thinks of it.
    pub state: RecordState,
}

/// A record on its way out, where its owner keeps it. The owner answers for its being one that
/// passed the checks of [`NodeRecord`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateRef<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) meta: &'a [u8],
    pub(crate) incarnation: u32,
    pub(crate) versions: &'a [u8; 6],
    pub(crate) state: RecordState,
}

impl StateRef<'_> {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        let record = self;
        w.map(7);
        w.key("Addr");
        write_ip(w, record.address.ip());
        w.key("Incarnation");
        w.uint(record.incarnation.into());
        w.key("Meta");
        w.raw(record.meta);
        w.key("Name");
        w.raw(record.name.as_bytes());
        w.key("Port");
        w.uint(record.address.port().into());
        w.key("State");
        w.uint(self.state.to_wire());
        w.key("Vsn");
        w.raw(record.versions);
    }
}

impl NodeState {
    pub(super) fn as_ref(&self) -> StateRef<'_> {
        StateRef {
            name: &self.record.name,
            address: self.record.address,
            meta: &self.record.meta,
            incarnation: self.record.incarnation,
            versions: &self.record.versions.bytes,
            state: self.state,
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Rejected> {
        let raw = RawRecord::read(r)?;
        let state = RecordState::from_wire(raw.state).map_err(|bad| raw.reject(bad))?;
        Ok(Self {
            record: raw.check()?,
            state,
        })
    }
}

/// The fields of a record before any check, still inside the received bytes.
#[derive(Default)]
struct RawRecord<'a> {
    name: &'a [u8],
    ip: &'a [u8],
    port: u16,
    meta: &'a [u8],
    incarnation: u32,
    versions: &'a [u8],
    state: u64,
}

impl<'a> RawRecord<'a> {
    /// Reads either form: `Node` names the node in an alive message, `Name` in a push/pull.
    fn read(r: &mut Reader<'a>) -> Result<Self, Rejected> {
        let mut raw = Self::default();
        let result = read_map(r, |key, r| {
            match key {
                b"Addr" => raw.ip = r.raw()?.unwrap_or_default(),
                b"Incarnation" => raw.incarnation = r.uint()?,
                b"Meta" => raw.meta = r.raw()?.unwrap_or_default(),
                b"Node" | b"Name" => raw.name = r.raw()?.unwrap_or_default(),
                b"Port" => raw.port = r.uint()?,
                b"State" => raw.state = r.uint()?,
                b"Vsn" => raw.versions = r.raw()?.unwrap_or_default(),
                _ => r.skip()?,
            }
            Ok(())
        });
        match result {
            Ok(()) => Ok(raw),
            Err(error) => Err(raw.reject(error)),
        }
    }

    fn check(self) -> Result<NodeRecord, Rejected> {
        self.build().map_err(|reason| self.reject(reason))
    }

    fn build(&self) -> Result<NodeRecord, Reason> {
        let versions = Versions::from_wire(self.versions)?;
        let ip = read_ip(self.ip).ok_or(BadRecord::AddressLength(self.ip.len()))?;
        if self.name.len() > limits::NAME {
            return Err(BadRecord::NameTooLong(self.name.len()).into());
        }
        if self.meta.len() > limits::META {
            return Err(BadRecord::MetaTooLong(self.meta.len()).into());
        }
        let name = std::str::from_utf8(self.name).map_err(|_| ReadError::NotText)?;
        let address = SocketAddr::new(ip, self.port);
        let meta = self.meta.to_vec();
        NodeRecord::new(name.to_owned(), address, meta, self.incarnation, versions)
            .map_err(Reason::from)
    }

    fn reject(&self, reason: impl Into<Reason>) -> Rejected {
        Rejected::new(self.name, reason.into())
    }
}

/// Reads an address of 4 or 16 bytes; the mapped form of IPv4 stays as it is, so that it can be
/// written back.
pub(super) fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(v6)))
}

/// IPv4 that is mapped to IPv6 is IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Writes an address as 4 or 16 bytes.
pub(super) fn write_ip(w: &mut Writer<'_>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => w.raw(&v4.octets()),
        IpAddr::V6(v6) => w.raw(&v6.octets()),
    }
}

#[cfg(test)]
mod tests;
