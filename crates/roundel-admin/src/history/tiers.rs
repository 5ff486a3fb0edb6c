//! Rings of one series at three resolutions.

use roundel_stats::Ring;

/// How far back a view looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Range {
    /// Five minutes in seconds.
    #[default]
    FiveMinutes,
    /// An hour in steps of ten seconds.
    Hour,
    /// A day in minutes.
    Day,
}

impl Range {
    /// Every range, the shortest first.
    pub(crate) const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Day];

    /// The word of the query parameter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }

    /// The range of that word; the shortest for anything else.
    pub(crate) fn from_word(word: Option<&str>) -> Self {
        let same = |range: &Self| Some(range.as_str()) == word;
        Self::ALL.into_iter().find(same).unwrap_or_default()
    }

    /// Milliseconds between two rows.
    pub(crate) fn step_ms(self) -> u64 {
        match self {
            Self::FiveMinutes => 1_000,
            Self::Hour => 10_000,
            Self::Day => 60_000,
        }
    }

    /// Milliseconds that the whole range covers.
    pub(crate) fn span_ms(self) -> u64 {
        match self {
            Self::FiveMinutes => 300_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

/// A row that can be joined with its neighbours into a coarser one.
pub(crate) trait Join: Sized {
    /// Joins rows in order of time; `rows` is never empty.
    fn join(rows: &[Self]) -> Self;
}

/// The newest rows of one series: per second, per ten seconds, per minute.
#[derive(Debug)]
pub(crate) struct Tiers<R> {
    /// One row per snapshot.
    pub(crate) fine: Ring<R>,
    coarser: Vec<Tier<R>>,
}

#[derive(Debug)]
struct Tier<R> {
    ring: Ring<R>,
    /// Rows of the finer tier that do not make a row yet.
    pending: Vec<R>,
    /// How many of them make one.
    of: usize,
}

impl<R: Join + Clone> Tiers<R> {
    /// A day of rows.
    pub(crate) fn full() -> Self {
        Self::with(300, &[(360, 10), (1_440, 6)])
    }

    /// An hour of rows.
    pub(crate) fn hour() -> Self {
        Self::with(300, &[(360, 10)])
    }

    /// A minute of rows.
    pub(crate) fn minute() -> Self {
        Self::with(60, &[])
    }

    fn with(fine: usize, coarser: &[(usize, usize)]) -> Self {
        let tier = |&(capacity, of): &(usize, usize)| Tier {
            ring: Ring::new(capacity),
            pending: Vec::new(),
            of,
        };
        Self {
            fine: Ring::new(fine),
            coarser: coarser.iter().map(tier).collect(),
        }
    }

    /// Adds the newest row.
    pub(crate) fn push(&mut self, row: R) {
        let mut next = Some(row.clone());
        self.fine.push(row);
        for tier in &mut self.coarser {
            let Some(row) = next.take() else { break };
            tier.pending.push(row);
            if tier.pending.len() == tier.of {
                let joined = R::join(&tier.pending);
                tier.pending.clear();
                tier.ring.push(joined.clone());
                next = Some(joined);
            }
        }
    }

    /// The rows of a range, oldest first; the finest kept when that range is not.
    pub(crate) fn rows(&self, range: Range) -> &Ring<R> {
        let tier = match range {
            Range::FiveMinutes => None,
            Range::Hour => self.coarser.first(),
            Range::Day => self.coarser.get(1),
        };
        tier.map_or(&self.fine, |tier| &tier.ring)
    }
}
