//! Members of whom only TCP is heard: a firewall that knows one half of the port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Node;
use super::record::Record;
use crate::event::Event;

/// So many probes of a member in a row, answered by a stream only, are no chance.
const STREAK: u32 = 3;

/// Members whose last probes were answered by a stream only, and how many.
#[derive(Debug, Default)]
pub(super) struct TcpOnly {
    streaks: BTreeMap<Arc<str>, u32>,
    told: bool,
}

impl Node {
    /// A probe was answered by a stream, and not by a datagram in time.
    pub(super) fn heard_by_stream(&mut self, name: &Arc<str>) {
        self.stats.probes_by_stream += 1;
        self.heard_itself(name);
        let members = &self.members;
        let streaks = &mut self.tcp_only.streaks;
        streaks.retain(|name, _| members.get(name).is_some_and(Record::is_up));
        let streak = streaks.entry(name.clone()).or_default();
        *streak += 1;
        if *streak < STREAK || self.tcp_only.told {
            return;
        }
        let Some(record) = members.get(name) else {
            return;
        };
        let address = record.member.address;
        self.tcp_only.told = true;
        self.event(Event::DatagramsLost {
            name: name.to_string(),
            address,
        });
    }

    /// Something came by a datagram from this address.
    pub(super) fn datagram_from(&mut self, from: SocketAddr) {
        if self.tcp_only.streaks.is_empty() {
            return;
        }
        let at = |name: &&Arc<str>| {
            self.members
                .get(name)
                .is_some_and(|r| r.member.address == from)
        };
        if let Some(name) = self.tcp_only.streaks.keys().find(at).cloned() {
            self.heard_by_datagram(&name);
        }
    }

    /// A member answered by a datagram.
    pub(super) fn heard_by_datagram(&mut self, name: &str) {
        self.heard_itself(name);
        if self.tcp_only.streaks.remove(name).is_none() {
            return;
        }
        let none = self
            .tcp_only
            .streaks
            .values()
            .all(|streak| *streak < STREAK);
        if none && std::mem::take(&mut self.tcp_only.told) {
            self.event(Event::DatagramsBack);
        }
    }
}
