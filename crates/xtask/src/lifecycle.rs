//! Whether every function that LIFECYCLE.md names is where it says.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::step::root;

/// Errors: a row names a file or a function that is not there, or there are no rows.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(root().join("LIFECYCLE.md")).context("LIFECYCLE.md")?;
    let rows: Vec<_> = text.lines().filter_map(place).collect();
    ensure!(!rows.is_empty(), "LIFECYCLE.md has no rows");
    for (file, function) in rows {
        let (of, path) = match file.split_once('/') {
            Some((of, path)) if of.starts_with("roundel") => (of, path),
            _ => ("roundel-proxy", file),
        };
        let full = root().join("crates").join(of).join("src").join(path);
        let code = fs::read_to_string(full)
            .with_context(|| format!("LIFECYCLE.md names {file}; correct the row"))?;
        let is_there = [format!("fn {function}("), format!("fn {function}<")];
        ensure!(
            is_there.iter().any(|start| code.contains(start)),
            "LIFECYCLE.md: {file} has no function {function}; correct the row"
        );
    }
    Ok(())
}

/// The file and the function of a row.
fn place(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| `")?.split('`');
    let (file, between, function) = (cells.next()?, cells.next()?, cells.next()?);
    (between == " | ").then_some((file, function))
}
