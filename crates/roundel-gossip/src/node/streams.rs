//! Streams: state exchanges and pings where datagrams do not get through.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::incoming::Incoming;
use super::origin::{Origin, Way};
use super::timers::{Timer, TimerKey};
use super::{Node, Output, StreamId};
use crate::config::Limits;
use crate::event::DropReason;
use crate::wire::{Ack, Progress, StreamDecoder, StreamError, StreamMessage};

/// The most streams that we have open towards others.
const OUTGOING: usize = 256;

/// What there are too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// Streams of one peer.
    Peer,
    /// Streams of all peers together.
    All,
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The peer asks.
    Incoming,
    /// We join by this address.
    Join(SocketAddr),
    /// We exchange states with a member; `join` when it was failed.
    Sync { join: bool },
    /// We probe a member under this number.
    Ping(u32),
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    peer: SocketAddr,
    /// At which address of ours it ends.
    at: Option<IpAddr>,
    role: Role,
    decoder: StreamDecoder,
    /// What of the memory for all streams it takes.
    held: usize,
    deadline: TimerKey,
}

impl Incoming {
    pub(super) fn of(limits: &Limits) -> Self {
        Self::new(limits.incoming_bytes, limits.streams + OUTGOING)
    }
}

impl Node {
    /// Takes a stream in, unless too many are there.
    pub(super) fn stream_accepted(&mut self, now: Instant, peer: SocketAddr) -> Option<StreamId> {
        let incoming = self.streams.values().filter(|s| s.role == Role::Incoming);
        if incoming.count() >= self.config.limits.streams {
            self.stats.streams_refused += 1;
            self.refuse(peer, DropReason::Limit);
            return None;
        }
        Some(self.add_stream(now, peer, Role::Incoming))
    }

    /// Asks for a stream to a peer; nothing if too many are open.
    pub(super) fn open_stream(
        &mut self,
        now: Instant,
        to: SocketAddr,
        role: Role,
    ) -> Option<StreamId> {
        let outgoing = self.streams.values().filter(|s| s.role != Role::Incoming);
        if outgoing.count() >= OUTGOING {
            return None;
        }
        let id = self.add_stream(now, to, role);
        self.outputs.push_back(Output::Open { id, to });
        Some(id)
    }

    pub(super) fn open_ping_stream(&mut self, now: Instant, to: SocketAddr, seq: u32) -> StreamId {
        let id = self.add_stream(now, to, Role::Ping(seq));
        self.outputs.push_back(Output::Open { id, to });
        id
    }

