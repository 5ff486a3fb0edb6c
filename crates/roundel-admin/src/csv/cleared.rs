//! What `clear counters` makes readers of the table forget.
//!
//! The counters go on, for those of Prometheus never go back: what they were is kept here and
//! taken off where the table is written.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::cell::Cell;
use super::columns::COLUMNS;
use super::row::{Row, each};
use super::typed;
use crate::moment::Moment;

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Greatest,
    /// Seconds since the last request.
    Last,
    /// Stays as it is.
    Other,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let kind = |name| match name {
        "qmax" | "qtime_max" | "ctime_max" | "rtime_max" | "ttime_max" => Kind::Greatest,
        "lastsess" => Kind::Last,
        // HAProxy keeps it as well.
        "downtime" => Kind::Other,
        name if typed::is_counter(name) => Kind::Counter,
        _ => Kind::Other,
    };
    COLUMNS.iter().map(|column| kind(column.name)).collect()
});

/// The values when they were cleared, by column, of each row by its numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cleared(BTreeMap<(u32, u32), Vec<u64>>);

impl Cleared {
    /// Has the greatest values be forgotten, with `all` the counters too.
    pub(crate) fn clear(&mut self, moment: &Moment, all: bool) {
        let mut before = std::mem::take(&mut self.0);
        each(moment, |row| {
            let key = (row.iid(), row.sid());
            let mut values = before
                .remove(&key)
                .unwrap_or_else(|| vec![0; COLUMNS.len()]);
            for (at, kind) in KINDS.iter().enumerate() {
                if *kind == Kind::Greatest || (all && *kind == Kind::Counter) {
                    values[at] = value(at, row);
                }
            }
            self.0.insert(key, values);
        });
    }

    /// What is to be taken off the values of a row.
    pub(super) fn of(&self, row: &Row<'_>) -> Option<&[u64]> {
        let values = self.0.get(&(row.iid(), row.sid()));
        values.map(Vec::as_slice)
    }
}

/// Writes the value of a column less what was cleared.
pub(super) fn write(cleared: &[u64], at: usize, row: &Row<'_>, cell: &mut Cell<'_>) {
    let column = &COLUMNS[at];
    let was = cleared[at];
    match KINDS[at] {
        Kind::Counter if was > 0 => cell.num(since(value(at, row), was)),
        // How great those since then were is known only where they are greater.
        Kind::Greatest if was > 0 && value(at, row) <= was => cell.num(match row {
            Row::Server(_, s, _) if column.name == "qmax" => s.queue_length,
            Row::Backend(b, _) if column.name == "qmax" => b.queue_length,
            _ => 0,
        }),
        Kind::Last if is_unused(cleared, row) => cell.num(-1),
        _ => (column.write)(row, cell),
    }
}

/// Whether there was no request since the counters were cleared.
fn is_unused(cleared: &[u64], row: &Row<'_>) -> bool {
    let total = COLUMNS.iter().position(|column| column.name == "stot");
    total.is_some_and(|at| cleared[at] > 0 && value(at, row) == cleared[at])
}

/// A counter that has gone back began anew.
fn since(now: u64, was: u64) -> u64 {
    now.checked_sub(was).unwrap_or(now)
}

/// The number in a column; 0 where there is none.
fn value(at: usize, row: &Row<'_>) -> u64 {
    let mut text = String::new();
    (COLUMNS[at].write)(row, &mut Cell::plain(&mut text));
    text.parse().unwrap_or_default()
}
