//! Our own graceful leave: the intent, then our death by our own word, each spread first.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::queue::{BroadcastId, Tier};
use super::record::{Record, Swim};
use super::timers::Timer;
use crate::event::Event;
use crate::member::Status;
use crate::wire::{Accusation, LeaveIntent, Message, SerfMessage};

/// Up to this many members are told directly, and then nothing else is waited for.
const FEW: usize = 32;

/// Members whose tag `role` says this act on a leave, so they are told directly at any size.
const LISTENER: &str = "balancer";

/// Agents handle what comes together in no order, and a death without an intent is a failure to
/// them: so much time lies between the two.
const APART: Duration = Duration::from_millis(150);

/// Pause before telling directly once more, and between looks at the queue.
const AGAIN: Duration = Duration::from_millis(50);

/// How far our leave is.
#[derive(Debug)]
pub(super) struct Leave {
    stage: Stage,
    /// When the stage began.
    begun: Instant,
    /// Whether everybody was told directly.
    few: bool,
    broadcast: BroadcastId,
    message: Message,
    repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Intent,
    Death,
    Departed,
}

impl Node {
    /// Whether our leave is complete. We answer probes then, and begin nothing.
    pub(super) fn has_departed(&self) -> bool {
        let stage = self.leave.as_ref().map(|leave| leave.stage);
        matches!(stage, Some(Stage::Departed))
    }

    pub(super) fn leave_begin(&mut self, now: Instant) {
        if self.leave.is_some() {
            if self.has_departed() {
                self.event(Event::Departed);
            }
            return;
        }
        let intent = LeaveIntent {
            ltime: self.clock.time(),
            node: self.name.to_string(),
            prune: false,
        };
        self.clock.increment();
        self.revision += 1;
        let own = self.own_mut();
        own.status_time = own.status_time.max(intent.ltime);
        own.member.status = Status::Leaving;
        own.member.since = now;
        let member = own.member.clone();
        self.event(Event::Leaving(member));
        let serf = SerfMessage::Leave(intent).encode();
        let broadcast = self.spread(Tier::Intent, &serf);
        self.leave_stage(now, Stage::Intent, broadcast, Message::User(serf));
    }

    fn leave_stage(
        &mut self,
        now: Instant,
        stage: Stage,
        broadcast: BroadcastId,
        message: Message,
    ) {
        let peers = self.peers().count();
        self.leave = Some(Leave {
            stage,
            begun: now,
            few: peers <= FEW,
            broadcast,
            message,
            repeated: false,
        });
        self.leave_tell();
        let wait = if peers == 0 { Duration::ZERO } else { AGAIN };
        self.timers.set(now + wait, Timer::Leave);
    }

    /// Living members without us.
    fn peers(&self) -> impl Iterator<Item = &Record> {
        let own = &self.name;
        let others = self.members.iter().filter(move |(name, _)| *name != own);
        others.map(|(_, record)| record).filter(|r| r.is_up())
    }

    /// Tells all members if they are few, else those that balance; each in a packet of its own.
    fn leave_tell(&mut self) {
        let Some(leave) = &self.leave else {
            return;
        };
        let (few, message) = (leave.few, leave.message.encode());
        let listens = |r: &&Record| few || r.member.tags.get("role").is_some_and(|v| v == LISTENER);
        let told: Vec<SocketAddr> = self
            .peers()
            .filter(listens)
            .map(|record| record.member.address)
            .take(FEW)
            .collect();
        for to in told {
            self.send_alone(to, &message);
        }
    }

    /// Says it once more, and goes on to the next stage when this one is spread.
    pub(super) fn leave_tick(&mut self, now: Instant) {
        let alone = self.peers().next().is_none();
        let longest = self.config.timings.leave_timeout;
        let Some(leave) = &mut self.leave else {
            return;
        };
        let stage = leave.stage;
        if stage == Stage::Departed {
            return;
        }
        let elapsed = now.saturating_duration_since(leave.begun);
        let spread = leave.few || !self.queue.contains(leave.broadcast);
        let over = alone || elapsed >= longest || (spread && elapsed >= APART);
        if over {
            return match stage {
                Stage::Intent => self.leave_die(now),
                Stage::Death | Stage::Departed => self.leave_done(),
            };
        }
        if !std::mem::replace(&mut leave.repeated, true) {
            self.leave_tell();
        }
        self.timers.set(now + AGAIN, Timer::Leave);
    }

    fn leave_die(&mut self, now: Instant) {
        let accusation = Accusation {
            node: self.name.to_string(),
            incarnation: self.own().member.incarnation,
            from: self.name.to_string(),
        };
        let message = Message::Dead(accusation);
        let name = self.name.clone();
        self.set_swim(now, &name, Swim::Left);
        self.serf_gone(now, &name, true);
        let broadcast = self.say_about(name, &message);
        self.leave_stage(now, Stage::Death, broadcast, message);
    }

    fn leave_done(&mut self) {
        self.abandon_probe();
        if let Some(leave) = &mut self.leave {
            leave.stage = Stage::Departed;
        }
        self.event(Event::Departed);
    }
}
