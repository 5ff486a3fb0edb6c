//! What Serf adds to a push/pull.

use super::super::limits;
use super::super::message::name;
use super::super::msgpack::{ReadError, Reader, Writer, read_map};
use super::{PUSH_PULL, SerfError, bytes, text};

/// The clocks, status times, leavers and recent events that one node knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushPullState {
    /// Member clock.
    pub ltime: u64,
    /// Event clock.
    pub event_ltime: u64,
    /// Query clock.
    pub query_ltime: u64,
    /// Name and status time of each known member, in any order, names possibly repeated.
    pub status_ltimes: Vec<(String, u64)>,
    /// Names known as left.
    pub left_members: Vec<String>,
    /// The event buffer with its empty slots; nothing need be sent.
    pub events: Option<Vec<Option<EventGroup>>>,
}

/// The events of one Lamport time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventGroup {
    /// Lamport time of all of them.
    pub ltime: u64,
    /// The events.
    pub events: Vec<BufferedEvent>,
}

/// One event in the buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BufferedEvent {
    /// What the application calls it.
    pub name: String,
    /// What the application says.
    pub payload: Option<Vec<u8>>,
}

impl PushPullState {
    /// Encodes clocks and events of this state with the members given, type byte first.
    pub(crate) fn encode_with<'a>(
        &self,
        left: &[&str],
        count: usize,
        times: impl Iterator<Item = (&'a str, u64)>,
    ) -> Vec<u8> {
        let mut out = vec![PUSH_PULL];
        self.write_with(&mut Writer::new(&mut out), left, count, times);
        out
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        let left: Vec<&str> = self.left_members.iter().map(String::as_str).collect();
        let times = self.status_ltimes.iter();
        let times = times.map(|(node, time)| (node.as_str(), *time));
        self.write_with(w, &left, self.status_ltimes.len(), times);
    }

    fn write_with<'a>(
        &self,
        w: &mut Writer<'_>,
        left: &[&str],
        count: usize,
        times: impl Iterator<Item = (&'a str, u64)>,
    ) {
        w.map(6);
        w.key("EventLTime");
        w.uint(self.event_ltime);
        w.key("Events");
        self.write_events(w);
        w.key("LTime");
        w.uint(self.ltime);
        w.key("LeftMembers");
        w.array(left.len());
        for node in left {
            w.raw(node.as_bytes());
        }
        w.key("QueryLTime");
        w.uint(self.query_ltime);
        w.key("StatusLTimes");
        w.map(count);
        for (node, time) in times {
            w.raw(node.as_bytes());
            w.uint(time);
        }
    }

