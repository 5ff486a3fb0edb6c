//! When passive errors put a server out: the rules, as plain data.

use std::fmt;
use std::time::Duration;

/// What the answers to ordinary requests may do to a server.
///
/// The default looks at attempts that brought no answer only (nothing connects, or the
/// connection ends or stays silent before the head of an answer): those cannot be caused by a
/// client that asks for a broken page. Answers with 5xx can, so they put nobody out unless asked
/// for. HAProxy (`observe`) and Envoy (`outlier_detection`) do nothing of either kind by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierSpec {
    /// Attempts without an answer in a row that put a server out; 0 for never. Default 5, as
    /// Envoy's `consecutive_local_origin_failure`.
    pub consecutive: u32,
    /// Answers with 5xx in a row that put a server out; 0 (the default) for never.
    pub consecutive_5xx: u32,
    /// The share of failed attempts and 5xx answers, in per cent of one window, that puts a
    /// server out while the others stay below half of it; 0 (the default) for never.
    pub error_percent: u8,
    /// Attempts in one window before its share of errors counts. Default 20.
    pub min_requests: u64,
    /// The length of that window, and the time of good service that makes up for one ejection.
    /// Default 10 s.
    pub interval: Duration,
    /// How long the first ejection lasts; the n-th lasts n times as long. Default 10 s.
    pub base_ejection: Duration,
    /// The greatest share of the servers, in per cent, that may be out at the same time. The
    /// last usable server never goes. Default 50.
    pub max_ejected_percent: u8,
}

impl OutlierSpec {
    /// Nothing puts a server out.
    pub const OFF: Self = Self {
        consecutive: 0,
        consecutive_5xx: 0,
        error_percent: 0,
        min_requests: 20,
        interval: Duration::from_secs(10),
        base_ejection: Duration::from_secs(10),
        max_ejected_percent: 50,
    };

    /// Whether anything puts a server out.
    pub fn is_on(&self) -> bool {
        self.consecutive > 0 || self.consecutive_5xx > 0 || self.error_percent > 0
    }
}

impl Default for OutlierSpec {
    fn default() -> Self {
        Self {
            consecutive: 5,
            ..Self::OFF
        }
    }
}

/// Why a server was put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EjectionCause {
    /// Attempts in a row brought no answer.
    NoAnswer,
    /// Answers in a row were 5xx.
    ServerErrors,
    /// Too great a share of attempts failed.
    ErrorRatio,
}

impl EjectionCause {
    /// Every cause, in the order of [`crate::ServerStatus::ejections`].
    pub const ALL: [Self; 3] = [Self::NoAnswer, Self::ServerErrors, Self::ErrorRatio];

    /// The value of the metric label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::ServerErrors => "consecutive_5xx",
            Self::ErrorRatio => "error_ratio",
        }
    }
}

impl fmt::Display for EjectionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
