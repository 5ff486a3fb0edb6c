//! Columns of text for people.

use std::fmt::{self, Display};

use roundel_model::Shown;

/// Rows of cells, printed in columns two spaces apart; a row is a line, whatever its cells hold.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn row<T: Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        let shown = |cell| Shown(cell).to_string();
        self.rows.push(cells.into_iter().map(shown).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
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
}
