//! HAProxy's statistics as CSV, byte for byte the layout that its readers expect; also in its
//! `typed` and `json` forms.
//!
//! One line per frontend, server and backend, in configuration order; every line, the header
//! included, ends with a comma. The columns up to `-` are HAProxy's, in HAProxy's order;
//! Roundel's own come after it. Source: HAProxy management guide, section 9.1, and the
//! output of HAProxy 2.6.

mod cell;
mod cleared;
mod columns;
mod row;
mod status;
mod typed;

use crate::moment::Moment;

pub(crate) use cell::Cell;
pub(crate) use cleared::Cleared;
pub(crate) use columns::COLUMNS;
use row::is_usable;
pub(crate) use row::{Row, each as each_row};
pub(crate) use status::server_status;

/// Which lines to show. HAProxy's `show stat <iid> <type> <sid>` and its modifiers.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// Only this frontend or backend; all when negative.
    pub(crate) iid: i64,
    /// A mask: 1 frontends, 2 backends, 4 servers; all when negative.
    pub(crate) kinds: i64,
    /// Only this server; all when negative.
    pub(crate) sid: i64,
    /// No server that is down.
    pub(crate) up: bool,
    /// Nothing in maintenance.
    pub(crate) no_maint: bool,
    /// Only frontends and backends whose name holds this.
    pub(crate) scope: String,
    /// How the lines are written.
    pub(crate) form: Form,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    /// A line for each value, with its type.
    Typed,
    /// The same as JSON: an array for each line.
    Json,
}

impl Filter {
    /// Shows everything.
    pub(crate) const ALL: Self = Self {
        iid: -1,
        kinds: -1,
        sid: -1,
        up: false,
        no_maint: false,
        scope: String::new(),
        form: Form::Csv,
    };

    fn shows(&self, row: &Row<'_>) -> bool {
        let kind = match row {
            Row::Frontend(..) => 1,
            Row::Backend(..) => 2,
            Row::Server(..) => 4,
        };
        let id_fits = self.iid < 0 || self.iid == i64::from(row.iid());
        let sid_fits = self.sid < 0 || kind != 4 || self.sid == i64::from(row.sid());
        let kind_fits = self.kinds < 0 || self.kinds & kind != 0;
        let up_fits = !self.up || kind != 4 || row.is_up();
        let in_scope = row.proxy().contains(&self.scope);
        in_scope
            && id_fits
            && sid_fits
            && kind_fits
            && up_fits
            && !(self.no_maint && row.is_maint())
    }

    /// Writes the value of a column. As in HAProxy, the status of a backend some of whose servers may
    /// be left out says how many are up.
    fn write(&self, cleared: Option<&[u64]>, at: usize, row: &Row<'_>, cell: &mut Cell<'_>) {
        let column = &COLUMNS[at];
        match row {
            Row::Backend(backend, _) if column.name == "status" && (self.up || self.no_maint) => {
                let up = backend.here().filter(|s| s.state.takes_sticky()).count();
                let word = if is_usable(backend) { "UP" } else { "DOWN" };
                cell.text(&format!("{word} ({up}/{})", backend.here().count()));
            }
            _ => match cleared {
                Some(cleared) => cleared::write(cleared, at, row, cell),
                None => (column.write)(row, cell),
            },
        }
    }
}

/// Writes the lines that `filter` shows, in its form.
pub(crate) fn render(moment: &Moment, filter: &Filter, cleared: &Cleared) -> String {
    let mut out = String::new();
    match filter.form {
        Form::Csv => return table(moment, filter, cleared),
        Form::Typed => row::each(moment, |row| {
            if filter.shows(row) {
                typed::typed(filter, cleared.of(row), row, &mut out);
                out.push('\n');
            }
        }),
        Form::Json => {
            out.push('[');
            row::each(moment, |row| {
                if filter.shows(row) {
                    if out.len() > 1 {
                        out.push(',');
                    }
                    typed::json(filter, cleared.of(row), row, &mut out);
                }
            });
            out.push_str("]\n");
        }
    }
    out
}

/// The header, then a line each.
fn table(moment: &Moment, filter: &Filter, cleared: &Cleared) -> String {
    let mut out = String::from("# ");
    for column in COLUMNS {
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
    row::each(moment, |row| {
        if filter.shows(row) {
            let cleared = cleared.of(row);
            for at in 0..COLUMNS.len() {
                filter.write(cleared, at, row, &mut Cell::csv(&mut out));
                out.push(',');
            }
            out.push('\n');
        }
    });
    out
}

#[cfg(test)]
mod tests;
