//! Questions, answers, and passing them on.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::limits;
use super::super::message::name;
use super::super::msgpack::{Reader, Writer, read_map};
use super::super::record::{read_ip, write_ip};
use super::{SerfError, bytes, text};

/// Asks all nodes, or those that its filters let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Lamport time of the query.
    pub ltime: u64,
    /// Number that the answers repeat, random.
    pub id: u32,
    /// Where answers go.
    pub from: SocketAddr,
    /// Name of the asking node; empty from agents before 0.9.
    pub source_node: String,
    /// Encoded [`Filter`]s, all of which must match; kept as bytes, so that unknown kinds can be
    /// passed on.
    pub filters: Vec<Vec<u8>>,
    /// [`Query::WANTS_ACK`] and [`Query::NO_BROADCAST`].
    pub flags: u32,
    /// Random nodes that pass each answer on a second time.
    pub relay_factor: u8,
    /// Time after which answers are of no use.
    pub timeout: Duration,
    /// What is asked; names with the prefix `_serf_` are between nodes.
    pub name: String,
    /// Arguments.
    pub payload: Option<Vec<u8>>,
}

impl Query {
    /// Flag: every node that handles the query acknowledges it.
    pub const WANTS_ACK: u32 = 1;
    /// Flag: nodes do not gossip the query on.
    pub const NO_BROADCAST: u32 = 2;

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(11);
        w.key("Addr");
        write_ip(w, self.from.ip());
        w.key("Filters");
        self.write_filters(w);
        w.key("Flags");
        w.uint(self.flags.into());
        w.key("ID");
        w.uint(self.id.into());
        w.key("LTime");
        w.uint(self.ltime);
        w.key("Name");
        w.raw(self.name.as_bytes());
        w.key("Payload");
        w.raw_or_nil(self.payload.as_deref());
        w.key("Port");
        w.uint(self.from.port().into());
        w.key("RelayFactor");
        w.uint(self.relay_factor.into());
        w.key("SourceNode");
        w.raw(self.source_node.as_bytes());
        w.key("Timeout");
        w.uint(nanoseconds(self.timeout));
    }

    fn write_filters(&self, w: &mut Writer<'_>) {
        if self.filters.is_empty() {
            return w.nil();
        }
        w.array(self.filters.len());
        self.filters.iter().for_each(|filter| w.raw(filter));
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut query = Self {
            ltime: 0,
            id: 0,
            from: SocketAddr::from(([0; 4], 0)),
            source_node: String::new(),
            filters: Vec::new(),
            flags: 0,
            relay_factor: 0,
            timeout: Duration::ZERO,
            name: String::new(),
            payload: None,
        };
        let (mut ip, mut port): (&[u8], u16) = (&[], 0);
        read_map(r, |key, r| {
            match key {
                b"Addr" => ip = r.raw()?.unwrap_or_default(),
                b"Filters" => {
                    for _ in 0..r.array()?.unwrap_or(0) {
                        query.filters.push(bytes(r)?.unwrap_or_default());
                    }
                }
                b"Flags" => query.flags = r.uint()?,
                b"ID" => query.id = r.uint()?,
                b"LTime" => query.ltime = r.uint()?,
                b"Name" => query.name = text(r)?,
                b"Payload" => query.payload = bytes(r)?,
                b"Port" => port = r.uint()?,
                b"RelayFactor" => query.relay_factor = r.uint()?,
                b"SourceNode" => query.source_node = name(r)?,
                b"Timeout" => query.timeout = duration(r.integer()?),
                _ => r.skip()?,
            }
            Ok(())
        })?;
        let ip = read_ip(ip).ok_or(SerfError::AddressLength(ip.len()))?;
        query.from = SocketAddr::new(ip, port);
        Ok(query)
    }
}

/// Answers or acknowledges a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryResponse {
    /// Lamport time of the query.
    pub ltime: u64,
    /// Number of the query.
    pub id: u32,
    /// Who answers.
    pub from: String,
    /// [`QueryResponse::ACK`].
    pub flags: u32,
    /// The answer.
    pub payload: Option<Vec<u8>>,
}

impl QueryResponse {
    /// Flag: this acknowledges and answers nothing.
    pub const ACK: u32 = 1;

