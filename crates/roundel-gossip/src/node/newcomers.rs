//! Members for whom there is no room: who answers a ping takes the place of one who never did.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::incoming::network;
use super::origin::Origin;
use super::probe::Purpose;
use crate::wire::{Message, NodeRecord};

/// Most that are asked at a time.
const MOST: usize = 64;

/// Most that one peer has brought of them, so that others find a place.
const OF_PEER: usize = 4;

/// They are waited for no longer than this, so that a flood of names is pinged at a bounded rate.
const WAIT: Duration = Duration::from_secs(1);

/// Who is asked.
///
/// Shape: at most [`MOST`], by name.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    asked: BTreeMap<String, Newcomer>,
}

#[derive(Debug)]
struct Newcomer {
    record: NodeRecord,
    origin: Origin,
    ping: u32,
    until: Instant,
}

impl Newcomers {
    fn has_place(&self, peer: IpAddr) -> bool {
        let of_peer = self
            .asked
            .values()
            .filter(|n| network(n.origin.from.ip()) == peer);
        self.asked.len() < MOST && of_peer.count() < OF_PEER
    }
}

impl Node {
    /// Asks a member for whom there is no room whether it is there at all.
    pub(super) fn newcomer_asked(&mut self, now: Instant, origin: Origin, record: NodeRecord) {
        let peer = network(origin.from.ip());
        if self.newcomers.asked.contains_key(record.name()) {
            return;
        }
        self.newcomers_waited(now);
        if !self.newcomers.has_place(peer) {
            return;
        }
        let name = record.name().to_owned();
        let to = record.address();
        let ping = self.number_ping(Purpose::Newcomer(name.clone()), now);
        let newcomer = Newcomer {
            record,
            origin,
            ping,
            until: now + WAIT,
        };
        let message = Message::Ping(self.ping_for(&name, ping));
        self.newcomers.asked.insert(name, newcomer);
        self.send_alone(to, &message.encode());
    }

    /// Gives up those who did not answer in time.
    pub(super) fn newcomers_waited(&mut self, now: Instant) {
        let late = |newcomer: &Newcomer| newcomer.until <= now;
        let asked = std::mem::take(&mut self.newcomers.asked);
        let (gone, asked) = asked.into_iter().partition(|(_, newcomer)| late(newcomer));
        self.newcomers.asked = asked;
        for newcomer in BTreeMap::into_values(gone) {
            self.forget_ping(newcomer.ping);
        }
    }

    /// It is there.
    pub(super) fn newcomer_answered(&mut self, now: Instant, name: &str) {
        let Some(newcomer) = self.newcomers.asked.remove(name) else {
            return;
        };
        let known = self.members.get(name).is_some();
        if !known && (self.has_room(now) || self.stranger_forgotten(now)) {
            self.member_added(now, newcomer.origin, newcomer.record);
            self.heard_itself(name);
        }
    }
}
