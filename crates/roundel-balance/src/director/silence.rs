//! Servers that take requests and answer none: paused, hung, or cut off without a word.
//!
//! A refused connection tells at once; silence tells nothing until something has waited for too
//! long. Requests that wait, while the other servers answer theirs, bring a check forward, and
//! if that gets no answer soon either, the server is down. It is measured by its own
//! pace, so that a server that is always slow is not taken for a dead one.

use std::time::{Duration, Instant};

use super::Director;
use super::record::Record;
use super::words::Span;
use crate::{EjectionCause, OutlierSpec, ServerLive};

/// Silence that is looked into: above what a busy machine or a collection of garbage costs often.
const SILENT: Duration = Duration::from_millis(150);
/// The same as a multiple of the usual time between two answers.
const SILENT_PACES: u32 = 4;
/// How long a check may stay without an answer besides.
const UNCHECKED: Duration = Duration::from_millis(200);
/// Silence that is enough where no check can be asked.
const SILENT_ALONE: Duration = Duration::from_secs(1);
/// Requests that must wait: one or two may be slow for reasons of their own.
const WAITING: u64 = 3;

/// What is known of a server's silence.
#[derive(Debug)]
pub(super) struct Silence {
    /// When an answer was seen last, or nothing was waited for.
    since: Instant,
    /// The counts at that time.
    then: Counts,
    /// The usual time between two answers while something is waited for.
    pace: Duration,
    /// It alone put the server down, not checks that failed as often as they must.
    pub(super) decided: bool,
}

/// Requests sent to a server, heads of answers that came, and those of all other servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    sent: u64,
    answered: u64,
    elsewhere: u64,
}

impl Silence {
    pub(super) fn new(now: Instant, live: &ServerLive) -> Self {
        Self {
            since: now,
            then: Counts::of(live),
            pace: Duration::ZERO,
            decided: false,
        }
    }

    fn begin(&mut self, now: Instant, counts: Counts) {
        (self.since, self.then) = (now, counts);
    }

    /// Takes the present counts in and says for how long the server has been silent, if that is
    /// worth a question.
    fn note(&mut self, now: Instant, counts: Counts, in_flight: u64) -> Option<Duration> {
        let waited = now.saturating_duration_since(self.since);
        let answers = counts.answered.saturating_sub(self.then.answered);
        if answers > 0 {
            let each = waited / u32::try_from(answers).unwrap_or(u32::MAX);
            self.pace = (self.pace * 3 + each) / 4;
        }
        if answers > 0 || in_flight == 0 {
            self.begin(now, counts);
            return None;
        }
        let sent = counts.sent.saturating_sub(self.then.sent);
        let elsewhere = counts.elsewhere.saturating_sub(self.then.elsewhere);
        // Where nobody answers, the cause lies elsewhere.
        let is_alone = elsewhere >= sent;
        let long = waited >= SILENT.max(self.pace * SILENT_PACES);
        (long && is_alone && sent.min(in_flight) >= WAITING).then_some(waited)
    }
}

impl Counts {
    fn of(live: &ServerLive) -> Self {
        Self {
            sent: live.workers.sum(|w| w.requests.get()),
            answered: live.workers.sum(|w| w.answered.get()),
            elsewhere: 0,
        }
    }
}

impl Director {
    /// Looks for silent servers; asks them, and puts down those that stay silent.
    pub(super) fn listen(&mut self, now: Instant, spec: &OutlierSpec) {
        let counts: Vec<Counts> = self.records.iter().map(|r| Counts::of(&r.live)).collect();
        let all: u64 = counts.iter().map(|c| c.answered).sum();
        for (i, mut counts) in counts.into_iter().enumerate() {
            counts.elsewhere = all - counts.answered;
            let record = &mut self.records[i];
            let in_flight = u64::from(record.live.in_flight());
            if !record.state.takes_sticky() {
                record.silence.begin(now, counts);
                continue;
            }
            let silent = record.silence.note(now, counts, in_flight);
            if let Some(silent) = silent.filter(|_| self.is_another_usable(i)) {
                self.question(now, i, silent, spec);
            }
        }
    }

    fn question(&mut self, now: Instant, i: usize, silent: Duration, spec: &OutlierSpec) {
        let record = &mut self.records[i];
        let in_flight = record.live.in_flight();
        let text = format!(
            "{in_flight} requests without an answer for {}",
            Span(silent)
        );
        if !self.config.check.is_on() {
            if silent >= SILENT_ALONE && self.may_eject(i, spec) {
                self.records[i].silent = true;
                self.eject(now, i, EjectionCause::NoAnswer, text);
            }
            return;
        }
        match record.probe.running_for(now) {
            None => record.probe.hasten(now, &self.config.check),
            Some(asked) if asked < UNCHECKED => return,
            Some(asked) => {
                record.health.sink();
                record.silent = true;
                record.silence.decided = true;
                record.cause = format!("{text}, nor a check for {}", Span(asked));
            }
        }
        self.settle(now, i);
    }
}

impl Record {
    /// Makes what is decided known to the requests that wait for this server. Returns whether
    /// they have to look.
    pub(super) fn tell_silence(&mut self) -> bool {
        self.silent &= !self.state.takes_sticky();
        self.silence.decided &= self.silent;
        let told = self.live.set_silent(self.silent);
        self.silent && !told
    }
}
