//! JSON of the same shape, for machines that write configurations.

use super::{Problem, Problems, Source};

/// Turns a JSON text into the TOML that means the same; anything else passes through.
///
/// Mistakes of meaning are then shown in the TOML, where people can read them. Errors: JSON that
/// cannot be read, with its place; `null`, which TOML does not have.
pub(crate) fn to_toml(source: Source) -> Result<Source, Problems> {
    // No TOML document begins with a brace.
    if !source.text().trim_start().starts_with('{') {
        return Ok(source);
    }
    let value: serde_json::Value = match serde_json::from_str(source.text()) {
        Ok(value) => value,
        Err(error) => {
            let at = offset(source.text(), error.line(), error.column());
            return Err(wrong(&source, error.to_string(), Some(at..at)));
        }
    };
    let text = toml::to_string_pretty(&value)
        .map_err(|error| wrong(&source, format!("not a configuration: {error}"), None))?;
    Ok(source.rewritten("as TOML", text))
}

fn wrong(source: &Source, message: String, span: Option<std::ops::Range<usize>>) -> Problems {
    let hint = Some("the file is read as JSON because it begins with a brace".to_owned());
    let problem = Problem {
        message,
        hint,
        span,
    };
    Problems::new(Some(source.clone()), vec![problem])
}

/// The byte at a line and column that count from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    before + column.saturating_sub(1)
}
