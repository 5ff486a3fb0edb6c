//! What came of a load: what went wrong, what may go wrong, what may not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::PAUSE_NOTICED;
use super::load::{Outcome, Record};
use super::plan::Act;

/// Failures that one paused server may cost, per 250 requests a second.
const PAUSE_COSTS: usize = 10;
/// Time that a proxy may need after a total outage.
const RECOVERY: Duration = Duration::from_millis(500);

/// An act and when it was done, counted from the start of the load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) act: Act,
    pub(super) began: Duration,
    pub(super) ended: Duration,
}

/// What came of a plan under load.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Requests sent.
    pub requests: usize,
    /// Answers that belong to something else.
    pub wrong: usize,
    /// Requests without an answer of status 200, whatever the reason.
    pub failed: usize,
    /// Those of them that may not fail, and answers that are wrong, word for word.
    pub breaches: Vec<String>,
    /// Failures of requests that waited on a paused server.
    pub paused: usize,
    /// POSTs that failed because they were with a server that was killed.
    pub lost_posts: usize,
    /// POSTs that servers received more than once.
    pub twice: usize,
    /// How long after the end of a total outage the last failure was; `None` without an outage.
    pub recovery: Option<Duration>,
    /// The middle one and the 99th percentile of the times of good answers.
    pub times: [Duration; 2],
    /// The longest time of a good answer.
    pub longest: Duration,
}

impl Report {
    pub(super) fn new<'a>(
        servers: usize,
        rate: u32,
        records: &[Record],
        marks: &[Mark],
        logs: impl Iterator<Item = &'a Path>,
    ) -> Self {
        let mut report = Self {
            requests: records.len(),
            ..Self::default()
        };
        let judge = Judge {
            pauses: pauses(marks),
            kills: marks.iter().filter(|m| is_kill(m.act)).copied().collect(),
            outage: outage(servers, marks),
        };
        for record in records {
            report.take(record, &judge);
        }
        let most = judge.pauses.len() * PAUSE_COSTS * rate as usize / 250;
        if report.paused > most {
            let text = format!("{} failed on paused servers, not {most}", report.paused);
            report.breaches.push(text);
        }
        report.count_posts(records, &received(logs));
        report.set_times(records);
        report
    }

    /// The cells of a table's row.
    pub fn cells(&self) -> [String; 9] {
        let ms = |time: &Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
        [
            self.requests.to_string(),
            self.failed.to_string(),
            self.paused.to_string(),
            self.lost_posts.to_string(),
            self.wrong.to_string(),
            self.twice.to_string(),
            self.recovery.as_ref().map_or("–".into(), ms),
            format!("{} / {}", ms(&self.times[1]), ms(&self.longest)),
            self.breaches.len().to_string(),
        ]
    }

    /// What the cells of [`Self::cells`] are.
    pub const COLUMNS: [&'static str; 9] = [
        "requests",
        "failed",
        "of these on a paused server",
        "POSTs with a killed server",
        "wrong answers",
        "POSTs delivered twice",
        "last failure after an outage",
        "99 % / longest",
        "breaches",
    ];

    /// Panics with every breach.
    pub fn assert_clean(&self) {
        let all = self.breaches.join("\n");
        assert!(self.breaches.is_empty(), "{self:#?}\n{all}");
        assert!(self.requests > self.failed, "nothing was answered");
    }

    fn take(&mut self, record: &Record, judge: &Judge) {
        match &record.outcome {
            Outcome::Right => return,
            Outcome::Wrong(_) => self.wrong += 1,
            Outcome::Status(_) | Outcome::Broken(_) => self.failed += 1,
        }
        match judge.excuse(record) {
            Some(Excuse::Paused) => self.paused += 1,
            Some(Excuse::Killed) => self.lost_posts += 1,
            Some(Excuse::Outage) => {}
            None => self.breaches.push(told(record)),
        }
        if let Some((from, to)) = judge.outage
            && record.ended > from
        {
            let late = record.ended.saturating_sub(to);
            self.recovery = Some(self.recovery.unwrap_or_default().max(late));
        }
    }

    /// Each POST at most once, and once if it was answered.
    fn count_posts(&mut self, records: &[Record], received: &BTreeMap<u64, usize>) {
        for post in records.iter().filter(|r| r.method == "POST") {
            let times = received.get(&post.id).copied().unwrap_or(0);
            if times > 1 {
                self.twice += 1;
            }
            if times > 1 || (times == 0 && post.outcome == Outcome::Right) {
                let text = format!("received {times} times: {}", told(post));
                self.breaches.push(text);
            }
        }
    }

    fn set_times(&mut self, records: &[Record]) {
        let right = records.iter().filter(|r| r.outcome == Outcome::Right);
        let mut times: Vec<Duration> = right.map(|r| r.ended - r.began).collect();
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied();
        self.times = [50, 99].map(|part| at(part).unwrap_or_default());
        self.longest = times.last().copied().unwrap_or_default();
    }
}

/// Why a request may fail.
enum Excuse {
    Paused,
    Killed,
    Outage,
}

struct Judge {
    pauses: Vec<(Duration, Duration)>,
    kills: Vec<Mark>,
    outage: Option<(Duration, Duration)>,
}

