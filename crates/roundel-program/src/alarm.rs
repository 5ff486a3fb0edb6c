//! The verdict from the clients' side: answers that fail, wait or never come.
//!
//! Once a second each backend's counts are laid beside those of ten seconds before. What is beyond its bound
//! begins an alarm at once; it ends when that has not been so for ten seconds. Time comes in as an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use roundel_admin::status::{Alarm, Backend, Server};
use roundel_config::AlarmRules;
use roundel_model::ServerState;
use roundel_stats::HistogramSnapshot;

/// Seconds over which is counted, and without a reason after which an alarm ends.
const WINDOW: usize = 10;

/// Seconds without an answer after which a server that is asked is said to give none.
const STALL: usize = 3;

/// Minutes that latency is compared with.
const HOUR: usize = 60;

/// Requests that an hour must have for its latency to be a measure.
const MEASURE: u64 = 100;

/// Above this many servers a backend's own are not watched one by one.
const MANY_SERVERS: usize = 2_000;

/// What changed.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    /// An alarm began, or became critical.
    Begun(Alarm),
    /// One ended that lasted so long.
    Ended(Alarm, Duration),
}

/// The alarms that last, and the past that they are found by.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    past: BTreeMap<String, Past>,
    open: BTreeMap<(String, Kind), Open>,
}

/// The kinds, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    NoServer,
    Errors,
    Stalled,
    Queue,
    Latency,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoServer => "no_server",
            Self::Errors => "errors",
            Self::Stalled => "stalled",
            Self::Queue => "queue",
            Self::Latency => "latency",
        }
    }
}

#[derive(Debug)]
struct Open {
    alarm: Alarm,
    /// Of the clock that comes in.
    since: Duration,
    /// When it last had a reason.
    last: Duration,
}

/// One backend's past.
///
/// Shape: `recent` has the last eleven seconds, oldest first, and `minutes` the last hour; `servers` likewise
/// by id.
#[derive(Debug, Default)]
struct Past {
    recent: VecDeque<Sums>,
    minutes: VecDeque<HistogramSnapshot>,
    seconds: u64,
    servers: BTreeMap<u32, VecDeque<Counts>>,
}

/// Cumulative numbers of a backend.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    answers: u64,
    errors: u64,
    no_server: u64,
    queue_timeouts: u64,
    latency: HistogramSnapshot,
    queue: HistogramSnapshot,
}

/// Cumulative numbers of a server.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u64,
    answers: u64,
    errors: u64,
}

/// A reason for an alarm at this moment.
struct Reason {
    kind: Kind,
    critical: bool,
    /// What is wrong, with `{since}` where the time of its beginning goes.
    text: String,
}

impl Alarms {
    /// Takes the next second in. `clock` only grows; `unix` is the time of day in seconds; `patience` gives
    /// how long requests may wait for a server of a backend.
    pub(crate) fn second(
        &mut self,
        (clock, unix): (Duration, u64),
        rules: &AlarmRules,
        backends: &[Backend],
        patience: impl Fn(&str) -> Duration,
    ) -> Vec<Change> {
        let named = |name: &str| backends.iter().any(|b| b.name == name);
        self.past.retain(|name, _| named(name));
        let mut changes = Vec::new();
        for backend in backends {
            let past = self.past.entry(backend.name.clone()).or_default();
            past.push(backend);
            for reason in past.reasons(backend, rules, patience(&backend.name)) {
                let key = (backend.name.clone(), reason.kind);
                let open = self.open.get_mut(&key);
                let since = open.as_ref().map_or(clock, |open| open.since);
                let began = unix.saturating_sub((clock - since).as_secs());
                let prefix = match backends.len() {
                    1 => String::new(),
                    _ => format!("{}: ", backend.name),
                };
                let alarm = Alarm {
                    kind: reason.kind.as_str().to_owned(),
                    backend: backend.name.clone(),
                    critical: reason.critical,
                    since_ms: began * 1000,
                    text: prefix + &reason.text.replace("{since}", &time_of_day(began)),
                };
                match open {
                    Some(open) => {
                        let worse = alarm.critical && !open.alarm.critical;
                        // What was red stays so until it ends: one alarm, one colour.
                        let critical = alarm.critical || open.alarm.critical;
                        open.alarm = Alarm { critical, ..alarm };
                        open.last = clock;
                        if worse {
                            changes.push(Change::Begun(open.alarm.clone()));
                        }
                    }
                    None => {
                        changes.push(Change::Begun(alarm.clone()));
                        let open = Open {
                            alarm,
                            since: clock,
                            last: clock,
                        };
                        self.open.insert(key, open);
                    }
                }
            }
        }
        let window = Duration::from_secs(WINDOW as u64);
        self.open.retain(|(name, _), open| {
            let stays = named(name) && clock < open.last + window;
            if !stays {
                changes.push(Change::Ended(open.alarm.clone(), open.last - open.since));
            }
            stays
        });
        changes
    }

