//! Payloads of the queries that nodes ask each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::message::name;
use super::super::msgpack::{Reader, Writer, read_map};
use super::super::record::{read_ip, write_ip};
use super::super::tags;
use super::{SerfError, bytes, text, text_list};

/// Names a key for the key ring.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyRequest {
    /// The key's bytes; empty when keys are only listed.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRequest({} secret bytes)", self.key.len())
    }
}

impl KeyRequest {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(1);
        w.key("Key");
        w.raw(&self.key);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut request = Self::default();
        read_map(r, |key, r| {
            match key {
                b"Key" => request.key = bytes(r)?.unwrap_or_default(),
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(request)
    }
}

/// Tells what came of a key query.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyResponse {
    /// Whether it worked.
    pub result: bool,
    /// Why not, or a note.
    pub message: String,
    /// The installed keys in base64, if they were asked for.
    pub keys: Option<Vec<String>>,
    /// The primary key in base64; empty if not asked for, and from agents before 0.9.
    pub primary_key: String,
}

impl std::fmt::Debug for KeyResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyResponse")
            .field("result", &self.result)
            .field("message", &self.message)
            .field("keys", &self.keys.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

impl KeyResponse {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(4);
        w.key("Keys");
        match &self.keys {
            None => w.nil(),
            Some(keys) => {
                w.array(keys.len());
                keys.iter().for_each(|key| w.raw(key.as_bytes()));
            }
        }
        w.key("Message");
        w.raw(self.message.as_bytes());
        w.key("PrimaryKey");
        w.raw(self.primary_key.as_bytes());
        w.key("Result");
        w.bool(self.result);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut response = Self::default();
        read_map(r, |key, r| {
            match key {
                b"Keys" => response.keys = text_list(r)?,
                b"Message" => response.message = text(r)?,
                b"PrimaryKey" => response.primary_key = text(r)?,
                b"Result" => response.result = r.bool()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// A member as another node knows it: the answer in a vote about a name that two claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The name in question.
    pub name: String,
    /// Where the member listens.
    pub address: SocketAddr,
    /// The member's tags.
    pub tags: BTreeMap<String, String>,
    /// Serf's status number: 0 none, 1 alive, 2 leaving, 3 left, 4 failed.
    pub status: u8,
    /// Memberlist versions: min, max, current.
    pub protocol: [u8; 3],
    /// Serf versions: min, max, current.
    pub delegate: [u8; 3],
}

impl MemberRecord {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        let number = |w: &mut Writer<'_>, key: &str, value: u8| {
            w.key(key);
            w.uint(value.into());
        };
        w.map(11);
        w.key("Addr");
        write_ip(w, self.address.ip());
        number(w, "DelegateCur", self.delegate[2]);
        number(w, "DelegateMax", self.delegate[1]);
        number(w, "DelegateMin", self.delegate[0]);
        w.key("Name");
        w.raw(self.name.as_bytes());
        w.key("Port");
        w.uint(self.address.port().into());
        number(w, "ProtocolCur", self.protocol[2]);
        number(w, "ProtocolMax", self.protocol[1]);
        number(w, "ProtocolMin", self.protocol[0]);
        number(w, "Status", self.status);
        w.key("Tags");
        tags::write_map(w, &self.tags);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut member = Self {
            name: String::new(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            tags: BTreeMap::new(),
            status: 0,
            protocol: [0; 3],
            delegate: [0; 3],
        };
        let (mut ip, mut port): (&[u8], u16) = (&[], 0);
        read_map(r, |key, r| {
            match key {
                b"Addr" => ip = r.raw()?.unwrap_or_default(),
                b"DelegateCur" => member.delegate[2] = r.uint()?,
                b"DelegateMax" => member.delegate[1] = r.uint()?,
                b"DelegateMin" => member.delegate[0] = r.uint()?,
                b"Name" => member.name = name(r)?,
                b"Port" => port = r.uint()?,
                b"ProtocolCur" => member.protocol[2] = r.uint()?,
                b"ProtocolMax" => member.protocol[1] = r.uint()?,
                b"ProtocolMin" => member.protocol[0] = r.uint()?,
                b"Status" => member.status = r.uint()?,
                b"Tags" => member.tags = tags::read_map_of_text(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        let ip = read_ip(ip).ok_or(SerfError::AddressLength(ip.len()))?;
        member.address = SocketAddr::new(ip, port);
        Ok(member)
    }
}
