//! What a server that is about to end and the balancers say to each other.
//!
//! The server puts [`DRAINS`] among its tags and asks every member with the tag [`ANSWERS`] by a
//! direct query named [`DRAIN`]; the payload is a [`DrainRequest`], each answer a [`DrainAnswer`].
//! Both are maps in Serf's msgpack: keys in order, unknown ones skipped, missing ones zero or
//! false. Agents that do not know the query log it at most, as its prefix is Serf's own.

use std::time::Duration;

use super::msgpack::{ReadError, Reader, Writer, read_map};

/// The query's name.
pub const DRAIN: &str = "_serf_roundel-drain";

/// The tag of a member that answers the query, and its value.
pub const ANSWERS: (&str, &str) = ("rv", "1");

/// The tag of a server that takes no more requests, and its value.
pub const DRAINS: (&str, &str) = ("drain", "1");

/// Asks how much of the asker's work is left at a balancer.
///
/// Shape: `{Deadline: milliseconds, Incarnation: u32}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainRequest {
    /// How long the asker waits at most, from now; cut to milliseconds on the wire.
    pub deadline: Duration,
    /// The asker's incarnation since it carries the tag; an older record of it is outdated.
    pub incarnation: u32,
}

/// What a balancer has left to do with the server that asked.
///
/// Shape: `{Drained: bool, InFlight: u32, Tunnels: u32}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainAnswer {
    /// No request is at the server, and none will come.
    pub drained: bool,
    /// Requests at the server, tunnels included.
    pub in_flight: u32,
    /// Those of them that are tunnels: upgraded connections, which last as long as they like.
    pub tunnels: u32,
}

impl DrainRequest {
    /// The payload of the query.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.map(2);
        w.key("Deadline");
        w.uint(u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX));
        w.key("Incarnation");
        w.uint(self.incarnation.into());
        out
    }

    /// Reads the payload of a query. Errors: it is no such map.
    pub fn decode(payload: &[u8]) -> Result<Self, ReadError> {
        let (mut deadline, mut incarnation) = (0, 0);
        read_map(&mut Reader::new(payload), |key, r| {
            match key {
                b"Deadline" => deadline = r.uint()?,
                b"Incarnation" => incarnation = r.uint()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(Self {
            deadline: Duration::from_millis(deadline),
            incarnation,
        })
    }
}

impl DrainAnswer {
    /// The payload of an answer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.map(3);
        w.key("Drained");
        w.bool(self.drained);
        w.key("InFlight");
        w.uint(self.in_flight.into());
        w.key("Tunnels");
        w.uint(self.tunnels.into());
        out
    }

    /// Reads the payload of an answer. Errors: it is no such map, or contradicts itself.
    pub fn decode(payload: &[u8]) -> Result<Self, ReadError> {
        let mut answer = Self::default();
        read_map(&mut Reader::new(payload), |key, r| {
            match key {
                b"Drained" => answer.drained = r.bool()?,
                b"InFlight" => answer.in_flight = r.uint()?,
                b"Tunnels" => answer.tunnels = r.uint()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        if answer.tunnels > answer.in_flight || (answer.drained && answer.in_flight > 0) {
            return Err(ReadError::Range);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those of every build since 8b3f11c.
    #[test]
    fn both_are_maps_in_old_msgpack() {
        let request = DrainRequest {
            deadline: Duration::from_millis(8000),
            incarnation: 7,
        };
        let bytes = b"\x82\xa8Deadline\xcd\x1f\x40\xabIncarnation\x07";
        assert_eq!(request.encode(), bytes);
        assert_eq!(DrainRequest::decode(bytes), Ok(request));

        let answer = DrainAnswer {
            drained: false,
            in_flight: 3,
            tunnels: 1,
        };
        let bytes = b"\x83\xa7Drained\xc2\xa8InFlight\x03\xa7Tunnels\x01";
        assert_eq!(answer.encode(), bytes);
        assert_eq!(DrainAnswer::decode(bytes), Ok(answer));
        let more = b"\x84\xa7Drained\xc3\xa8InFlight\x00\xa4More\x91\x80\xa7Tunnels\xc0";
        let drained = DrainAnswer {
            drained: true,
            ..DrainAnswer::default()
        };
        assert_eq!(DrainAnswer::decode(more), Ok(drained));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [
            &b""[..],
            b"\xc0",
            b"drained",
            b"\x81\xa7Drained",
            b"\x91\xc3",
            b"\x81\xa7Drained\xa3yes",
            b"\x81\xa8InFlight\xff",
            b"\x81\xa8InFlight\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            // Contradictions: drained with something in flight, more tunnels than requests.
            b"\x82\xa7Drained\xc3\xa8InFlight\x01",
            b"\x81\xa7Tunnels\x01",
        ] {
            let read = DrainAnswer::decode(bytes);
            // An absent map is one without a field: nothing is drained by it.
            assert!(
                read.is_err() || read == Ok(DrainAnswer::default()),
                "{bytes:?}: {read:?}"
            );
        }
    }
}
