//! A file as text.

use std::fmt;

use crate::file::File;
use crate::key::{Block, Line, Style, Table};
use crate::reader::Place;

impl fmt::Display for File {
    /// Writes only what differs from the defaults; secrets are written too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = Style {
            all: false,
            secrets: true,
        };
        f.write_str(&write(self, style, &|_| None))
    }
}

/// Writes tables and keys, each key with what `remark` says of where it comes from.
pub(crate) fn write(
    file: &File,
    style: Style,
    remark: &dyn Fn(&Place) -> Option<String>,
) -> String {
    let mut text = String::new();
    for block in blocks(file, style) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &block.header;
        text.push('\n');
        for line in block.lines {
            write_line(&mut text, &line, remark(&line.place));
        }
    }
    text
}

/// Every table of a file that says something.
pub(crate) fn blocks(file: &File, style: Style) -> Vec<Block> {
    let keys = File::keys();
    let blocks = keys.iter();
    blocks
        .flat_map(|key| key.field.blocks(&key.about, file, style))
        .collect()
}

fn write_line(text: &mut String, line: &Line, remark: Option<String>) {
    let said = format!("{} = {}", line.key, line.value);
    let Some(remark) = remark else {
        *text += &said;
        text.push('\n');
        return;
    };
    // Beside its last line.
    let (before, last) = match said.rfind('\n') {
        Some(at) => said.split_at(at + 1),
        None => ("", &*said),
    };
    *text += &format!("{before}{last:<48} # {remark}\n");
}