    /// Those that last: critical ones first, then by kind and backend.
    pub(crate) fn open(&self) -> Vec<Alarm> {
        let mut list: Vec<_> = self.open.iter().collect();
        list.sort_by_key(|((name, kind), open)| (!open.alarm.critical, *kind, name));
        list.into_iter()
            .map(|(_, open)| open.alarm.clone())
            .collect()
    }
}

impl Past {
    fn push(&mut self, backend: &Backend) {
        let latency = backend.request_duration;
        if self.seconds.is_multiple_of(60) {
            keep(&mut self.minutes, latency, HOUR);
        }
        self.seconds += 1;
        let sums = Sums {
            answers: backend.traffic.responses_total.iter().skip(1).sum(),
            errors: backend.failures(),
            no_server: backend.no_server_total,
            queue_timeouts: backend.queue_timeouts_total,
            latency,
            queue: backend.queue_duration,
        };
        keep(&mut self.recent, sums, WINDOW + 1);
        if backend.servers.len() > MANY_SERVERS {
            self.servers.clear();
            return;
        }
        self.servers
            .retain(|id, _| backend.rows().any(|s| s.id == *id));
        for server in backend.rows() {
            let counts = Counts {
                requests: server.requests_total,
                answers: server.traffic.responses_total.iter().skip(1).sum(),
                errors: server.errors_total + server.traffic.responses_total[4],
            };
            keep(
                self.servers.entry(server.id).or_default(),
                counts,
                WINDOW + 1,
            );
        }
    }

    fn reasons(&self, backend: &Backend, rules: &AlarmRules, patience: Duration) -> Vec<Reason> {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else {
            return Vec::new();
        };
        let seconds = (self.recent.len() - 1).max(1) as u64;
        [
            no_server(backend, first, last, seconds),
            self.errors(backend, rules, first, last, seconds),
            self.stalled(backend),
            queue(backend, rules, first, last, patience),
            self.latency(rules, first, last),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn errors(
        &self,
        backend: &Backend,
        rules: &AlarmRules,
        first: &Sums,
        last: &Sums,
        seconds: u64,
    ) -> Option<Reason> {
        let answers = last.answers.saturating_sub(first.answers);
        let errors = last.errors.saturating_sub(first.errors).min(answers);
        let percent = errors as f64 * 100.0 / answers.max(1) as f64;
        if answers < rules.min_requests || percent < f64::from(rules.warning) {
            return None;
        }
        let from = self.culprit(backend, errors);
        let from = from.map_or(String::new(), |name| format!(", from {name}"));
        Some(Reason {
            kind: Kind::Errors,
            critical: percent >= f64::from(rules.critical),
            text: format!(
                "{} of answers are errors{from} ({}/s since {{since}})",
                share(percent),
                count(errors / seconds),
            ),
        })
    }

    /// The one server that nine in ten of these errors came from, if others have not failed.
    fn culprit<'a>(&self, backend: &'a Backend, errors: u64) -> Option<&'a str> {
        if backend.known() < 2 {
            return None;
        }
        let worst = backend.here().max_by_key(|s| self.span(s, WINDOW).errors)?;
        let own = self.span(worst, WINDOW).errors;
        (own * 10 >= errors * 9 && own > 0).then_some(&*worst.name)
    }

    /// What a server counted in the last so many seconds.
    fn span(&self, server: &Server, seconds: usize) -> Counts {
        let Some(past) = self.servers.get(&server.id) else {
            return Counts::default();
        };
        let last = past.back().copied().unwrap_or_default();
        let at = past.len().saturating_sub(seconds + 1);
        let first = past.get(at).copied().unwrap_or_default();
        Counts {
            requests: last.requests.saturating_sub(first.requests),
            answers: last.answers.saturating_sub(first.answers),
            errors: last.errors.saturating_sub(first.errors),
        }
    }

