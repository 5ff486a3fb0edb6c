//! The text of a configuration file and the places in it.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use roundel_files::LARGEST;

/// Holds a configuration's text and the name to show for it.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the user named.
    file: String,
    name: String,
    text: String,
    path: Option<PathBuf>,
}

impl Source {
    /// Reads a file, or standard input for `-`. Errors: as the system says, not UTF-8, no regular file,
    /// or larger than 16 MiB.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let input = std::io::stdin().take(LARGEST + 1);
            std::io::BufReader::new(input).read_to_string(&mut text)?;
            if text.len() as u64 > LARGEST {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            return Ok(Self::new("standard input", text));
        }
        let text = roundel_files::read_text(path, LARGEST)?;
        let mut source = Self::new(&path.display().to_string(), text);
        source.path = Some(path.to_owned());
        Ok(source)
    }

    /// Takes text that is already at hand; a byte order mark is dropped.
    pub fn new(name: &str, text: String) -> Self {
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        Self {
            file: name.to_owned(),
            name: name.to_owned(),
            text,
            path: None,
        }
    }

    /// The same configuration in another text; paths stay relative to the same folder.
    pub(crate) fn rewritten(self, how: &str, text: String) -> Self {
        Self {
            name: format!("{} {how}", self.name),
            file: self.file,
            text,
            path: self.path,
        }
    }

    /// What the user named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The name of the text shown in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text without byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder against which relative paths in the file are read.
    pub fn folder(&self) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent)
    }

    /// Finds the place of a byte range.
    pub fn place(&self, span: &Range<usize>) -> Place<'_> {
        let start = floor_boundary(&self.text, span.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let line = self.text[line_start..].lines().next().unwrap_or("");
        let offset = start - line_start;
        let end = floor_boundary(&self.text, span.end.max(start));
        let marked = self.text[start..end].lines().next().unwrap_or("");
        Place {
            line_number: before.matches('\n').count() + 1,
            column: line.get(..offset).unwrap_or(line).chars().count() + 1,
            line,
            width: marked.chars().count().max(1),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A place in a [`Source`]; numbers count from 1, columns and width in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    /// Which line.
    pub line_number: usize,
    /// Which character of it.
    pub column: usize,
    /// The line without its end.
    pub line: &'a str,
    /// How many characters of this line are meant.
    pub width: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines_with_any_line_end() {
        let source = Source::new("x", "\u{feff}a = 1\r\nbé = 22\r\n".to_owned());
        let at = source.text().find("22").unwrap();
        let place = source.place(&(at..at + 2));
        assert_eq!((place.line_number, place.column), (2, 6));
        assert_eq!((place.line, place.width), ("bé = 22", 2));
        let end = source.place(&(999..1000));
        assert_eq!((end.line_number, end.column, end.width), (3, 1, 1));
    }
}