impl Judge {
    fn excuse(&self, record: &Record) -> Option<Excuse> {
        if matches!(record.outcome, Outcome::Wrong(_)) {
            return None;
        }
        let waits = |(from, to): &(Duration, Duration)| {
            let noticed = (*from + PAUSE_NOTICED).min(*to);
            record.ended >= *from && record.began <= noticed
        };
        let is_504 = record.outcome == Outcome::Status(504);
        if is_504 && self.pauses.iter().any(waits) {
            return Some(Excuse::Paused);
        }
        let with = |mark: &Mark| record.began <= mark.ended && record.ended >= mark.began;
        if record.method == "POST" && self.kills.iter().any(with) {
            return Some(Excuse::Killed);
        }
        let within = |(from, to): &(Duration, Duration)| {
            record.ended >= *from && record.ended <= *to + RECOVERY
        };
        (self.outage.as_ref().is_some_and(within)).then_some(Excuse::Outage)
    }
}

fn is_kill(act: Act) -> bool {
    matches!(act, Act::Kill(_) | Act::Restart(_))
}

/// From when to when servers were paused.
fn pauses(marks: &[Mark]) -> Vec<(Duration, Duration)> {
    let pause = |(at, mark): (usize, &Mark)| {
        let Act::Pause(i) = mark.act else { return None };
        let resumed = marks[at..].iter().find(|m| m.act == Act::Resume(i));
        Some((mark.began, resumed.map_or(Duration::MAX, |m| m.ended)))
    };
    marks.iter().enumerate().filter_map(pause).collect()
}

/// From the last server's death to the first one that answers again.
fn outage(servers: usize, marks: &[Mark]) -> Option<(Duration, Duration)> {
    let mut running = servers;
    let mut from = None;
    for mark in marks {
        match mark.act {
            Act::Kill(_) | Act::Stop(_) => running = running.saturating_sub(1),
            Act::Start(_) => running += 1,
            _ => {}
        }
        match from {
            None if running == 0 => from = Some(mark.began),
            Some(from) if running > 0 => return Some((from, mark.ended)),
            _ => {}
        }
    }
    from.map(|from| (from, Duration::MAX))
}

/// How often each POST was received, by its number.
fn received<'a>(logs: impl Iterator<Item = &'a Path>) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    for log in logs {
        let text = fs::read_to_string(log).unwrap_or_default();
        for line in text.lines().filter_map(|l| l.strip_suffix(" POST")) {
            if let Ok(id) = line.parse() {
                *times.entry(id).or_default() += 1;
            }
        }
    }
    times
}

fn told(record: &Record) -> String {
    let Record {
        id, method, began, ..
    } = record;
    let mut text = format!("{method} {id} at {:.3} s", began.as_secs_f64());
    let took = (record.ended - *began).as_secs_f64();
    let _ = write!(text, ", after {took:.3} s: {:?}", record.outcome);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(act: Act, at: u64) -> Mark {
        let at = Duration::from_secs(at);
        Mark {
            act,
            began: at,
            ended: at,
        }
    }

    fn record(id: u64, method: &'static str, at: u64, outcome: Outcome) -> Record {
        Record {
            id,
            method,
            began: Duration::from_secs(at),
            ended: Duration::from_secs(at),
            outcome,
        }
    }

    fn report(records: &[Record], marks: &[Mark]) -> Report {
        Report::new(4, 250, records, marks, std::iter::empty())
    }

    #[test]
    fn only_what_may_fail_is_excused() {
        use Outcome::{Broken, Status, Wrong};
        let marks = [
            mark(Act::Kill(0), 1),
            mark(Act::Pause(1), 10),
            mark(Act::Resume(1), 20),
        ];
        let records = [
            record(1, "GET", 1, Status(502)),
            record(2, "POST", 1, Status(502)),
            record(3, "POST", 2, Broken("reset".into())),
            record(4, "GET", 12, Status(504)),
            record(5, "GET", 14, Status(504)),
            record(6, "GET", 11, Status(503)),
            record(7, "POST", 1, Wrong("mixed".into())),
        ];
        let report = report(&records, &marks);
        let Report {
            failed,
            paused,
            lost_posts,
            wrong,
            ..
        } = report;
        assert_eq!((failed, paused, lost_posts, wrong), (6, 1, 1, 1));
        let breaches = report.breaches.join(" ");
        for id in [1, 3, 5, 6, 7] {
            assert!(breaches.contains(&format!(" {id} at")), "{breaches}");
        }
        assert_eq!(report.breaches.len(), 5);
    }

    #[test]
    fn an_outage_excuses_until_shortly_after_its_end() {
        let mut marks: Vec<Mark> = (0..4).map(|i| mark(Act::Kill(i), 2)).collect();
        marks.push(mark(Act::Start(0), 5));
        let failure = |id, at| record(id, "GET", at, Outcome::Status(503));
        let report = report(&[failure(1, 1), failure(2, 3), failure(3, 6)], &marks);
        assert_eq!(report.breaches.len(), 2, "{report:?}");
        assert_eq!(report.recovery, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_post_answered_was_received_once() {
        let folder = std::env::temp_dir();
        let log = folder.join(format!("chaos-report-{}", std::process::id()));
        fs::write(&log, "1 POST\n2 POST\n2 POST\n3 GET\n3 GET\n").unwrap();
        let post = |id| record(id, "POST", 1, Outcome::Right);
        let records = [
            post(1),
            post(2),
            post(4),
            record(3, "GET", 1, Outcome::Right),
        ];
        let report = Report::new(4, 250, &records, &[], std::iter::once(log.as_path()));
        fs::remove_file(&log).unwrap();
        assert_eq!((report.twice, report.breaches.len()), (1, 2), "{report:?}");
    }
}
