//! `[stats.alarm]`: from when on clients have it bad.

use std::time::Duration;

use super::policy::{MANY, positive};
use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Ratio, Time, Whole};

/// `[stats.alarm]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AlarmTable {
    pub(crate) warning: Maybe<u8>,
    pub(crate) critical: Maybe<u8>,
    pub(crate) min_requests: Maybe<u64>,
    pub(crate) latency: Maybe<Duration>,
    pub(crate) latency_factor: Maybe<u64>,
    pub(crate) queue: Maybe<u8>,
}

impl Table for AlarmTable {
    const EXAMPLE: &'static str = "{ critical = 0.2 }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(warning, Ratio)
                .default("0.01")
                .words("share of 5xx in the answers of ten seconds that is a warning; 0: any"),
            key!(critical, Ratio)
                .default("0.1")
                .words("the share that cannot wait"),
            key!(min_requests, Whole(1..=MANY))
                .default("20")
                .words("answers in ten seconds before shares and times count"),
            key!(latency, Time(positive)).default("\"250ms\"").words(
                "p99 above which, and above latency_factor times the last hour's, answers are slow",
            ),
            key!(latency_factor, Whole(1..=1000))
                .default("4")
                .words("see latency"),
            key!(queue, Ratio)
                .default("0.5")
                .words("share of timeouts.queue for which requests may wait for a server"),
        ]
    }
}