    fn add_stream(&mut self, now: Instant, peer: SocketAddr, role: Role) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let at = now + self.config.timings.stream_timeout;
        let stream = Stream {
            peer,
            at: None,
            role,
            decoder: StreamDecoder::new(self.config.limits.stream_bytes),
            held: 0,
            deadline: self.timers.set(at, Timer::Stream(id)),
        };
        self.streams.insert(id, stream);
        id
    }

    pub(super) fn stream_is_at(&mut self, id: StreamId, at: IpAddr) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.at = Some(at);
        }
    }

    /// Forgets a stream and has it closed.
    pub(super) fn close_stream(&mut self, id: StreamId) {
        if self.forget_stream(id).is_some() {
            self.outputs.push_back(Output::Close { id });
        }
    }

    fn forget_stream(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.timers.cancel(stream.deadline);
        self.incoming.changed(stream.peer.ip(), stream.held, 0);
        Some(stream)
    }

    /// Says our part on a stream that we asked for.
    pub(super) fn stream_opened(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let (peer, at, role) = (stream.peer, stream.at, stream.role);
        if let Role::Join(_) | Role::Sync { .. } = role {
            self.reached(now, peer, at);
        }
        let message = match role {
            Role::Incoming => return,
            Role::Join(_) => return self.write_state(id, true),
            Role::Sync { join } => return self.write_state(id, join),
            Role::Ping(seq) => match self.probe_target(seq) {
                Some(target) => StreamMessage::Ping(self.ping_for(&target, seq)),
                None => return self.close_stream(id),
            },
        };
        self.write(id, &message);
    }

    fn write(&mut self, id: StreamId, message: &StreamMessage) {
        let bytes = self.seal.stream(&message.encode()).into();
        self.outputs.push_back(Output::Write { id, bytes });
    }

    fn write_state(&mut self, id: StreamId, join: bool) {
        let bytes = self.sealed_state(join);
        self.outputs.push_back(Output::Write { id, bytes });
    }

    pub(super) fn stream_bytes(&mut self, now: Instant, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let (peer, at, role) = (stream.peer, stream.at, stream.role);
        let room = self.incoming.room(peer.ip(), stream.held);
        stream.decoder.set_room(room);
        let progress = stream.decoder.feed(bytes, &self.seal.envelope);
        let held = stream.decoder.held();
        self.incoming.changed(peer.ip(), stream.held, held);
        stream.held = held;
        match progress {
            Ok(Progress::NeedMore) => {}
            Ok(Progress::Message(message)) => {
                // Before our state is told, so that it tells of the right address.
                self.reached(now, peer, at);
                self.stream_message(now, id, peer, role, message);
                self.reached(now, peer, at);
            }
            Err(error) => {
                self.stats.incoming_refused += u64::from(error == StreamError::NoRoom);
                self.refuse(peer, reason_of(&error));
                if role == Role::Incoming {
                    self.write(id, &StreamMessage::Error(error.to_string()));
                }
                self.stream_failed(id, &error.to_string());
            }
        }
    }

    fn stream_message(
        &mut self,
        now: Instant,
        id: StreamId,
        peer: SocketAddr,
        role: Role,
        message: StreamMessage,
    ) {
        match (role, message) {
            (Role::Incoming, StreamMessage::PushPull(state)) => {
                self.write_state(id, state.join);
                self.close_stream(id);
                let way = Way::Incoming;
                self.merge(now, Origin { from: peer, way }, state);
            }
            (Role::Incoming, StreamMessage::Ping(ping)) => {
                if ping.node.is_empty() || *ping.node == *self.name {
                    let ack = Ack {
                        seq: ping.seq,
                        payload: None,
                    };
                    self.write(id, &StreamMessage::Ack(ack));
                }
                self.close_stream(id);
            }
            (Role::Incoming, StreamMessage::User(bytes)) => {
                self.close_stream(id);
                let way = Way::Incoming;
                self.user_heard(now, Origin { from: peer, way }, &bytes);
            }
            (Role::Join(address), StreamMessage::PushPull(state)) => {
                self.close_stream(id);
                self.joined(now, peer, address, state);
            }
            (Role::Sync { .. }, StreamMessage::PushPull(state)) => {
                self.close_stream(id);
                let way = Way::Outgoing;
                self.merge(now, Origin { from: peer, way }, state);
            }
            (Role::Ping(seq), StreamMessage::Ack(ack)) => {
                self.close_stream(id);
                if ack.seq == seq
                    && let Some(target) = self.probe_target(seq)
                {
                    self.probe_succeeded(seq);
                    self.answered(now, &target);
                    self.heard_by_stream(&target);
                }
            }
            (_, StreamMessage::Error(text)) => {
                let shown: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                self.stream_failed(id, &format!("the peer says: {shown}"));
            }
            (_, _) => {
                self.refuse(peer, DropReason::Malformed);
                self.stream_failed(id, "the peer answered something else");
            }
        }
    }

    /// Closes a stream that is of no use; a join by it has failed.
    pub(super) fn stream_failed(&mut self, id: StreamId, why: &str) {
        if let Some(stream) = self.forget_stream(id) {
            self.outputs.push_back(Output::Close { id });
            self.stream_lost(&stream, why);
        }
    }

    /// An error of our own came of what the peer sent.
    pub(super) fn stream_broken(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id) {
            self.refuse(stream.peer, DropReason::Internal);
        }
        self.stream_failed(id, "an internal error");
    }

    /// The peer or the network closed a stream.
    pub(super) fn stream_closed(&mut self, id: StreamId, why: &str) {
        if let Some(stream) = self.forget_stream(id) {
            self.stream_lost(&stream, why);
        }
    }

    fn stream_lost(&mut self, stream: &Stream, why: &str) {
        if let Role::Join(address) = stream.role {
            self.join_failed(address, why);
        }
    }

    pub(super) fn stream_timed_out(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id) {
            if stream.role == Role::Incoming {
                self.refuse(stream.peer, DropReason::Timeout);
            }
            self.stream_failed(id, "no answer in time");
        }
    }
}

fn reason_of(error: &StreamError) -> DropReason {
    match error {
        StreamError::TooLong | StreamError::TooLarge | StreamError::NoRoom => DropReason::Limit,
        StreamError::Label => DropReason::Label,
        StreamError::NotEncrypted | StreamError::Encrypted | StreamError::Encryption(_) => {
            DropReason::Unauthenticated
        }
        StreamError::Compression(_) | StreamError::Malformed(_) | StreamError::UnknownType(_) => {
            DropReason::Malformed
        }
    }
}
