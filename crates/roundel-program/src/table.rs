//! Columns of text for people.

use std::fmt::{self, Display};

use roundel_model::Shown;

use crate::screen::Screen;

/// How good or bad a row is, as its colour says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing to say.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Somebody should look.
    Odd,
    /// It does not work.
    Bad,
    /// Less worth reading than the rest.
    Dim,
    /// A head or a sum.
    Strong,
}

impl Look {
    /// The code of ECMA-48's "select graphic rendition".
    pub(crate) fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Odd => Some("33"),
            Self::Bad => Some("31"),
            Self::Dim => Some("2"),
            Self::Strong => Some("1"),
        }
    }
}

/// Rows of cells, printed in columns two spaces apart; a row is a line, whatever its cells hold.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Columns of numbers.
    right: Vec<usize>,
    /// Columns that may be left out, the first of them first.
    spare: Vec<usize>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    look: Look,
    /// What stands under the row.
    below: String,
}

impl Table {
    /// A table whose columns of numbers end below each other. Where the screen is too narrow, the
    /// columns of `spare` are left out, the first of them first.
    pub(crate) fn of_numbers(right: &[usize], spare: &[usize]) -> Self {
        Self {
            rows: Vec::new(),
            right: right.to_vec(),
            spare: spare.to_vec(),
        }
    }

    pub(crate) fn row<T: Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.look_row(Look::Plain, cells, "");
    }

    /// A row with a look; `below` is told under it, empty for nothing.
    pub(crate) fn look_row<T: Display>(
        &mut self,
        look: Look,
        cells: impl IntoIterator<Item = T>,
        below: &str,
    ) {
        let shown = |cell| Shown(cell).to_string();
        self.rows.push(Row {
            cells: cells.into_iter().map(shown).collect(),
            look,
            below: Shown(below).to_string(),
        });
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(|row| row.cells.len()).max();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns.unwrap_or(0)).map(width).collect()
    }

    fn line(&self, row: &Row, widths: &[usize], kept: &[usize]) -> String {
        let mut line = String::new();
        for (at, cell) in row.cells.iter().enumerate() {
            if !kept.contains(&at) {
                continue;
            }
            let width = widths[at];
            line += &match self.right.contains(&at) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:<width$}  "),
            };
        }
        line.trim_end().to_owned()
    }

    /// The table as it fits a screen.
    pub(crate) fn fit(&self, screen: Screen) -> String {
        let widths = self.widths();
        let mut kept: Vec<usize> = (0..widths.len()).collect();
        let mut spare = self.spare.iter();
        let wide = |kept: &[usize]| kept.iter().map(|at| widths[*at] + 2).sum::<usize>();
        while wide(&kept) > screen.width + 2 {
            let Some(least) = spare.next() else { break };
            kept.retain(|at| at != least);
        }
        let mut out = String::new();
        for row in &self.rows {
            let line = self.line(row, &widths, &kept);
            out += &format!("{}\n", screen.paint(row.look, &line));
            if !row.below.is_empty() {
                out += &screen.fold(&row.below, 2);
            }
        }
        out
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let all: Vec<usize> = (0..widths.len()).collect();
        for row in &self.rows {
            writeln!(f, "{}", self.line(row, &widths, &all))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::default();
        table.row(["name", "state"]);
        table.row(["webapp-1", "up"]);
        assert_eq!(table.to_string(), "name      state\nwebapp-1  up\n");
    }

    #[test]
    fn a_narrow_screen_gets_what_matters() {
        let mut table = Table::of_numbers(&[1], &[2, 3]);
        table.row(["SERVER", "REQ/S", "SOURCE", "CHECK"]);
        table.look_row(Look::Bad, ["a\u{1b}[2J", "7", "gossip", "L4CON"], "refused");
        let mut screen = Screen {
            width: 80,
            is_terminal: true,
            colour: false,
        };
        let all =
            "SERVER      REQ/S  SOURCE  CHECK\na\\u{1b}[2J      7  gossip  L4CON\n  refused\n";
        assert_eq!(table.fit(screen), all);
        screen.width = 25;
        let some = "SERVER      REQ/S  CHECK\na\\u{1b}[2J      7  L4CON\n  refused\n";
        assert_eq!(table.fit(screen), some);
        screen.colour = true;
        assert!(table.fit(screen).contains("\u{1b}[31ma\\u{1b}[2J"));
    }
}
