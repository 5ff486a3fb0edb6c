//! How far a certificate's life has come.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::certificate::{Certificate, Validity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a certificate's life has come, in the order in which it goes.
///
/// The last stages begin when a third, a tenth and a thirtieth of it are left, but at most 21, 7 and
/// 1 days: one for a year and one for six days are both renewed well before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It does not count yet.
    NotYet,
    /// There is nothing to do.
    Fresh,
    /// It should have been renewed by now.
    Due,
    /// Something is wrong with its renewal.
    Late,
    /// It ends at any moment.
    Urgent,
    /// It has ended; clients refuse it.
    Ended,
}

impl Stage {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotYet => "not_yet",
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Late => "late",
            Self::Urgent => "urgent",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Certificate {
    /// How far its life has come.
    pub fn stage(&self, now: SystemTime) -> Stage {
        match self.validity(now) {
            Validity::NotYet => return Stage::NotYet,
            Validity::Ended => return Stage::Ended,
            Validity::Valid => {}
        }
        let life = self.not_after().duration_since(self.not_before());
        let life = life.unwrap_or_default();
        let left = self.not_after().duration_since(now).unwrap_or_default();
        match left {
            _ if left <= (life / 30).min(DAY) => Stage::Urgent,
            _ if left <= (life / 10).min(DAY * 7) => Stage::Late,
            _ if left <= (life / 3).min(DAY * 21) => Stage::Due,
            _ => Stage::Fresh,
        }
    }

    /// What people should know of it: when it ends, or began; `None` while there is nothing to do.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let left = self.not_after().duration_since(now).unwrap_or_default();
        let ago = now.duration_since(self.not_after()).unwrap_or_default();
        let ahead = self.not_before().duration_since(now).unwrap_or_default();
        Some(match self.stage(now) {
            Stage::Fresh => return None,
            Stage::NotYet => format!(
                "counts only in {}: clients refuse it until then",
                rough(ahead)
            ),
            Stage::Ended => format!("ended {} ago: clients refuse it", rough(ago)),
            Stage::Due | Stage::Late | Stage::Urgent => format!("ends in {}", rough(left)),
        })
    }
}

/// A length of time in its largest unit, rounded down.
fn rough(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (number, unit) = match minutes {
        0..120 => (minutes, "minute"),
        120..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    match number {
        1 => format!("1 {unit}"),
        _ => format!("{number} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::mint::{Authority, ECDSA};

    #[test]
    fn stages_begin_at_shares_of_a_life_and_at_most_so_many_days_before_its_end() {
        let from = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let hour = DAY / 24;
        let authority = Authority::new("test");
        // The life of a certificate, and how long before its end the stages begin.
        for (life, due, late, urgent) in [
            (DAY * 365, DAY * 21, DAY * 7, DAY),
            (DAY * 90, DAY * 21, DAY * 7, DAY),
            (DAY * 45, DAY * 15, hour * 108, DAY),
            (DAY * 6, DAY * 2, hour * 14 + hour * 2 / 5, hour * 24 / 5),
        ] {
            let (chain, key) = authority.issue_for(&["a"], ECDSA, from, from + life);
            let read = Certificate::read(chain.as_bytes(), key.as_bytes(), "").unwrap();
            let second = Duration::from_secs(1);
            let before = |left: Duration| read.stage(from + life - left);
            assert_eq!(read.stage(from - second), Stage::NotYet);
            assert_eq!(read.stage(from), Stage::Fresh);
            assert_eq!(before(due + second), Stage::Fresh);
            assert_eq!(before(due), Stage::Due);
            assert_eq!(before(late + second), Stage::Due);
            assert_eq!(before(late), Stage::Late);
            assert_eq!(before(urgent + second), Stage::Late);
            assert_eq!(before(urgent), Stage::Urgent);
            assert_eq!(read.stage(from + life), Stage::Urgent);
            assert_eq!(read.stage(from + life + second), Stage::Ended);
        }
    }

    #[test]
    fn warnings_say_when() {
        let from = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let to = from + DAY * 90;
        let authority = Authority::new("test");
        let (chain, key) = authority.issue_for(&["a"], ECDSA, from, to);
        let read = Certificate::read(chain.as_bytes(), key.as_bytes(), "").unwrap();
        for (now, text) in [
            (
                from - DAY * 3,
                Some("counts only in 3 days: clients refuse it until then"),
            ),
            (from + DAY, None),
            (to - DAY * 20, Some("ends in 20 days")),
            (to - DAY, Some("ends in 24 hours")),
            (to - Duration::from_secs(60), Some("ends in 1 minute")),
            (to + DAY * 2, Some("ended 2 days ago: clients refuse it")),
        ] {
            assert_eq!(read.warning(now).as_deref(), text);
        }
    }
}