    /// A server that is asked and gives no answer at all.
    fn stalled(&self, backend: &Backend) -> Option<Reason> {
        let silent = |s: &&Server| {
            let now = self.span(s, STALL);
            let before = self.span(s, WINDOW);
            let watched = self.servers.get(&s.id).is_some_and(|p| p.len() > STALL);
            // Who has answered within the window and does no more; long polls answer nobody at all.
            watched
                && s.state != ServerState::Left
                && now.answers == 0
                && now.requests > 0
                && before.answers > 0
                && s.in_flight >= now.requests.max(3)
        };
        let silent: Vec<&Server> = backend.rows().filter(silent).collect();
        let first = silent.first()?;
        let waiting: u64 = silent.iter().map(|s| s.in_flight).sum();
        let who = match silent.len() {
            1 => format!("{} answers", first.name),
            n => format!("{n} servers answer"),
        };
        Some(Reason {
            kind: Kind::Stalled,
            critical: silent.len() == backend.serving().max(1),
            text: format!("{who} nothing ({waiting} requests wait since {{since}})"),
        })
    }

    fn latency(&self, rules: &AlarmRules, first: &Sums, last: &Sums) -> Option<Reason> {
        let now = last.latency.since(&first.latency);
        let hour = first.latency.since(self.minutes.front()?);
        if now.count() < rules.min_requests || hour.count() < MEASURE {
            return None;
        }
        let (now, hour) = (now.quantile(0.99)?, hour.quantile(0.99)?);
        let is_slow = now > rules.latency.as_secs_f64() && now > hour * rules.latency_factor as f64;
        is_slow.then(|| Reason {
            kind: Kind::Latency,
            critical: false,
            text: format!(
                "p99 is {} since {{since}}, {:.0} times the last hour's {}",
                time(now),
                now / hour.max(1e-4),
                time(hour)
            ),
        })
    }
}

fn no_server(backend: &Backend, first: &Sums, last: &Sums, seconds: u64) -> Option<Reason> {
    let refused = last.no_server.saturating_sub(first.no_server);
    (backend.serving() == 0 && refused > 0).then(|| Reason {
        kind: Kind::NoServer,
        critical: true,
        text: format!(
            "no server serves, and clients get 503 ({}/s since {{since}})",
            count(refused / seconds)
        ),
    })
}

fn queue(
    backend: &Backend,
    rules: &AlarmRules,
    first: &Sums,
    last: &Sums,
    patience: Duration,
) -> Option<Reason> {
    let waits = last.queue.since(&first.queue);
    let waited = waits.quantile(0.99).unwrap_or_default();
    let given_up = last.queue_timeouts.saturating_sub(first.queue_timeouts);
    let bound = patience.as_secs_f64() * f64::from(rules.queue) / 100.0;
    if patience.is_zero() || (waited <= bound && given_up == 0) || backend.serving() == 0 {
        return None;
    }
    Some(Reason {
        kind: Kind::Queue,
        critical: given_up > 0,
        text: format!(
            "requests wait {} for a server that has room ({} wait since {{since}})",
            time(waited.max(if given_up > 0 {
                patience.as_secs_f64()
            } else {
                0.0
            })),
            backend.queue_length
        ),
    })
}

/// Keeps the newest so many.
fn keep<T>(ring: &mut VecDeque<T>, item: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// `12 %`, `1.5 %`.
fn share(percent: f64) -> String {
    match percent {
        p if (99.5..100.0).contains(&p) => "over 99 %".to_owned(),
        p if p >= 10.0 => format!("{p:.0} %"),
        p => format!("{p:.1} %"),
    }
}

/// `20 k`.
fn count(n: u64) -> String {
    match n {
        0 => "under 1".to_owned(),
        n if n >= 10_000 => format!("{} k", n / 1000),
        n => n.to_string(),
    }
}

/// `2.1 s`, `310 ms`.
fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1000.0),
    }
}

/// `00:12:03 UTC`.
fn time_of_day(unix: u64) -> String {
    let (h, m, s) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    format!("{h:02}:{m:02}:{s:02} UTC")
}

#[cfg(test)]
mod tests;