    /// Says whether this is an acknowledgement only.
    pub fn is_ack(&self) -> bool {
        self.flags & Self::ACK != 0
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(5);
        w.key("Flags");
        w.uint(self.flags.into());
        w.key("From");
        w.raw(self.from.as_bytes());
        w.key("ID");
        w.uint(self.id.into());
        w.key("LTime");
        w.uint(self.ltime);
        w.key("Payload");
        w.raw_or_nil(self.payload.as_deref());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut response = Self::default();
        read_map(r, |key, r| {
            match key {
                b"Flags" => response.flags = r.uint()?,
                b"From" => response.from = name(r)?,
                b"ID" => response.id = r.uint()?,
                b"LTime" => response.ltime = r.uint()?,
                b"Payload" => response.payload = bytes(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// Limits a query to some nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Only the nodes of these names.
    Nodes(Vec<String>),
    /// Only nodes whose tag matches.
    Tag {
        /// Name of the tag; a missing one counts as empty text.
        tag: String,
        /// Regular expression (RE2), not anchored.
        expr: String,
    },
    /// A kind not known here: do not answer, but pass the query on.
    Unknown(u8),
}

impl Filter {
    const NODES: u8 = 0;
    const TAG: u8 = 1;

    /// Encodes the filter; an unknown kind has no content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Nodes(nodes) => {
                out.push(Self::NODES);
                let mut w = Writer::new(&mut out);
                w.array(nodes.len());
                nodes.iter().for_each(|node| w.raw(node.as_bytes()));
            }
            Self::Tag { tag, expr } => {
                out.push(Self::TAG);
                let mut w = Writer::new(&mut out);
                w.map(2);
                w.key("Expr");
                w.raw(expr.as_bytes());
                w.key("Tag");
                w.raw(tag.as_bytes());
            }
            Self::Unknown(kind) => out.push(*kind),
        }
        out
    }

    /// Decodes one filter of a query.
    pub fn decode(bytes: &[u8]) -> Result<Self, SerfError> {
        let (&kind, body) = bytes.split_first().ok_or(SerfError::Empty)?;
        let r = &mut Reader::with_values(body, limits::SERF_VALUES);
        match kind {
            Self::NODES => {
                let nodes = super::text_list(r)?.unwrap_or_default();
                Ok(Self::Nodes(nodes))
            }
            Self::TAG => {
                let (mut tag, mut expr) = (String::new(), String::new());
                read_map(r, |key, r| {
                    match key {
                        b"Expr" => expr = text(r)?,
                        b"Tag" => tag = text(r)?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?;
                Ok(Self::Tag { tag, expr })
            }
            other => Ok(Self::Unknown(other)),
        }
    }
}

/// A message that the receiver passes on to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Where to.
    pub to: SocketAddr,
    /// The name of the node there; empty from agents before 0.9.
    pub node: String,
    /// The encoded Serf message to pass on, its type byte first.
    pub message: Vec<u8>,
}

impl Relay {
    pub(super) fn write_header(&self, w: &mut Writer<'_>) {
        w.map(2);
        w.key("DestAddr");
        w.map(3);
        w.key("IP");
        write_ip(w, self.to.ip());
        w.key("Port");
        w.uint(self.to.port().into());
        w.key("Zone");
        w.raw(b"");
        w.key("DestName");
        w.raw(self.node.as_bytes());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut node = String::new();
        let (mut ip, mut port): (&[u8], u16) = (&[], 0);
        read_map(r, |key, r| match key {
            b"DestAddr" => read_map(r, |key, r| {
                match key {
                    b"IP" => ip = r.raw()?.unwrap_or_default(),
                    b"Port" => port = r.uint()?,
                    _ => r.skip()?,
                }
                Ok(())
            }),
            b"DestName" => {
                node = name(r)?;
                Ok(())
            }
            _ => r.skip(),
        })?;
        let ip = read_ip(ip).ok_or(SerfError::AddressLength(ip.len()))?;
        Ok(Self {
            to: SocketAddr::new(ip, port),
            node,
            message: r.rest().to_vec(),
        })
    }
}

/// Go keeps durations in signed 64 bits of nanoseconds; longer ones are cut to that.
fn nanoseconds(duration: Duration) -> u64 {
    let max = i64::MAX as u64;
    u64::try_from(duration.as_nanos()).map_or(max, |ns| ns.min(max))
}

/// A negative time-out means that the query is over.
fn duration(nanoseconds: i128) -> Duration {
    let positive = nanoseconds.clamp(0, i128::from(i64::MAX));
    Duration::from_nanos(u64::try_from(positive).expect("clamped to 63 bits"))
}
