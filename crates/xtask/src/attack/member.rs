//! What a member of the gossip says, in the words of Roundel's own encoder, and one that answers.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use roundel_gossip::MAX_PACKET;
use roundel_gossip::wire::{
    Ack, Envelope, MemberRecord, Message, NodeRecord, NodeState, Packet, PacketWriter,
    PushPullState, QueryResponse, RecordState, SerfMessage, Versions, decode_packet,
    encode_push_pull, tags,
};

use super::stage::Ground;

/// What a member says about itself.
pub(super) fn record(
    name: &str,
    at: SocketAddr,
    told: &[(&str, &str)],
    incarnation: u32,
) -> NodeRecord {
    let told = told.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let meta = tags::encode(&told.collect()).expect("short tags");
    NodeRecord::new(name.to_owned(), at, meta, incarnation, Versions::SERF)
        .expect("a usable record")
}

pub(super) fn alive(record: NodeRecord) -> NodeState {
    NodeState {
        record,
        state: RecordState::Alive,
    }
}

/// So many members that nobody is, at addresses from 10.0.0.0 on.
pub(super) fn made_up(numbers: std::ops::Range<u32>, told: &[(&str, &str)]) -> Vec<NodeState> {
    let one = |n: u32| {
        let ip = IpAddr::from((0x0a00_0001 + n).to_be_bytes());
        alive(record(&format!("m{n}"), (ip, 7946).into(), told, 1))
    };
    numbers.map(one).collect()
}

/// A state exchange as bytes.
pub(super) fn exchange(nodes: &[NodeState], clocks: PushPullState) -> Vec<u8> {
    encode_push_pull(true, nodes.iter(), &SerfMessage::PushPull(clocks).encode())
}

/// Opens a stream to the gossip port and writes what is taken of these bytes until the attack ends.
pub(super) fn open(ground: &Ground<'_>, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&ground.stage.at(7946), Duration::from_secs(2))?;
    let left = ground.left().max(Duration::from_millis(1));
    stream.set_write_timeout(Some(left))?;
    stream.set_read_timeout(Some(left))?;
    stream.write_all(bytes)?;
    Ok(stream)
}

/// Exchanges states as a joining member does. It may be refused, or be cut off in the middle.
pub(super) fn exchange_whole(ground: &Ground<'_>, nodes: &[NodeState]) {
    if let Ok(mut stream) = open(ground, &exchange(nodes, PushPullState::default())) {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// Sends messages as datagrams.
pub(super) fn say(socket: &UdpSocket, to: SocketAddr, messages: &[Message]) -> Result<()> {
    let envelope = Envelope::default();
    let mut messages = messages.iter().map(Message::encode).peekable();
    while messages.peek().is_some() {
        let mut packet = PacketWriter::new(&envelope, MAX_PACKET, false);
        while messages.next_if(|message| packet.push(message)).is_some() {}
        let bytes = packet.finish(&[0; 12]).context("a message that fits")?;
        socket.send_to(&bytes, to)?;
    }
    Ok(())
}

pub(super) fn user(message: &SerfMessage) -> Message {
    Message::User(message.encode())
}

/// A socket on the attacker's host.
pub(super) fn socket(ground: &Ground<'_>, port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((ground.stage.places.attacker, port))?;
    socket.set_read_timeout(Some(Duration::from_millis(5)))?;
    Ok(socket)
}

/// A member as far as others can see: answers pings, and votes for `claims` where it is asked to.
pub(super) struct Puppet {
    pub(super) name: String,
    pub(super) socket: UdpSocket,
    /// How it votes on a name.
    pub(super) claims: Option<MemberRecord>,
}

impl Puppet {
    pub(super) fn new(ground: &Ground<'_>, name: &str, port: u16) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            socket: socket(ground, port)?,
            claims: None,
        })
    }

    /// Answers one datagram, if there is one within a moment.
    pub(super) fn answer(&self) {
        let mut bytes = [0; 65_536];
        let Ok((length, from)) = self.socket.recv_from(&mut bytes) else {
            return;
        };
        let mut packet = Packet::default();
        if decode_packet(&bytes[..length], &Envelope::default(), &mut packet).is_err() {
            return;
        }
        for message in packet.messages {
            let (to, answer) = match message {
                Message::Ping(ping) => {
                    let ack = Ack {
                        seq: ping.seq,
                        payload: None,
                    };
                    (ping.source.address.unwrap_or(from), Message::Ack(ack))
                }
                Message::User(bytes) => match self.vote(&bytes) {
                    Some(vote) => vote,
                    None => continue,
                },
                _ => continue,
            };
            let _ = say(&self.socket, to, &[answer]);
        }
    }

    fn vote(&self, bytes: &[u8]) -> Option<(SocketAddr, Message)> {
        let Ok(SerfMessage::Query(query)) = SerfMessage::decode(bytes) else {
            return None;
        };
        let claims = self
            .claims
            .clone()
            .filter(|_| query.name == "_serf_conflict")?;
        let response = QueryResponse {
            ltime: query.ltime,
            id: query.id,
            from: self.name.clone(),
            flags: 0,
            payload: Some(SerfMessage::ConflictResponse(Some(claims)).encode()),
        };
        Some((query.from, user(&SerfMessage::QueryResponse(response))))
    }
}
