//! Datagrams on their way in.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Node;
use super::origin::Origin;
use super::swim::reason_of;
use crate::event::DropReason;
use crate::member::is_valid_name;
use crate::wire::{Accusation, Message, Packet, PacketError, Reason, decode_packet};

impl Node {
    pub(super) fn packet_received(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: Option<IpAddr>,
        bytes: &[u8],
    ) {
        let mut packet = Packet::default();
        if let Err(error) = decode_packet(bytes, &self.seal.envelope, &mut packet) {
            self.refuse(from, reason_of_packet(error));
            return;
        }
        let own = self.own().member.address;
        self.address.came_in(now, at, own);
        self.datagram_from(from);
        for rejected in &packet.rejected {
            let reason = match rejected.reason {
                Reason::Record(bad) => reason_of(bad),
                _ => DropReason::Malformed,
            };
            self.refuse(from, reason);
        }
        for message in packet.messages {
            self.message_received(now, from, message);
        }
    }

    fn message_received(&mut self, now: Instant, from: SocketAddr, message: Message) {
        let origin = Origin::datagram(from);
        match message {
            Message::Ping(ping) => self.ping_heard(now, from, &ping),
            Message::IndirectPing(ping) => self.indirect_ping_heard(now, from, &ping),
            Message::Ack(ack) => self.ack_heard(now, ack.seq),
            Message::Nack(nack) => self.nack_heard(nack.seq),
            Message::Suspect(accusation) => {
                if self.accusation_is_sane(now, from, &accusation) {
                    self.suspect_heard(now, Some(origin), accusation);
                }
            }
            Message::Dead(accusation) => {
                if self.accusation_is_sane(now, from, &accusation) {
                    self.dead_heard(now, origin, accusation);
                }
            }
            Message::Alive(record) => self.alive_heard(now, origin, record),
            Message::User(bytes) => self.user_heard(now, origin, &bytes),
        }
    }

    /// Whether the accuser has a name that may be passed on, and the accused could contradict; the
    /// accused is known or ignored.
    fn accusation_is_sane(
        &mut self,
        now: Instant,
        from: SocketAddr,
        accusation: &Accusation,
    ) -> bool {
        if !is_valid_name(&accusation.from) {
            self.refuse(from, DropReason::Name);
            return false;
        }
        let sane = self.may_be_reached(now, accusation.incarnation);
        if !sane {
            self.refuse(from, DropReason::Incarnation);
        }
        sane
    }
}

fn reason_of_packet(error: PacketError) -> DropReason {
    match error {
        PacketError::Label => DropReason::Label,
        PacketError::Encryption(_) => DropReason::Unauthenticated,
        PacketError::Truncated
        | PacketError::TooLong
        | PacketError::Checksum
        | PacketError::Compression(_) => DropReason::Malformed,
    }
}
