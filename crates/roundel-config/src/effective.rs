//! What counts, key by key, and where each value comes from.

use std::fmt;

use crate::file::File;
use crate::key::{self, Style};
use crate::reader::Place;
use crate::source::Source;
use crate::write::{blocks, write};

/// The configuration with every key that has a value, in the form of a file.
///
/// As text it is a file that means the same, each line with where its value comes from; secrets
/// are left out.
#[derive(Debug, Clone)]
pub struct Effective {
    file: File,
    source: Option<Source>,
}

/// Everything but what is secret.
const SHOWN: Style = Style {
    all: true,
    secrets: false,
};

impl Effective {
    pub(crate) fn new(file: File, source: Option<&Source>) -> Self {
        let source = source.cloned();
        Self { file, source }
    }

    /// Whether nobody said the key of this path, such as `stats.listen`.
    pub fn is_default(&self, path: &str) -> bool {
        let said = |block: &key::Block| {
            let table = block.header.trim_matches(['[', ']']);
            let key = path.strip_prefix(table)?.strip_prefix('.')?;
            let line = block.lines.iter().find(|line| line.key == key)?;
            (line.place != Place::Default).then_some(())
        };
        let blocks = blocks(&self.file, SHOWN);
        !blocks.iter().any(|block| said(block).is_some())
    }

    /// Names the keys that are not the same in `other` and that only a restart takes over.
    pub(crate) fn restarts(&self, other: &Self) -> Vec<String> {
        key::restarts("", &self.file, &other.file)
    }

    /// Takes from `running` what needs a restart, so that it is found different again.
    pub(crate) fn keep(&mut self, running: &Self) {
        key::keep(&mut self.file, &running.file);
    }

    fn origin(&self, place: &Place) -> String {
        match (place, &self.source) {
            (Place::File(span), Some(source)) => {
                let line = source.place(span).line_number;
                format!("{}:{line}", source.name())
            }
            (Place::Said(origin), _) => origin.clone(),
            _ => "default".to_owned(),
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write(&self.file, SHOWN, &|place| Some(self.origin(place))))
    }
}
