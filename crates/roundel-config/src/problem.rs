//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

use roundel_model::{Shown, visible};

use super::Source;
use super::source::Place;

/// One mistake: what, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// The bytes meant, if it lies in the file.
    pub span: Option<Range<usize>>,
}

/// Mistakes that are told of at most; who has more is not helped by reading them all.
pub(crate) const MOST: usize = 100;

/// Characters of a line that are shown before and behind a place.
const AROUND: usize = 100;

/// The mistakes of one configuration, the first 100 in order of the file, with its text.
#[derive(Debug, Clone)]
pub struct Problems {
    source: Option<Source>,
    list: Box<[Problem]>,
    /// How many there are in all.
    count: usize,
}

impl Problems {
    /// Sorts the mistakes by place and drops repetitions.
    pub fn new(source: Option<Source>, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
        list.dedup();
        let count = list.len();
        list.truncate(MOST);
        Self {
            source,
            list: list.into(),
            count,
        }
    }

    /// How many mistakes there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first mistake in one line, for places that show only one.
    pub fn headline(&self) -> String {
        let Some(first) = self.list.first() else {
            return String::new();
        };
        let place = self.position(first);
        let more = match self.count() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        format!("{place}{}{more}", first.message)
    }

    fn position(&self, problem: &Problem) -> String {
        match (&self.source, &problem.span) {
            (Some(source), Some(span)) => {
                let place = source.place(span);
                format!("{}:{}:{}: ", source.name(), place.line_number, place.column)
            }
            (Some(source), None) => format!("{}: ", source.name()),
            (None, _) => String::new(),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            let what = Shown(&problem.message);
            writeln!(f, "{}error: {what}", Shown(self.position(problem)))?;
            if let (Some(source), Some(span)) = (&self.source, &problem.span) {
                point_at(&source.place(span), f)?;
            }
            if let Some(hint) = &problem.hint {
                writeln!(f, "     hint: {}", Shown(hint))?;
            }
        }
        let s = if self.count == 1 { "" } else { "s" };
        let more = match self.count > MOST {
            true => format!("; only the first {MOST} are shown"),
            false => String::new(),
        };
        writeln!(f, "{} problem{s} found{more}", self.count)
    }
}

/// Shows the line of a place, or what is around it in a long one, and marks it.
fn point_at(place: &Place<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let skipped = place.column.saturating_sub(AROUND);
    let line = without_secrets(place.line);
    let line = line.chars().skip(skipped).take(2 * AROUND);
    let line = visible(line.collect());
    // Tabs are kept in the line below so that the caret stands under its text.
    let lead = line.chars().take(place.column - skipped - 1);
    let lead: String = lead.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let marks = "^".repeat(place.width.min(AROUND));
    let gutter = place.line_number.to_string().len().max(3);
    writeln!(f, " {:>gutter$} | {line}", place.line_number)?;
    writeln!(f, " {:>gutter$} | {lead}{marks}", "")
}

/// A line of a file with `*` for what stands behind a key that sounds like a secret: errors go to logs
/// and tickets, and not only what is well written is secret. Files that hold one may be named.
fn without_secrets(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (mut shown, mut rest) = (String::new(), line);
    while let Some((before, behind)) = rest.split_once('=') {
        shown.push_str(before);
        shown.push('=');
        rest = behind;
        let named = before.trim_end().trim_end_matches(['"', '\'']);
        let start = named.trim_end_matches(is_word).len();
        let name = named[start..].to_ascii_lowercase();
        let sounds = ["key", "token", "secret", "password", "hmac"];
        let value = rest.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            continue;
        };
        if name.ends_with("_file") || !sounds.iter().any(|word| name.contains(word)) {
            continue;
        }
        let begin = rest.len() - value.len() + 1;
        let end = end_of_string(&rest[begin..], quote);
        shown.push_str(&rest[..begin]);
        shown.extend(rest[begin..begin + end].chars().map(|_| '*'));
        rest = &rest[begin + end..];
    }
    shown + rest
}

/// Bytes of a string before the quote that ends it, or of all there is.
fn end_of_string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = quote == '"' && *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at)
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn what_sounds_like_a_secret_is_not_shown() {
        for (line, shown) in [
            ("key = \"abc\" # so", "key = \"***\" # so"),
            (
                "sticky = { cookie = \"c\", key='a=b' }",
                "sticky = { cookie = \"c\", key='***' }",
            ),
            ("\"admin_token\" = \"a\\\"b\"", "\"admin_token\" = \"****\""),
            ("password = \"open", "password = \"****"),
            ("key_file = \"/path\"", "key_file = \"/path\""),
            ("check = \"/key=1\"", "check = \"/key=1\""),
            ("key = 5", "key = 5"),
            ("ba\u{feff}nd = \"v\"", "ba\u{feff}nd = \"v\""),
            ("é\u{feff}token = 'v'", "é\u{feff}token = '*'"),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
    }
}
