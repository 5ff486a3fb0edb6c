//! Probing one member after the other: directly, then through others and by a stream.
//!
//! Source: SWIM (Das et al. 2002) section 3.1; Lifeguard (Dadgar et al. 2018) for nacks and
//! the stretched interval.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::doubt::Subject;
use super::record::{Record, Swim};
use super::timers::{Timer, TimerKey};
use super::{Node, StreamId};
use crate::wire::{self, Accusation, Ack, IndirectPing, Message, Nack, Source, canonical};

/// The most pings that wait for an answer on behalf of others.
const FORWARDS: usize = 4096;

/// The probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    target: Arc<str>,
    seq: u32,
    end: TimerKey,
    timeout: TimerKey,
    /// Whether others were asked: an answer then need not be a direct one.
    indirect: bool,
    nacks_expected: u32,
    nacks: u32,
    stream: Option<StreamId>,
}

/// Why a ping was sent.
#[derive(Debug)]
pub(super) enum Purpose {
    Probe,
    /// For another member, who numbers it `seq`.
    Forward {
        to: SocketAddr,
        seq: u32,
        nack: bool,
    },
    Watch(Arc<str>),
    /// Others say something of the member.
    Doubt(Subject),
    /// Others say that the member is at the address that is pinged.
    Elsewhere(Subject),
    /// Others claim our name at this address.
    Claim(SocketAddr),
    /// It is new.
    Greeting(Arc<str>),
    /// There is no room for the member unless it answers.
    Newcomer(String),
}

/// Pings that wait for an answer.
///
/// Shape: one probe, at most [`FORWARDS`] for others, at most one for each watched member.
#[derive(Debug, Default)]
pub(super) struct Pings {
    waiting: BTreeMap<u32, (Purpose, Instant)>,
    next: u32,
    forwards: usize,
}

impl Pings {
    /// Begins numbering at a random place, so that no stranger guesses a number.
    pub(super) fn start_at(&mut self, seq: u32) {
        self.next = seq;
    }

    fn insert(&mut self, purpose: Purpose, now: Instant) -> u32 {
        let mut seq = self.next;
        while self.waiting.contains_key(&seq) {
            seq = seq.wrapping_add(1);
        }
        self.next = seq.wrapping_add(1);
        self.forwards += usize::from(matches!(purpose, Purpose::Forward { .. }));
        self.waiting.insert(seq, (purpose, now));
        seq
    }

