//! The example with every key, `config/reference.toml`.

use crate::file::File;
use crate::key::{About, Described, Table};
use crate::schema::words;

const HEAD: &str = "\
#:schema ./roundel.schema.json
# Every table and key, most of them at their defaults. A real file needs only what differs.
# Strings may hold ${VAR}, ${VAR:-default} and, for a plain dollar, $$.
";

/// What the routes of the example need, and what differs from one backend to the next.
const TAIL: &str = "
[[backend]]                      # another one, by what differs
name = \"api\"
sticky = \"off\"
check = \"tcp\"
retries = 1
timeouts = { connect = \"1s\" }

[[backend.server]]
name = \"s1\"
address = \"10.0.0.1:3000\"
weight = 2
";

/// Where remarks begin, and where they end.
const COLUMN: usize = 33;
const WIDTH: usize = 100;
/// A remark of more lines stands above its key.
const LINES: usize = 3;

/// Writes every table and key with its words.
pub fn reference() -> String {
    let mut writer = Writer {
        text: HEAD.to_owned(),
        explained: Vec::new(),
    };
    for key in File::described() {
        let name = key.about.name;
        let header = match name {
            "frontend" | "backend" => format!("[[{name}]]"),
            _ => format!("[{name}]"),
        };
        writer.table(&header, name, &key);
    }
    writer.text + TAIL
}

struct Writer {
    text: String,
    /// The keys whose tables were explained where they are first used.
    explained: Vec<&'static str>,
}

impl Writer {
    fn table(&mut self, header: &str, path: &str, of: &Described) {
        self.text.push('\n');
        let keys = &of.shape.keys;
        // Said once if it holds for all.
        let restart = keys.iter().all(|key| key.about.needs_restart);
        let about = About {
            needs_restart: restart,
            ..of.about.clone()
        };
        self.remarked(header, &words(&about), "");
        let (tables, keys): (Vec<&Described>, Vec<_>) =
            of.shape.keys.iter().partition(|key| is_table(key));
        for key in keys {
            self.key(key, restart);
        }
        for table in tables {
            let path = format!("{path}.{}", table.about.name);
            self.table(&format!("[{path}]"), &path, table);
        }
    }

    fn key(&mut self, key: &Described, restart_is_said: bool) {
        let about = &key.about;
        let words = match restart_is_said {
            true => about.words.to_owned(),
            false => words(about),
        };
        let lead = format!("{}: ", about.name);
        let Some(value) = about.example.or(about.default) else {
            return;
        };
        let is_said = about.example.is_none() || about.is_example_said;
        let line = format!("{} = {value}", about.name);
        let line = if is_said { line } else { format!("# {line}") };
        let mut inner = Vec::new();
        if !key.shape.is_part {
            self.explain("", &key.shape.keys, &mut inner);
        }
        if inner.is_empty() {
            self.remarked(&line, &words, &lead);
            return;
        }
        self.above("", &(lead + &words));
        let width = inner.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or_default();
        for (name, words) in inner {
            self.above(&format!("  {name:<width$}  "), &words);
        }
        self.text += &format!("{line}\n");
    }

    /// Gathers what the keys of a table mean that stands within a line.
    fn explain(&mut self, path: &str, keys: &[Described], into: &mut Vec<(String, String)>) {
        for key in keys {
            let about = &key.about;
            let name = format!("{path}{}", about.name);
            if !about.words.is_empty() {
                let default = about.default.filter(|d| !matches!(*d, "[]" | "{}"));
                let default = default.map(|text| format!(" [{text}]")).unwrap_or_default();
                into.push((name.clone(), format!("{}{default}", about.words)));
            }
            if !self.explained.contains(&about.name) {
                self.explain(&format!("{name}."), &key.shape.keys, into);
            }
            if !key.shape.keys.is_empty() {
                self.explained.push(about.name);
            }
        }
    }

    /// A line with a remark beside it, or above it, with `lead`, if it is long.
    fn remarked(&mut self, line: &str, words: &str, lead: &str) {
        let is_short = line.len() < COLUMN;
        let room = (WIDTH - 2).saturating_sub(COLUMN.max(line.len() + 3));
        let beside = match line.contains('\n') || line.len() + 20 > WIDTH {
            true => Vec::new(),
            false => wrap(words, room),
        };
        let fits = !beside.is_empty() && beside.len() <= if is_short { LINES } else { 1 };
        if !fits {
            if !words.is_empty() {
                self.above("", &format!("{lead}{words}"));
            }
            self.text += &format!("{line}\n");
            return;
        }
        let mut before = line;
        let column = COLUMN.max(line.len() + 3);
        for words in beside {
            self.text += &format!("{before:<column$}# {words}\n");
            before = "";
        }
    }

    /// Lines of a remark, the first of which begins with `lead`.
    fn above(&mut self, lead: &str, words: &str) {
        let mut lead = lead.to_owned();
        for line in wrap(words, WIDTH - 2 - lead.chars().count()) {
            self.text += &format!("# {lead}{line}\n");
            lead = " ".repeat(lead.chars().count());
        }
    }
}

/// Whether a key is shown as a table with a header.
fn is_table(key: &Described) -> bool {
    key.about.example.is_none() && !key.shape.keys.is_empty()
}

/// Breaks words into lines, but not within braces.
fn wrap(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0;
    let is_end = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ' ' && depth == 0
    };
    for word in words.split(is_end).filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