    fn write_events(&self, w: &mut Writer<'_>) {
        let Some(slots) = &self.events else {
            return w.nil();
        };
        w.array(slots.len());
        for slot in slots {
            match slot {
                Some(group) => group.write(w),
                None => w.nil(),
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, SerfError> {
        let mut state = Self::default();
        read_map(r, |key, r| {
            match key {
                b"EventLTime" => state.event_ltime = r.uint()?,
                b"Events" => state.events = read_slots(r)?,
                b"LTime" => state.ltime = r.uint()?,
                b"LeftMembers" => state.left_members = read_names(r)?,
                b"QueryLTime" => state.query_ltime = r.uint()?,
                b"StatusLTimes" => state.status_ltimes = read_times(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(state)
    }
}

impl EventGroup {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(2);
        w.key("Events");
        w.array(self.events.len());
        for event in &self.events {
            w.map(2);
            w.key("Name");
            w.raw(event.name.as_bytes());
            w.key("Payload");
            w.raw_or_nil(event.payload.as_deref());
        }
        w.key("LTime");
        w.uint(self.ltime);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut group = Self::default();
        read_map(r, |key, r| {
            match key {
                b"Events" => group.events = read_events(r)?,
                b"LTime" => group.ltime = r.uint()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(group)
    }
}

fn read_slots(r: &mut Reader<'_>) -> Result<Option<Vec<Option<EventGroup>>>, ReadError> {
    let Some(count) = r.array()? else {
        return Ok(None);
    };
    if count > limits::EVENT_SLOTS {
        return Err(ReadError::Count);
    }
    let mut slots = Vec::with_capacity(count);
    for _ in 0..count {
        let slot = if r.nil() {
            None
        } else {
            Some(EventGroup::read(r)?)
        };
        slots.push(slot);
    }
    Ok(Some(slots))
}

fn read_events(r: &mut Reader<'_>) -> Result<Vec<BufferedEvent>, ReadError> {
    let mut events = Vec::new();
    for _ in 0..r.array()?.unwrap_or(0) {
        let mut event = BufferedEvent::default();
        read_map(r, |key, r| {
            match key {
                b"Name" => event.name = text(r)?,
                b"Payload" => event.payload = bytes(r)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        events.push(event);
    }
    Ok(events)
}

/// Reads names; those no node can have here are left out, so that one does not spoil the others.
fn read_names(r: &mut Reader<'_>) -> Result<Vec<String>, ReadError> {
    let count = r.array()?.unwrap_or(0);
    if count > limits::PUSH_PULL_NODES {
        return Err(ReadError::Count);
    }
    let mut names = Vec::new();
    for _ in 0..count {
        names.extend(lenient(r, name)?.filter(|name| !name.is_empty()));
    }
    Ok(names)
}

/// Reads names with their times; those no node can have here are left out.
fn read_times(r: &mut Reader<'_>) -> Result<Vec<(String, u64)>, ReadError> {
    let count = r.map()?;
    if count > limits::PUSH_PULL_NODES {
        return Err(ReadError::Count);
    }
    let mut times = Vec::new();
    for _ in 0..count {
        let node = lenient(r, name)?.filter(|name| !name.is_empty());
        let time = lenient(r, Reader::uint)?;
        times.extend(node.zip(time));
    }
    Ok(times)
}

/// Reads a value, or steps over one that is not what was expected.
fn lenient<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, ReadError>,
) -> Result<Option<T>, ReadError> {
    let mut attempt = r.clone();
    match read(&mut attempt) {
        Ok(value) => {
            *r = attempt;
            Ok(Some(value))
        }
        Err(_) => r.skip().map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::SerfMessage;
    use super::*;

    /// One impossible name or time must not cost the others theirs.
    #[test]
    fn a_bad_entry_spoils_only_itself() {
        let mut bytes = vec![2];
        let mut w = Writer::new(&mut bytes);
        w.map(2);
        w.key("LeftMembers");
        w.array(4);
        w.raw(b"a");
        w.raw(b"\xff");
        w.uint(3);
        w.raw(b"b");
        w.key("StatusLTimes");
        w.map(4);
        w.raw(b"a");
        w.uint(7);
        w.raw(b"");
        w.uint(8);
        w.raw(b"b");
        w.array(1);
        w.uint(1);
        w.raw(b"c");
        w.uint(9);
        let expected = PushPullState {
            status_ltimes: vec![("a".into(), 7), ("c".into(), 9)],
            left_members: vec!["a".into(), "b".into()],
            ..PushPullState::default()
        };
        let message = SerfMessage::decode(&bytes);
        assert_eq!(message, Ok(SerfMessage::PushPull(expected)));
    }

    #[test]
    fn lists_are_bounded() {
        let check = |key: &str, list: bool, count: usize| {
            let mut bytes = vec![2];
            let mut w = Writer::new(&mut bytes);
            w.map(1);
            w.key(key);
            if list {
                w.array(count);
            } else {
                w.map(count);
            }
            bytes.resize(bytes.len() + 2 * count, 0xc0);
            let result = SerfMessage::decode(&bytes);
            assert_eq!(result, Err(SerfError::Malformed(ReadError::Count)), "{key}");
        };
        check("Events", true, limits::EVENT_SLOTS + 1);
        check("LeftMembers", true, limits::PUSH_PULL_NODES + 1);
        check("StatusLTimes", false, limits::PUSH_PULL_NODES + 1);
    }
}