    fn remove(&mut self, seq: u32) -> Option<(Purpose, Instant)> {
        let entry = self.waiting.remove(&seq)?;
        self.forwards -= usize::from(matches!(entry.0, Purpose::Forward { .. }));
        Some(entry)
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Node {
    /// Begins to probe the next member, unless the last probe still runs.
    pub(super) fn probe_next(&mut self, now: Instant) {
        let timings = self.config.timings.clone();
        self.timers.set(now + timings.probe_interval, Timer::Probe);
        if self.probe.is_some() || self.has_departed() {
            return;
        }
        let members = &self.members;
        let target = self.to_probe.next(&mut self.rng, |name| {
            members.get(name).is_some_and(Record::is_up)
        });
        let Some(target) = target else {
            return;
        };
        self.stats.probes += 1;
        let seq = self.pings.insert(Purpose::Probe, now);
        let record = &self.members[&target];
        let to = record.member.address;
        let mut messages = vec![Message::Ping(self.ping_for(&target, seq))];
        if record.swim == Swim::Suspect {
            // So that it can refute at once.
            messages.push(Message::Suspect(Accusation {
                node: target.to_string(),
                incarnation: record.member.incarnation,
                from: self.name.to_string(),
            }));
        }
        let interval = self.awareness.scale(timings.probe_interval);
        let timeout = now + timings.probe_timeout;
        self.probe = Some(Probe {
            target,
            seq,
            end: self.timers.set(now + interval, Timer::ProbeEnd(seq)),
            timeout: self.timers.set(timeout, Timer::PingTimeout(seq)),
            indirect: false,
            nacks_expected: 0,
            nacks: 0,
            stream: None,
        });
        self.send(to, &messages);
    }

    pub(super) fn ping_for(&self, target: &str, seq: u32) -> wire::Ping {
        wire::Ping {
            node: target.to_owned(),
            seq,
            source: self.source(),
        }
    }

    fn source(&self) -> Source {
        Source {
            address: Some(self.own().member.address),
            node: self.name.to_string(),
        }
    }

    /// A ping was not answered in time: asks others, or tells the one we asked for.
    pub(super) fn ping_timed_out(&mut self, now: Instant, seq: u32) {
        match self.pings.waiting.get(&seq) {
            Some((Purpose::Probe, _)) => self.probe_indirectly(now, seq),
            Some((Purpose::Forward { .. }, _)) => {
                if let Some((Purpose::Forward { to, seq, nack }, _)) = self.pings.remove(seq)
                    && nack
                {
                    self.send(to, &[Message::Nack(Nack { seq })]);
                }
            }
            Some((Purpose::Claim(_), _)) => self.claim_unanswered(seq),
            Some((Purpose::Greeting(_), _)) => self.forget_ping(seq),
            Some((
                Purpose::Watch(_)
                | Purpose::Doubt(_)
                | Purpose::Elsewhere(_)
                | Purpose::Newcomer(_),
                _,
            ))
            | None => {}
        }
    }

    fn probe_indirectly(&mut self, now: Instant, seq: u32) {
        let Some(target) = self.probe_target(seq) else {
            return;
        };
        let Some(record) = self.members.get(&target) else {
            return;
        };
        let (to, by_stream) = (record.member.address, record.protocol_max() >= 3);
        let count = self.config.timings.indirect_checks;
        let helpers = self.random_members(count, |r| {
            r.swim == Swim::Alive && *r.member.name != *target
        });
        let source = self.source();
        let mut expected = 0;
        for (helper, protocol) in helpers {
            let nack = protocol >= 4;
            expected += u32::from(nack);
            let ping = IndirectPing {
                node: target.to_string(),
                target: to,
                seq,
                nack,
                source: source.clone(),
            };
            self.send(helper, &[Message::IndirectPing(ping)]);
        }
        let stream = by_stream.then(|| self.open_ping_stream(now, to, seq));
        if let Some(probe) = &mut self.probe {
            probe.indirect = true;
            probe.nacks_expected = expected;
            probe.stream = stream;
        }
    }

    /// Who is probed under this number.
    pub(super) fn probe_target(&self, seq: u32) -> Option<Arc<str>> {
        let probe = self.probe.as_ref().filter(|probe| probe.seq == seq)?;
        Some(probe.target.clone())
    }

    /// Draws up to `count` different members, without us: address and highest protocol.
    pub(super) fn random_members(
        &mut self,
        count: usize,
        fits: impl Fn(&Record) -> bool,
    ) -> Vec<(SocketAddr, u8)> {
        let own = &self.name;
        let candidates = self
            .members
            .iter()
            .filter(|(name, record)| *name != own && fits(record))
            .map(|(_, record)| (record.member.address, record.protocol_max()));
        let mut chosen = self.rng.choose_multiple(candidates, count);
        self.rng.shuffle(&mut chosen);
        chosen
    }

    /// The probe interval is over without any answer.
    pub(super) fn probe_ended(&mut self, now: Instant, seq: u32) {
        if self.probe_target(seq).is_none() {
            return;
        }
        let Some(probe) = self.end_probe() else {
            return;
        };
        self.stats.probes_failed += 1;
        let missing = probe.nacks_expected.saturating_sub(probe.nacks);
        let worse = match probe.nacks_expected {
            0 => 1,
            _ => i32::try_from(missing).unwrap_or(i32::MAX),
        };
        self.awareness.shift(worse);
        if let Some(record) = self.members.get(&probe.target) {
            let accusation = Accusation {
                node: probe.target.to_string(),
                incarnation: record.member.incarnation,
                from: self.name.to_string(),
            };
            self.suspect_heard(now, None, accusation);
        }
    }

    fn end_probe(&mut self) -> Option<Probe> {
        let probe = self.probe.take()?;
        self.pings.remove(probe.seq);
        self.timers.cancel(probe.end);
        self.timers.cancel(probe.timeout);
        if let Some(id) = probe.stream {
            self.close_stream(id);
        }
        Some(probe)
    }

    /// Ends the probe when we have left: nobody is to be accused any more.
    pub(super) fn abandon_probe(&mut self) {
        self.end_probe();
    }

    /// Answers a ping that is meant for us.
    pub(super) fn ping_heard(&mut self, now: Instant, from: SocketAddr, ping: &wire::Ping) {
        if !ping.node.is_empty() && *ping.node != *self.name {
            return;
        }
        let to = ping.source.address.map_or(from, canonical);
        if !ping.node.is_empty() {
            self.pinged_by(now, &ping.source.node, to);
        }
        // A coordinate in the payload would cost 132 bytes; agents do without.
        let ack = Ack {
            seq: ping.seq,
            payload: None,
        };
        self.send(to, &[Message::Ack(ack)]);
    }

    /// Pings a member for another one.
    pub(super) fn indirect_ping_heard(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ping: &IndirectPing,
    ) {
        if self.pings.forwards >= FORWARDS {
            self.refuse(from, crate::DropReason::Limit);
            return;
        }
        let purpose = Purpose::Forward {
            to: ping.source.address.map_or(from, canonical),
            seq: ping.seq,
            nack: ping.nack,
        };
        let seq = self.pings.insert(purpose, now);
        let timeout = now + self.config.timings.probe_timeout;
        self.timers.set(timeout, Timer::PingTimeout(seq));
        let mut target = canonical(ping.target);
        if target.port() == 0 {
            target.set_port(self.own().member.address.port());
        }
        let message = Message::Ping(self.ping_for(&ping.node, seq));
        self.send(target, &[message]);
    }

    pub(super) fn ack_heard(&mut self, now: Instant, seq: u32) {
        let Some((purpose, sent)) = self.pings.remove(seq) else {
            return;
        };
        let round_trip = now.saturating_duration_since(sent);
        match purpose {
            Purpose::Probe => {
                if let Some(probe) = self.probe_succeeded(seq)
                    && !probe.indirect
                {
                    self.heard_by_datagram(&probe.target);
                    self.answered(now, &probe.target);
                    self.watch_heard(now, &probe.target, round_trip);
                }
            }
            Purpose::Forward { to, seq, .. } => {
                self.send(to, &[Message::Ack(Ack { seq, payload: None })]);
            }
            Purpose::Watch(name) | Purpose::Greeting(name) => {
                self.heard_by_datagram(&name);
                self.answered(now, &name);
                self.watch_heard(now, &name, round_trip);
            }
            Purpose::Doubt(subject) => {
                self.heard_by_datagram(&subject.0);
                self.answered(now, &subject.0);
                self.watch_heard(now, &subject.0, round_trip);
                self.doubt_answered(now, &subject);
            }
            Purpose::Elsewhere(subject) => self.doubt_found(&subject),
            Purpose::Claim(address) => self.claim_answered(address),
            Purpose::Newcomer(name) => self.newcomer_answered(now, &name),
        }
    }

    /// A probe was answered, by whatever way.
    pub(super) fn probe_succeeded(&mut self, seq: u32) -> Option<Probe> {
        self.probe_target(seq)?;
        let probe = self.end_probe()?;
        self.awareness.shift(-1);
        Some(probe)
    }

    pub(super) fn nack_heard(&mut self, seq: u32) {
        if let Some(probe) = &mut self.probe
            && probe.seq == seq
        {
            probe.nacks += 1;
        }
    }

    /// Numbers a ping that is to be sent.
    pub(super) fn number_ping(&mut self, purpose: Purpose, now: Instant) -> u32 {
        self.pings.insert(purpose, now)
    }

    /// Numbers a ping by which a member is asked about a word.
    pub(super) fn ping_to_doubt(&mut self, now: Instant, subject: &Subject) -> u32 {
        self.pings.insert(Purpose::Doubt(subject.clone()), now)
    }

    /// Numbers a ping by which a member is looked for where it is said to be.
    pub(super) fn ping_to_find(&mut self, now: Instant, subject: &Subject) -> u32 {
        self.pings.insert(Purpose::Elsewhere(subject.clone()), now)
    }

    /// Pings a newcomer once.
    pub(super) fn ping_newcomer(&mut self, now: Instant, name: &Arc<str>, to: SocketAddr) {
        let seq = self.pings.insert(Purpose::Greeting(name.clone()), now);
        let timeout = now + self.config.timings.probe_timeout;
        self.timers.set(timeout, Timer::PingTimeout(seq));
        let ping = Message::Ping(self.ping_for(name, seq));
        self.send_alone(to, &ping.encode());
    }

    /// Asks whether somebody answers to our name at an address. Gives the number of the ping.
    pub(super) fn ping_claim(&mut self, now: Instant, to: SocketAddr) -> u32 {
        let seq = self.pings.insert(Purpose::Claim(to), now);
        let timeout = now + self.config.timings.probe_timeout;
        self.timers.set(timeout, Timer::PingTimeout(seq));
        let ping = Message::Ping(self.ping_for(&self.name, seq));
        self.send_alone(to, &ping.encode());
        seq
    }

    /// Sends a ping that is nobody's business but ours. Gives its number.
    pub(super) fn ping_to_watch(&mut self, now: Instant, name: &Arc<str>, to: SocketAddr) -> u32 {
        let seq = self.pings.insert(Purpose::Watch(name.clone()), now);
        self.stats.watch_pings += 1;
        let message = Message::Ping(self.ping_for(name, seq));
        self.send(to, &[message]);
        seq
    }

    /// Gives a watch ping up.
    pub(super) fn forget_ping(&mut self, seq: u32) {
        self.pings.remove(seq);
    }
}
